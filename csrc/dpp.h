// Detail-preserving pooling (Saeedan et al. 2018). Same interface as the methods of weights.h.
#pragma once
#include "weights.h"

namespace adapool {

// w = t^h + alpha, normalised; h = lam / 2, t = p / mean p, p = r^2 + 1e-3, r = a - guide (asymmetric: max(0, r)).
// With e_i = (v_i - mean) / sum w, in the notation of the paper's gradient:
//   rho_i = 2 r_i h (e_i t_i^(h-1) - (1/N) sum_j e_j t_j^h) / mean p
//   d / d a_t = rho_t - (guide is the mean ? (1/N) sum rho : 0);  d / d guide = - sum rho
//   d / d lam = (1/2) sum e_i t_i^h ln t_i;  d / d alpha = sum e_i
template <class Acc, bool symmetric> struct DppOf : Weighing<Acc> {
  static constexpr int operands = 3;  // guide, lam, alpha
  Acc first, guide, half, alpha, noise, power, z, tilt, by_mean, n;
  bool by_guide;

  ADAPOOL_HD Acc detail(const Tap<Acc>& t) const {
    const Acc r = t.a * this->unit - guide;
    return symmetric || !(r < 0) ? r : 0;
  }
  ADAPOOL_HD Acc ratio(Acc r) const { return (r * r + noise) / power; }

  template <class R, class V> ADAPOOL_HD void prepare(const R& r, const CellOperands<Acc>& o, const V& v, bool slopes) {
    by_guide = o.given[0];
    half = o.at[1] / 2;
    alpha = o.at[2];
    n = Acc(r.count);
    Acc top = largest_magnitude(r);
    if (by_guide && std::fabs(o.at[0]) > top) top = std::fabs(o.at[0]);
    // At least the scale 1, at which the 1e-3 is stated; the floor keeps a huge flat region from 0 / 0.
    this->unit = top > 1 ? unit_of(top) : Acc(1);
    noise = Acc(1e-3) * this->unit * this->unit;
    if (noise < std::numeric_limits<Acc>::min()) noise = std::numeric_limits<Acc>::min();
    guide = by_guide ? o.at[0] * this->unit : scaled_mean(r, this->unit, false);
    Sum<Acc> squares;
    bool begun = false;
    r.each([&](const Tap<Acc>& t) {
      if (!begun) first = t.a * this->unit;
      begun = true;
      const Acc d = detail(t);
      squares.add(d * d + noise);
    });
    power = squares.value() / n;
    Sum<Acc> all, sum, p, p_v, d1, d1_p, d1_pv;
    r.each([&](const Tap<Acc>& t) {
      const Acc d = detail(t), ratio_t = ratio(d), th = std::pow(ratio_t, half), value = v(*this, t), w = th + alpha;
      all.add(w);
      sum.add(w * value);
      if (slopes) {
        const Acc inner = d * th / ratio_t;
        p.add(th); p_v.add(th * value);
        d1.add(d); d1_p.add(inner); d1_pv.add(inner * value);
      }
    });
    z = all.value();
    this->mean = sum.value() / z;
    if (!slopes) return;
    tilt = (p_v.value() - this->mean * p.value()) / n;
    by_mean = 2 * half / (z * power) * (d1_pv.value() - this->mean * d1_p.value() - tilt * d1.value());  // sum rho
  }
  ADAPOOL_HD Acc weight(const Tap<Acc>& t) const { return (std::pow(ratio(detail(t)), half) + alpha) / z; }
  ADAPOOL_HD Acc relative(const Tap<Acc>& t) const { return t.a * this->unit - first; }
  ADAPOOL_HD Acc pooled() const { return (first + this->mean) / this->unit; }
  template <class V> ADAPOOL_HD Acc through(const Tap<Acc>& t, const V& v) const {
    const Acc d = detail(t), x = ratio(d), inner = (v(*this, t) - this->mean) * std::pow(x, half) / x;
    const Acc rho = 2 * half / (z * power) * d * (inner - tilt);
    return v.slope(*this, by_guide ? rho : rho - by_mean / n);
  }
  template <class R, class V> ADAPOOL_HD Acc operand(int k, const R& r, const V& v) const {
    if (k == 0) return v.slope(*this, -by_mean);
    Sum<Acc> sum;
    r.each([&](const Tap<Acc>& t) {
      const Acc e = v(*this, t) - this->mean, x = ratio(detail(t));
      sum.add(k == 2 ? e : e * std::pow(x, half) * std::log(x) / 2);
    });
    return v.real(*this, sum.value() / z);
  }
};
template <class Acc> using Dpp = DppOf<Acc, true>;
template <class Acc> using DppAsym = DppOf<Acc, false>;

}  // namespace adapool
