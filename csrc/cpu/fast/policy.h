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

namespace adapool {
inline namespace ADAPOOL_ISA {

// where_near: weights e^a that overlapping regions share, if all taps of some rows are within kNear. always: logits.
enum class Weighed { never, where_near, always };

// f<whether they do>(). `soft`: the weights of a row of taps that are where_near, or null.
template <Weighed when, class F> void by_weights(const float* soft, const F& f) {
  if constexpr (when == Weighed::where_near) return soft ? f.template operator()<true>() : f.template operator()<false>();
  else f.template operator()<when == Weighed::always>();
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
