// What a post-processor and a stage find, and what a policy decides.
#pragma once

#include "vision.hpp"

namespace hotshoe {

struct Class {
  std::string label;
  uint32_t index;
  float score;
};

struct Detection {
  std::string label;
  float score;
  Rect bounds;
  std::optional<Quad> outline = std::nullopt;
};

struct TextLine {
  std::string text;
  float score;
  Quad outline;
};

struct Scalar {
  std::string name;
  double value;
  std::string unit;
};

struct Mask {
  uint32_t width, height;
  std::vector<uint8_t> pixels;
  std::vector<std::string> labels;
};

struct Custom {
  std::string content_type;
  std::vector<uint8_t> payload;
};

using Classes = std::vector<Class>;
using Detections = std::vector<Detection>;
using Text = std::vector<TextLine>;
using Embedding = std::vector<float>;
using Scalars = std::vector<Scalar>;

// In the order of `insight` in wit/types.wit.
using Insight = std::variant<Classes, Detections, Text, Embedding, Scalars, Mask, Custom>;

struct Publish {};

struct Drop {
  std::string reason;
};

enum class Severity : types_severity_t {
  info = TYPES_SEVERITY_INFO,
  warning = TYPES_SEVERITY_WARNING,
  critical = TYPES_SEVERITY_CRITICAL,
};

struct Alert {
  Severity severity;
  std::string message;
};

// A message of the policy's own, under a topic that the release names.
struct Send {
  std::string topic;
  std::string content_type;
  std::vector<uint8_t> payload;
};

// In the order of `action` in wit/types.wit.
using Action = std::variant<Publish, Drop, Alert, Send>;
using Actions = std::vector<Action>;

struct Device {
  std::string site, device;
  std::vector<std::pair<std::string, std::string>> labels;
  uint64_t generation;
  // Microseconds since 1970.
  uint64_t sample_time;
};

// --- From ours to the host's

inline wit_list_u8_t given(const std::vector<uint8_t> &bytes) {
  return given<wit_list_u8_t>(bytes, [](uint8_t byte) { return byte; });
}

inline void give(const Classes &found, types_insight_t *ret) {
  ret->val.classes = given<types_list_class_t>(found, [](const Class &it) { return types_class_t{given(it.label), it.index, it.score}; });
}

inline void give(const Detections &found, types_insight_t *ret) {
  ret->val.detections = given<types_list_detection_t>(found, [](const Detection &it) {
    return types_detection_t{given(it.label), it.score, it.bounds, {it.outline.has_value(), it.outline.value_or(Quad{})}};
  });
}

inline void give(const Text &found, types_insight_t *ret) {
  ret->val.text =
      given<types_list_text_line_t>(found, [](const TextLine &it) { return types_text_line_t{given(it.text), it.score, it.outline}; });
}

inline void give(const Embedding &found, types_insight_t *ret) {
  ret->val.embedding = given<wit_list_f32_t>(found, [](float it) { return it; });
}

inline void give(const Scalars &found, types_insight_t *ret) {
  ret->val.scalars =
      given<types_list_scalar_t>(found, [](const Scalar &it) { return types_scalar_t{given(it.name), it.value, given(it.unit)}; });
}

inline void give(const Mask &found, types_insight_t *ret) {
  auto labels = given<wit_list_string_t>(found.labels, [](const std::string &it) { return given(it); });
  ret->val.mask = {found.width, found.height, given(found.pixels), labels};
}

inline void give(const Custom &found, types_insight_t *ret) { ret->val.custom = {given(found.content_type), given(found.payload)}; }

inline void give(const Insight &insight, types_insight_t *ret) {
  ret->tag = uint8_t(insight.index());
  std::visit([&](const auto &found) { give(found, ret); }, insight);
}

inline void give(const Publish &, types_action_t *) {}
inline void give(const Drop &action, types_action_t *ret) { ret->val.drop = given(action.reason); }
inline void give(const Alert &action, types_action_t *ret) { ret->val.alert = {types_severity_t(action.severity), given(action.message)}; }
inline void give(const Send &action, types_action_t *ret) {
  ret->val.send = {given(action.topic), given(action.content_type), given(action.payload)};
}

inline types_action_t given(const Action &action) {
  types_action_t ret{};
  ret.tag = uint8_t(action.index());
  std::visit([&](const auto &one) { give(one, &ret); }, action);
  return ret;
}

// --- From the host's to ours. It is all copied, and then freed at once.

template <class To, class List, class Convert>
std::vector<To> copied(const List &list, Convert convert) {
  std::vector<To> items;
  items.reserve(list.len);
  for (size_t i = 0; i < list.len; i++) items.push_back(convert(list.ptr[i]));
  return items;
}

inline std::string copied(const wit_string_t &text) { return std::string(view(text)); }

inline Insight copied(const types_insight_t &insight) {
  const auto &val = insight.val;
  auto same = [](auto it) { return it; };
  switch (insight.tag) {
    case TYPES_INSIGHT_CLASSES:
      return copied<Class>(val.classes, [](const auto &it) { return Class{copied(it.label), it.index, it.score}; });
    case TYPES_INSIGHT_DETECTIONS:
      return copied<Detection>(val.detections, [](const auto &it) {
        return Detection{copied(it.label), it.score, it.bounds, it.outline.is_some ? std::optional(it.outline.val) : std::nullopt};
      });
    case TYPES_INSIGHT_TEXT:
      return copied<TextLine>(val.text, [](const auto &it) { return TextLine{copied(it.text), it.score, it.outline}; });
    case TYPES_INSIGHT_EMBEDDING:
      return copied<float>(val.embedding, same);
    case TYPES_INSIGHT_SCALARS:
      return copied<Scalar>(val.scalars, [](const auto &it) { return Scalar{copied(it.name), it.value, copied(it.unit)}; });
    case TYPES_INSIGHT_MASK: {
      auto labels = copied<std::string>(val.mask.labels, [](const auto &it) { return copied(it); });
      return Mask{val.mask.width, val.mask.height, copied<uint8_t>(val.mask.pixels, same), labels};
    }
    default:
      return Custom{copied(val.custom.content_type), copied<uint8_t>(val.custom.payload, same)};
  }
}

inline Insight taken(types_insight_t *insight) {
  Insight copy = copied(*insight);
  types_insight_free(insight);
  return copy;
}

inline Device taken(types_device_context_t *device) {
  auto labels = copied<std::pair<std::string, std::string>>(device->labels, [](const auto &it) { return std::pair(copied(it.f0), copied(it.f1)); });
  Device copy{copied(device->site), copied(device->device), labels, device->generation, device->sample_time};
  types_device_context_free(device);
  return copy;
}

}  // namespace hotshoe
