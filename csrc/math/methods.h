// The list of compiled methods, and those that do not weigh taps: max, sum, mixed, stochastic, lp, power.
// Host and device. Adding a method: write its struct, add its line to ADAPOOL_METHODS.
#pragma once
#include "math/ada.h"
#include "math/dpp.h"

#define ADAPOOL_METHODS(X)             \
  X(max, Max)                          \
  X(avg, Avg)                          \
  X(sum, Total)                        \
  X(lp, Lp)                            \
  X(lp_abs, LpAbs)                     \
  X(stochastic, Stochastic)            \
  X(stochastic_eval, StochasticEval)   \
  X(softpool, SoftPool)                \
  X(edscw, Edscw)                      \
  X(idw, Idw)                          \
  X(idw_huber, IdwHuber)               \
  X(ada, Ada)                          \
  X(dpp, Dpp)                          \
  X(dpp_asym, DppAsym)                 \
  X(lip, Lip)                          \
  X(power, Power)                      \
  X(power_sum, PowerSum)               \
  X(mixed, Mixed)

namespace adapool {
inline namespace ADAPOOL_ISA {

// A plain method has prepare(r, o), pooled() and slope(t) = dy / da_t; operand(k, r) = dy / d operand k.
template <class V> struct Plain {
  static constexpr bool weighted = false, logits = false, indices = false, ordered = false, scales = false;
  static constexpr int operands = 0;
  template <class R> ADAPOOL_HD V operand(int, const R&) const { return V(0); }
};

// One tap is chosen; the gradient goes to it alone.
template <class V> struct Choosing : Plain<V> {
  static constexpr bool indices = true;
  V y;
  IndexOf<V> chosen;
  ADAPOOL_HD V pooled() const { return y; }
  ADAPOOL_HD V slope(const Tap<V>& t) const {
    return select(IndexOf<V>(int32_t(t.index)) == chosen, V(1), V(0));
  }
};

// max: the first of equal maxima; a NaN wins
template <class V> struct Max : Choosing<V> {
  template <class R> ADAPOOL_HD void prepare(const R& r, const CellOperands<V>&) {
    if constexpr (asks_which<R>) {
      Pick<V> best;
      r.each([&](const Tap<V>& t, auto& pick) { pick.take(pick.rises(t.a), t); }, best);
      this->y = best.a;
      this->chosen = best.index;
    } else {
      Peak<V> top;
      r.each([&](const Tap<V>& t, auto& peak) { peak.take(t.a); }, top);
      this->y = top.value;
    }
  }
};

// stochastic: the first tap whose running mass exceeds u times the whole, mass = max(a, 0); all equal where it is 0
template <class V> struct Stochastic : Choosing<V> {
  static constexpr bool ordered = true;  // its taps have to be walked one after another
  static constexpr int operands = 1;     // u, which has no gradient
  template <class R> ADAPOOL_HD void prepare(const R& r, const CellOperands<V>& o) {
    Most<V> top{V(0)};
    V bad = V(0);
    r.each([&](const Tap<V>& t, auto& most, auto& sum) {
      most.take(t.a);
      sum += select(t.a == t.a, V(0), t.a);
    }, top, bad);
    const V unit = unit_of(top.value);
    const auto dead = top.value == V(0);
    const auto mass = [&](V a) { return select(dead, V(1), select(a > V(0), a * unit, V(0))); };
    V total = V(0);
    r.each([&](const Tap<V>& t, auto& sum) { sum += mass(t.a); }, total);
    const V threshold = o.at[0] * total;
    auto found = V(0) != V(0);
    Running<V> begun;
    Pick<V> drawn;
    // Rounding may lift the threshold to the total: then the tap that reaches it, or else the last one with mass.
    r.each([&](const Tap<V>& t, auto& running, auto& pick) {
      const V m = mass(t.a);
      const auto take = !found && m != V(0);
      running += m;
      pick.take(take, t);
      const V edge = running.value();
      found = found || (take && (edge > threshold || edge == total));
    }, begun, drawn);
    this->y = select(bad == V(0), drawn.a, bad);
    this->chosen = drawn.index;
  }
};

template <class V> struct Total : Plain<V> {  // sum
  V y;
  template <class R> ADAPOOL_HD void prepare(const R& r, const CellOperands<V>&) {
    y = V(0);
    r.each([&](const Tap<V>& t, auto& sum) { sum += t.a; }, y);
  }
  ADAPOOL_HD V pooled() const { return y; }
  ADAPOOL_HD V slope(const Tap<V>&) const { return V(1); }
};

// lp: y = top S^(1/p), S = sum (a / top)^p; lp_abs with |a|. S = 0 gives 0 and no gradient.
//   dy/da = S^(1/p-1) (a/top)^(p-1);  dy/dp = y (sum (a/top)^p ln(a/top) / (p S) - ln S / p^2)
template <class V, bool magnitude> struct LpOf : Plain<V> {
  static constexpr int operands = 1;
  V p, top, total, rise;  // rise: S^(1/p-1)
  ADAPOOL_HD V scaled(V a) const { return (magnitude ? abs_of(a) : a) / top; }
  template <class R> ADAPOOL_HD void prepare(const R& r, const CellOperands<V>& o) {
    p = o.at[0];
    top = largest_magnitude(r);
    top = select(top > V(0) && top < infinity<V>(), top, V(1));
    total = V(0);
    r.each([&](const Tap<V>& t, auto& sum) { sum += pow_of(scaled(t.a), p); }, total);
    rise = pow_of(total, V(1) / p - V(1));
  }
  ADAPOOL_HD V pooled() const { return select(total == V(0), V(0), top * pow_of(total, V(1) / p)); }
  ADAPOOL_HD V slope(const Tap<V>& t) const {
    const V s = rise * pow_of(scaled(t.a), p - V(1));
    return select(total == V(0), V(0), magnitude ? s * sign_of(t.a) : s);
  }
  template <class R> ADAPOOL_HD V operand(int, const R& r) const {
    V all = V(0);
    r.each([&](const Tap<V>& t, auto& sum) {
      const V x = scaled(t.a);
      sum += select(x == V(0), V(0), pow_of(x, p) * log_of(x));
    }, all);
    return select(total == V(0), V(0), pooled() * (all / total - log_of(total) / p) / p);
  }
};
template <class V> using Lp = LpOf<V, false>;
template <class V> using LpAbs = LpOf<V, true>;

// power: y = top T^(1/p), T = (1/N) sum t^p, t = max(a, 1e-6) / top; power_sum without 1/N.
//   dy/da = T^(1/p-1) t^(p-1) / N, 0 below 1e-6;  dy/dp = y (sum t^p ln t / (N T) - ln T / p) / p
template <class V, bool mean> struct PowerOf : Plain<V> {
  static constexpr int operands = 1;
  static constexpr double least = 1e-6;
  V p, top, unit, inverse, total, root, rise;  // total: T; root: T^(1/p); rise: T^(1/p-1) / N
  Exponent<V> below;                           // p - 1
  ADAPOOL_HD V scaled(V a) const { return select(a < V(least), V(least), a) * unit * inverse; }
  template <class R> ADAPOOL_HD void prepare(const R& r, const CellOperands<V>& o) {
    p = o.at[0];
    below = Exponent<V>(p - V(1));
    Most<V> largest{V(least)};
    r.each([&](const Tap<V>& t, auto& most) { most.take(t.a); }, largest);
    top = select(largest.value < infinity<V>(), largest.value, V(1));
    unit = unit_of(top);
    inverse = reciprocal(top * unit);
    const Exponent<V> exponent(p);
    V all = V(0);
    r.each([&](const Tap<V>& t, auto& sum) { sum += exponent.power(scaled(t.a)); }, all);
    total = mean ? all / V(r.count) : all;
    root = exp_of(log_of(total) / p);
    rise = root / all;
  }
  ADAPOOL_HD V pooled() const { return top * root; }
  ADAPOOL_HD V slope(const Tap<V>& t) const { return select(t.a < V(least), V(0), rise * below.power(scaled(t.a))); }
  template <class R> ADAPOOL_HD V operand(int, const R& r) const {
    V all = V(0);
    r.each([&](const Tap<V>& t, auto& sum) {
      const V x = scaled(t.a), l = log_of(x);
      sum += select(x == V(0), V(0), exp_of(p * l) * l);
    }, all);
    return top * (all * rise - root * log_of(total) / p) / p;
  }
};
template <class V> using Power = PowerOf<V, true>;
template <class V> using PowerSum = PowerOf<V, false>;

// mixed: y = alpha max + (1 - alpha) mean; the maximum's part of a gradient goes to the first of equal ones.
template <class V> struct Mixed : Plain<V> {
  static constexpr int operands = 1;
  V alpha, top, level, rest;  // level: the mean; rest: (1 - alpha) / N
  IndexOf<V> chosen;
  template <class R> ADAPOOL_HD void prepare(const R& r, const CellOperands<V>& o) {
    alpha = o.at[0];
    Most<V> size{V(0)};
    Pick<V> best;
    r.each([&](const Tap<V>& t, auto& most, auto& pick) {
      most.take(abs_of(t.a));
      pick.take(pick.rises(t.a), t);
    }, size, best);
    top = best.a;
    chosen = best.index;
    const V unit = unit_of(size.value);
    level = unscaled(scaled_mean(r, unit), unit);
    rest = (V(1) - alpha) / V(r.count);
  }
  ADAPOOL_HD V pooled() const { return alpha * top + (V(1) - alpha) * level; }
  ADAPOOL_HD V slope(const Tap<V>& t) const {
    return rest + select(IndexOf<V>(int32_t(t.index)) == chosen, alpha, V(0));
  }
  template <class R> ADAPOOL_HD V operand(int, const R&) const { return top - level; }
};

enum class Method : int32_t {
#define ADAPOOL_NAME(name, Struct) name,
  ADAPOOL_METHODS(ADAPOOL_NAME)
#undef ADAPOOL_NAME
};

template <template <class> class S> struct Choice { template <class V> using Struct = S<V>; };

// Calls f(Choice<Struct>{}) for the struct of a method.
template <class F> void with_method(Method method, const F& f) {
  switch (method) {
#define ADAPOOL_CASE(name, Struct) case Method::name: return f(Choice<Struct>{});
    ADAPOOL_METHODS(ADAPOOL_CASE)
#undef ADAPOOL_CASE
  }
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
