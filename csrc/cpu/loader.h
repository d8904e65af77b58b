// How packs are read from and written to memory, lane by lane or in one piece. Host only.
#pragma once
#include <utility>

#include "cpu/pack.h"
#include "cpu/region.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

template <class S> struct Loader<Pack<S>> {
  using V = Pack<S>;
  static constexpr int size = V::size;
  static constexpr int64_t kept = 64;

  static V get(const S* p) { return V::get(p); }
  template <class T> static V load(const T* p, int64_t step, int count) {
    V v;
    if (count == V::size && step == 1) {
      if constexpr (std::is_same_v<T, S>) memcpy(&v, p, sizeof(v));
      else for (int i = 0; i < V::size; ++i) v.raw[i] = S(widen(p[i]));
    } else if (count == V::size) {
      v = apart(p, step, std::make_index_sequence<V::size>());
    } else {
      for (int i = 0; i < V::size; ++i) v.raw[i] = S(widen(p[(i < count ? i : count - 1) * step]));
    }
    return v;
  }
  // Written out, because a loop over the lanes of a vector goes through memory.
  template <class T, size_t... i> static V apart(const T* p, int64_t step, std::index_sequence<i...>) {
    return typename V::Raw{S(widen(p[int64_t(i) * step]))...};
  }
  static ADAPOOL_APART V load(Any any, int64_t at, int64_t step, int count) {
    V v;
    any.visit([&](const auto* p) { v = load(p + at, step, count); });
    return v;
  }
  template <class T> static void store(T* p, int64_t step, int count, V v) {
    if (count == V::size && step == 1) {
      if constexpr (std::is_same_v<T, S>) memcpy(p, &v, sizeof(v));
      else for (int i = 0; i < V::size; ++i) p[i] = narrow<T>(v.raw[i]);
    } else {
      for (int i = 0; i < count; ++i) p[i * step] = narrow<T>(v.raw[i]);
    }
  }
  static void store(const Any& any, int64_t at, int64_t step, int count, V v) {
    switch (any.type) {  // which, other than visit, is compiled into the loops
      case Type::float64: return store(static_cast<double*>(any.data) + at, step, count, v);
      case Type::float32: return store(static_cast<float*>(any.data) + at, step, count, v);
      case Type::float16: return store(static_cast<Half*>(any.data) + at, step, count, v);
      default: return store(static_cast<BFloat16*>(any.data) + at, step, count, v);
    }
  }
  template <class F> static V each(int count, F f) {
    V v;
    for (int i = 0; i < V::size; ++i) v.raw[i] = f(i < count ? i : count - 1);
    return v;
  }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
