/* {{name}}: classifies a sample's picture with a model, through `wasi:nn`.
 *
 * `hotshoe build` generates `wit.h` from the interfaces in wit/. Each name begins with its interface: `vision_resize` is the function
 * `resize` of the interface `vision` in wit/vision.wit, with its documentation. Names with `nn_` are from wit/deps/wasi-nn. The component must define one
 * function, `exports_process_process`, for `process` of the interface `process`. */
#include "hotshoe.h"

#include <stdlib.h>
#include <string.h>

/* The sample's picture as wasi:nn's tensor of 1 x 3 x height x width, with elements from -1 to 1. */
static bool picture_to_tensor(samples_borrow_sample_t sample, uint32_t width, uint32_t height, nn_tensor_own_tensor_t *ret,
                              types_error_t *err) {
  vision_own_image_t picture, scaled;
  if (!vision_decode(sample, &picture, err)) return false;
  bool ok = vision_resize(vision_borrow_image(picture), width, height, VISION_FILTER_BILINEAR, &scaled, err);
  vision_image_drop_own(picture);
  if (!ok) return false;

  tensors_own_tensor_t tensor;
  vision_borrow_image_t batch[] = {vision_borrow_image(scaled)};
  vision_list_borrow_image_t images = {batch, 1};
  vision_normalisation_t how = {
      .layout = VISION_LAYOUT_NCHW,
      .channels = VISION_CHANNELS_BGR,
      .scale = 1.0f / 255.0f,
      .mean = {0.5f, 0.5f, 0.5f},
      .std = {0.5f, 0.5f, 0.5f},
  };
  ok = vision_normalise(&images, width, height, &how, &tensor, err);
  vision_image_drop_own(scaled);
  if (!ok) return false;

  /* wasi:nn has its own tensors, which are made of bytes. */
  wit_list_u8_t bytes;
  tensors_method_tensor_read_bytes(tensors_borrow_tensor(tensor), &bytes);
  tensors_tensor_drop_own(tensor);
  uint32_t shape[] = {1, 3, height, width};
  nn_tensor_tensor_dimensions_t dimensions = {shape, 4};
  nn_tensor_tensor_data_t data = {bytes.ptr, bytes.len};
  *ret = nn_tensor_constructor_tensor(&dimensions, NN_TENSOR_TENSOR_TYPE_FP32, &data);
  wit_list_u8_free(&bytes);
  return true;
}

/* Runs the model of that name on one input, which it consumes, and gives the elements of its first output. */
static bool run(wit_string_t model, wit_string_t input, nn_tensor_own_tensor_t tensor, wit_list_f32_t *ret, types_error_t *err) {
  nn_graph_own_graph_t graph;
  nn_inference_own_graph_execution_context_t context;
  nn_errors_own_error_t failure;
  if (!nn_graph_load_by_name(&model, &graph, &failure)) {
    nn_tensor_tensor_drop_own(tensor);
    return hotshoe_nn_fail(err, failure);
  }
  bool ok = nn_graph_method_graph_init_execution_context(nn_graph_borrow_graph(graph), &context, &failure);
  nn_graph_graph_drop_own(graph);
  if (!ok) {
    nn_tensor_tensor_drop_own(tensor);
    return hotshoe_nn_fail(err, failure);
  }

  /* The host takes the handles in a list. */
  nn_inference_named_tensor_t named[] = {{input, tensor}};
  nn_inference_list_named_tensor_t inputs = {named, 1}, outputs;
  ok = nn_inference_method_graph_execution_context_compute(nn_inference_borrow_graph_execution_context(context), &inputs, &outputs, &failure);
  nn_inference_graph_execution_context_drop_own(context);
  if (!ok) return hotshoe_nn_fail(err, failure);

  if (outputs.len == 0) return hotshoe_fail(err, TYPES_ERROR_CODE_INTERNAL, "the model gave no output");
  nn_tensor_tensor_data_t data;
  nn_tensor_method_tensor_data(nn_tensor_borrow_tensor(outputs.ptr[0].f1), &data);
  /* The bytes come from malloc, so they are aligned, and little-endian, like WebAssembly: they can be read as the elements. */
  *ret = (wit_list_f32_t){(float *)(void *)data.ptr, data.len / sizeof(float)};
  for (size_t i = 0; i < outputs.len; i++) nn_tensor_tensor_drop_own(outputs.ptr[i].f1);
  nn_inference_list_named_tensor_free(&outputs);
  return true;
}

/* For qsort: the best score first; equal scores keep their order. */
static int best_first(const void *left, const void *right) {
  const types_class_t *a = left, *b = right;
  if (a->score != b->score) return a->score > b->score ? -1 : 1;
  return a->index < b->index ? -1 : 1;
}

/* The scores as an insight, with a name for each from the lines of the data file `labels`. */
static bool to_insight(const wit_list_f32_t *scores, types_insight_t *ret, types_error_t *err) {
  char *labels = hotshoe_data_text("labels", err);
  if (labels == NULL) return false;
  *ret = (types_insight_t){.tag = TYPES_INSIGHT_CLASSES};
  char *rest = labels;
  for (uint32_t i = 0; i < scores->len; i++) {
    const char *line = hotshoe_line(&rest);
    wit_string_t label = line != NULL && *line != '\0' ? hotshoe_copy(hotshoe_text(line)) : hotshoe_format("%u", (unsigned)i);
    hotshoe_push(&ret->val.classes, (types_class_t){.label = label, .index = i, .score = scores->ptr[i]});
  }
  qsort(ret->val.classes.ptr, ret->val.classes.len, sizeof *ret->val.classes.ptr, best_first);
  free(labels);
  return true;
}

/* Called for each sample: true with `*ret` filled, or false with `*err`. A failure costs this sample and nothing else. */
bool exports_process_process(exports_process_borrow_sample_t sample, exports_process_insight_t *ret, exports_process_error_t *err) {
  uint32_t width, height;
  nn_tensor_own_tensor_t tensor;
  if (!hotshoe_config_u32("width", 192, 1, 4096, &width, err)) return false;
  if (!hotshoe_config_u32("height", 48, 1, 4096, &height, err)) return false;
  if (!picture_to_tensor(sample, width, height, &tensor, err)) return false;

  wit_string_t model = hotshoe_config_text("model", "classifier");
  wit_string_t input = hotshoe_config_text("input", "x");
  wit_list_f32_t scores;
  bool ok = run(model, input, tensor, &scores, err);
  wit_string_free(&model);
  wit_string_free(&input);
  if (!ok) return false;

  ok = to_insight(&scores, ret, err);
  wit_list_f32_free(&scores);
  return ok;
}
