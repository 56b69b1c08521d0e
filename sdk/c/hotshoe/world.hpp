// Makes a function the one that the host calls. Each stands once in a component, after the function.
#pragma once

#include "insight.hpp"

// `Result<Tensors> prepare(Sample sample)`
#define HOTSHOE_PREPROCESSOR(prepare)                                                                                              \
  extern "C" bool exports_preprocess_prepare(samples_borrow_sample_t sample, exports_preprocess_list_named_tensor_t *ret,          \
                                             types_error_t *err) {                                                                 \
    auto result = prepare(hotshoe::Sample(sample));                                                                                \
    if (!result) return hotshoe::failed(result.error(), err);                                                                      \
    *ret = hotshoe::given<exports_preprocess_list_named_tensor_t>(result.take(), [](hotshoe::NamedTensor &it) {                    \
      return tensors_named_tensor_t{hotshoe::given(it.name), it.tensor.release()};                                                 \
    });                                                                                                                            \
    return true;                                                                                                                   \
  }

// `Result<Insight> interpret(Sample sample, Tensors outputs)`
#define HOTSHOE_POSTPROCESSOR(interpret)                                                                                           \
  extern "C" bool exports_postprocess_interpret(samples_borrow_sample_t sample, exports_postprocess_list_named_tensor_t *outputs,  \
                                                types_insight_t *ret, types_error_t *err) {                                        \
    auto result = interpret(hotshoe::Sample(sample), hotshoe::taken(outputs->ptr, outputs->len));                                  \
    if (!result) return hotshoe::failed(result.error(), err);                                                                      \
    hotshoe::give(result.take(), ret);                                                                                             \
    return true;                                                                                                                   \
  }

// `Result<Actions> decide(Insight insight, Device device)`
#define HOTSHOE_POLICY(decide)                                                                                                     \
  extern "C" bool exports_decide_decide(types_insight_t *insight, types_device_context_t *device, exports_decide_list_action_t *ret, \
                                        types_error_t *err) {                                                                      \
    auto result = decide(hotshoe::taken(insight), hotshoe::taken(device));                                                         \
    if (!result) return hotshoe::failed(result.error(), err);                                                                      \
    *ret = hotshoe::given<exports_decide_list_action_t>(result.take(),                                                             \
                                                        [](const hotshoe::Action &it) { return hotshoe::given(it); });             \
    return true;                                                                                                                   \
  }

// `Result<Insight> process(Sample sample)`
#define HOTSHOE_STAGE(process)                                                                                                     \
  extern "C" bool exports_process_process(samples_borrow_sample_t sample, types_insight_t *ret, types_error_t *err) {              \
    auto result = process(hotshoe::Sample(sample));                                                                                \
    if (!result) return hotshoe::failed(result.error(), err);                                                                      \
    hotshoe::give(result.take(), ret);                                                                                             \
    return true;                                                                                                                   \
  }
