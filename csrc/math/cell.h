// What one cell computes, for every method and direction. Host and device; they differ in their regions. A region gives
//   each(f, gathered...)       f(tap, gathered...) of the real taps
//   count                      how many they are
//   keep(tap, slot, number)    a place for what would be computed again, or none
//   logit(tap), spread(tap)    the other tensors of the input's shape; spread is what flows back to an unpooled place
//   spreads(), weighs(), through(), to_logits()   what is wanted: see Sharing
#pragma once
#include "math/methods.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// The values that a method weighs (see weights.h).
template <class R> struct Values {
  using V = typename R::V;
  const R& r;

  template <class M> ADAPOOL_HD V operator()(const M& m, const Tap<V>& t) const {
    return r.spreads() ? r.spread(t) : m.relative(t);
  }
  template <class M> ADAPOOL_HD V slope(const M& m, V v) const { return r.spreads() ? v * m.unit() : v; }
  template <class M> ADAPOOL_HD V real(const M& m, V v) const { return r.spreads() ? v : v / m.unit(); }
  template <class M> ADAPOOL_HD V total(const M& m) const { return r.spreads() ? m.mean : m.pooled(); }
};

// What is left of a prepared cell for sharing out its gradient: its method, c times as large where it scales.
template <template <class> class Method, class V, bool scales = Method<V>::scales> struct Sharing {
  using M = Method<V>;
  M m;
  V factor;

  Sharing() = default;
  ADAPOOL_HD Sharing(const M& method, V c) : m(method), factor(c) {}
  // What the region adds to the target at tap t.
  template <class R> ADAPOOL_HD V share(const R& r, const Tap<V>& t) const { return factor * alone(r, t); }

 private:
  template <class R> ADAPOOL_HD V alone(const R& r, const Tap<V>& t) const {
    if constexpr (!M::weighted) {
      return m.slope(t);
    } else {
      const Values<R> v{r};
      if constexpr (M::logits) {
        if (r.to_logits()) return m.through_logit(t, r.logit(t), v);
        return r.weighs() ? m.weight_of(t, r.logit(t)) : V(0);  // nothing goes through the activations
      } else {
        const V direct = r.weighs() ? m.weight(t) : V(0);
        return r.through() ? direct + m.through(t, v) : direct;
      }
    }
  }
};
template <template <class> class Method, class V> struct Sharing<Method, V, true> {
  typename Method<V>::Scaled m;

  Sharing() = default;
  ADAPOOL_HD Sharing(const Method<V>& method, V c) : m(method.times(c)) {}
  template <class R> ADAPOOL_HD V share(const R& r, const Tap<V>& t) const {
    const Values<R> v{r};
    if (r.weighs() && r.through()) return m.both(t, v);
    return r.weighs() ? m.weight(t) : r.through() ? m.through(t, v) : V(0);
  }
};

// A method prepared on the region of one cell.
template <template <class> class Method, class V> struct Prepared {
  using M = Method<V>;
  M m{};

  template <class R> ADAPOOL_HD void prepare(const R& r, const CellOperands<V>& o, bool slopes) {
    if constexpr (M::weighted) m.prepare(r, o, Values<R>{r}, slopes);
    else m.prepare(r, o);
  }
  // The cell's value; of unpooling its gradient, before the region's taps are counted.
  template <class R> ADAPOOL_HD V value(const R& r) const {
    if constexpr (M::weighted) return r.spreads() ? m.mean : m.pooled();
    else return m.pooled();
  }
  template <class R> ADAPOOL_HD V weight(const R& r, const Tap<V>& t) const {
    if constexpr (M::logits) return m.weight_of(t, r.logit(t));
    else return m.weight(t);
  }
  // What it adds to the gradient of operand k, before its coefficient.
  template <class R> ADAPOOL_HD V operand(int k, const R& r) const {
    if constexpr (M::weighted) return m.operand(k, r, Values<R>{r});
    else return m.operand(k, r);
  }
  ADAPOOL_HD Sharing<Method, V> times(V c) const { return {m, c}; }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
