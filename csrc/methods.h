// The list of compiled methods, and those that do not weigh taps: max, sum, stochastic, lp, lp_abs.
// Host and device. Adding a method: write its struct, add its line to ADAPOOL_METHODS.
#pragma once
#include "dpp.h"

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
  X(ada, Ada)                          \
  X(dpp, Dpp)                          \
  X(dpp_asym, DppAsym)                 \
  X(lip, Lip)

namespace adapool {
inline namespace ADAPOOL_ISA {

// A plain method has prepare(r, o), pooled() and slope(t) = dy / da_t; operand(k, r) = dy / d operand k.
template <class V> struct Plain {
  static constexpr bool weighted = false, logits = false, indices = false;
  static constexpr int operands = 0;
  template <class R> ADAPOOL_HD V operand(int, const R&) const { return V(0); }
};

// One tap is chosen; the gradient goes to it alone.
template <class V> struct Choosing : Plain<V> {
  static constexpr bool indices = true;
  V y;
  IndexOf<V> chosen;
  ADAPOOL_HD V pooled() const { return y; }
  ADAPOOL_HD V slope(const Tap<V>& t) const { return select(IndexOf<V>(t.index) == chosen, V(1), V(0)); }
  template <class M> ADAPOOL_HD void choose(M take, const Tap<V>& t) {
    y = select(take, t.a, y);
    chosen = select(take, IndexOf<V>(t.index), chosen);
  }
};

// max: the first of equal maxima; a NaN wins
template <class V> struct Max : Choosing<V> {
  template <class R> ADAPOOL_HD void prepare(const R& r, const CellOperands<V>&) {
    bool begun = false;
    r.each([&](const Tap<V>& t) {
      if (!begun) { this->y = t.a; this->chosen = IndexOf<V>(t.index); }
      begun = true;
      this->choose(t.a > this->y || (t.a != t.a && this->y == this->y), t);
    });
  }
};

// stochastic: the first tap whose running mass exceeds u times the whole, mass = max(a, 0); all equal where it is 0
template <class V> struct Stochastic : Choosing<V> {
  static constexpr int operands = 1;  // u, which has no gradient
  template <class R> ADAPOOL_HD void prepare(const R& r, const CellOperands<V>& o) {
    V top = V(0), bad = V(0);
    r.each([&](const Tap<V>& t) {
      top = select(t.a > top, t.a, top);
      bad = select(t.a != t.a, t.a, bad);
    });
    const V unit = unit_of(top);
    const auto dead = top == V(0);
    const auto mass = [&](V a) { return select(dead, V(1), select(a > V(0), a * unit, V(0))); };
    V total = V(0);
    Running<V> running;
    r.each([&](const Tap<V>& t) { total += mass(t.a); }, total);
    const V threshold = o.at[0] * total;
    auto found = V(0) != V(0);
    bool begun = false;
    // Rounding may lift the threshold to the total: then the tap that reaches it, or else the last one with mass.
    r.each([&](const Tap<V>& t) {
      const V m = mass(t.a);
      if (!begun) { this->y = t.a; this->chosen = IndexOf<V>(t.index); }
      begun = true;
      const auto take = !found && m != V(0);
      running += m;
      this->choose(take, t);
      const V edge = running.value();
      found = found || (take && (edge > threshold || edge == total));
    }, running);
    this->y = select(bad != bad, bad, this->y);
  }
};

template <class V> struct Total : Plain<V> {  // sum
  V y;
  template <class R> ADAPOOL_HD void prepare(const R& r, const CellOperands<V>&) {
    V sum = V(0);
    r.each([&](const Tap<V>& t) { sum += t.a; }, sum);
    y = sum;
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
    V sum = V(0);
    r.each([&](const Tap<V>& t) { sum += pow_of(scaled(t.a), p); }, sum);
    total = sum;
    rise = pow_of(total, V(1) / p - V(1));
  }
  ADAPOOL_HD V pooled() const { return select(total == V(0), V(0), top * pow_of(total, V(1) / p)); }
  ADAPOOL_HD V slope(const Tap<V>& t) const {
    const V s = rise * pow_of(scaled(t.a), p - V(1));
    return select(total == V(0), V(0), magnitude ? s * sign_of(t.a) : s);
  }
  template <class R> ADAPOOL_HD V operand(int, const R& r) const {
    V sum = V(0);
    r.each([&](const Tap<V>& t) {
      const V x = scaled(t.a);
      sum += select(x == V(0), V(0), pow_of(x, p) * log_of(x));
    }, sum);
    return select(total == V(0), V(0), pooled() * (sum / total - log_of(total) / p) / p);
  }
};
template <class V> using Lp = LpOf<V, false>;
template <class V> using LpAbs = LpOf<V, true>;

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
