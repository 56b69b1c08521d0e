/* Helpers for a component in C, beside the generated `wit.h`: text, errors, settings, data files, lists and tensors as arrays.
 *
 * Three rules of ownership:
 * - What you give to an import (`vision_resize`, `data_read`, ...) stays yours, except an `own` handle inside a list, which moves to the host.
 * - What an import gives you is yours: free text and lists with `..._free`, and drop handles with `..._drop_own`.
 * - Arguments and results of your exported function come from `malloc`: you free the arguments, and the bindings free the results.
 *   Never return a literal, or a list that is allocated and empty; the functions below avoid both. */
#ifndef HOTSHOE_H
#define HOTSHOE_H

#include "wit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- Text. A `wit_string_t` is bytes of UTF-8 with a length, and no zero at its end: print it with `%.*s` and HOTSHOE_ARG(text). */

#define HOTSHOE_ARG(text) (int)(text).len, (const char *)(text).ptr

/* Shows C text to an import, without a copy. */
wit_string_t hotshoe_text(const char *text);
/* A copy, to be returned or freed. */
wit_string_t hotshoe_copy(wit_string_t text);
/* Whether they are equal. */
bool hotshoe_equal(wit_string_t text, wit_string_t other);
/* New text, to be returned or freed. It supports %s %.*s %c %d %i %u %x %f, %.Nf up to 15 decimals, %% and the lengths l, ll and z.
 * It needs no stdio, which some C libraries have only with WASI. */
wit_string_t hotshoe_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Writes a line to the device's log; needs the grant `log`. */
void hotshoe_log(log_level_t level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- Errors. A function that can fail returns true, or fills `*err` and returns false. */

/* Fills `*err` and returns false, to be used as `return hotshoe_fail(err, TYPES_ERROR_CODE_..., "...")`. */
bool hotshoe_fail(types_error_t *err, types_error_code_t code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* --- Settings of the component, from the release; they need the grant `config`. A missing setting gives `otherwise`. */

/* The text, a copy to be freed with `wit_string_free`. */
wit_string_t hotshoe_config_text(const char *key, const char *otherwise);
/* A whole number from `least` to `most`; anything else is an error that names the setting. */
bool hotshoe_config_u32(const char *key, uint32_t otherwise, uint32_t least, uint32_t most, uint32_t *ret, types_error_t *err);
/* A finite number, with a point. */
bool hotshoe_config_f64(const char *key, double otherwise, double *ret, types_error_t *err);

/* --- Data files of the release; they need the grant `data`. */

/* The whole file with a zero at its end, to be freed with `free`; NULL with `*err` filled if there is none. */
char *hotshoe_data_text(const char *name, types_error_t *err);
/* Cuts the next line off `*rest`, without its end; NULL after the last one. */
char *hotshoe_line(char **rest);

/* --- Lists. The bindings' lists are all `struct { T *ptr; size_t len; }`; an empty one is {NULL, 0}. */

/* Appends `item`. It is freed with the list. */
#define hotshoe_push(list, ...)                                                         \
  ((list)->ptr = hotshoe_grow((list)->ptr, (list)->len, sizeof *(list)->ptr), \
   (void)((list)->ptr[(list)->len++] = (__VA_ARGS__)))

/* Memory for `len` items, zeroed, to be freed with `free`; NULL if `len` is 0. Without memory the call ends there, and costs this sample. */
void *hotshoe_alloc(size_t len, size_t size);
/* For hotshoe_push: room for one more. */
void *hotshoe_grow(void *ptr, size_t len, size_t size);

/* --- Tensors */

/* The elements of a tensor, copied once. */
typedef struct hotshoe_f32_t {
  wit_list_u32_t shape;
  wit_list_f32_t elements;
} hotshoe_f32_t;

/* Reads the f32 tensor of that name; no such tensor, or one of another element type, is an error that names it. Free it with hotshoe_f32_free. */
bool hotshoe_read_f32(const tensors_named_tensor_t *tensors, size_t len, wit_string_t name, hotshoe_f32_t *ret, types_error_t *err);
/* Is the shape exactly this? */
bool hotshoe_has_shape(const hotshoe_f32_t *tensor, size_t rank, const uint32_t *shape);
/* Frees the copy, not the tensor. */
void hotshoe_f32_free(hotshoe_f32_t *tensor);
/* Drops the tensors of a list and frees it: `..._list_named_tensor_free` of the bindings leaves the tensors themselves with the host. */
void hotshoe_tensors_free(tensors_named_tensor_t *tensors, size_t len);

/* --- wasi:nn */

/* Makes a failure of `wasi:nn` one of ours, drops it and returns false. */
bool hotshoe_nn_fail(types_error_t *err, nn_errors_own_error_t failure);

#ifdef __cplusplus
}
#endif
#endif
