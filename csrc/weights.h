// Methods that weigh the taps of a region: y = sum_i w_i a_i with sum_i w_i = 1. Formulas as in adapool/methods.py.
// Host and device; knows a region only by each(), count, and logit().
//
// A method is its own state after prepare(): what the weights of one region need besides the tap itself.
//   prepare(r, o, v, slopes)  normalisers, mean = sum_i w_i v_i, and, if `slopes`, what through() needs
//   weight(t)                 w_t
//   relative(t), pooled()     a_t from a reference in scaled units; y from the mean of relative values
//   through(t, v)             sum_i v_i dw_i / da_t: the part of a gradient that goes through the weights
//   operand(k, r, v)          sum_i v_i dw_i / d operand k
// `v` gives the values that are weighed: the activations themselves in pooling (v(m, t) = m.relative(t)), the
// incoming gradient in unpooling. v.slope() and v.real() bring a result from scaled to true units.
#pragma once
#include "region.h"

namespace adapool {

template <class Acc> struct CellOperands {
  Acc at[3];
  bool given[3];
};

// Magnitudes below this fraction of the region's largest count as zero (as TINY in adapool/methods.py).
template <class Acc> ADAPOOL_HD constexpr Acc tiny() { return Acc(5.421010862427522e-20); }

template <class Acc> ADAPOOL_HD Acc sign_of(Acc a) { return Acc((a > 0) - (a < 0)); }

template <class R> ADAPOOL_HD typename R::Acc largest_magnitude(const R& r) {
  using Acc = typename R::Acc;
  Acc top = 0;
  r.each([&](const Tap<Acc>& t) { const Acc size = std::fabs(t.a); if (size > top) top = size; });
  return top;
}

// Mean of the taps times `unit`. Any tap that is not finite makes it NaN when `strict`.
template <class R> ADAPOOL_HD typename R::Acc scaled_mean(const R& r, typename R::Acc unit, bool strict) {
  using Acc = typename R::Acc;
  Sum<Acc> sum;
  r.each([&](const Tap<Acc>& t) { sum.add(t.a * unit); });
  const Acc mean = sum.value() / Acc(r.count);
  return strict ? mean + (mean - mean) : mean;
}

template <class Acc_> struct Weighing {
  using Acc = Acc_;
  static constexpr bool weighted = true, logits = false, indices = false;
  static constexpr int operands = 0;
  Acc unit, mean;
  template <class R, class V> ADAPOOL_HD Acc operand(int, const R&, const V&) const { return 0; }
};

// avg: w = 1 / N
template <class Acc> struct Avg : Weighing<Acc> {
  Acc n;
  template <class R, class V> ADAPOOL_HD void prepare(const R& r, const CellOperands<Acc>&, const V& v, bool) {
    n = Acc(r.count);
    this->unit = unit_of(largest_magnitude(r));
    Sum<Acc> sum;
    r.each([&](const Tap<Acc>& t) { sum.add(v(*this, t)); });
    this->mean = sum.value() / n;
  }
  ADAPOOL_HD Acc weight(const Tap<Acc>&) const { return 1 / n; }
  ADAPOOL_HD Acc relative(const Tap<Acc>& t) const { return t.a * this->unit; }
  ADAPOOL_HD Acc pooled() const { return this->mean / this->unit; }
  template <class V> ADAPOOL_HD Acc through(const Tap<Acc>&, const V&) const { return 0; }
};

// softpool: w = softmax(a). d = a - max; below -1e4 nothing weighs in any dtype. d w/d a_t: w_t (v_t - mean).
template <class Acc> struct SoftPool : Weighing<Acc> {
  Acc top, z;
  template <class R, class V> ADAPOOL_HD void prepare(const R& r, const CellOperands<Acc>&, const V& v, bool) {
    this->unit = 1;
    top = -std::numeric_limits<Acc>::infinity();
    r.each([&](const Tap<Acc>& t) { if (t.a > top) top = t.a; });
    Sum<Acc> all, sum;
    r.each([&](const Tap<Acc>& t) { const Acc e = std::exp(relative(t)); all.add(e); sum.add(e * v(*this, t)); });
    z = all.value();
    this->mean = sum.value() / z;
  }
  ADAPOOL_HD Acc weight(const Tap<Acc>& t) const { return std::exp(relative(t)) / z; }
  // a - a is 0 for a finite tap and NaN for any other, which the clamp would hide.
  ADAPOOL_HD Acc relative(const Tap<Acc>& t) const {
    const Acc below = t.a - top;
    return (below < Acc(-1e4) ? Acc(-1e4) : below) + (t.a - t.a);
  }
  ADAPOOL_HD Acc pooled() const { return top + this->mean; }
  template <class V> ADAPOOL_HD Acc through(const Tap<Acc>& t, const V& v) const {
    return weight(t) * (v(*this, t) - this->mean);
  }
};

// edscw: w = softmax(D(a, m)), D = 2 |a m| / (a^2 + m^2), m the mean. D is at most 1, so exp needs no shift.
// Through D itself: w_t (v_t - mean) dD/da; through m, once per region: (1/N) sum_i w_i (v_i - mean) dD/dm.
template <class Acc> struct Edscw : Weighing<Acc> {
  Acc centre, floor, z, by_mean;
  struct Dice { Acc d, da, dm; };

  ADAPOOL_HD Dice dice(Acc u) const {
    const Acc a = std::fabs(u), m = std::fabs(centre), size = a > m ? a : m;
    if (size <= floor) return {0, 0, 0};
    const Acc x = u / size, y = centre / size, squares = x * x + y * y;
    const Acc slope = 2 * sign_of(u) * sign_of(centre) * (y * y - x * x) / (squares * squares * size);
    return {2 * std::fabs(x * y) / squares, y * slope, -x * slope};
  }
  template <class R, class V> ADAPOOL_HD void prepare(const R& r, const CellOperands<Acc>&, const V& v, bool slopes) {
    const Acc top = largest_magnitude(r);
    this->unit = unit_of(top);
    floor = tiny<Acc>() * top * this->unit;
    centre = scaled_mean(r, this->unit, true);
    Sum<Acc> all, sum, by, by_v;
    r.each([&](const Tap<Acc>& t) {
      const Dice s = dice(t.a * this->unit);
      const Acc e = std::exp(s.d), value = v(*this, t);
      all.add(e);
      sum.add(e * value);
      if (slopes) { by.add(e * s.dm); by_v.add(e * s.dm * value); }
    });
    z = all.value() + (centre - centre);
    this->mean = sum.value() / z;
    by_mean = (by_v.value() - this->mean * by.value()) / (z * Acc(r.count));
  }
  ADAPOOL_HD Acc weight(const Tap<Acc>& t) const { return std::exp(dice(t.a * this->unit).d) / z; }
  ADAPOOL_HD Acc relative(const Tap<Acc>& t) const { return t.a * this->unit - centre; }
  ADAPOOL_HD Acc pooled() const { return (centre + this->mean) / this->unit; }
  template <class V> ADAPOOL_HD Acc through(const Tap<Acc>& t, const V& v) const {
    const Dice s = dice(t.a * this->unit);
    const Acc direct = s.da == 0 ? Acc(0) : std::exp(s.d) / z * (v(*this, t) - this->mean) * s.da;
    return v.slope(*this, direct + by_mean);
  }
};

// idw: w = (1/|r|) / sum 1/|r|, r = a - m; computed as q = min|r| / |r|. Where a tap equals m (to rounding): 1/N.
// dw: -w_t (v_t - mean) / r_t, less its mean over the region.
template <class Acc> struct Idw : Weighing<Acc> {
  Acc centre, near, z, by_mean, n;
  bool flat;
  template <class R, class V> ADAPOOL_HD void prepare(const R& r, const CellOperands<Acc>&, const V& v, bool) {
    this->unit = unit_of(largest_magnitude(r));
    n = Acc(r.count);
    centre = scaled_mean(r, this->unit, true);
    Acc far = 0;
    near = std::numeric_limits<Acc>::infinity();
    r.each([&](const Tap<Acc>& t) {
      const Acc gap = std::fabs(relative(t));
      if (gap > far) far = gap;
      if (gap < near) near = gap;
    });
    flat = near <= 16 * std::numeric_limits<Acc>::epsilon() * far;
    Sum<Acc> all, sum, by, by_v;
    r.each([&](const Tap<Acc>& t) {
      const Acc gap = relative(t), q = flat ? 1 : near / std::fabs(gap), value = v(*this, t);
      const Acc turn = q * q * sign_of(gap);
      all.add(q);
      sum.add(q * value);
      by.add(turn);
      by_v.add(turn * value);
    });
    z = all.value() + (centre - centre);
    this->mean = sum.value() / z;
    by_mean = flat ? 0 : (by_v.value() - this->mean * by.value()) / (near * z * n);
  }
  ADAPOOL_HD Acc weight(const Tap<Acc>& t) const { return (flat ? 1 : near / std::fabs(relative(t))) / z; }
  ADAPOOL_HD Acc relative(const Tap<Acc>& t) const { return t.a * this->unit - centre; }
  ADAPOOL_HD Acc pooled() const { return (centre + (flat ? 0 : this->mean)) / this->unit; }
  template <class V> ADAPOOL_HD Acc through(const Tap<Acc>& t, const V& v) const {
    if (flat) return centre - centre;
    return v.slope(*this, by_mean - weight(t) * (v(*this, t) - this->mean) / relative(t));
  }
};

// ada: w = beta edscw + (1 - beta) softpool, each with its own reference
template <class Acc> struct Ada : Weighing<Acc> {
  static constexpr int operands = 1;
  Edscw<Acc> dice;
  SoftPool<Acc> soft;
  Acc beta;
  template <class R, class V> ADAPOOL_HD void prepare(const R& r, const CellOperands<Acc>& o, const V& v, bool slopes) {
    beta = o.at[0];
    dice.prepare(r, o, v, slopes);
    soft.prepare(r, o, v, slopes);
    this->unit = 1;
    this->mean = beta * dice.mean + (1 - beta) * soft.mean;  // of use where v is not relative
  }
  ADAPOOL_HD Acc weight(const Tap<Acc>& t) const { return beta * dice.weight(t) + (1 - beta) * soft.weight(t); }
  ADAPOOL_HD Acc relative(const Tap<Acc>& t) const { return t.a; }
  ADAPOOL_HD Acc pooled() const { return beta * dice.pooled() + (1 - beta) * soft.pooled(); }
  template <class V> ADAPOOL_HD Acc through(const Tap<Acc>& t, const V& v) const {
    return beta * dice.through(t, v) + (1 - beta) * soft.through(t, v);
  }
  template <class R, class V> ADAPOOL_HD Acc operand(int, const R&, const V& v) const {
    return v.total(dice) - v.total(soft);
  }
};

// stochastic_eval: w = r / sum r, r = max(a, 0); 1/N where no tap is positive.  dw: [a_t > 0] (v_t - mean) / sum r
template <class Acc> struct StochasticEval : Weighing<Acc> {
  Acc z, first;
  bool dead;
  ADAPOOL_HD Acc mass(Acc a) const { return dead ? 1 : a <= 0 ? 0 : a * this->unit; }  // NaN stays NaN
  template <class R, class V> ADAPOOL_HD void prepare(const R& r, const CellOperands<Acc>&, const V& v, bool) {
    this->unit = unit_of(largest_magnitude(r));
    dead = true;
    bool begun = false;
    r.each([&](const Tap<Acc>& t) {
      if (!begun) first = t.a * this->unit;
      begun = true;
      if (!(t.a <= 0)) dead = false;
    });
    Sum<Acc> all, sum;
    r.each([&](const Tap<Acc>& t) { const Acc m = mass(t.a); all.add(m); sum.add(m * v(*this, t)); });
    z = all.value();
    this->mean = sum.value() / z;
  }
  ADAPOOL_HD Acc weight(const Tap<Acc>& t) const { return mass(t.a) / z; }
  ADAPOOL_HD Acc relative(const Tap<Acc>& t) const { return t.a * this->unit - first; }
  ADAPOOL_HD Acc pooled() const { return (first + this->mean) / this->unit; }
  template <class V> ADAPOOL_HD Acc through(const Tap<Acc>& t, const V& v) const {
    return dead || t.a <= 0 ? Acc(0) : v.slope(*this, (v(*this, t) - this->mean) / z);
  }
};

// lip: w = softmax(logits). Nothing goes through the activations; d / d logit_t: w_t (v_t - mean).
template <class Acc> struct Lip : Weighing<Acc> {
  static constexpr bool logits = true;
  Acc top, z, first;
  ADAPOOL_HD Acc mass(Acc logit) const {
    const Acc below = logit - top;
    return std::exp(below < Acc(-1e4) ? Acc(-1e4) : below);
  }
  template <class R, class V> ADAPOOL_HD void prepare(const R& r, const CellOperands<Acc>&, const V& v, bool) {
    this->unit = unit_of(largest_magnitude(r));
    top = -std::numeric_limits<Acc>::infinity();
    first = 0;
    r.each([&](const Tap<Acc>& t) {
      const Acc logit = r.logit(t);
      if (logit > top) { top = logit; first = t.a * this->unit; }
    });
    Sum<Acc> all, sum;
    r.each([&](const Tap<Acc>& t) { const Acc e = mass(r.logit(t)); all.add(e); sum.add(e * v(*this, t)); });
    z = all.value();
    this->mean = sum.value() / z;
  }
  ADAPOOL_HD Acc relative(const Tap<Acc>& t) const { return t.a * this->unit - first; }
  ADAPOOL_HD Acc pooled() const { return (first + this->mean) / this->unit; }
  ADAPOOL_HD Acc weight_of(Acc logit) const { return mass(logit) / z; }
  template <class V> ADAPOOL_HD Acc through(const Tap<Acc>&, const V&) const { return 0; }
  template <class V> ADAPOOL_HD Acc through_logit(const Tap<Acc>& t, Acc logit, const V& v) const {
    return v.real(*this, weight_of(logit) * (v(*this, t) - this->mean));
  }
};

}  // namespace adapool
