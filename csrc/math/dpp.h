// Detail-preserving pooling (Saeedan et al. 2018). Same interface as the methods of weights.h.
#pragma once
#include "math/weights.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// w = t^h + alpha, normalised; h = lam / 2, t = p / mean p, p = r^2 + 1e-3, r = a - guide (asymmetric: max(0, r)).
// Where the largest t^h would overflow, t is taken over the largest: t^h and alpha then have a factor in common.
// With e_i = (v_i - mean) / sum w:
//   rho_i = 2 r_i h (e_i t_i^(h-1) - (1/N) sum_j e_j t_j^h) / mean p
//   d / d a_t = rho_t - (guide is the mean ? (1/N) sum rho : 0);  d / d guide = - sum rho
//   d / d lam = (1/2) sum e_i t_i^h ln t_i;  d / d alpha = sum e_i
template <class V, bool symmetric> struct DppOf : Weighing<V> {
  static constexpr int operands = 3;  // guide, lam, alpha
  V scale, first, guide, half, alpha, noise, power, z, tilt, by_mean, n;  // first: the largest tap, scaled
  V lower;  // 1, or 1 over the largest t
  bool by_guide;

  ADAPOOL_HD V detail(const Tap<V>& t) const {
    const V r = t.a * scale - guide;
    return symmetric ? r : select(r < V(0), V(0), r);
  }
  ADAPOOL_HD V ratio(V r) const { return (r * r + noise) / power; }

  template <class R, class Values>
  ADAPOOL_HD void prepare(const R& r, const CellOperands<V>& o, const Values& v, bool slopes) {
    by_guide = o.given[0];
    half = o.at[1] / V(2);
    alpha = o.at[2];
    n = V(r.count);
    Most<V> size{V(0)}, largest;
    r.each([&](const Tap<V>& t, auto& magnitude, auto& most) {
      magnitude.take(abs_of(t.a));
      most.take(t.a);
    }, size, largest);
    V top = size.value;
    if (by_guide) top = select(abs_of(o.at[0]) > top, abs_of(o.at[0]), top);
    // At least the scale 1, at which the 1e-3 is stated; the floor keeps a huge flat region from 0 / 0.
    const V least = V(Limits<ScalarOf<V>>::smallest);
    scale = select(top > V(1), unit_of(top), V(1));
    first = largest.value * scale;
    noise = V(1e-3) * scale * scale;
    noise = select(noise < least, least, noise);
    guide = by_guide ? o.at[0] * scale : scaled_mean(r, scale);
    V squares = V(0);
    Most<V> most{V(0)};
    r.each([&](const Tap<V>& t, auto& sum, auto& highest) {
      const V d = detail(t), p = d * d + noise;
      sum += p;
      highest.take(p);
    }, squares, most);
    power = squares / n;
    // e^60 is 1e26: sums of it over any region, weighed by values, stay finite in float32, whose end is e^88. The largest t is
    // n at most, and ln n below the root of n, so that few regions need to look.
    lower = V(1);
    if (!kSkipsWhatIsRare || !all(half * half * n <= V(3600)))
      lower = select(half * log_of(most.value / power) > V(60), power / most.value, V(1));
    alpha = alpha * factor();
    V all = V(0), weighed = V(0), p = V(0), p_v = V(0), d1 = V(0), d1_p = V(0), d1_pv = V(0);
    r.each([&](const Tap<V>& t, auto& sum, auto& product, auto& powers, auto& powers_v, auto& details, auto& inners,
               auto& inners_v) {
      const V d = detail(t), x = ratio(d), th = power_of(x), value = v(*this, t), w = th + alpha;
      sum += w;
      product += w * value;
      r.keep(t, 0, th);
      if (slopes) {
        const V inner = d * th / x;
        powers += th;
        powers_v += th * value;
        details += d;
        inners += inner;
        inners_v += inner * value;
      }
    }, all, weighed, p, p_v, d1, d1_p, d1_pv);
    z = all;
    this->mean = over(weighed, z);
    if (!slopes) return;
    tilt = over(p_v - this->mean * p, n);
    by_mean = V(2) * half / (z * power) * (d1_pv - this->mean * d1_p - tilt * d1);  // sum rho
  }
  ADAPOOL_HD V unit() const { return scale; }
  ADAPOOL_HD V power_of(V x) const { return positive_pow(x * lower, half); }
  ADAPOOL_HD V factor() const { return all(lower == V(1)) ? V(1) : positive_pow(lower, half); }
  ADAPOOL_HD V power_at(const Tap<V>& t, V x) const { return t.known ? t.kept[0] : power_of(x); }
  ADAPOOL_HD V weight(const Tap<V>& t) const { return over(power_at(t, ratio(detail(t))) + alpha, z); }
  ADAPOOL_HD V relative(const Tap<V>& t) const { return t.a * scale - first; }
  ADAPOOL_HD V pooled() const { return unscaled(first + this->mean, scale); }
  template <class Values> ADAPOOL_HD V through(const Tap<V>& t, const Values& v) const {
    const V d = detail(t), x = ratio(d), inner = (v(*this, t) - this->mean) * power_at(t, x) / x;
    const V rho = V(2) * half / (z * power) * d * (inner - tilt);
    return v.slope(*this, by_guide ? rho : rho - over(by_mean, n));
  }
  template <class R, class Values> ADAPOOL_HD V operand(int k, const R& r, const Values& v) const {
    if (k == 0) return v.slope(*this, -by_mean);
    V all = V(0);
    r.each([&](const Tap<V>& t, auto& sum) {
      const V e = v(*this, t) - this->mean, x = ratio(detail(t));
      sum += k == 2 ? e : e * power_at(t, x) * log_of(x) / V(2);
    }, all);
    return v.real(*this, over(k == 2 ? all * factor() : all, z));
  }
};
template <class V> using Dpp = DppOf<V, true>;
template <class V> using DppAsym = DppOf<V, false>;

}  // namespace ADAPOOL_ISA
}  // namespace adapool
