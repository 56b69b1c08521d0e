/* {{name}}: makes a model's input of a sample's picture.
 *
 * `hotshoe build` generates `wit.h` from the interfaces in wit/. Each name begins with its interface: `vision_resize` is the function
 * `resize` of the interface `vision` in wit/vision.wit, with its documentation. The component must define one function,
 * `exports_preprocess_prepare`, for `prepare` of the interface `preprocess`. Pictures and tensors stay with the host: the component holds handles,
 * and drops them after use. */
#include "hotshoe.h"

/* The settings of release.toml, or their defaults. */
struct settings {
  uint32_t width;
  uint32_t height;
  wit_string_t input; /* the model's name for its input */
};

static bool read_settings(struct settings *settings, types_error_t *err) {
  if (!hotshoe_config_u32("width", 32, 1, 4096, &settings->width, err)) return false;
  if (!hotshoe_config_u32("height", 32, 1, 4096, &settings->height, err)) return false;
  settings->input = hotshoe_config_text("input", "x");
  return true;
}

/* The sample's picture as a tensor of 1 x 3 x height x width, with elements from 0 to 1. */
static bool picture_to_tensor(samples_borrow_sample_t sample, const struct settings *settings, tensors_own_tensor_t *tensor,
                              types_error_t *err) {
  vision_own_image_t picture, scaled;
  if (!vision_decode(sample, &picture, err)) return false;
  bool ok = vision_resize(vision_borrow_image(picture), settings->width, settings->height, VISION_FILTER_BILINEAR, &scaled, err);
  vision_image_drop_own(picture);
  if (!ok) return false;

  vision_borrow_image_t batch[] = {vision_borrow_image(scaled)};
  vision_list_borrow_image_t images = {batch, 1};
  vision_normalisation_t how = {
      .layout = VISION_LAYOUT_NCHW,
      .channels = VISION_CHANNELS_RGB,
      .scale = 1.0f / 255.0f,
      .mean = {0, 0, 0},
      .std = {1, 1, 1},
  };
  ok = vision_normalise(&images, settings->width, settings->height, &how, tensor, err);
  vision_image_drop_own(scaled);
  return ok;
}

/* Called for each sample: true with `*ret` filled, or false with `*err`. A failure costs this sample and nothing else. */
bool exports_preprocess_prepare(exports_preprocess_borrow_sample_t sample, exports_preprocess_list_named_tensor_t *ret,
                                exports_preprocess_error_t *err) {
  struct settings settings;
  tensors_own_tensor_t tensor;
  if (!read_settings(&settings, err)) return false;
  if (!picture_to_tensor(sample, &settings, &tensor, err)) {
    wit_string_free(&settings.input);
    return false;
  }
  /* What is returned belongs to the host from here on: the name, the list, and the tensor itself. */
  *ret = (exports_preprocess_list_named_tensor_t){NULL, 0};
  hotshoe_push(ret, (tensors_named_tensor_t){.name = settings.input, .tensor = tensor});
  return true;
}
