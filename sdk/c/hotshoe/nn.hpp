// wasi:nn, for code that is to run on other hosts too; `Model` does the same with fewer copies. Needs the grant `wasi-nn`.
#pragma once

#include "base.hpp"

namespace hotshoe::nn {

// A failure that wasi:nn gave.
inline Error taken(nn_errors_own_error_t failure) {
  types_error_t error;
  hotshoe_nn_fail(&error, failure);
  return hotshoe::taken(error);
}

class Tensor : public Handle<nn_tensor_own_tensor_t, nn_tensor_tensor_drop_own> {
 public:
  using Handle::Handle;

  // Of the bytes of the elements, little-endian.
  Tensor(std::span<const uint32_t> shape, nn_tensor_tensor_type_t type, std::span<const uint8_t> bytes) : Handle(made(shape, type, bytes)) {}

  List<uint32_t> shape() const {
    nn_tensor_tensor_dimensions_t shape;
    nn_tensor_method_tensor_dimensions(borrow(), &shape);
    return {shape.ptr, shape.len};
  }
  List<uint8_t> data() const {
    nn_tensor_tensor_data_t data;
    nn_tensor_method_tensor_data(borrow(), &data);
    return {data.ptr, data.len};
  }
  nn_tensor_borrow_tensor_t borrow() const { return nn_tensor_borrow_tensor(own); }

 private:
  static nn_tensor_own_tensor_t made(std::span<const uint32_t> shape, nn_tensor_tensor_type_t type, std::span<const uint8_t> bytes) {
    auto dimensions = shown<nn_tensor_tensor_dimensions_t>(shape);
    auto data = shown<nn_tensor_tensor_data_t>(bytes);
    return nn_tensor_constructor_tensor(&dimensions, type, &data);
  }
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

class Context : public Handle<nn_inference_own_graph_execution_context_t, nn_inference_graph_execution_context_drop_own> {
 public:
  using Handle::Handle;

  // Runs the model on inputs, which are used up.
  Result<std::vector<NamedTensor>> compute(std::vector<NamedTensor> inputs) const {
    std::vector<nn_inference_named_tensor_t> named;
    for (auto &input : inputs) named.push_back({shown(input.name), input.tensor.release()});
    nn_inference_list_named_tensor_t list{named.data(), named.size()}, outputs;
    nn_errors_own_error_t failure;
    auto context = nn_inference_borrow_graph_execution_context(own);
    if (!nn_inference_method_graph_execution_context_compute(context, &list, &outputs, &failure)) return taken(failure);
    std::vector<NamedTensor> all;
    List<nn_inference_named_tensor_t> items(outputs.ptr, outputs.len);
    for (const auto &item : items) all.push_back({hotshoe::taken(item.f0), Tensor(item.f1)});
    return all;
  }
};

class Graph : public Handle<nn_graph_own_graph_t, nn_graph_graph_drop_own> {
 public:
  using Handle::Handle;

  // A model of the release, by its name there.
  static Result<Graph> load(std::string_view model) {
    wit_string_t name = shown(model);
    nn_graph_own_graph_t graph;
    nn_errors_own_error_t failure;
    if (!nn_graph_load_by_name(&name, &graph, &failure)) return taken(failure);
    return Graph(graph);
  }

  Result<Context> context() const {
    nn_inference_own_graph_execution_context_t context;
    nn_errors_own_error_t failure;
    if (!nn_graph_method_graph_init_execution_context(nn_graph_borrow_graph(own), &context, &failure)) return taken(failure);
    return Context(context);
  }
};

}  // namespace hotshoe::nn
