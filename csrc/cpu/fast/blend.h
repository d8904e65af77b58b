// The arithmetic of ada, edscw and softpool, for as many windows side by side as a vector has lanes. Formulas as in
// math/ada.h, without its scaling: windows that need it are told apart and left to the fallback.
#pragma once
#include "cpu/fast/exponential.h"
#include "cpu/fast/policy.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

constexpr float kLargest = 1.2676506e30f;   // 2^100: no tap above it
constexpr float kSteepest = 1.1529215e18f;  // 2^60: no tap above that many means

template <class Taps> struct Opened {  // what windows begin with
  Taps taps;
  V top, mean, inverse;  // what t is counted from, m, 1 / m (0 where m is 0)
  int bad;  // bits of the windows that the formulas do not hold for: NaN, inf, huge values, means that nearly cancel
};

// With u = a / m: D = 2 |u| / (1 + u^2). Values sum r = a - m and t = a - max, which loses no digits and gives a
// constant window back exactly:  edscw = m + p1, p1 = sum e^D r / sum e^D;  softpool = max + p2, p2 = sum e^t t / sum e^t.
// Gradients need no more than sums over u: with F = dD/du and k = edscw / m = sum e^D u / sum e^D,
//   d edscw / da = w (1 + u F - k F) + (1/N) sum w (k - u) u F;  d softpool / da = w (1 + t - p2).
// Taps are taken a row at a time: taps.row(i, a) gives the K of row i. Those that are Taps::weighed are within kNear and
// come with e^a, which regions share: t = a - m then. Taps::partial are those of a region that the padding cuts off: taps
// of the kernel that are not there read 0 and have no weight.
template <bool dice, bool soft, int K, class Taps> struct BlendWindows : Opened<Taps> {
  static constexpr int N = Taps::height * K;
  using Opened<Taps>::taps, Opened<Taps>::top, Opened<Taps>::mean, Opened<Taps>::inverse, Opened<Taps>::bad;
  V p1, p2, ratio, inverse1, inverse2;  // ratio: k
  V by_dice[N], by_slope[N], by_soft[N];  // e^D (1 + u F), e^D F, e^t
  V scale_dice, scale_slope, scale_soft, scale_depth, common;

  ADAPOOL_INLINE void begin(const Opened<Taps>& opened) { Opened<Taps>::operator=(opened); }
  ADAPOOL_INLINE void open() { bad = opened(); }
  ADAPOOL_INLINE int opened() {
    V sum{};
    const float count = taps.count();
    each_row_of<Taps::height, K>([&](int i) __attribute__((always_inline)) {
      V a[K];
      taps.row(i, a);
      sum = sum + sum_of<K>(a);
      if constexpr (Taps::partial) taps.template keep<K>(i, a, same(-kLargest));
      if constexpr (!Taps::weighed) top = i == 0 ? largest_of<K>(a) : larger(top, largest_of<K>(a));
    });
    if constexpr (dice || Taps::weighed) mean = sum * same(1.f / count);
    if constexpr (dice) inverse = sum != 0 ? same(count) / sum : V{};
    if constexpr (Taps::weighed) {
      top = mean;
      return dice ? not_within(magnitude(inverse), kSteepest / kNear) : 0;
    }
    V size = fma(same(N), magnitude(top), magnitude(sum));  // no tap is larger
    if constexpr (!dice) return not_within(size, kLargest);
    return not_within(size * larger(magnitude(inverse), same(kSteepest / kLargest)), kSteepest);
  }

  // e^t of a row of taps, added to the sums of e^t and e^t t.
  ADAPOOL_INLINE void soften(int i, const V* a, V* e, V& z2, V& n2) const {
    V t[K];
    for (int k = 0; k < K; ++k) t[k] = a[k] - top;
    if constexpr (Taps::weighed) taps.weights(i, e);
    else exp_below<K>(t, e);
    if constexpr (Taps::partial) taps.template keep<K>(i, e, V{});
    for (int k = 0; k < K; ++k) n2 = fma(e[k], t[k], n2);
    z2 = z2 + sum_of<K>(e);
  }

  // p1 and p2. beside(i) is called with row i.
  template <class F = Nothing> ADAPOOL_INLINE void weigh(const F& beside = {}) {
    V n1{}, n2{}, z1{}, z2{};
    each_row_of<Taps::height, K>([&](int i) __attribute__((always_inline)) {
      beside(i);
      V a[K], part[K], e[K];
      taps.row(i, a);
      if constexpr (dice) {
        for (int k = 0; k < K; ++k) part[k] = a[k] * inverse;
        for (int k = 0; k < K; ++k) part[k] = magnitude(part[k] + part[k]) / fma(part[k], part[k], same(1));
        exp_unit<K>(part, e);
        if constexpr (Taps::partial) taps.template keep<K>(i, e, V{});
        for (int k = 0; k < K; ++k) n1 = fma(e[k], a[k] - mean, n1);
        z1 = z1 + sum_of<K>(e);
      }
      if constexpr (soft) soften(i, a, e, z2, n2);
    });
    if constexpr (dice) p1 = n1 / z1;
    if constexpr (soft) p2 = n2 / z2;
  }

  template <class F = Nothing> ADAPOOL_INLINE V pooled(V beta, const F& beside = {}) {
    weigh(beside);
    if constexpr (dice && soft) return top + fma(beta, (mean - top) + p1 - p2, p2);
    else return dice ? mean + p1 : top + p2;
  }

  // Before share(k), which is g dy / da_k, or g times the weight alone; and before apart(), which is dy / dbeta.
  template <bool exact, class F = Nothing> ADAPOOL_INLINE void differentiate(V beta, V g, const F& beside = {}) {
    V sum_u{}, by{}, by_u{}, n2{}, z1{}, z2{};
    each_row_of<Taps::height, K>([&](int i) __attribute__((always_inline)) {
      beside(i);
      V a[K];
      taps.row(i, a);
      if constexpr (dice) {
        in_groups<K>([&]<int G, int from>() __attribute__((always_inline)) {
          const int n = i * K + from;
          V u[G], over[G], depth[G], e[G], part[G];
          for (int k = 0; k < G; ++k) u[k] = a[from + k] * inverse;
          for (int k = 0; k < G; ++k) over[k] = same(2) / fma(u[k], u[k], same(1));
          for (int k = 0; k < G; ++k) depth[k] = magnitude(u[k]) * over[k];
          exp_unit<G>(depth, e);
          if constexpr (Taps::partial) taps.template keep<G, from>(i, e, V{});
          z1 = z1 + sum_of<G>(e);
          for (int k = 0; k < G; ++k) sum_u = fma(e[k], u[k], sum_u);
          if constexpr (exact) {  // F = sign(u) (2 / (1 + u^2) - 1) 2 / (1 + u^2)
            for (int k = 0; k < G; ++k) part[k] = fma(e[k], over[k], -e[k]);
            for (int k = 0; k < G; ++k) by_slope[n + k] = part[k] * with_sign_of(u[k], over[k]);
            for (int k = 0; k < G; ++k) part[k] = part[k] * depth[k];
            by = by + sum_of<G>(part);
            for (int k = 0; k < G; ++k) by_u = fma(part[k], u[k], by_u);
            for (int k = 0; k < G; ++k) by_dice[n + k] = e[k] + part[k];
          } else {
            for (int k = 0; k < G; ++k) by_dice[n + k] = e[k];
          }
        });
      }
      if constexpr (soft) {
        V e[K];
        soften(i, a, e, z2, n2);
        for (int k = 0; k < K; ++k) by_soft[i * K + k] = e[k];
      }
    });
    if constexpr (dice) inverse1 = same(1) / z1;
    if constexpr (soft) inverse2 = same(1) / z2;
    if constexpr (dice) {
      ratio = sum_u * inverse1;
      scale_dice = (soft ? g * beta : g) * inverse1;
      if constexpr (exact) {
        scale_slope = -(scale_dice * ratio);
        common = scale_dice * fma(ratio, by, -by_u) * same(1 / taps.count());
      }
    }
    if constexpr (soft) {
      p2 = n2 * inverse2;
      scale_depth = (dice ? g - g * beta : g) * inverse2;
      scale_soft = exact ? scale_depth - scale_depth * p2 : scale_depth;
    }
  }
  ADAPOOL_INLINE V apart() const { return fma(mean, ratio, -top) - p2; }
  // Of the K taps of a row.
  template <bool exact> ADAPOOL_INLINE void share(int i, V* to) const {
    V a[K];
    if constexpr (soft && exact) taps.row(i, a);
    for (int k = 0; k < K; ++k) {
      const int n = i * K + k;
      V sum{};
      if constexpr (dice && exact) sum = fma(scale_slope, by_slope[n], fma(scale_dice, by_dice[n], common));
      else if constexpr (dice) sum = scale_dice * by_dice[n];
      if constexpr (soft) {
        const V part = exact ? fma(scale_depth, a[k] - top, scale_soft) : scale_soft;
        sum = dice ? fma(by_soft[n], part, sum) : by_soft[n] * part;
      }
      to[k] = sum;
    }
  }
};

// A kernel's policy, see policy.h.
template <bool dice, bool soft> struct Blend {
  static constexpr bool operand = dice && soft, detaches = true;
  static constexpr Weighed weighed(int k, int s) { return soft && k > s ? Weighed::where_near : Weighed::never; }
  template <int K, class Taps> using Windows = BlendWindows<dice, soft, K, Taps>;
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
