// {{name}}: classifies a sample's picture with a model, through `wasi:nn`.
//
// Pictures, tensors and models stay with the host: `Image` and `nn::Graph` hold a handle, and drop it at the end of their scope. Their interfaces are in
// wit/, with their documentation. `TRY(x)` gives the value of `x`, or returns its error.
#include "hotshoe.hpp"

#include <algorithm>
#include <cstring>

using namespace hotshoe;

// The sample's picture as wasi:nn's tensor of 1 x 3 x height x width, with elements from -1 to 1.
static Result<nn::Tensor> picture_to_tensor(Sample sample, uint32_t width, uint32_t height) {
  Image picture = TRY(Image::decode(sample));
  Image scaled = TRY(picture.resize(width, height, Filter::bilinear));
  Normalisation how = {
      .layout = Layout::nchw,
      .channels = Channels::bgr,
      .scale = 1.0f / 255.0f,
      .mean = {0.5f, 0.5f, 0.5f},
      .std = {0.5f, 0.5f, 0.5f},
  };
  Tensor tensor = TRY(normalise({&scaled}, width, height, how));
  // wasi:nn has its own tensors, which are made of bytes.
  uint32_t shape[] = {1, 3, height, width};
  List<uint8_t> bytes = tensor.bytes();
  return nn::Tensor(shape, NN_TENSOR_TENSOR_TYPE_FP32, bytes);
}

// The elements of the model's first output.
static Result<std::vector<float>> run(const std::string &model, const std::string &input, nn::Tensor tensor) {
  nn::Graph graph = TRY(nn::Graph::load(model));
  nn::Context context = TRY(graph.context());
  std::vector<nn::NamedTensor> inputs;
  inputs.push_back({input, std::move(tensor)});
  std::vector<nn::NamedTensor> outputs = TRY(context.compute(std::move(inputs)));

  if (outputs.empty()) return fail(Code::internal, "the model gave no output");
  List<uint8_t> bytes = outputs[0].tensor.data();
  std::vector<float> scores(bytes.size() / sizeof(float));
  // The bytes are little-endian, like WebAssembly.
  std::memcpy(scores.data(), bytes.data(), scores.size() * sizeof(float));
  return scores;
}

// Called for each sample. A failure costs this sample and nothing else.
static Result<Insight> process(Sample sample) {
  // From release.toml, or the default.
  uint32_t width = TRY(config_u32("width", 192, 1, 4096));
  uint32_t height = TRY(config_u32("height", 48, 1, 4096));
  nn::Tensor tensor = TRY(picture_to_tensor(sample, width, height));
  std::vector<float> scores = TRY(run(config("model", "classifier"), config("input", "x"), std::move(tensor)));

  // The name of a class is its line in the data file `labels`.
  std::string file = TRY(read_data("labels"));
  std::vector<std::string_view> labels = lines(file);
  Classes classes;
  for (uint32_t i = 0; i < scores.size(); i++) {
    bool named = i < labels.size() && !labels[i].empty();
    classes.push_back({named ? std::string(labels[i]) : std::to_string(i), i, scores[i]});
  }
  // The best score first; equal scores keep their order.
  std::sort(classes.begin(), classes.end(), [](const Class &a, const Class &b) { return a.score != b.score ? a.score > b.score : a.index < b.index; });
  return classes;
}

// Exports it as `process` of the interface `process`, which the host calls.
HOTSHOE_STAGE(process)
