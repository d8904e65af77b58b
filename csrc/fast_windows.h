// The arithmetic of as many windows side by side as a vector has lanes: values and gradients of ada, edscw and softpool.
// Formulas as in weights.h, without its scaling: windows that need it are told apart and left to the caller.
#pragma once
#include "fast_vector.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

constexpr float kLargest = 1.2676506e30f;   // 2^100: no tap above it
constexpr float kSteepest = 1.1529215e18f;  // 2^60: no tap above that many means

// With u = a / m: D = 2 |u| / (1 + u^2), and sums are taken of r = a - m and t = a - max, which loses no digits and gives
// a constant window back exactly:  edscw = m + p1, p1 = sum e^D r / sum e^D;  softpool = max + p2, p2 = sum e^t t / sum e^t.
// Taps are taken G at a time, where N is a multiple of G.
template <bool dice, bool soft, int N, int G> struct Windows {
  V a[N];                            // the taps
  V top, mean, inverse;               // maximum, m, 1 / m (0 where m is 0)
  V p1, p2, z1, z2, inverse1, inverse2;
  V by_dice[N], by_soft[N], fall[N];  // e^D, e^t, m dD/da
  V scale1, scale2, turn, back, ahead, common;

  // Bits of the windows that the formulas do not hold for: NaN, inf, huge values, means that nearly cancel.
  ADAPOOL_INLINE int open() {
    V sum = sum_of<G>(a);
    top = largest_of<G>(a);
#pragma GCC unroll 4
    for (int k = G; k < N; k += G) {
      sum = sum + sum_of<G>(a + k);
      top = larger(top, largest_of<G>(a + k));
    }
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

  // p1 and p2; weights are kept for share(), and slopes of D with what goes through the mean where `exact`.
  template <bool keep, bool exact> ADAPOOL_INLINE void weigh() {
    V n1{}, n2{}, by{}, by_r{};
    z1 = z2 = V{};
#pragma GCC unroll 4
    for (int k = 0; k < N; k += G) {
      V part[G], e[G];
      if constexpr (dice) {
        V r[G], u[G], far[G], half[G];
        for (int g = 0; g < G; ++g) r[g] = a[k + g] - mean;
        for (int g = 0; g < G; ++g) u[g] = a[k + g] * inverse, far[g] = magnitude(u[g]);
        for (int g = 0; g < G; ++g) part[g] = fma(u[g], u[g], same(1));
        if constexpr (exact) {
          V over[G], steep[G];
          for (int g = 0; g < G; ++g) over[g] = same(1) / part[g];
          for (int g = 0; g < G; ++g) half[g] = far[g] * over[g], steep[g] = fma(over[g], same(4), same(-2));
          exp_twice<G>(half, e);
          for (int g = 0; g < G; ++g) {  // over steep: 2 (1 - u^2) / (1 + u^2)^2
            part[g] = e[g] * (half[g] * steep[g]);
            fall[k + g] = with_sign_of(u[g], u[g] != 0 ? over[g] * steep[g] : V{});
          }
          by = by + sum_of<G>(part);
          for (int g = 0; g < G; ++g) part[g] = part[g] * r[g];
          by_r = by_r + sum_of<G>(part);
        } else {
          for (int g = 0; g < G; ++g) half[g] = far[g] / part[g];
          exp_twice<G>(half, e);
        }
        if constexpr (keep) for (int g = 0; g < G; ++g) by_dice[k + g] = e[g];
        z1 = z1 + sum_of<G>(e);
        for (int g = 0; g < G; ++g) part[g] = e[g] * r[g];
        n1 = n1 + sum_of<G>(part);
      }
      if constexpr (soft) {
        V t[G];
        for (int g = 0; g < G; ++g) t[g] = a[k + g] - top;
        exp_below<G>(t, e);
        if constexpr (keep) for (int g = 0; g < G; ++g) by_soft[k + g] = e[g];
        z2 = z2 + sum_of<G>(e);
        for (int g = 0; g < G; ++g) part[g] = e[g] * t[g];
        n2 = n2 + sum_of<G>(part);
      }
    }
    if constexpr (dice && soft && keep) {  // one division for both
      const V both = same(1) / (z1 * z2);
      inverse1 = both * z2;
      inverse2 = both * z1;
    } else {
      if constexpr (dice) inverse1 = same(1) / z1;
      if constexpr (soft) inverse2 = same(1) / z2;
    }
    if constexpr (dice) p1 = keep ? n1 * inverse1 : n1 / z1;
    if constexpr (soft) p2 = keep ? n2 * inverse2 : n2 / z2;
    if constexpr (exact && dice) common = fma(p1, by, -by_r) * inverse;
  }

  ADAPOOL_INLINE V pooled(V beta) {
    weigh<false, false>();
    if constexpr (dice && soft) return top + fma(beta, apart(), p2);
    else return dice ? mean + p1 : top + p2;
  }

  // dy / dbeta
  ADAPOOL_INLINE V difference() {
    weigh<false, false>();
    return apart();
  }
  ADAPOOL_INLINE V apart() const { return (mean - top) + p1 - p2; }

  // Before share(k), which is g dy / da_k, or g times the weight alone.
  template <bool exact> ADAPOOL_INLINE void differentiate(V beta, V g) {
    weigh<true, exact>();
    if constexpr (dice) {
      scale1 = (soft ? g * beta : g) * inverse1;
      turn = inverse;
      back = -(p1 * turn);
      if constexpr (exact) common = common * scale1 * same(1.f / N);
    }
    if constexpr (soft) {
      scale2 = (dice ? g - g * beta : g) * inverse2;
      ahead = same(1) - p2;
    }
  }
  template <bool exact> ADAPOOL_INLINE V share(int k) const {
    V sum;
    if constexpr (dice) {
      const V w = scale1 * by_dice[k];
      sum = w;
      if constexpr (exact) sum = fma(w, fma(fma(a[k] - mean, turn, back), fall[k], same(1)), common);
    }
    if constexpr (soft) {
      const V w = scale2 * by_soft[k], t = a[k] - top;
      if constexpr (exact && dice) sum = fma(w, t + ahead, sum);
      else if constexpr (dice) sum = sum + w;
      else sum = exact ? w * (t + ahead) : w;
    }
    return sum;
  }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
