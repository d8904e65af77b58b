// Methods that weigh the taps of a region: y = sum_i w_i a_i with sum_i w_i = 1. Formulas as in adapool/methods.py.
// Host and device; knows a region only by each(), count, keep() and logit(). V is one number or a pack of
// them, one cell each.
//
// A method is its own state after prepare(): what the weights of one region need besides the tap itself.
//   prepare(r, o, v, slopes)  normalisers, mean = sum_i w_i v_i, and, if `slopes`, what through() needs
//   weight(t)                 w_t
//   relative(t), pooled()     a_t from a reference, times unit(); y from the mean of relative values
//   through(t, v)             sum_i v_i dw_i / da_t: the part of a gradient that goes through the weights
//   times(c)                  where it `scales`: what weighs and slopes c times as much, with weight(), through(), and
//   both()
//                             in one for values that are the activations
//   operand(k, r, v)          sum_i v_i dw_i / d operand k
// `v` gives the values that are weighed: the activations themselves in pooling (v(m, t) = m.relative(t)), the
// incoming gradient in unpooling. v.slope() and v.real() bring a result from scaled to true units.
// What taps are gathered into (sums.h) is given to each() and comes back to its function, which adds to nothing else.
#pragma once
#include "math/sums.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

template <class V> struct CellOperands {
  V at[3];
  bool given[3];
};

template <class R> ADAPOOL_HD typename R::V largest_magnitude(const R& r) {
  using V = typename R::V;
  Most<V> top{V(0)};
  r.each([&](const Tap<V>& t, auto& most) { most.take(abs_of(t.a)); }, top);
  return top.value;
}

// Mean of the taps times `unit`; not finite if any tap is not.
template <class R> ADAPOOL_HD typename R::V scaled_mean(const R& r, typename R::V unit) {
  using V = typename R::V;
  V all = V(0);
  r.each([&](const Tap<V>& t, auto& sum) { sum += t.a * unit; }, all);
  return about(all, V(r.count));
}

template <class V> struct Weighing {
  static constexpr bool weighted = true, logits = false, indices = false, ordered = false, scales = false;
  static constexpr int operands = 0;
  V mean;
  template <class R, class Values> ADAPOOL_HD V operand(int, const R&, const Values&) const { return V(0); }
};

// avg: w = 1 / N
template <class V> struct Avg : Weighing<V> {
  static constexpr bool scales = true;
  V n, scale;
  struct Scaled {
    V share;  // c / N
    ADAPOOL_HD V weight(const Tap<V>&) const { return share; }
    template <class Values> ADAPOOL_HD V through(const Tap<V>&, const Values&) const { return V(0); }
    template <class Values> ADAPOOL_HD V both(const Tap<V>&, const Values&) const { return share; }
  };
  ADAPOOL_HD Scaled times(V c) const { return {over(c, n)}; }
  template <class R, class Values> ADAPOOL_HD void prepare(const R& r, const CellOperands<V>&, const Values& v, bool) {
    n = V(r.count);
    scale = unit_of(largest_magnitude(r));
    V all = V(0);
    r.each([&](const Tap<V>& t, auto& sum) { sum += v(*this, t); }, all);
    this->mean = over(all, n);
  }
  ADAPOOL_HD V unit() const { return scale; }
  ADAPOOL_HD V weight(const Tap<V>&) const { return over(V(1), n); }
  ADAPOOL_HD V relative(const Tap<V>& t) const { return t.a * scale; }
  ADAPOOL_HD V pooled() const { return unscaled(this->mean, scale); }
  template <class Values> ADAPOOL_HD V through(const Tap<V>&, const Values&) const { return V(0); }
};

// idw: w = (1/D) / sum 1/D, D = |r|, r = a - m; computed as q = min D / D. Where a tap equals m (to 2 eps max|a|): 1/N.
// Through w: -w_t (v_t - mean) D'_t / D_t, less its mean over the region.
// idw_huber: D = r^2 / 2 where |r| <= 1, else |r| - 1 / 2; of scaled r, and times a factor of the region's.
template <class V, bool huber> struct IdwOf : Weighing<V> {
  V scale, centre, near, z, by_mean;
  decltype(V(0) < V(0)) flat;
  ADAPOOL_HD V knee() const { return smaller(scale, V(8)); }  // no scaled r is beyond 8
  ADAPOOL_HD V distance(V r) const {
    const V size = abs_of(r);
    if constexpr (!huber) return size;
    const V low = smaller(size, knee()), unit = smaller(knee(), V(1));
    return low * (low / (unit + unit)) + knee() / unit * (size - low);
  }
  ADAPOOL_HD V steep(V r, V x) const {  // x D' / D
    if constexpr (!huber) return over(x, r);
    return turned_by(smaller(abs_of(r), knee()) / smaller(knee(), V(1)), r) * x / distance(r);
  }
  template <class R, class Values> ADAPOOL_HD void prepare(const R& r, const CellOperands<V>&, const Values& v, bool) {
    const V top = largest_magnitude(r);
    scale = unit_of(top);
    centre = scaled_mean(r, scale);
    Least<V> gap;
    r.each([&](const Tap<V>& t, auto& least) { least.take(abs_of(relative(t))); }, gap);
    near = distance(gap.value);
    flat = gap.value <= V(2 * Limits<ScalarOf<V>>::epsilon) * (top * scale);
    V all = V(0), weighed = V(0), by = V(0), by_v = V(0);
    r.each(
        [&](const Tap<V>& t, auto& sum, auto& product, auto& turns, auto& turned) {
          const V gap = relative(t), q = select(flat, V(1), over(near, distance(gap))), value = v(*this, t);
          const V turn = huber ? steep(gap, q * near) : q * q * sign_of(gap);
          sum += q;
          product += q * value;
          turns += turn;
          turned += turn * value;
        },
        all, weighed, by, by_v);
    z = all + (centre - centre);
    this->mean = over(weighed, z);
    by_mean = select(flat, V(0), over(by_v - this->mean * by, near * z * V(r.count)));
  }
  ADAPOOL_HD V unit() const { return scale; }
  ADAPOOL_HD V weight(const Tap<V>& t) const { return over(select(flat, V(1), over(near, distance(relative(t)))), z); }
  ADAPOOL_HD V relative(const Tap<V>& t) const { return t.a * scale - centre; }
  ADAPOOL_HD V pooled() const { return unscaled(centre + this->mean, scale); }
  template <class Values> ADAPOOL_HD V through(const Tap<V>& t, const Values& v) const {
    const V own = steep(relative(t), weight(t) * (v(*this, t) - this->mean));
    return select(flat, centre - centre, v.slope(*this, by_mean - own));
  }
};
template <class V> using Idw = IdwOf<V, false>;
template <class V> using IdwHuber = IdwOf<V, true>;

// stochastic_eval: w = r / sum r, r = max(a, 0); 1/N where no tap is positive. Through w: [a_t > 0] (v_t - mean) / sum
// r
template <class V> struct StochasticEval : Weighing<V> {
  V scale, z, top;  // top: the largest tap, scaled; masses keep their digits however large a negative tap is
  decltype(V(0) < V(0)) dead;
  ADAPOOL_HD V mass(V a) const {  // NaN stays NaN
    return select(dead, V(1), select(a <= V(0), V(0), a * scale));
  }
  template <class R, class Values> ADAPOOL_HD void prepare(const R& r, const CellOperands<V>&, const Values& v, bool) {
    Most<V> size{V(0)}, largest;
    V bad = V(0);  // NaN where a tap is
    r.each(
        [&](const Tap<V>& t, auto& magnitude, auto& most, auto& sum) {
          magnitude.take(abs_of(t.a));
          most.take(t.a);
          sum += select(t.a == t.a, V(0), t.a);
        },
        size, largest, bad);
    dead = largest.value <= V(0) && bad == V(0);
    scale = unit_of(select(dead, size.value, largest.value));
    top = largest.value * scale;
    V all = V(0), weighed = V(0);
    r.each(
        [&](const Tap<V>& t, auto& sum, auto& product) {
          const V m = mass(t.a);
          sum += m;
          product += m * v(*this, t);
        },
        all, weighed);
    z = all;
    this->mean = over(weighed, z);
  }
  ADAPOOL_HD V unit() const { return scale; }
  ADAPOOL_HD V weight(const Tap<V>& t) const { return over(mass(t.a), z); }
  // 0 of a tap without mass, which may be beyond the scale; NaN where it is infinite.
  ADAPOOL_HD V relative(const Tap<V>& t) const {
    return select(dead || t.a > V(0), t.a * scale - top, t.a - t.a);
  }
  ADAPOOL_HD V pooled() const { return unscaled(top + this->mean, scale); }
  template <class Values> ADAPOOL_HD V through(const Tap<V>& t, const Values& v) const {
    return select(dead || t.a <= V(0), V(0), v.slope(*this, over(v(*this, t) - this->mean, z)));
  }
};

// lip: w = softmax(logits). Nothing goes through the activations; d / d logit_t: w_t (v_t - mean).
template <class V> struct Lip : Weighing<V> {
  static constexpr bool logits = true;
  V top, z, first;  // first: the largest tap; differences are quarters, which leave room for the largest
  ADAPOOL_HD V mass(V logit) const {
    const V below = logit - top;
    return exp_of_negative<1>(select(below < V(-1e4), V(-1e4), below));
  }
  template <class R, class Values> ADAPOOL_HD void prepare(const R& r, const CellOperands<V>&, const Values& v, bool) {
    Most<V> logit, tap;
    r.each(
        [&](const Tap<V>& t, auto& most, auto& largest) {
          most.take(r.logit(t));
          largest.take(t.a);
        },
        logit, tap);
    top = logit.value;
    first = tap.value;
    V all = V(0), weighed = V(0);
    r.each(
        [&](const Tap<V>& t, auto& sum, auto& product) {
          const V e = mass(r.logit(t));
          sum += e;
          product += e * v(*this, t);
          r.keep(t, 0, e);
        },
        all, weighed);
    z = all;
    this->mean = over(weighed, z);
  }
  ADAPOOL_HD static V unit() { return V(0.25); }
  ADAPOOL_HD V relative(const Tap<V>& t) const { return t.a * V(0.25) - first * V(0.25); }
  ADAPOOL_HD V pooled() const { return first + this->mean * V(4); }
  ADAPOOL_HD V weight_of(const Tap<V>& t, V logit) const { return over(t.known ? t.kept[0] : mass(logit), z); }
  template <class Values> ADAPOOL_HD V through(const Tap<V>&, const Values&) const { return V(0); }
  template <class Values> ADAPOOL_HD V through_logit(const Tap<V>& t, V logit, const Values& v) const {
    return v.real(*this, weight_of(t, logit) * (v(*this, t) - this->mean));
  }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
