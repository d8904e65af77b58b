// The arithmetic of as many windows side by side as a vector has lanes: values and gradients of ada, edscw and softpool.
// Formulas as in weights.h, without its scaling: windows that need it are told apart and left to the caller.
#pragma once
#include "fast_vector.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

constexpr float kLargest = 1.2676506e30f;   // 2^100: no tap above it
constexpr float kSteepest = 1.1529215e18f;  // 2^60: no tap above that many means

// f(n) for n = 0 .. count - 1: written out where that is short enough for the cache of decoded instructions.
template <int count, class F> ADAPOOL_INLINE void each_of(const F& f) {
  if constexpr (count <= 3) {
    [&]<int... n>(std::integer_sequence<int, n...>) __attribute__((always_inline)) {
      (f(n), ...);
    }(std::make_integer_sequence<int, count>{});
  } else {
#pragma GCC unroll 1
    for (int n = 0; n < count; ++n) f(n);
  }
}

// With u = a / m: D = 2 |u| / (1 + u^2). Values sum r = a - m and t = a - max, which loses no digits and gives a
// constant window back exactly:  edscw = m + p1, p1 = sum e^D r / sum e^D;  softpool = max + p2, p2 = sum e^t t / sum e^t.
// Gradients need no more than sums over u: with F = dD/du and k = edscw / m = sum e^D u / sum e^D,
//   d edscw / da = w (1 + u F - k F) + (1/N) sum w (k - u) u F;  d softpool / da = w (1 + t - p2).
// Taps are taken G at a time, where N is a multiple of G: taps.get(n, a) gives those from n G on.
template <bool dice, bool soft, int N, int G, class Taps> struct Windows {
  Taps taps;
  V top, mean, inverse;               // maximum, m, 1 / m (0 where m is 0)
  V p1, p2, ratio, inverse1, inverse2;  // ratio: k
  V by_dice[N], by_slope[N], by_soft[N], by_depth[N];  // e^D (1 + u F), e^D F / 2, e^t, e^t t
  V scale_dice, scale_slope, scale_soft, scale_depth, common;

  // Bits of the windows that the formulas do not hold for: NaN, inf, huge values, means that nearly cancel.
  ADAPOOL_INLINE int open() {
    V sum{};
    each_of<N / G>([&](int n) __attribute__((always_inline)) {
      V a[G];
      taps.get(n, a);
      sum = sum + sum_of<G>(a);
      top = n == 0 ? largest_of<G>(a) : larger(top, largest_of<G>(a));
    });
    V size = fma(same(N), magnitude(top), magnitude(sum));  // no tap is larger
    if constexpr (dice) {
      mean = sum * same(1.f / N);
      inverse = sum != 0 ? same(N) / sum : V{};
      const V steepness = magnitude(size * inverse);
      size = larger(size * same(kSteepest / kLargest), steepness);  // a NaN is in the second
      return not_within(size, kSteepest);
    }
    return not_within(size, kLargest);
  }

  // p1 and p2.
  ADAPOOL_INLINE void weigh() {
    V n1{}, n2{}, z1{}, z2{};
    each_of<N / G>([&](int n) __attribute__((always_inline)) {
      V a[G], part[G], e[G];
      taps.get(n, a);
      if constexpr (dice) {
        for (int g = 0; g < G; ++g) part[g] = a[g] * inverse;
        for (int g = 0; g < G; ++g) part[g] = magnitude(part[g]) / fma(part[g], part[g], same(1));
        exp_twice<G>(part, e);
        for (int g = 0; g < G; ++g) part[g] = e[g] * (a[g] - mean);
        z1 = z1 + sum_of<G>(e);
        n1 = n1 + sum_of<G>(part);
      }
      if constexpr (soft) {
        for (int g = 0; g < G; ++g) part[g] = a[g] - top;
        exp_below<G>(part, e);
        for (int g = 0; g < G; ++g) part[g] = part[g] * e[g];
        z2 = z2 + sum_of<G>(e);
        n2 = n2 + sum_of<G>(part);
      }
    });
    if constexpr (dice) p1 = n1 / z1;
    if constexpr (soft) p2 = n2 / z2;
  }

  ADAPOOL_INLINE V pooled(V beta) {
    weigh();
    if constexpr (dice && soft) return top + fma(beta, (mean - top) + p1 - p2, p2);
    else return dice ? mean + p1 : top + p2;
  }

  // dy / dbeta
  ADAPOOL_INLINE V difference() {
    weigh();
    return (mean - top) + p1 - p2;
  }

  // Before share(k), which is g dy / da_k, or g times the weight alone; and before apart(), which is dy / dbeta.
  template <bool exact> ADAPOOL_INLINE void differentiate(V beta, V g) {
    V sum_u{}, by{}, by_u{}, n2{}, z1{}, z2{};
    each_of<N / G>([&](int n) __attribute__((always_inline)) {
      V a[G], part[G], e[G];
      taps.get(n, a);
      if constexpr (dice) {
        V u[G], over[G], half[G];
        for (int g = 0; g < G; ++g) u[g] = a[g] * inverse;
        for (int g = 0; g < G; ++g) over[g] = same(1) / fma(u[g], u[g], same(1));
        for (int g = 0; g < G; ++g) half[g] = magnitude(u[g]) * over[g];
        exp_twice<G>(half, e);
        z1 = z1 + sum_of<G>(e);
        for (int g = 0; g < G; ++g) part[g] = e[g] * u[g];
        sum_u = sum_u + sum_of<G>(part);
        if constexpr (exact) {  // F / 2 = sign(u) (2 / (1 + u^2) - 1) / (1 + u^2); sums, because multipliers are busier
          for (int g = 0; g < G; ++g) part[g] = e[g] * (over[g] + over[g] - same(1));
          for (int g = 0; g < G; ++g) over[g] = with_sign_of(u[g], part[g] * over[g]);
          for (int g = 0; g < G; ++g) by_slope[n * G + g] = u[g] != 0 ? over[g] : V{};
          for (int g = 0; g < G; ++g) part[g] = part[g] * half[g];
          by = by + sum_of<G>(part);
          for (int g = 0; g < G; ++g) by_dice[n * G + g] = e[g] + (part[g] + part[g]);
          for (int g = 0; g < G; ++g) part[g] = part[g] * u[g];
          by_u = by_u + sum_of<G>(part);
        } else {
          for (int g = 0; g < G; ++g) by_dice[n * G + g] = e[g];
        }
      }
      if constexpr (soft) {
        for (int g = 0; g < G; ++g) part[g] = a[g] - top;
        exp_below<G>(part, e);
        for (int g = 0; g < G; ++g) part[g] = part[g] * e[g];
        z2 = z2 + sum_of<G>(e);
        n2 = n2 + sum_of<G>(part);
        for (int g = 0; g < G; ++g) by_soft[n * G + g] = e[g], by_depth[n * G + g] = part[g];
      }
    });
    if constexpr (dice && soft) {  // one division for both
      const V both = same(1) / (z1 * z2);
      inverse1 = both * z2;
      inverse2 = both * z1;
    } else {
      if constexpr (dice) inverse1 = same(1) / z1;
      if constexpr (soft) inverse2 = same(1) / z2;
    }
    if constexpr (dice) {
      ratio = sum_u * inverse1;
      scale_dice = (soft ? g * beta : g) * inverse1;
      if constexpr (exact) {
        scale_slope = scale_dice * ratio * same(-2);
        common = scale_dice * fma(ratio, by, -by_u) * same(2.f / N);
      }
    }
    if constexpr (soft) {
      p2 = n2 * inverse2;
      scale_depth = (dice ? g - g * beta : g) * inverse2;
      scale_soft = exact ? scale_depth - scale_depth * p2 : scale_depth;
    }
  }
  ADAPOOL_INLINE V apart() const { return fma(mean, ratio, -top) - p2; }
  template <bool exact> ADAPOOL_INLINE V share(int k) const {
    V sum{};
    if constexpr (dice && exact) sum = fma(scale_slope, by_slope[k], fma(scale_dice, by_dice[k], common));
    else if constexpr (dice) sum = scale_dice * by_dice[k];
    if constexpr (soft) {
      if constexpr (dice) sum = fma(scale_soft, by_soft[k], sum);
      else sum = scale_soft * by_soft[k];
      if constexpr (exact) sum = fma(scale_depth, by_depth[k], sum);
    }
    return sum;
  }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
