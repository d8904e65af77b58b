// The arithmetic of lip, for as many windows side by side as a vector has lanes. Formulas as in math/weights.h; windows of
// logits or values that are not finite, or huge, are left to the fallback.
#pragma once
#include "cpu/fast/exponential.h"
#include "cpu/fast/policy.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// With e = e^(l - max l), r = a - max a and p = sum e r / sum e:  y = max a + p;  dy/da = e / sum e;  dy/dl = (r - p) dy/da.
// Taps give the logits where others have their weights.
template <int K, class Taps> struct LogitWindows {
  static constexpr float largest = 1.2676506e30f;  // 2^100
  Taps taps;
  int bad;
  V top, p, scale, e[Taps::height * K];

  ADAPOOL_INLINE void begin(const LogitWindows& opened) { taps = opened.taps; }
  ADAPOOL_INLINE void open() {}
  template <class F = Nothing> ADAPOOL_INLINE V pooled(V, const F& beside = {}) {
    weigh(beside);
    return top + p;
  }
  // Before share<exact>(k), which is g dy / da_k, or else g dy / dl_k.
  template <bool, class F = Nothing> ADAPOOL_INLINE void differentiate(V, V g, const F& beside = {}) {
    weigh(beside);
    scale = g * scale;
  }
  ADAPOOL_INLINE V apart() const { return V{}; }
  template <bool exact> ADAPOOL_INLINE void share(int i, V* to) const {
    V a[K];
    taps.row(i, a);
    for (int k = 0; k < K; ++k) to[k] = scale * e[i * K + k];
    for (int k = 0; !exact && k < K; ++k) to[k] = to[k] * (a[k] - top - p);
  }

 private:
  template <class F> ADAPOOL_INLINE void weigh(const F& beside) {
    V first, all{}, sum{}, below{};
    each_row_of<Taps::height, K>([&](int i) __attribute__((always_inline)) {
      beside(i);
      V a[K], l[K];
      taps.row(i, a);
      taps.weights(i, l);
      if constexpr (Taps::partial) {
        taps.template keep<K>(i, a, same(-__builtin_inff()));
        taps.template keep<K>(i, l, same(-__builtin_inff()));
      }
      top = i == 0 ? largest_of<K>(a) : larger(top, largest_of<K>(a));
      first = i == 0 ? largest_of<K>(l) : larger(first, largest_of<K>(l));
    });
    each_row_of<Taps::height, K>([&](int i) __attribute__((always_inline)) {
      V a[K], l[K];
      taps.row(i, a);
      taps.weights(i, l);
      for (int k = 0; k < K; ++k) l[k] = l[k] - first;
      below = below + sum_of<K>(l);
      exp_below<K>(l, e + i * K);
      if constexpr (Taps::partial) taps.template keep<K>(i, e + i * K, V{});
      all = all + sum_of<K>(e + i * K);
      for (int k = 0; k < K; ++k) sum = fma(e[i * K + k], a[k] - top, sum);
    });
    scale = same(1) / all;
    p = sum * scale;
    bad = not_within(magnitude(sum) + magnitude(top), largest) | not_within(magnitude(below), largest);
  }
};

// A kernel's policy, see policy.h.
struct Logits {
  static constexpr bool operand = false, detaches = true;
  static constexpr Weighed weighed(int, int) { return Weighed::always; }
  template <int K, class Taps> using Windows = LogitWindows<K, Taps>;
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
