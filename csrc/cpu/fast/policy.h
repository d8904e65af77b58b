// What a policy is: the arithmetic of a method, for as many windows side by side as a vector has lanes.
//
// It has
//   operand     whether the method has one, with a gradient: apart() is dy / dbeta then
//   weighed(K, S)   when its taps come with weights: taps.weights()
//   detaches    whether the gradient with the weights held fixed is another one, or that of logits
//   Windows<K, Taps>   with begin(opened), open(), bad (bits of the windows that are left to the fallback),
//                      pooled(beta, beside), or differentiate<exact>(beta, gradient, beside) and then share<exact>(row, to)
//                      A member `twin`, where there is one, is set before: whether they are of the twin's method.
#pragma once
#include <utility>

#include "cpu/fast/vector.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// where_near: weights e^a that overlapping regions share, if all taps of some rows are within kNear. always: logits.
enum class Weighed { never, where_near, always };

// f<whether they do>(). `soft`: the weights of a row of taps that are where_near, or null.
template <Weighed when, class F> void by_weights(const float* soft, const F& f) {
  if constexpr (when == Weighed::where_near) return soft ? f.template operator()<true>() : f.template operator()<false>();
  else f.template operator()<when == Weighed::always>();
}

// Loops over the rows and columns of a window whose size is known.
//
// f(row) for every row of `columns` taps: written out where that is short enough for the cache of decoded instructions.
template <int rows, int columns = rows> constexpr bool written_out = rows * columns <= 9;
template <int rows, int columns, class F> ADAPOOL_INLINE void each_row_of(const F& f) {
  if constexpr (written_out<rows, columns>) {
    [&]<int... n>(std::integer_sequence<int, n...>) __attribute__((always_inline)) {
      (f(n), ...);
    }(std::make_integer_sequence<int, rows>{});
  } else {
#pragma GCC unroll 1
    for (int n = 0; n < rows; ++n) f(n);
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
