// Pictures, and what the host does to them natively; needs the grant `vision`.
#pragma once

#include "host.hpp"

namespace hotshoe {

using Rect = types_rect_t;
using Quad = types_quad_t;
using Point = types_point_t;

enum class Filter : vision_filter_t {
  nearest = VISION_FILTER_NEAREST,
  bilinear = VISION_FILTER_BILINEAR,
  bicubic = VISION_FILTER_BICUBIC,
  area = VISION_FILTER_AREA,
};

enum class Layout : vision_layout_t { nchw = VISION_LAYOUT_NCHW, nhwc = VISION_LAYOUT_NHWC };

enum class Channels : vision_channels_t { rgb = VISION_CHANNELS_RGB, bgr = VISION_CHANNELS_BGR };

// How pixels become elements: `(pixel * scale - mean) / std`, by channel.
struct Normalisation {
  Layout layout = Layout::nchw;
  Channels channels = Channels::rgb;
  float scale = 1.0f / 255.0f;
  float mean[3] = {0, 0, 0};
  float std[3] = {1, 1, 1};
};

// An 8-bit RGB picture that the host keeps.
class Image : public Handle<vision_own_image_t, vision_image_drop_own> {
 public:
  using Handle::Handle;

  static Result<Image> decode(const Sample &sample) {
    return made([&](auto *image, auto *error) { return vision_decode(sample.borrow(), image, error); });
  }
  static Result<Image> decode(std::span<const uint8_t> bytes) {
    auto list = shown<wit_list_u8_t>(bytes);
    return made([&](auto *image, auto *error) { return vision_decode_bytes(&list, image, error); });
  }
  // RGB bytes, row by row from the top.
  static Result<Image> from_pixels(uint32_t width, uint32_t height, std::span<const uint8_t> pixels) {
    auto list = shown<wit_list_u8_t>(pixels);
    return made([&](auto *image, auto *error) { return vision_static_image_from_pixels(width, height, &list, image, error); });
  }

  uint32_t width() const { return vision_method_image_width(borrow()); }
  uint32_t height() const { return vision_method_image_height(borrow()); }
  List<uint8_t> pixels() const {
    wit_list_u8_t pixels;
    vision_method_image_pixels(borrow(), &pixels);
    return {pixels.ptr, pixels.len};
  }

  Result<Image> resize(uint32_t width, uint32_t height, Filter filter = Filter::bilinear) const {
    return made([&](auto *image, auto *error) { return vision_resize(borrow(), width, height, vision_filter_t(filter), image, error); });
  }
  Result<Image> crop(Rect bounds) const {
    return made([&](auto *image, auto *error) { return vision_crop(borrow(), &bounds, image, error); });
  }
  Result<Image> rotate(vision_rotation_t rotation) const {
    return made([&](auto *image, auto *error) { return vision_rotate(borrow(), rotation, image, error); });
  }
  Result<Image> warp(Quad outline, uint32_t width, uint32_t height, Filter filter = Filter::bilinear) const {
    return made([&](auto *image, auto *error) { return vision_warp(borrow(), &outline, width, height, vision_filter_t(filter), image, error); });
  }
  Result<Image> blur(std::span<const Rect> regions, uint32_t radius = 0) const {
    auto list = shown<vision_list_rect_t>(regions);
    return made([&](auto *image, auto *error) { return vision_blur(borrow(), &list, radius, image, error); });
  }
  Result<List<uint8_t>> encode(vision_format_t format, uint8_t quality = 90) const {
    wit_list_u8_t bytes;
    types_error_t error;
    if (!vision_encode(borrow(), format, quality, &bytes, &error)) return taken(error);
    return List<uint8_t>(bytes.ptr, bytes.len);
  }
  vision_borrow_image_t borrow() const { return vision_borrow_image(own); }

 private:
  template <class Make>
  static Result<Image> made(Make make) {
    vision_own_image_t image;
    types_error_t error;
    if (!make(&image, &error)) return taken(error);
    return Image(image);
  }
};

// One tensor of all images, each at most that large.
inline Result<Tensor> normalise(std::initializer_list<const Image *> images, uint32_t width, uint32_t height, const Normalisation &how) {
  std::vector<vision_borrow_image_t> handles;
  for (const Image *image : images) handles.push_back(image->borrow());
  vision_list_borrow_image_t list{handles.data(), handles.size()};
  vision_normalisation_t plain{
      vision_layout_t(how.layout),
      vision_channels_t(how.channels),
      how.scale,
      {how.mean[0], how.mean[1], how.mean[2]},
      {how.std[0], how.std[1], how.std[2]},
  };
  tensors_own_tensor_t tensor;
  types_error_t error;
  if (!vision_normalise(&list, width, height, &plain, &tensor, &error)) return taken(error);
  return Tensor(tensor);
}

}  // namespace hotshoe
