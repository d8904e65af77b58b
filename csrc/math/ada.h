// AdaPool (Stergiou and Poppe 2022) and the two poolings that it blends. Same interface as the methods of weights.h.
#pragma once
#include "math/weights.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// softpool: w = softmax(a). Relative values are quarters, so that the difference of no two numbers overflows; a tap
// that is not finite gives NaN. Through w: w_t (v_t - mean).
template <class V> struct SoftPool : Weighing<V> {
  static constexpr bool scales = true;
  V top, share;  // share: 1 / sum e^(a - top)
  template <class R, class Values> ADAPOOL_HD void prepare(const R& r, const CellOperands<V>&, const Values& v, bool) {
    Most<V> largest;
    r.each([&](const Tap<V>& t, auto& most) { most.take(t.a); }, largest);
    top = largest.value;
    V all = V(0), weighed = V(0);
    r.each(
        [&](const Tap<V>& t, auto& sum, auto& product) {
          const V e = exp_of_negative<4>(relative(t));
          sum += e;
          product += e * v(*this, t);
          r.keep(t, 2, e);
        },
        all, weighed);
    share = reciprocal(all);
    this->mean = weighed * share;
  }
  struct Scaled {  // of quarters: top / 4, 4 c share, mean, and mean - 1/4
    V top, share, mean, level;
    ADAPOOL_HD static V unit() { return V(0.25); }
    ADAPOOL_HD V relative(const Tap<V>& t) const { return t.a * V(0.25) - top; }
    ADAPOOL_HD V mass(const Tap<V>& t) const { return t.known ? t.kept[2] : exp_of_negative<4>(relative(t)); }
    ADAPOOL_HD V weight(const Tap<V>& t) const { return mass(t) * share * V(0.25); }
    template <class Values> ADAPOOL_HD V through(const Tap<V>& t, const Values& v) const {
      return v.real(*this, weight(t) * (v(*this, t) - mean));
    }
    // w (v - mean) 4 + w, of which the difference alone may be too large for its true unit
    template <class Values> ADAPOOL_HD V both(const Tap<V>& t, const Values& v) const {
      return mass(t) * share * (v(*this, t) - level);
    }
  };
  ADAPOOL_HD Scaled times(V c) const { return {top * V(0.25), share * c * V(4), this->mean, this->mean - V(0.25)}; }
  ADAPOOL_HD static V unit() { return V(0.25); }
  ADAPOOL_HD V weight(const Tap<V>& t) const { return (t.known ? t.kept[2] : exp_of_negative<4>(relative(t))) * share; }
  ADAPOOL_HD V relative(const Tap<V>& t) const { return t.a * V(0.25) - top * V(0.25); }
  ADAPOOL_HD V pooled() const { return top + this->mean * V(4); }
  template <class Values> ADAPOOL_HD V through(const Tap<V>& t, const Values& v) const {
    return v.real(*this, weight(t) * (v(*this, t) - this->mean));
  }
};

// edscw: w = softmax(D(a, m)), D = 2 |a m| / (a^2 + m^2), m the mean. D is at most 1, so exp needs no shift.
// With u = a / m: D = 2 |u| / (1 + u^2), dD/du = sign(u) T, T = 2 (1 - u^2) / (1 + u^2)^2, sign(0) = 0. Relative values
// are r = a - m in the scale of the largest tap, and u = 1 + r / m. A mean below 2^-60 of the largest tap counts as
// zero. Through D itself: w_t (v_t - mean) sign(u_t) T_t / m; through m, once per region: -(1/N) sum_i w_i (v_i - mean)
// T_i |u_i| / m. What is computed is k u, with k = half of Steps, so that (k u) / (k^2 + (k u)^2) is D in the steps of
// exp_steps().
template <class V> struct Edscw : Weighing<V> {
  static constexpr bool scales = true;
  static constexpr double k = Steps<ScalarOf<V>>::half;
  V scale, centre, slant, share, by_mean;  // slant: k / m; share: 1 / sum e^D
  struct Dice {
    V e, steps, r, lean;  // e^D, D in steps, T / k = r lean
    ADAPOOL_HD V turn() const { return r * lean; }
  };

  ADAPOOL_HD Dice dice(V relative) const {
    const V u = abs_of(fused(relative, slant, V(k))), r = reciprocal(fused(u, u, V(k * k)));
    return {exp_steps(u * r), u * r, r, fused(r, V(4 * k * k * k), V(-2 * k))};
  }
  ADAPOOL_HD V slope(const Tap<V>& t, V turn) const {
    return select(t.a == V(0), V(0), turned_by(turn * abs_of(slant), t.a));
  }
  template <class R, class Values>
  ADAPOOL_HD void prepare(const R& r, const CellOperands<V>&, const Values& v, bool slopes) {
    scale = unit_of(largest_magnitude(r));
    centre = scaled_mean(r, scale);
    slant = select(abs_of(centre) > V(0x1p-60), reciprocal(centre) * V(k), V(0));
    V all = V(0), weighed = V(0), by = V(0), by_v = V(0);
    r.each(
        [&](const Tap<V>& t, auto& sum, auto& product, auto& turns, auto& turned) {
          const Dice s = dice(relative(t));
          const V value = v(*this, t);
          sum += s.e;
          product += s.e * value;
          r.keep(t, 0, s.e);
          if (slopes) {
            r.keep(t, 1, slope(t, s.turn()));
            const V turn = s.e * s.steps * s.lean;
            turns += turn;
            turned += turn * value;
          }
        },
        all, weighed, by, by_v);
    share = reciprocal(all) + (centre - centre);  // NaN where the mean is no number
    this->mean = weighed * share;
    by_mean = about((this->mean * by - by_v) * share * (slant * V(1 / k)), V(r.count));
  }
  using Scaled = Edscw;
  ADAPOOL_HD Scaled times(V c) const {
    Scaled all = *this;
    all.share = share * c;
    all.by_mean = by_mean * c;
    return all;
  }
  ADAPOOL_HD V unit() const { return scale; }
  ADAPOOL_HD V weight(const Tap<V>& t) const { return (t.known ? t.kept[0] : dice(relative(t)).e) * share; }
  ADAPOOL_HD V relative(const Tap<V>& t) const { return fused(t.a, scale, -centre); }
  ADAPOOL_HD V pooled() const { return unscaled(centre + this->mean, scale); }
  ADAPOOL_HD V steep(const Tap<V>& t) const { return t.known ? t.kept[1] : slope(t, dice(relative(t)).turn()); }
  template <class Values> ADAPOOL_HD V through(const Tap<V>& t, const Values& v) const {
    return v.slope(*this, weight(t) * (v(*this, t) - this->mean) * steep(t) + by_mean);
  }
  template <class Values> ADAPOOL_HD V both(const Tap<V>& t, const Values& v) const {
    return weight(t) * ((v(*this, t) - this->mean) * steep(t) + V(1)) + by_mean;
  }
};

// ada: w = beta edscw + (1 - beta) softpool, each with its own reference
template <class V> struct Ada : Weighing<V> {
  static constexpr bool scales = true;
  static constexpr int operands = 1;
  Edscw<V> dice;
  SoftPool<V> soft;
  V beta;
  template <class R, class Values>
  ADAPOOL_HD void prepare(const R& r, const CellOperands<V>& o, const Values& v, bool slopes) {
    beta = o.at[0];
    dice.prepare(r, o, v, slopes);
    soft.prepare(r, o, v, slopes);
    this->mean = mix(dice.mean, soft.mean);  // of use where v is not relative
  }
  struct Scaled {
    Edscw<V> dice;
    typename SoftPool<V>::Scaled soft;
    ADAPOOL_HD V weight(const Tap<V>& t) const { return dice.weight(t) + soft.weight(t); }
    template <class Values> ADAPOOL_HD V through(const Tap<V>& t, const Values& v) const {
      return dice.through(t, v) + soft.through(t, v);
    }
    template <class Values> ADAPOOL_HD V both(const Tap<V>& t, const Values& v) const {
      return dice.both(t, v) + soft.both(t, v);
    }
  };
  ADAPOOL_HD Scaled times(V c) const { return {dice.times(c * beta), soft.times(c * (V(1) - beta))}; }
  ADAPOOL_HD static V unit() { return V(1); }
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

}  // namespace ADAPOOL_ISA
}  // namespace adapool
