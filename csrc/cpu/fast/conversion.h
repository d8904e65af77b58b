// Rows of numbers of any type, to floats and back. What walks tensors asks once which functions these are, so that it is
// compiled for no type.
#pragma once
#include "cpu/fast/vector.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// n numbers between types; the last vector overlaps the one before it.
template <class To, class From> inline void copy_row(To* to, const From* from, int64_t n) {
  if (n < kLanes) {
    for (int64_t i = 0; i < n; ++i) to[i] = narrow<To>(widen(from[i]));
    return;
  }
  for (int64_t i = 0;; i = i + 2 * kLanes <= n ? i + kLanes : n - kLanes) {
    store(to + i, load(from + i));
    if (i + kLanes >= n) return;
  }
}

// to[i * kLanes + lane] = from[lane * pitch + i] for n columns i, of the first `live` rows; the last one fills the lanes
// that are left. The last block of columns overlaps the one before it.
template <class T> inline void gather_lanes(float* to, const T* from, int64_t pitch, int64_t n, int64_t live) {
  const auto row = [&](int64_t lane) { return from + (lane < live ? lane : live - 1) * pitch; };
  for (int64_t i = 0; n >= kLanes; i = i + 2 * kLanes <= n ? i + kLanes : n - kLanes) {
    V v[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) v[lane] = load(row(lane) + i);
    transpose(v);
    for (int k = 0; k < kLanes; ++k) store(to + (i + k) * kLanes, v[k]);
    if (i + kLanes >= n) return;
  }
  for (int64_t i = 0; i < n; ++i)
    for (int lane = 0; lane < kLanes; ++lane) to[i * kLanes + lane] = float(widen(row(lane)[i]));
}

// The way back.
template <class T> inline void scatter_lanes(T* to, const float* from, int64_t pitch, int64_t n, int64_t live) {
  for (int64_t i = 0; n >= kLanes; i = i + 2 * kLanes <= n ? i + kLanes : n - kLanes) {
    V v[kLanes];
    for (int k = 0; k < kLanes; ++k) v[k] = load(from + (i + k) * kLanes);
    transpose(v);
    for (int lane = 0; lane < live; ++lane) store(to + lane * pitch + i, v[lane]);
    if (i + kLanes >= n) return;
  }
  for (int64_t i = 0; i < n; ++i)
    for (int lane = 0; lane < live; ++lane) to[lane * pitch + i] = narrow<T>(from[i * kLanes + lane]);
}

struct Conversion {
  int64_t size;  // bytes of a number
  void (*read)(float* to, const void* from, int64_t n);
  void (*write)(void* to, const float* from, int64_t n);
  // Of `live` planes that are `pitch` numbers apart, to lanes and back.
  void (*gather)(float* to, const void* from, int64_t pitch, int64_t n, int64_t live);
  void (*scatter)(void* to, const float* from, int64_t pitch, int64_t n, int64_t live);
};

template <class T> inline constexpr Conversion kConversion = {
    sizeof(T),
    [](float* to, const void* from, int64_t n) { copy_row(to, static_cast<const T*>(from), n); },
    [](void* to, const float* from, int64_t n) { copy_row(static_cast<T*>(to), from, n); },
    [](float* to, const void* from, int64_t pitch, int64_t n, int64_t live) {
      gather_lanes(to, static_cast<const T*>(from), pitch, n, live);
    },
    [](void* to, const float* from, int64_t pitch, int64_t n, int64_t live) {
      scatter_lanes(static_cast<T*>(to), from, pitch, n, live);
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
