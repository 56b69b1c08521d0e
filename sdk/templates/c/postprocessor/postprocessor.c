/* {{name}}: makes boxes of the outputs of a centre-point detector, and drops those that overlap a better one.
 *
 * `hotshoe build` generates `wit.h` from the interfaces in wit/. Each name begins with its interface: `vision_decode` is the function
 * `decode` of the interface `vision` in wit/vision.wit, with its documentation. The component must define one function,
 * `exports_postprocess_interpret`, for `interpret` of the interface `postprocess`. */
#include "hotshoe.h"

#include <math.h>
#include <stdlib.h>

/* Pixels of the model's picture to one cell of its heat map, in each direction. */
#define STRIDE 4.0
/* Maximum number of boxes that are compared with each other. */
#define MOST_CANDIDATES 1000

/* A box in pixels of the model's picture. */
struct box {
  double x1, y1, x2, y2;
  float score;
  uint32_t cell;
};

struct boxes {
  struct box *ptr;
  size_t len;
};

/* Reads the output that a setting of release.toml names. */
static bool read_output(const exports_postprocess_list_named_tensor_t *outputs, const char *setting, const char *otherwise,
                        hotshoe_f32_t *ret, types_error_t *err) {
  wit_string_t name = hotshoe_config_text(setting, otherwise);
  bool ok = hotshoe_read_f32(outputs->ptr, outputs->len, name, ret, err);
  wit_string_free(&name);
  return ok;
}

/* The boxes of all cells that score above `least`. The outputs tell how likely a cell is an object's centre (1 x 1 x h x w), the logarithm of
 * the object's height and width in cells, and where in the cell its centre is (both 1 x 2 x h x w). */
static bool find_boxes(const hotshoe_f32_t *heat, const hotshoe_f32_t *scale, const hotshoe_f32_t *offset, double least, struct boxes *found,
                       types_error_t *err) {
  uint32_t h = heat->shape.len == 4 ? heat->shape.ptr[2] : 0;
  uint32_t w = heat->shape.len == 4 ? heat->shape.ptr[3] : 0;
  const uint32_t one[] = {1, 1, h, w}, two[] = {1, 2, h, w};
  if (!hotshoe_has_shape(heat, 4, one) || !hotshoe_has_shape(scale, 4, two) || !hotshoe_has_shape(offset, 4, two)) {
    return hotshoe_fail(err, TYPES_ERROR_CODE_INVALID_INPUT, "the outputs are not of 1 x 1, 1 x 2 and 1 x 2 x height x width");
  }
  uint32_t cells = h * w;
  for (uint32_t cell = 0; cell < cells; cell++) {
    float score = heat->elements.ptr[cell];
    if (!((double)score > least)) continue;
    double bh = exp(scale->elements.ptr[cell]) * STRIDE;
    double bw = exp(scale->elements.ptr[cells + cell]) * STRIDE;
    double cy = (cell / w + (double)offset->elements.ptr[cell] + 0.5) * STRIDE;
    double cx = (cell % w + (double)offset->elements.ptr[cells + cell] + 0.5) * STRIDE;
    double x1 = fmin(fmax(cx - bw / 2, 0), STRIDE * w);
    double y1 = fmin(fmax(cy - bh / 2, 0), STRIDE * h);
    hotshoe_push(found, (struct box){x1, y1, fmin(x1 + bw, STRIDE * w), fmin(y1 + bh, STRIDE * h), score, cell});
  }
  return true;
}

/* For qsort: the best score first; equal scores keep their order. */
static int best_first(const void *left, const void *right) {
  const struct box *a = left, *b = right;
  if (a->score != b->score) return a->score > b->score ? -1 : 1;
  return a->cell < b->cell ? -1 : 1;
}

/* The common area as a share of both boxes together (IoU). */
static double overlap(const struct box *a, const struct box *b) {
  double width = fmax(fmin(a->x2, b->x2) - fmax(a->x1, b->x1), 0);
  double height = fmax(fmin(a->y2, b->y2) - fmax(a->y1, b->y1), 0);
  double common = width * height;
  double together = (a->x2 - a->x1) * (a->y2 - a->y1) + (b->x2 - b->x1) * (b->y2 - b->y1) - common;
  return together > 0 ? common / together : 0;
}

/* Drops each box that overlaps too much with a better one that is kept. */
static void keep_best(struct boxes *boxes, double most) {
  qsort(boxes->ptr, boxes->len, sizeof *boxes->ptr, best_first);
  size_t candidates = boxes->len < MOST_CANDIDATES ? boxes->len : MOST_CANDIDATES;
  size_t kept = 0;
  for (size_t i = 0; i < candidates; i++) {
    size_t better = 0;
    while (better < kept && overlap(&boxes->ptr[i], &boxes->ptr[better]) <= most) better++;
    if (better == kept) boxes->ptr[kept++] = boxes->ptr[i];
  }
  boxes->len = kept;
}

/* The boxes as an insight, in pixels of the sample's own picture. */
static bool to_insight(samples_borrow_sample_t sample, const struct boxes *boxes, double width, double height, types_insight_t *ret,
                       types_error_t *err) {
  vision_own_image_t picture;
  if (!vision_decode(sample, &picture, err)) return false;
  double fx = vision_method_image_width(vision_borrow_image(picture)) / width;
  double fy = vision_method_image_height(vision_borrow_image(picture)) / height;
  vision_image_drop_own(picture);

  *ret = (types_insight_t){.tag = TYPES_INSIGHT_DETECTIONS};
  for (size_t i = 0; i < boxes->len; i++) {
    struct box box = boxes->ptr[i];
    types_rect_t bounds = {(float)(box.x1 * fx), (float)(box.y1 * fy), (float)((box.x2 - box.x1) * fx), (float)((box.y2 - box.y1) * fy)};
    /* What is returned belongs to the host from here on, so each detection has a label of its own. */
    types_detection_t detection = {hotshoe_config_text("label", "face"), box.score, bounds, .outline = {.is_some = false}};
    hotshoe_push(&ret->val.detections, detection);
  }
  return true;
}

/* Called for each sample: true with `*ret` filled, or false with `*err`. A failure costs this sample and nothing else. */
bool exports_postprocess_interpret(exports_postprocess_borrow_sample_t sample, exports_postprocess_list_named_tensor_t *outputs,
                                   exports_postprocess_insight_t *ret, exports_postprocess_error_t *err) {
  hotshoe_f32_t heat = {0}, scale = {0}, offset = {0};
  struct boxes boxes = {NULL, 0};
  double least, most;
  bool ok = hotshoe_config_f64("min-score", 0.5, &least, err) && hotshoe_config_f64("max-overlap", 0.3, &most, err) &&
            read_output(outputs, "heatmap", "537", &heat, err) && read_output(outputs, "scale", "538", &scale, err) &&
            read_output(outputs, "offset", "539", &offset, err) && find_boxes(&heat, &scale, &offset, least, &boxes, err);
  if (ok) {
    keep_best(&boxes, most);
    ok = to_insight(sample, &boxes, STRIDE * heat.shape.ptr[3], STRIDE * heat.shape.ptr[2], ret, err);
  }
  /* Frees what the component was given or made, also after an error. */
  free(boxes.ptr);
  hotshoe_f32_free(&heat);
  hotshoe_f32_free(&scale);
  hotshoe_f32_free(&offset);
  hotshoe_tensors_free(outputs->ptr, outputs->len);
  return ok;
}
