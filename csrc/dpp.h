// Detail-preserving pooling (Saeedan et al. 2018). Same interface as the methods of weights.h.
#pragma once
#include "weights.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// w = t^h + alpha, normalised; h = lam / 2, t = p / mean p, p = r^2 + 1e-3, r = a - guide (asymmetric: max(0, r)).
// With e_i = (v_i - mean) / sum w:
//   rho_i = 2 r_i h (e_i t_i^(h-1) - (1/N) sum_j e_j t_j^h) / mean p
//   d / d a_t = rho_t - (guide is the mean ? (1/N) sum rho : 0);  d / d guide = - sum rho
//   d / d lam = (1/2) sum e_i t_i^h ln t_i;  d / d alpha = sum e_i
template <class V, bool symmetric> struct DppOf : Weighing<V> {
  static constexpr int operands = 3;  // guide, lam, alpha
  V first, guide, half, alpha, noise, power, z, tilt, by_mean, n;
  bool by_guide;

  ADAPOOL_HD V detail(const Tap<V>& t) const {
    const V r = t.a * this->unit - guide;
    return symmetric ? r : select(r < V(0), V(0), r);
  }
  ADAPOOL_HD V ratio(V r) const { return (r * r + noise) / power; }

  template <class R, class Values>
  ADAPOOL_HD void prepare(const R& r, const CellOperands<V>& o, const Values& v, bool slopes) {
    by_guide = o.given[0];
    half = o.at[1] / V(2);
    alpha = o.at[2];
    n = V(r.count);
    V top = largest_magnitude(r);
    if (by_guide) top = select(abs_of(o.at[0]) > top, abs_of(o.at[0]), top);
    // At least the scale 1, at which the 1e-3 is stated; the floor keeps a huge flat region from 0 / 0.
    const V least = V(std::numeric_limits<ScalarOf<V>>::min());
    this->unit = select(top > V(1), unit_of(top), V(1));
    noise = V(1e-3) * this->unit * this->unit;
    noise = select(noise < least, least, noise);
    guide = by_guide ? o.at[0] * this->unit : scaled_mean(r, this->unit);
    V squares = V(0);
    bool begun = false;
    r.each([&](const Tap<V>& t) {
      if (!begun) first = t.a * this->unit;
      begun = true;
      const V d = detail(t);
      squares += d * d + noise;
    }, squares);
    power = squares / n;
    V all = V(0), sum = V(0), p = V(0), p_v = V(0), d1 = V(0), d1_p = V(0), d1_pv = V(0);
    r.each([&](const Tap<V>& t) {
      const V d = detail(t), x = ratio(d), th = pow_of(x, half), value = v(*this, t), w = th + alpha;
      all += w;
      sum += w * value;
      r.keep(t, 0, th);
      if (slopes) {
        const V inner = d * th / x;
        p += th; p_v += th * value;
        d1 += d; d1_p += inner; d1_pv += inner * value;
      }
    }, all, sum, p, p_v, d1, d1_p, d1_pv);
    z = all;
    this->mean = sum / z;
    if (!slopes) return;
    tilt = (p_v - this->mean * p) / n;
    by_mean = V(2) * half / (z * power) * (d1_pv - this->mean * d1_p - tilt * d1);  // sum rho
  }
  ADAPOOL_HD V power_at(const Tap<V>& t, V x) const { return t.known ? t.kept[0] : pow_of(x, half); }
  ADAPOOL_HD V weight(const Tap<V>& t) const { return (power_at(t, ratio(detail(t))) + alpha) / z; }
  ADAPOOL_HD V relative(const Tap<V>& t) const { return t.a * this->unit - first; }
  ADAPOOL_HD V pooled() const { return (first + this->mean) / this->unit; }
  template <class Values> ADAPOOL_HD V through(const Tap<V>& t, const Values& v) const {
    const V d = detail(t), x = ratio(d), inner = (v(*this, t) - this->mean) * power_at(t, x) / x;
    const V rho = V(2) * half / (z * power) * d * (inner - tilt);
    return v.slope(*this, by_guide ? rho : rho - by_mean / n);
  }
  template <class R, class Values> ADAPOOL_HD V operand(int k, const R& r, const Values& v) const {
    if (k == 0) return v.slope(*this, -by_mean);
    V sum = V(0);
    r.each([&](const Tap<V>& t) {
      const V e = v(*this, t) - this->mean, x = ratio(detail(t));
      sum += k == 2 ? e : e * power_at(t, x) * log_of(x) / V(2);
    }, sum);
    return v.real(*this, sum / z);
  }
};
template <class V> using Dpp = DppOf<V, true>;
template <class V> using DppAsym = DppOf<V, false>;

}  // namespace ADAPOOL_ISA
}  // namespace adapool
