// Methods that weigh the taps of a region: y = sum_i w_i a_i with sum_i w_i = 1. Formulas as in adapool/methods.py.
// Host and device; knows a region only by each(), count, and logit(). V is one number or a pack of them, one cell each.
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
inline namespace ADAPOOL_ISA {

template <class V> struct CellOperands {
  V at[3];
  bool given[3];
};

// Magnitudes below this fraction (2^-64) of the region's largest count as zero, as TINY in adapool/methods.py.
template <class V> ADAPOOL_HD V tiny() { return V(5.421010862427522e-20); }
template <class V> ADAPOOL_HD V infinity() { return V(std::numeric_limits<ScalarOf<V>>::infinity()); }

template <class R> ADAPOOL_HD typename R::V largest_magnitude(const R& r) {
  using V = typename R::V;
  V top = V(0);
  r.each([&](const Tap<V>& t) { const V size = abs_of(t.a); top = select(size > top, size, top); });
  return top;
}

// Mean of the taps times `unit`; NaN if any tap is not finite.
template <class R> ADAPOOL_HD typename R::V scaled_mean(const R& r, typename R::V unit) {
  using V = typename R::V;
  V sum = V(0);
  r.each([&](const Tap<V>& t) { sum += t.a * unit; }, sum);
  const V mean = sum / V(r.count);
  return mean + (mean - mean);
}

template <class V> struct Weighing {
  static constexpr bool weighted = true, logits = false, indices = false;
  static constexpr int operands = 0;
  V unit, mean;
  template <class R, class Values> ADAPOOL_HD V operand(int, const R&, const Values&) const { return V(0); }
};

// avg: w = 1 / N
template <class V> struct Avg : Weighing<V> {
  V n;
  template <class R, class Values>
  ADAPOOL_HD void prepare(const R& r, const CellOperands<V>&, const Values& v, bool) {
    n = V(r.count);
    this->unit = unit_of(largest_magnitude(r));
    V sum = V(0);
    r.each([&](const Tap<V>& t) { sum += v(*this, t); }, sum);
    this->mean = sum / n;
  }
  ADAPOOL_HD V weight(const Tap<V>&) const { return V(1) / n; }
  ADAPOOL_HD V relative(const Tap<V>& t) const { return t.a * this->unit; }
  ADAPOOL_HD V pooled() const { return this->mean / this->unit; }
  template <class Values> ADAPOOL_HD V through(const Tap<V>&, const Values&) const { return V(0); }
};

// softpool: w = softmax(a). d = a - max; below -1e4 nothing weighs in any dtype. Through w: w_t (v_t - mean).
template <class V> struct SoftPool : Weighing<V> {
  V top, z;
  template <class R, class Values>
  ADAPOOL_HD void prepare(const R& r, const CellOperands<V>&, const Values& v, bool) {
    this->unit = V(1);
    top = -infinity<V>();
    r.each([&](const Tap<V>& t) { top = select(t.a > top, t.a, top); });
    V all = V(0), sum = V(0);
    r.each([&](const Tap<V>& t) {
      const V e = exp_of(relative(t));
      all += e;
      sum += e * v(*this, t);
      r.keep(t, 2, e);
    }, all, sum);
    z = all;
    this->mean = sum / z;
  }
  ADAPOOL_HD V weight(const Tap<V>& t) const { return (t.known ? t.kept[2] : exp_of(relative(t))) / z; }
  // a - a is 0 for a finite tap and NaN for any other, which the clamp would hide.
  ADAPOOL_HD V relative(const Tap<V>& t) const {
    const V below = t.a - top;
    return select(below < V(-1e4), V(-1e4), below) + (t.a - t.a);
  }
  ADAPOOL_HD V pooled() const { return top + this->mean; }
  template <class Values> ADAPOOL_HD V through(const Tap<V>& t, const Values& v) const {
    return weight(t) * (v(*this, t) - this->mean);
  }
};

// edscw: w = softmax(D(a, m)), D = 2 |a m| / (a^2 + m^2), m the mean. D is at most 1, so exp needs no shift.
// Through D itself: w_t (v_t - mean) dD/da; through m, once per region: (1/N) sum_i w_i (v_i - mean) dD/dm.
template <class V> struct Edscw : Weighing<V> {
  V centre, floor, z, by_mean;
  struct Dice { V d, da, dm; };

  ADAPOOL_HD Dice dice(V u) const {
    const V a = abs_of(u), m = abs_of(centre), size = select(a > m, a, m);
    const auto known = size > floor;
    const V inverse = V(1) / select(known, size, V(1)), x = u * inverse, y = centre * inverse;
    const V part = V(1) / (x * x + y * y);
    const V slope = V(2) * sign_of(u) * sign_of(centre) * (y * y - x * x) * part * part * inverse;
    return {select(known, V(2) * abs_of(x * y) * part, V(0)), select(known, y * slope, V(0)),
            select(known, -(x * slope), V(0))};
  }
  template <class R, class Values>
  ADAPOOL_HD void prepare(const R& r, const CellOperands<V>&, const Values& v, bool slopes) {
    const V top = largest_magnitude(r);
    this->unit = unit_of(top);
    floor = tiny<V>() * top * this->unit;
    centre = scaled_mean(r, this->unit);
    V all = V(0), sum = V(0), by = V(0), by_v = V(0);
    r.each([&](const Tap<V>& t) {
      const Dice s = dice(t.a * this->unit);
      const V e = exp_of(s.d), value = v(*this, t);
      all += e;
      sum += e * value;
      r.keep(t, 0, e);
      r.keep(t, 1, s.da);
      if (slopes) { by += e * s.dm; by_v += e * s.dm * value; }
    }, all, sum, by, by_v);
    z = all + (centre - centre);
    this->mean = sum / z;
    by_mean = (by_v - this->mean * by) / (z * V(r.count));
  }
  ADAPOOL_HD V weight(const Tap<V>& t) const {
    return (t.known ? t.kept[0] : exp_of(dice(t.a * this->unit).d)) / z;
  }
  ADAPOOL_HD V relative(const Tap<V>& t) const { return t.a * this->unit - centre; }
  ADAPOOL_HD V pooled() const { return (centre + this->mean) / this->unit; }
  template <class Values> ADAPOOL_HD V through(const Tap<V>& t, const Values& v) const {
    const V da = t.known ? t.kept[1] : dice(t.a * this->unit).da;
    const V direct = select(da == V(0), V(0), weight(t) * (v(*this, t) - this->mean) * da);
    return v.slope(*this, direct + by_mean);
  }
};

// idw: w = (1/|r|) / sum 1/|r|, r = a - m; computed as q = min|r| / |r|. Where a tap equals m (to 2 eps max|a|): 1/N.
// Through w: -w_t (v_t - mean) / r_t, less its mean over the region.
template <class V> struct Idw : Weighing<V> {
  V centre, near, z, by_mean;
  decltype(V(0) < V(0)) flat;
  template <class R, class Values>
  ADAPOOL_HD void prepare(const R& r, const CellOperands<V>&, const Values& v, bool) {
    const V top = largest_magnitude(r);
    this->unit = unit_of(top);
    centre = scaled_mean(r, this->unit);
    near = infinity<V>();
    r.each([&](const Tap<V>& t) {
      const V gap = abs_of(relative(t));
      near = select(gap < near, gap, near);
    });
    flat = near <= V(2 * std::numeric_limits<ScalarOf<V>>::epsilon()) * (top * this->unit);
    V all = V(0), sum = V(0), by = V(0), by_v = V(0);
    r.each([&](const Tap<V>& t) {
      const V gap = relative(t), q = select(flat, V(1), near / abs_of(gap)), value = v(*this, t);
      const V turn = q * q * sign_of(gap);
      all += q;
      sum += q * value;
      by += turn;
      by_v += turn * value;
    }, all, sum, by, by_v);
    z = all + (centre - centre);
    this->mean = sum / z;
    by_mean = select(flat, V(0), (by_v - this->mean * by) / (near * z * V(r.count)));
  }
  ADAPOOL_HD V weight(const Tap<V>& t) const { return select(flat, V(1), near / abs_of(relative(t))) / z; }
  ADAPOOL_HD V relative(const Tap<V>& t) const { return t.a * this->unit - centre; }
  ADAPOOL_HD V pooled() const { return (centre + this->mean) / this->unit; }
  template <class Values> ADAPOOL_HD V through(const Tap<V>& t, const Values& v) const {
    const V own = weight(t) * (v(*this, t) - this->mean) / relative(t);
    return select(flat, centre - centre, v.slope(*this, by_mean - own));
  }
};

// ada: w = beta edscw + (1 - beta) softpool, each with its own reference
template <class V> struct Ada : Weighing<V> {
  static constexpr int operands = 1;
  Edscw<V> dice;
  SoftPool<V> soft;
  V beta;
  template <class R, class Values>
  ADAPOOL_HD void prepare(const R& r, const CellOperands<V>& o, const Values& v, bool slopes) {
    beta = o.at[0];
    dice.prepare(r, o, v, slopes);
    soft.prepare(r, o, v, slopes);
    this->unit = V(1);
    this->mean = mix(dice.mean, soft.mean);  // of use where v is not relative
  }
  ADAPOOL_HD V mix(V of_dice, V of_soft) const { return beta * of_dice + (V(1) - beta) * of_soft; }
  ADAPOOL_HD V weight(const Tap<V>& t) const { return mix(dice.weight(t), soft.weight(t)); }
  ADAPOOL_HD V relative(const Tap<V>& t) const { return t.a; }
  ADAPOOL_HD V pooled() const { return mix(dice.pooled(), soft.pooled()); }
  template <class Values> ADAPOOL_HD V through(const Tap<V>& t, const Values& v) const {
    return mix(dice.through(t, v), soft.through(t, v));
  }
  template <class R, class Values> ADAPOOL_HD V operand(int, const R&, const Values& v) const {
    return v.total(dice) - v.total(soft);
  }
};

// stochastic_eval: w = r / sum r, r = max(a, 0); 1/N where no tap is positive. Through w: [a_t > 0] (v_t - mean) / sum r
template <class V> struct StochasticEval : Weighing<V> {
  V z, top;  // top: the largest tap, scaled, near which the tiny masses beside large negative taps keep their digits
  decltype(V(0) < V(0)) dead;
  ADAPOOL_HD V mass(V a) const {  // NaN stays NaN
    return select(dead, V(1), select(a <= V(0), V(0), a * this->unit));
  }
  template <class R, class Values>
  ADAPOOL_HD void prepare(const R& r, const CellOperands<V>&, const Values& v, bool) {
    this->unit = unit_of(largest_magnitude(r));
    dead = V(0) == V(0);
    top = -infinity<V>();
    r.each([&](const Tap<V>& t) {
      top = select(t.a > top, t.a, top);
      dead = dead && t.a <= V(0);
    });
    top = top * this->unit;
    V all = V(0), sum = V(0);
    r.each([&](const Tap<V>& t) { const V m = mass(t.a); all += m; sum += m * v(*this, t); }, all, sum);
    z = all;
    this->mean = sum / z;
  }
  ADAPOOL_HD V weight(const Tap<V>& t) const { return mass(t.a) / z; }
  ADAPOOL_HD V relative(const Tap<V>& t) const { return t.a * this->unit - top; }
  ADAPOOL_HD V pooled() const { return (top + this->mean) / this->unit; }
  template <class Values> ADAPOOL_HD V through(const Tap<V>& t, const Values& v) const {
    return select(dead || t.a <= V(0), V(0), v.slope(*this, (v(*this, t) - this->mean) / z));
  }
};

// lip: w = softmax(logits). Nothing goes through the activations; d / d logit_t: w_t (v_t - mean).
template <class V> struct Lip : Weighing<V> {
  static constexpr bool logits = true;
  V top, z, first;
  ADAPOOL_HD V mass(V logit) const {
    const V below = logit - top;
    return exp_of(select(below < V(-1e4), V(-1e4), below));
  }
  template <class R, class Values>
  ADAPOOL_HD void prepare(const R& r, const CellOperands<V>&, const Values& v, bool) {
    this->unit = V(0.25);  // room for differences of the largest numbers
    top = -infinity<V>();
    first = V(0);
    r.each([&](const Tap<V>& t) {
      const V logit = r.logit(t);
      const auto higher = logit > top;
      top = select(higher, logit, top);
      first = select(higher, t.a * this->unit, first);
    });
    V all = V(0), sum = V(0);
    r.each([&](const Tap<V>& t) {
      const V e = mass(r.logit(t));
      all += e;
      sum += e * v(*this, t);
      r.keep(t, 0, e);
    }, all, sum);
    z = all;
    this->mean = sum / z;
  }
  ADAPOOL_HD V relative(const Tap<V>& t) const { return t.a * this->unit - first; }
  ADAPOOL_HD V pooled() const { return (first + this->mean) / this->unit; }
  ADAPOOL_HD V weight_of(const Tap<V>& t, V logit) const { return (t.known ? t.kept[0] : mass(logit)) / z; }
  template <class Values> ADAPOOL_HD V through(const Tap<V>&, const Values&) const { return V(0); }
  template <class Values> ADAPOOL_HD V through_logit(const Tap<V>& t, V logit, const Values& v) const {
    return v.real(*this, weight_of(t, logit) * (v(*this, t) - this->mean));
  }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
