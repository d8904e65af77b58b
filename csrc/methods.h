// The list of compiled methods, and those that do not weigh taps: max, sum, stochastic, lp, lp_abs.
// Host and device. Adding a method: write its struct, add its line to ADAPOOL_METHODS.
#pragma once
#include "dpp.h"

namespace adapool {

// A plain method has prepare(r, o), pooled() and slope(t) = dy / da_t; operand(k, r) = dy / d operand k.
template <class Acc_> struct Plain {
  using Acc = Acc_;
  static constexpr bool weighted = false, logits = false, indices = false;
  static constexpr int operands = 0;
  template <class R> ADAPOOL_HD Acc operand(int, const R&) const { return 0; }
};

// max: the first of equal maxima; a NaN wins
template <class Acc> struct Max : Plain<Acc> {
  static constexpr bool indices = true;
  Acc y;
  int64_t chosen;
  template <class R> ADAPOOL_HD void prepare(const R& r, const CellOperands<Acc>&) {
    chosen = -1;
    r.each([&](const Tap<Acc>& t) {
      if (chosen < 0 || t.a > y || (t.a != t.a && y == y)) { y = t.a; chosen = t.index; }
    });
  }
  ADAPOOL_HD Acc pooled() const { return y; }
  ADAPOOL_HD Acc slope(const Tap<Acc>& t) const { return t.index == chosen ? 1 : 0; }
};

// stochastic: the first tap whose running mass exceeds u times the whole, mass = max(a, 0); all equal where it is 0
template <class Acc> struct Stochastic : Plain<Acc> {
  static constexpr int operands = 1;  // u, which has no gradient
  static constexpr bool indices = true;
  Acc y;
  int64_t chosen;
  template <class R> ADAPOOL_HD void prepare(const R& r, const CellOperands<Acc>& o) {
    Acc top = 0, total = 0, running = 0, bad = 0;
    r.each([&](const Tap<Acc>& t) {
      if (t.a > top) top = t.a;
      if (t.a != t.a) bad = t.a;
    });
    const Acc unit = unit_of(top);
    const bool dead = top == 0;
    const auto mass = [&](Acc a) { return dead ? Acc(1) : a > 0 ? a * unit : Acc(0); };
    r.each([&](const Tap<Acc>& t) { total += mass(t.a); });
    const Acc threshold = o.at[0] * total;
    bool found = false;
    chosen = -1;
    r.each([&](const Tap<Acc>& t) {  // rounding may lift the threshold to the total: then the tap that reaches it
      if (found || (chosen >= 0 && mass(t.a) == 0)) return;
      running += mass(t.a);
      y = t.a;
      chosen = t.index;
      found = running > threshold || running == total;
    });
    if (bad != bad) y = std::numeric_limits<Acc>::quiet_NaN();
  }
  ADAPOOL_HD Acc pooled() const { return y; }
  ADAPOOL_HD Acc slope(const Tap<Acc>& t) const { return t.index == chosen ? 1 : 0; }
};

template <class Acc> struct Total : Plain<Acc> {  // sum
  Acc y;
  template <class R> ADAPOOL_HD void prepare(const R& r, const CellOperands<Acc>&) {
    Sum<Acc> sum;
    r.each([&](const Tap<Acc>& t) { sum.add(t.a); });
    y = sum.value();
  }
  ADAPOOL_HD Acc pooled() const { return y; }
  ADAPOOL_HD Acc slope(const Tap<Acc>&) const { return 1; }
};

// lp: y = top S^(1/p), S = sum (a / top)^p; lp_abs with |a|. S = 0 gives 0 and no gradient.
//   dy/da = S^(1/p-1) (a/top)^(p-1);  dy/dp = y (sum (a/top)^p ln(a/top) / (p S) - ln S / p^2)
template <class Acc, bool magnitude> struct LpOf : Plain<Acc> {
  static constexpr int operands = 1;
  Acc p, top, total;
  ADAPOOL_HD Acc scaled(Acc a) const { return (magnitude ? std::fabs(a) : a) / top; }
  template <class R> ADAPOOL_HD void prepare(const R& r, const CellOperands<Acc>& o) {
    p = o.at[0];
    top = largest_magnitude(r);
    if (!(top > 0) || top > std::numeric_limits<Acc>::max()) top = 1;
    Sum<Acc> sum;
    r.each([&](const Tap<Acc>& t) { sum.add(std::pow(scaled(t.a), p)); });
    total = sum.value();
  }
  ADAPOOL_HD Acc pooled() const { return total == 0 ? 0 : top * std::pow(total, 1 / p); }
  ADAPOOL_HD Acc slope(const Tap<Acc>& t) const {
    if (total == 0) return 0;
    const Acc s = std::pow(total, 1 / p - 1) * std::pow(scaled(t.a), p - 1);
    return magnitude ? s * sign_of(t.a) : s;
  }
  template <class R> ADAPOOL_HD Acc operand(int, const R& r) const {
    if (total == 0) return 0;
    Sum<Acc> sum;
    r.each([&](const Tap<Acc>& t) {
      const Acc x = scaled(t.a);
      if (x != 0) sum.add(std::pow(x, p) * std::log(x));
    });
    return pooled() * (sum.value() / total - std::log(total) / p) / p;
  }
};
template <class Acc> using Lp = LpOf<Acc, false>;
template <class Acc> using LpAbs = LpOf<Acc, true>;

}  // namespace adapool

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

enum class Method : int32_t {
#define ADAPOOL_NAME(name, Struct) name,
  ADAPOOL_METHODS(ADAPOOL_NAME)
#undef ADAPOOL_NAME
};

template <template <class> class S> struct Choice { template <class Acc> using Struct = S<Acc>; };

// Calls f(Choice<Struct>{}) for the struct of a method.
template <class F> void with_method(Method method, const F& f) {
  switch (method) {
#define ADAPOOL_CASE(name, Struct) case Method::name: return f(Choice<Struct>{});
    ADAPOOL_METHODS(ADAPOOL_CASE)
#undef ADAPOOL_CASE
  }
}

}  // namespace adapool
