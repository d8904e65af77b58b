// Rows of numbers of any type, to floats and back. What walks tensors asks once which functions these are, so that it is
// compiled for no type.
#pragma once
#include "cpu/fast/vector.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// n numbers between types; the last vector overlaps the one before it.
template <class To, class From> inline void copy_row(To* to, const From* from, int64_t n) {
  for (int64_t i = 0; n >= kLanes && i < n; i = next_lanes<kLanes>(i, n)) store(to + i, load(from + i));
  for (int64_t i = 0; n < kLanes && i < n; ++i) to[i] = narrow<To>(widen(from[i]));
}

struct Conversion {
  int64_t size;  // bytes of a number
  void (*read)(float* to, const void* from, int64_t n);
  void (*write)(void* to, const float* from, int64_t n);
  // Of `live` planes that are `pitch` numbers apart, to lanes, of which the last plane fills what is left, and back.
  void (*gather)(float* to, const void* from, int64_t pitch, int64_t n, int64_t live);
  void (*scatter)(void* to, const float* from, int64_t pitch, int64_t n, int64_t live);
};

template <class T> inline constexpr Conversion kConversion = {
    sizeof(T),
    [](float* to, const void* from, int64_t n) { copy_row(to, static_cast<const T*>(from), n); },
    [](void* to, const float* from, int64_t n) { copy_row(static_cast<T*>(to), from, n); },
    [](float* to, const void* from, int64_t pitch, int64_t n, int64_t live) {
      const auto plane = [&](int64_t lane) { return static_cast<const T*>(from) + std::min(lane, live - 1) * pitch; };
      rows_to_lanes<V>(to, n, plane, load<T>);
    },
    [](void* to, const float* from, int64_t pitch, int64_t n, int64_t live) {
      lanes_to_rows<V>(static_cast<T*>(to), pitch, from, n, live, store<T>);
    }};

// Null for float64, which the fast kernels do not read in rows.
inline const Conversion* conversion_of(Type type) {
  switch (type) {
    case Type::float32: return &kConversion<float>;
    case Type::float16: return &kConversion<Half>;
    case Type::bfloat16: return &kConversion<BFloat16>;
    default: return nullptr;
  }
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
