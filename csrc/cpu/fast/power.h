// The arithmetic of power and power_sum, for as many windows side by side as a vector has lanes. Formulas as in
// math/methods.h; windows that need more range than they have here are left to the fallback.
#pragma once
#include "cpu/fast/exponential.h"
#include "cpu/fast/unroll.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

template <class Taps> struct Topped {  // what windows begin with
  Taps taps;
  V top, inverse;  // the largest tap, and 1 / top
};

// With t = max(a, 1e-6) / top, f = t^(p-1) and S = sum t f:  y = top T^(1/p), T = S / N, or S where it is no `mean`;
//   dy/da = y f / (top S), 0 below 1e-6;  dy/dp = y (sum t f ln t / S - ln T / p) / p.
// So one logarithm and one exponential of a tap serve its value and its gradient. A tap that is NaN makes S NaN.
template <bool mean, int K, class Taps> struct PowerWindows : Topped<Taps> {
  static constexpr float least = 1e-6f, highest = 1.2676506e30f;  // 2^100
  static constexpr float middle = 512, reach = 511.875f;          // p from 1/8 to 1023.875
  using Topped<Taps>::taps, Topped<Taps>::top, Topped<Taps>::inverse;
  int bad;
  V of_all, of_p, logs, level, root, scale;  // 1 / S, 1 / p, sum t f log2 t, log2 T / p, T^(1/p)
  V slope[K * K];                            // f

  ADAPOOL_INLINE void begin(const Topped<Taps>& opened) { Topped<Taps>::operator=(opened); }
  ADAPOOL_INLINE void open() {
    top = same(least);
    each_of<K>([&](int i) __attribute__((always_inline)) {
      V a[K];
      taps.row(i, a);
      top = larger(top, largest_of<K>(a));
    });
    inverse = same(1) / top;
  }

  template <class F = Nothing> ADAPOOL_INLINE V pooled(V p, const F& beside = {}) {
    weigh<false>(p, beside);
    return top * root;
  }
  template <bool, class F = Nothing> ADAPOOL_INLINE void differentiate(V p, V g, const F& beside = {}) {
    weigh<true>(p, beside);
    scale = g * root * of_all;
  }
  ADAPOOL_INLINE V apart() const { return top * root * of_p * same(0.693147181f) * fma(logs, of_all, -level); }
  template <bool> ADAPOOL_INLINE void share(int i, V* to) const {
    for (int k = 0; k < K; ++k) to[k] = scale * slope[i * K + k];
  }

 private:
  template <bool slopes, class F> ADAPOOL_INLINE void weigh(V p, const F& beside) {
    const V below = p - same(1);
    V all{};
    logs = V{};
    each_of<K>([&](int i) __attribute__((always_inline)) {
      beside(i);
      V a[K];
      taps.row(i, a);
      in_groups<K>([&]<int G, int from>() __attribute__((always_inline)) {
        V t[G], l[G], f[G];
        for (int k = 0; k < G; ++k) t[k] = larger(same(least), a[from + k]) * inverse;
        log2_of<G>(t, l);
        for (int k = 0; k < G; ++k) f[k] = below * l[k];
        exp2_below<G>(f, f);
        if constexpr (Taps::partial) taps.template keep<G, from>(i, f, V{});
        if constexpr (slopes)
          for (int k = 0; k < G; ++k) slope[i * K + from + k] = a[from + k] < same(least) ? V{} : f[k];
        for (int k = 0; k < G; ++k) t[k] = t[k] * f[k];
        all = all + sum_of<G>(t);
        if constexpr (slopes)
          for (int k = 0; k < G; ++k) logs = fma(t[k], l[k], logs);
      });
    });
    bad = not_within(top + all, highest) | not_within(magnitude(p - same(middle)), reach);
    of_p = same(1) / p;
    if constexpr (slopes) of_all = same(1) / all;
    if constexpr (mean) all = all * same(1.f / taps.count());
    log2_of<1>(&all, &level);
    level = level * of_p;
    exp2_below<1>(&level, &root);
  }
};

// A kernel's policy, see by_struct.h.
template <bool mean> struct Powers {
  static constexpr bool operand = true, weighed = false, detaches = false;
  template <int K, class Taps> using Windows = PowerWindows<mean, K, Taps>;
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
