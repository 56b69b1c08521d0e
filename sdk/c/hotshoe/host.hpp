// Samples, tensors, models, and what the release states for the component.
#pragma once

#include "base.hpp"

#include <initializer_list>
#include <optional>

namespace hotshoe {

// --- The log, settings, data files and state; each needs its grant.

enum class Level : log_level_t {
  trace = LOG_LEVEL_TRACE,
  debug = LOG_LEVEL_DEBUG,
  info = LOG_LEVEL_INFO,
  warn = LOG_LEVEL_WARN,
  error = LOG_LEVEL_ERROR,
};

template <class... Parts>
void log_line(Level level, const Parts &...parts) {
  std::string line = text(parts...);
  wit_string_t shown_line = shown(line);
  log_log(log_level_t(level), &shown_line);
}

inline std::optional<std::string> config(std::string_view key) {
  wit_string_t name = shown(key), value;
  if (!config_get(&name, &value)) return std::nullopt;
  return taken(value);
}

inline std::string config(std::string_view key, std::string_view otherwise) { return config(key).value_or(std::string(otherwise)); }

// A whole number from `least` to `most`; anything else is an error that names the setting.
inline Result<uint32_t> config_u32(const char *key, uint32_t otherwise, uint32_t least, uint32_t most) {
  uint32_t value;
  types_error_t error;
  if (!hotshoe_config_u32(key, otherwise, least, most, &value, &error)) return taken(error);
  return value;
}

// A finite number.
inline Result<double> config_f64(const char *key, double otherwise) {
  double value;
  types_error_t error;
  if (!hotshoe_config_f64(key, otherwise, &value, &error)) return taken(error);
  return value;
}

// The text of a data file.
inline Result<std::string> read_data(std::string_view file) {
  wit_string_t name = shown(file);
  wit_list_u8_t bytes;
  types_error_t error;
  if (!data_read(&name, &bytes, &error)) return taken(error);
  return taken(wit_string_t{bytes.ptr, bytes.len});
}

// The lines of a text, without their ends.
inline std::vector<std::string_view> lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    size_t len = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, len);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(std::min(len + 1, text.size()));
  }
  return lines;
}

inline std::optional<List<uint8_t>> state(std::string_view key) {
  wit_string_t name = shown(key);
  wit_list_u8_t value;
  if (!state_get(&name, &value)) return std::nullopt;
  return List<uint8_t>(value.ptr, value.len);
}

inline Result<Done> set_state(std::string_view key, std::span<const uint8_t> value) {
  wit_string_t name = shown(key);
  auto bytes = shown<wit_list_u8_t>(value);
  types_error_t error;
  if (!state_set(&name, &bytes, &error)) return taken(error);
  return Done{};
}

// --- Samples

// One input. It is here as long as the call that it was given to.
class Sample {
 public:
  explicit Sample(samples_borrow_sample_t handle) : handle(handle) {}

  std::string id() const { return text_of(samples_method_sample_id); }
  std::string source() const { return text_of(samples_method_sample_source); }
  std::string content_type() const { return text_of(samples_method_sample_content_type); }
  // Microseconds since 1970.
  uint64_t timestamp() const { return samples_method_sample_timestamp(handle); }
  // Bytes.
  uint64_t size() const { return samples_method_sample_size(handle); }
  List<uint8_t> read() const {
    wit_list_u8_t bytes;
    samples_method_sample_read(handle, &bytes);
    return {bytes.ptr, bytes.len};
  }
  samples_borrow_sample_t borrow() const { return handle; }

 private:
  std::string text_of(void (*method)(samples_borrow_sample_t, wit_string_t *)) const {
    wit_string_t text;
    method(handle, &text);
    return taken(text);
  }

  samples_borrow_sample_t handle;
};

// --- Tensors

class Tensor : public Handle<tensors_own_tensor_t, tensors_tensor_drop_own> {
 public:
  using Handle::Handle;

  static Result<Tensor> from(std::span<const uint32_t> shape, std::span<const float> elements) {
    return made<wit_list_f32_t>(tensors_static_tensor_from_f32, shape, elements);
  }
  static Result<Tensor> from(std::span<const uint32_t> shape, std::span<const uint8_t> elements) {
    return made<wit_list_u8_t>(tensors_static_tensor_from_u8, shape, elements);
  }
  static Result<Tensor> from(std::span<const uint32_t> shape, std::span<const int64_t> elements) {
    return made<wit_list_s64_t>(tensors_static_tensor_from_i64, shape, elements);
  }

  tensors_element_type_t element_type() const { return tensors_method_tensor_element_type(borrow()); }
  List<uint32_t> shape() const {
    wit_list_u32_t shape;
    tensors_method_tensor_shape(borrow(), &shape);
    return {shape.ptr, shape.len};
  }
  bool has_shape(std::initializer_list<uint32_t> expected) const {
    List<uint32_t> found = shape();
    return std::equal(found.begin(), found.end(), expected.begin(), expected.end());
  }
  // Copies of the elements, made once.
  Result<List<float>> f32() const { return read<wit_list_f32_t, float>(tensors_method_tensor_read_f32); }
  Result<List<uint8_t>> u8() const { return read<wit_list_u8_t, uint8_t>(tensors_method_tensor_read_u8); }
  Result<List<int64_t>> i64() const { return read<wit_list_s64_t, int64_t>(tensors_method_tensor_read_i64); }
  List<uint8_t> bytes() const {
    wit_list_u8_t bytes;
    tensors_method_tensor_read_bytes(borrow(), &bytes);
    return {bytes.ptr, bytes.len};
  }
  tensors_borrow_tensor_t borrow() const { return tensors_borrow_tensor(own); }

 private:
  template <class L, class T>
  static Result<Tensor> made(bool (*make)(wit_list_u32_t *, L *, tensors_own_tensor_t *, types_error_t *), std::span<const uint32_t> shape,
                             std::span<const T> elements) {
    auto dimensions = shown<wit_list_u32_t>(shape);
    auto items = shown<L>(elements);
    tensors_own_tensor_t tensor;
    types_error_t error;
    if (!make(&dimensions, &items, &tensor, &error)) return taken(error);
    return Tensor(tensor);
  }

  template <class L, class T>
  Result<List<T>> read(bool (*method)(tensors_borrow_tensor_t, L *, types_error_t *)) const {
    L list;
    types_error_t error;
    if (!method(borrow(), &list, &error)) return taken(error);
    return List<T>(list.ptr, list.len);
  }
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

using Tensors = std::vector<NamedTensor>;

// Tensors that the host gave.
inline Tensors taken(tensors_named_tensor_t *tensors, size_t len) {
  Tensors all;
  List<tensors_named_tensor_t> list(tensors, len);
  for (const auto &named : list) all.push_back({taken(named.name), Tensor(named.tensor)});
  return all;
}

// The tensor of that name.
inline Result<const Tensor *> find(const Tensors &tensors, std::string_view name) {
  for (const auto &named : tensors) {
    if (named.name == name) return &named.tensor;
  }
  return fail(Code::invalid_input, "there is no tensor `", name, "`");
}

// --- Models, run by the host; they need no grant but a name in the release.

class Model : public Handle<infer_own_model_t, infer_model_drop_own> {
 public:
  using Handle::Handle;

  static Result<Model> open(std::string_view name) {
    wit_string_t text = shown(name);
    infer_own_model_t model;
    types_error_t error;
    if (!infer_static_model_open(&text, &model, &error)) return taken(error);
    return Model(model);
  }

  // All outputs, of one tensor for each input.
  Result<Tensors> run(std::initializer_list<std::pair<std::string_view, const Tensor *>> inputs) const {
    std::vector<infer_tuple2_string_borrow_tensor_t> named;
    for (const auto &[name, tensor] : inputs) named.push_back({shown(name), tensor->borrow()});
    infer_list_tuple2_string_borrow_tensor_t list{named.data(), named.size()};
    infer_list_named_tensor_t outputs;
    types_error_t error;
    if (!infer_method_model_run(infer_borrow_model(own), &list, &outputs, &error)) return taken(error);
    return taken(outputs.ptr, outputs.len);
  }
};

}  // namespace hotshoe
