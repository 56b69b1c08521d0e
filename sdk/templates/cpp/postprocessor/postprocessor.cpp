// {{name}}: makes boxes of the outputs of a centre-point detector, and drops those that overlap a better one.
//
// Pictures and tensors stay with the host: `Image` and `Tensor` hold a handle, and drop it at the end of their scope. Their interfaces are in wit/,
// with their documentation. `TRY(x)` gives the value of `x`, or returns its error.
#include "hotshoe.hpp"

#include <algorithm>
#include <cmath>

using namespace hotshoe;

// Pixels of the model's picture to one cell of its heat map, in each direction.
static constexpr double stride = 4;
// Maximum number of boxes that are compared with each other.
static constexpr size_t most_candidates = 1000;

// A box in pixels of the model's picture.
struct Box {
  double x1, y1, x2, y2;
  float score;
  uint32_t cell;

  double area() const { return (x2 - x1) * (y2 - y1); }
};

// The boxes of all cells that score above `least`, and the size of the model's picture. The outputs, whose names are settings, tell how likely a
// cell is an object's centre (1 x 1 x h x w), the logarithm of the object's height and width in cells, and where in the cell its centre is (both
// 1 x 2 x h x w).
struct Found {
  std::vector<Box> boxes;
  double width, height;
};

static Result<Found> find_boxes(const Tensors &outputs, double least) {
  const Tensor *heat_map = TRY(find(outputs, config("heatmap", "537")));
  const Tensor *scales = TRY(find(outputs, config("scale", "538")));
  const Tensor *offsets = TRY(find(outputs, config("offset", "539")));
  List<uint32_t> shape = heat_map->shape();
  uint32_t h = shape.size() == 4 ? shape[2] : 0;
  uint32_t w = shape.size() == 4 ? shape[3] : 0;
  if (!heat_map->has_shape({1, 1, h, w}) || !scales->has_shape({1, 2, h, w}) || !offsets->has_shape({1, 2, h, w})) {
    return fail(Code::invalid_input, "the outputs are not of 1 x 1, 1 x 2 and 1 x 2 x height x width");
  }
  for (const Tensor *tensor : {heat_map, scales, offsets}) {
    if (tensor->element_type() != TENSORS_ELEMENT_TYPE_F32) return fail(Code::invalid_input, "the outputs are not of f32");
  }
  // Each is copied once; all arithmetic uses double.
  List<float> heat = TRY(heat_map->f32());
  List<float> scale = TRY(scales->f32());
  List<float> offset = TRY(offsets->f32());

  Found found = {{}, stride * w, stride * h};
  uint32_t cells = h * w;
  for (uint32_t cell = 0; cell < cells; cell++) {
    if (!(double(heat[cell]) > least)) continue;
    double bh = std::exp(double(scale[cell])) * stride;
    double bw = std::exp(double(scale[cells + cell])) * stride;
    double cy = (cell / w + double(offset[cell]) + 0.5) * stride;
    double cx = (cell % w + double(offset[cells + cell]) + 0.5) * stride;
    double x1 = std::clamp(cx - bw / 2, 0.0, found.width);
    double y1 = std::clamp(cy - bh / 2, 0.0, found.height);
    found.boxes.push_back({x1, y1, std::min(x1 + bw, found.width), std::min(y1 + bh, found.height), heat[cell], cell});
  }
  return found;
}

// The common area as a share of both boxes together (IoU).
static double overlap(const Box &a, const Box &b) {
  double width = std::max(std::min(a.x2, b.x2) - std::max(a.x1, b.x1), 0.0);
  double height = std::max(std::min(a.y2, b.y2) - std::max(a.y1, b.y1), 0.0);
  double common = width * height;
  double together = a.area() + b.area() - common;
  return together > 0 ? common / together : 0;
}

// Drops each box that overlaps too much with a better one that is kept.
static std::vector<Box> keep_best(std::vector<Box> boxes, double most) {
  // The best score first; equal scores keep their order.
  std::sort(boxes.begin(), boxes.end(), [](const Box &a, const Box &b) { return a.score != b.score ? a.score > b.score : a.cell < b.cell; });
  boxes.resize(std::min(boxes.size(), most_candidates));
  std::vector<Box> kept;
  for (const Box &box : boxes) {
    if (std::none_of(kept.begin(), kept.end(), [&](const Box &better) { return overlap(box, better) > most; })) kept.push_back(box);
  }
  return kept;
}

// Called for each sample. A failure costs this sample and nothing else.
static Result<Insight> interpret(Sample sample, Tensors outputs) {
  double least = TRY(config_f64("min-score", 0.5));
  double most = TRY(config_f64("max-overlap", 0.3));
  std::string label = config("label", "face");
  Found found = TRY(find_boxes(outputs, least));

  // Detections are in pixels of the sample's own picture.
  Image picture = TRY(Image::decode(sample));
  double fx = picture.width() / found.width;
  double fy = picture.height() / found.height;
  Detections detections;
  for (const Box &box : keep_best(std::move(found.boxes), most)) {
    Rect bounds = {float(box.x1 * fx), float(box.y1 * fy), float((box.x2 - box.x1) * fx), float((box.y2 - box.y1) * fy)};
    detections.push_back({label, box.score, bounds});
  }
  return detections;
}

// Exports it as `interpret` of the interface `postprocess`, which the host calls.
HOTSHOE_POSTPROCESSOR(interpret)
