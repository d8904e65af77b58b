// Loops over the rows and columns of a window whose size is known, written out or not.
#pragma once
#include <utility>

#include "cpu/fast/vector.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// f(n) for n = 0 .. count - 1: written out where that is short enough for the cache of decoded instructions.
template <int count> constexpr bool written_out = count <= 3;
template <int count, class F> ADAPOOL_INLINE void each_of(const F& f) {
  if constexpr (written_out<count>) {
    [&]<int... n>(std::integer_sequence<int, n...>) __attribute__((always_inline)) {
      (f(n), ...);
    }(std::make_integer_sequence<int, count>{});
  } else {
#pragma GCC unroll 1
    for (int n = 0; n < count; ++n) f(n);
  }
}

// f.operator()<G, from>() for groups of K taps: more side by side than registers have room for would be spilled.
constexpr int kGroup = 3;
template <int K, int from = 0, class F> ADAPOOL_INLINE void in_groups(const F& f) {
  constexpr int left = K - from, pieces = (left + kGroup - 1) / kGroup, G = (left + pieces - 1) / pieces;
  f.template operator()<G, from>();
  if constexpr (from + G < K) in_groups<K, from + G>(f);
}

struct Nothing {
  void operator()(int) const {}
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
