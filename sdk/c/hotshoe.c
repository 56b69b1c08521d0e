#include "hotshoe.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* --- Text */

wit_string_t hotshoe_text(const char *text) { return (wit_string_t){(uint8_t *)(uintptr_t)text, strlen(text)}; }

wit_string_t hotshoe_copy(wit_string_t text) {
  wit_string_t copy = {hotshoe_alloc(text.len, 1), text.len};
  if (text.len > 0) memcpy(copy.ptr, text.ptr, text.len);
  return copy;
}

bool hotshoe_equal(wit_string_t text, wit_string_t other) {
  return text.len == other.len && (text.len == 0 || memcmp(text.ptr, other.ptr, text.len) == 0);
}

/* Text that grows. */
typedef struct buffer {
  uint8_t *ptr;
  size_t len;
} buffer;

static void add(buffer *to, const char *bytes, size_t len) {
  for (size_t i = 0; i < len; i++) hotshoe_push(to, (uint8_t)bytes[i]);
}

static void add_number(buffer *to, bool negative, uint64_t value, unsigned base, size_t least_digits) {
  char digits[64];
  size_t at = sizeof digits;
  do {
    digits[--at] = "0123456789abcdef"[value % base];
    value /= base;
  } while (value > 0 || sizeof digits - at < least_digits);
  if (negative) digits[--at] = '-';
  add(to, digits + at, sizeof digits - at);
}

static void add_real(buffer *to, double value, unsigned decimals) {
  if (!isfinite(value) || fabs(value) >= 1e18) {
    const char *name = isnan(value) ? "nan" : value < 0 ? "-huge" : "huge";
    add(to, name, strlen(name));
    return;
  }
  uint64_t scale = 1;
  for (unsigned i = 0; i < decimals; i++) scale *= 10;
  double size = fabs(value);
  uint64_t whole = (uint64_t)size;
  uint64_t part = (uint64_t)((size - (double)whole) * (double)scale + 0.5);
  if (part >= scale) {
    whole += 1;
    part -= scale;
  }
  add_number(to, value < 0, whole, 10, 1);
  if (decimals == 0) return;
  add(to, ".", 1);
  add_number(to, false, part, 10, decimals);
}

/* How wide the next argument is. */
enum width { WIDTH_INT, WIDTH_LONG, WIDTH_LONG_LONG };

/* One directive, after its `%`; returns what comes behind it. */
static const char *directive(buffer *to, const char *format, va_list *args) {
  long limit = -1;
  if (*format == '.') {
    limit = 0;
    if (*++format == '*') {
      limit = va_arg(*args, int);
      format++;
    }
    while (*format >= '0' && *format <= '9') limit = limit * 10 + (*format++ - '0');
  }
  enum width width = WIDTH_INT;
  for (; *format == 'l' || *format == 'z'; format++) width = width == WIDTH_INT ? WIDTH_LONG : WIDTH_LONG_LONG;
  switch (*format) {
    case 's': {
      const char *text = va_arg(*args, const char *);
      add(to, text, limit < 0 ? strlen(text) : (size_t)limit);
      break;
    }
    case 'c': {
      char letter = (char)va_arg(*args, int);
      add(to, &letter, 1);
      break;
    }
    case 'd':
    case 'i': {
      int64_t value = width == WIDTH_LONG_LONG ? va_arg(*args, long long) : width == WIDTH_LONG ? va_arg(*args, long) : va_arg(*args, int);
      add_number(to, value < 0, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, 1);
      break;
    }
    case 'u':
    case 'x': {
      uint64_t value = width == WIDTH_LONG_LONG ? va_arg(*args, unsigned long long)
                       : width == WIDTH_LONG    ? va_arg(*args, unsigned long)
                                                : va_arg(*args, unsigned);
      add_number(to, false, value, *format == 'x' ? 16 : 10, 1);
      break;
    }
    case 'f':
      /* A double knows no more than 15 decimals. */
      add_real(to, va_arg(*args, double), limit < 0 ? 6 : limit > 15 ? 15 : (unsigned)limit);
      break;
    case '\0':
      return format;
    default: /* `%%`, and what is not known here. */
      add(to, format, 1);
  }
  return format + 1;
}

static wit_string_t formatted(const char *format, va_list *args) {
  buffer text = {NULL, 0};
  while (*format != '\0') {
    if (*format == '%') {
      format = directive(&text, format + 1, args);
    } else {
      add(&text, format++, 1);
    }
  }
  return (wit_string_t){text.ptr, text.len};
}

wit_string_t hotshoe_format(const char *format, ...) {
  va_list args;
  va_start(args, format);
  wit_string_t text = formatted(format, &args);
  va_end(args);
  return text;
}

void hotshoe_log(log_level_t level, const char *format, ...) {
  va_list args;
  va_start(args, format);
  wit_string_t line = formatted(format, &args);
  va_end(args);
  log_log(level, &line);
  wit_string_free(&line);
}

/* --- Errors */

bool hotshoe_fail(types_error_t *err, types_error_code_t code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  err->code = code;
  err->message = formatted(format, &args);
  va_end(args);
  return false;
}

/* --- Settings */

wit_string_t hotshoe_config_text(const char *key, const char *otherwise) {
  wit_string_t name = hotshoe_text(key);
  wit_string_t value;
  return config_get(&name, &value) ? value : hotshoe_copy(hotshoe_text(otherwise));
}

bool hotshoe_config_u32(const char *key, uint32_t otherwise, uint32_t least, uint32_t most, uint32_t *ret, types_error_t *err) {
  wit_string_t name = hotshoe_text(key);
  wit_string_t text;
  *ret = otherwise;
  if (!config_get(&name, &text)) return true;
  uint64_t value = 0;
  bool good = text.len > 0;
  for (size_t i = 0; good && i < text.len; i++) {
    good = text.ptr[i] >= '0' && text.ptr[i] <= '9';
    value = value * 10 + (uint64_t)(text.ptr[i] - '0');
    good = good && value <= most;
  }
  good = good && value >= least;
  if (good) {
    *ret = (uint32_t)value;
  } else {
    hotshoe_fail(err, TYPES_ERROR_CODE_INVALID_INPUT, "the setting `%s` is `%.*s`, not a number from %u to %u", key, HOTSHOE_ARG(text),
                 (unsigned)least, (unsigned)most);
  }
  wit_string_free(&text);
  return good;
}

bool hotshoe_config_f64(const char *key, double otherwise, double *ret, types_error_t *err) {
  wit_string_t name = hotshoe_text(key);
  wit_string_t text;
  *ret = otherwise;
  if (!config_get(&name, &text)) return true;
  /* strtod stops at a zero, which the text does not have. */
  char *ended = hotshoe_alloc(text.len + 1, 1);
  if (text.len > 0) memcpy(ended, text.ptr, text.len);
  char *end = ended;
  double value = strtod(ended, &end);
  bool good = text.len > 0 && end == ended + text.len && isfinite(value);
  if (good) {
    *ret = value;
  } else {
    hotshoe_fail(err, TYPES_ERROR_CODE_INVALID_INPUT, "the setting `%s` is `%.*s`, not a number", key, HOTSHOE_ARG(text));
  }
  free(ended);
  wit_string_free(&text);
  return good;
}

/* --- Data files */

char *hotshoe_data_text(const char *name, types_error_t *err) {
  wit_string_t file = hotshoe_text(name);
  wit_list_u8_t bytes;
  if (!data_read(&file, &bytes, err)) return NULL;
  char *text = hotshoe_alloc(bytes.len + 1, 1);
  if (bytes.len > 0) memcpy(text, bytes.ptr, bytes.len);
  wit_list_u8_free(&bytes);
  return text;
}

char *hotshoe_line(char **rest) {
  char *line = *rest;
  if (*line == '\0') return NULL;
  size_t len = strcspn(line, "\n");
  *rest = line + len + (line[len] == '\n');
  if (len > 0 && line[len - 1] == '\r') len--;
  line[len] = '\0';
  return line;
}

/* --- Lists */

void *hotshoe_alloc(size_t len, size_t size) {
  if (len == 0 || size == 0) return NULL;
  void *ptr = calloc(len, size);
  if (ptr == NULL) __builtin_trap();
  return ptr;
}

void *hotshoe_grow(void *ptr, size_t len, size_t size) {
  /* Full whenever the length is a power of two, since it doubles then. */
  if ((len & (len - 1)) != 0) return ptr;
  size_t room = len == 0 ? 1 : len * 2;
  if (room > SIZE_MAX / size) __builtin_trap();
  ptr = realloc(ptr, room * size);
  if (ptr == NULL) __builtin_trap();
  return ptr;
}

/* --- Tensors */

bool hotshoe_read_f32(const tensors_named_tensor_t *tensors, size_t len, wit_string_t name, hotshoe_f32_t *ret, types_error_t *err) {
  for (size_t i = 0; i < len; i++) {
    if (!hotshoe_equal(tensors[i].name, name)) continue;
    tensors_borrow_tensor_t tensor = tensors_borrow_tensor(tensors[i].tensor);
    if (tensors_method_tensor_element_type(tensor) != TENSORS_ELEMENT_TYPE_F32) {
      return hotshoe_fail(err, TYPES_ERROR_CODE_INVALID_INPUT, "the tensor `%.*s` is not of f32", HOTSHOE_ARG(name));
    }
    if (!tensors_method_tensor_read_f32(tensor, &ret->elements, err)) return false;
    tensors_method_tensor_shape(tensor, &ret->shape);
    return true;
  }
  return hotshoe_fail(err, TYPES_ERROR_CODE_INVALID_INPUT, "there is no tensor `%.*s`", HOTSHOE_ARG(name));
}

bool hotshoe_has_shape(const hotshoe_f32_t *tensor, size_t rank, const uint32_t *shape) {
  return tensor->shape.len == rank && (rank == 0 || memcmp(tensor->shape.ptr, shape, rank * sizeof *shape) == 0);
}

void hotshoe_f32_free(hotshoe_f32_t *tensor) {
  wit_list_u32_free(&tensor->shape);
  wit_list_f32_free(&tensor->elements);
  *tensor = (hotshoe_f32_t){{NULL, 0}, {NULL, 0}};
}

void hotshoe_tensors_free(tensors_named_tensor_t *tensors, size_t len) {
  for (size_t i = 0; i < len; i++) {
    wit_string_free(&tensors[i].name);
    tensors_tensor_drop_own(tensors[i].tensor);
  }
  if (len > 0) free(tensors);
}

/* --- wasi:nn */

bool hotshoe_nn_fail(types_error_t *err, nn_errors_own_error_t failure) {
  static const char *const codes[] = {"invalid-argument", "invalid-encoding", "timeout",  "runtime-error", "unsupported-operation",
                                      "too-large",        "not-found",        "security", "unknown"};
  nn_errors_borrow_error_t error = nn_errors_borrow_error(failure);
  nn_errors_error_code_t code = nn_errors_method_error_code(error);
  wit_string_t data;
  nn_errors_method_error_data(error, &data);
  const char *name = code < sizeof codes / sizeof *codes ? codes[code] : "unknown";
  hotshoe_fail(err, TYPES_ERROR_CODE_INTERNAL, "wasi:nn: %s: %.*s", name, HOTSHOE_ARG(data));
  wit_string_free(&data);
  nn_errors_error_drop_own(failure);
  return false;
}
