// The arithmetic of power, power_sum, lp and lp_abs, for as many windows side by side as a vector has lanes. Formulas as in
// math/methods.h; windows that need more range than they have here are left to the fallback.
#pragma once
#include "cpu/fast/exponential.h"
#include "cpu/fast/policy.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

template <class Taps> struct Topped {  // what windows begin with
  Taps taps;
  V top, inverse;  // the largest tap, or magnitude, and 1 / top (0 where top is 0)
};

enum class Of { positive, signs };  // taps: of power and its twin power_sum, of lp and its twin lp_abs

// With t = max(a, 1e-6) / top, f = t^(p-1) and S = sum t f:  y = top T^(1/p), T = S / N, or S where it is no mean;
//   dy/da = y f / (top S), 0 below 1e-6;  dy/dp = y (sum t f ln t / S - ln T / p) / p.
// So one logarithm and one exponential of a tap serve its value and its gradient. A tap that is NaN makes S NaN.
// lp, lp_abs: t = a / top, and f has the sign that makes t f the power: |t|^(p-1) times that of a, but for lp of odd p. p = 2
// needs neither.
template <Of of, int K, class Taps> struct PowerWindows : Topped<Taps> {
  static constexpr bool norm = of == Of::signs;
  static constexpr float least = norm ? 0x1p-126f : 1e-6f, highest = 1.2676506e30f;  // 2^100
  static constexpr float middle = 512, reach = 511.875f;                             // p from 1/8 to 1023.875
  using Topped<Taps>::taps, Topped<Taps>::top, Topped<Taps>::inverse;
  int bad;
  V all, of_all, of_p, logs, level, root, scale;  // S, 1 / S, 1 / p, sum t f log2 t, log2 T / p, T^(1/p)
  V slope[Taps::height * K];                      // f
  bool squares, twin;

  ADAPOOL_INLINE void begin(const Topped<Taps>& opened) { Topped<Taps>::operator=(opened); }
  ADAPOOL_INLINE void open() {
    top = norm ? V{} : same(least);
    each_row_of<Taps::height, K>([&](int i) __attribute__((always_inline)) {
      V a[K];
      taps.row(i, a);
      if constexpr (norm)
        for (int k = 0; k < K; ++k) a[k] = magnitude(a[k]);
      top = larger(top, largest_of<K>(a));
    });
    inverse = same(1) / top;
    if constexpr (norm) inverse = top == 0 ? V{} : inverse;
  }

  template <class F = Nothing> ADAPOOL_INLINE V pooled(V p, const F& beside = {}) {
    weigh<false>(p, beside);
    return top * root;
  }
  template <bool, class F = Nothing> ADAPOOL_INLINE void differentiate(V p, V g, const F& beside = {}) {
    weigh<true>(p, beside);
    scale = g * root * of_all;
    if constexpr (norm) scale = top == 0 ? V{} : scale;
  }
  ADAPOOL_INLINE V apart() {
    if (squares) {
      logs = V{};
      each_row_of<Taps::height, K>([&](int i) __attribute__((always_inline)) {
        V t[K], l[K];
        for (int k = 0; k < K; ++k) t[k] = larger(same(least), magnitude(slope[i * K + k]));
        log2_of<K>(t, l);
        for (int k = 0; k < K; ++k) logs = fma(t[k] * t[k], l[k], logs);
      });
      log2_of<1>(&all, &level);
      level = level * same(0.5);
    }
    return top * root * of_p * same(0.693147181f) * fma(logs, of_all, norm && !twin ? unless_negative(-level) : -level);
  }
  template <bool> ADAPOOL_INLINE void share(int i, V* to) const {
    for (int k = 0; k < K; ++k) to[k] = scale * slope[i * K + k];
  }

 private:
  // f of a tap of f = |t|^(p-1), as the tap's sign and p have it.
  ADAPOOL_INLINE static V turned_as(V a, V f, V negative) {
    if constexpr (norm) return a < 0 ? f * negative : f;
    else return a < same(least) ? V{} : f;
  }
  // lp's power of a negative number has no derivative by p.
  ADAPOOL_INLINE V unless_negative(V v) const {
    each_row_of<Taps::height, K>([&](int i) __attribute__((always_inline)) {
      V a[K];
      taps.row(i, a);
      for (int k = 0; k < K; ++k) v = a[k] < 0 ? none() : v;
    });
    return v;
  }
  ADAPOOL_INLINE static V none() { return same(__builtin_nanf("")); }
  ADAPOOL_INLINE static V whole(V a) { return __builtin_convertvector(__builtin_convertvector(a, Bits), V); }

  template <bool slopes, class F> ADAPOOL_INLINE void weigh(V p, const F& beside) {
    const V below = p - same(1), half = p * same(0.5);
    const V negative = twin ? same(-1) : whole(half) == half ? same(-1) : whole(p) == p ? same(1) : none();
    const V at_zero = twin ? V{} : p == 1 ? same(1) : V{};  // times f of a tap that is 0: its size has no slope
    squares = norm && not_within(magnitude(p - same(2)), 0) == 0;
    all = logs = V{};
    each_row_of<Taps::height, K>([&](int i) __attribute__((always_inline)) {
      beside(i);
      V a[K];
      taps.row(i, a);
      if constexpr (norm)
        for (int k = 0; k < K; ++k) a[k] = a[k] * inverse;
      if (squares) {
        for (int k = 0; k < K; ++k) all = fma(a[k], a[k], all);
        for (int k = 0; slopes && k < K; ++k) slope[i * K + k] = a[k];
        return;
      }
      in_groups<K>([&]<int G, int from>() __attribute__((always_inline)) {
        V t[G], l[G], f[G];
        for (int k = 0; k < G; ++k)
          t[k] = norm ? larger(same(least), magnitude(a[from + k])) : larger(same(least), a[from + k]) * inverse;
        log2_of<G>(t, l);
        for (int k = 0; k < G; ++k) f[k] = below * l[k];
        exp2_below<G>(f, f);
        if constexpr (Taps::partial) taps.template keep<G, from>(i, f, V{});
        for (int k = 0; k < G; ++k) {
          const V turned = turned_as(a[from + k], f[k], negative);
          t[k] = norm ? a[from + k] * turned : t[k] * f[k];
          if constexpr (slopes) slope[i * K + from + k] = norm ? a[from + k] != 0 ? turned : turned * at_zero : turned;
        }
        all = all + sum_of<G>(t);
        if constexpr (slopes)
          for (int k = 0; k < G; ++k) logs = fma(t[k], l[k], logs);
      });
    });
    bad = not_within(top + magnitude(all), highest) | not_within(magnitude(p - same(middle)), reach);
    if constexpr (norm) {
      all = top == 0 ? same(1) : all;
      bad |= not_within(inverse, 0x1p126f) | not_within(same(1) / magnitude(all), 0x1p20f);
    }
    of_p = same(1) / p;
    if constexpr (slopes) of_all = same(1) / all;
    if (squares) {
      root = root_of(all);
      return;
    }
    if constexpr (!norm) all = all * same(twin ? 1 : 1.f / taps.count());
    log2_of<1>(&all, &level);
    level = level * of_p;
    exp2_below<1>(&level, &root);
    if constexpr (norm) root = all < 0 ? p == 1 ? all : none() : root;
  }
};

// A kernel's policy, see policy.h.
template <Of of> struct Powers {
  static constexpr bool operand = true, detaches = false;
  static constexpr Weighed weighed(int, int) { return Weighed::never; }
  template <int K, class Taps> using Windows = PowerWindows<of, K, Taps>;
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
