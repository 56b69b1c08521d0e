// {{name}}: makes a model's input of a sample's picture.
//
// Pictures and tensors stay with the host: `Image` and `Tensor` hold a handle, and drop it at the end of their scope. Their interfaces are in wit/,
// with their documentation. `TRY(x)` gives the value of `x`, or returns its error.
#include "hotshoe.hpp"

using namespace hotshoe;

// Called for each sample. A failure costs this sample and nothing else.
static Result<Tensors> prepare(Sample sample) {
  // From release.toml, or the default.
  uint32_t width = TRY(config_u32("width", 32, 1, 4096));
  uint32_t height = TRY(config_u32("height", 32, 1, 4096));
  std::string input = config("input", "x");  // the model's name for its input

  Image picture = TRY(Image::decode(sample));
  Image scaled = TRY(picture.resize(width, height, Filter::bilinear));

  // A tensor of 1 x 3 x height x width, with elements from 0 to 1.
  Normalisation how = {
      .layout = Layout::nchw,
      .channels = Channels::rgb,
      .scale = 1.0f / 255.0f,
      .mean = {0, 0, 0},
      .std = {1, 1, 1},
  };
  Tensors inputs;
  inputs.push_back({input, TRY(normalise({&scaled}, width, height, how))});
  return inputs;
}

// Exports it as `prepare` of the interface `preprocess`, which the host calls.
HOTSHOE_PREPROCESSOR(prepare)
