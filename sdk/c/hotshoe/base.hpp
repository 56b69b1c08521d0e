// Failures, text, lists and handles.
#pragma once

#include "../hotshoe.h"

#include <concepts>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hotshoe {

// --- Text

// What is shown to an import, without a copy.
inline wit_string_t shown(std::string_view text) {
  return {reinterpret_cast<uint8_t *>(const_cast<char *>(text.data())), text.size()};
}

// A copy that the host will own.
inline wit_string_t given(std::string_view text) { return hotshoe_copy(shown(text)); }

inline std::string_view view(const wit_string_t &text) { return {reinterpret_cast<const char *>(text.ptr), text.len}; }

// Text that the host gave.
inline std::string taken(wit_string_t text) {
  std::string copy(view(text));
  wit_string_free(&text);
  return copy;
}

inline void append(std::string &to, std::string_view part) { to += part; }
inline void append(std::string &to, std::integral auto part) { to += std::to_string(part); }

// One text of several, and of whole numbers.
template <class... Parts>
std::string text(const Parts &...parts) {
  std::string whole;
  (append(whole, parts), ...);
  return whole;
}

// --- Failures. There are no exceptions in a component: a function that can fail returns a Result.

enum class Code : types_error_code_t {
  invalid_input = TYPES_ERROR_CODE_INVALID_INPUT,
  unsupported = TYPES_ERROR_CODE_UNSUPPORTED,
  not_found = TYPES_ERROR_CODE_NOT_FOUND,
  denied = TYPES_ERROR_CODE_DENIED,
  limit_exceeded = TYPES_ERROR_CODE_LIMIT_EXCEEDED,
  internal = TYPES_ERROR_CODE_INTERNAL,
};

struct Error {
  Code code;
  std::string message;
};

// `return fail(Code::invalid_input, "line ", number, " is empty");`
template <class... Parts>
Error fail(Code code, const Parts &...parts) {
  return {code, text(parts...)};
}

// A value, or why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  template <std::convertible_to<T> U>
  Result(U &&value) : state(std::in_place_index<0>, std::forward<U>(value)) {}
  Result(Error error) : state(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return state.index() == 0; }
  // Only where there is a value.
  T take() { return std::move(*std::get_if<0>(&state)); }
  // Only where there is none.
  Error error() { return std::move(*std::get_if<1>(&state)); }

 private:
  std::variant<T, Error> state;
};

// Where there is nothing to return.
struct Done {};

// The value, or a return from this function with the failure: `Image image = TRY(Image::decode(sample));`
#define TRY(...)                               \
  ({                                           \
    auto result_ = (__VA_ARGS__);              \
    if (!result_) return result_.error();      \
    result_.take();                            \
  })

// A failure that the host gave.
inline Error taken(types_error_t error) { return {Code(error.code), taken(error.message)}; }

// For the end of an exported function.
inline bool failed(Error error, types_error_t *err) {
  *err = {types_error_code_t(error.code), given(error.message)};
  return false;
}

// --- Lists

// A list that the host gave. It is freed with this.
template <class T>
class List {
 public:
  List(T *ptr, size_t len) : items(ptr, len) {}
  List(List &&other) noexcept : items(std::exchange(other.items, {})) {}
  List &operator=(List &&other) noexcept {
    std::swap(items, other.items);
    return *this;
  }
  ~List() {
    // An empty list has no memory.
    if (!items.empty()) std::free(items.data());
  }

  size_t size() const { return items.size(); }
  const T &operator[](size_t at) const { return items[at]; }
  const T *data() const { return items.data(); }
  const T *begin() const { return items.data(); }
  const T *end() const { return items.data() + items.size(); }

 private:
  std::span<T> items;
};

// A copy of items that the host will own. `List` is a list of the bindings, `{ T *ptr; size_t len; }`, and `convert` makes one of its items.
template <class List, class Items, class Convert>
List given(Items &&items, Convert convert) {
  List list{};
  list.ptr = static_cast<decltype(list.ptr)>(hotshoe_alloc(items.size(), sizeof *list.ptr));
  for (auto &item : items) list.ptr[list.len++] = convert(item);
  return list;
}

// A list of the bindings that shows plain items to an import, without a copy.
template <class List, class T>
List shown(std::span<const T> items) {
  return {const_cast<T *>(items.data()), items.size()};
}

// --- Handles

// What the host keeps for us. It is dropped with this.
template <class Own, void (*drop)(Own)>
class Handle {
 public:
  explicit Handle(Own own) : own(own), held(true) {}
  Handle(Handle &&other) noexcept : own(other.own), held(std::exchange(other.held, false)) {}
  Handle &operator=(Handle &&other) noexcept {
    std::swap(own, other.own);
    std::swap(held, other.held);
    return *this;
  }
  ~Handle() {
    if (held) drop(own);
  }

  // Gives the handle away: to the host, or to another owner that drops it.
  Own release() {
    held = false;
    return own;
  }

 protected:
  Own own;

 private:
  bool held;
};

}  // namespace hotshoe
