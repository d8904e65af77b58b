// The arithmetic of any method as its struct of math/ has it, for as many windows side by side as a vector has lanes.
#pragma once
#include "cpu/fast/policy.h"
#include "cpu/pack.h"
#include "math/cell.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// The taps of windows of K columns as methods see a region. An unpooled gradient is another matter: nothing spreads here.
template <int K, class Taps> struct WindowRegion {
  using V = Pack<float>;
  const Taps& taps;
  bool slopes;
  V count{taps.count()};

  template <class F, class... Gathered> ADAPOOL_INLINE void each(const F& f, Gathered&... gathered) const {
    each_row_of<Taps::height, K>([&](int i) __attribute__((always_inline)) {
      adapool::V a[K];
      taps.row(i, a);
      for (int k = 0; k < K; ++k) {
        if constexpr (Taps::partial)
          if (!taps.holds(i, k)) continue;
        f(tap(i, k, a[k]), gathered...);
      }
    });
  }
  static ADAPOOL_INLINE Tap<V> tap(int i, int k, adapool::V a) { return {i * K + k, 0, {}, V(a), false, {}}; }
  void keep(const Tap<V>&, int, V) const {}
  V spread(const Tap<V>&) const { return V(0); }
  static constexpr bool spreads() { return false; }
  static constexpr bool weighs() { return true; }
  bool through() const { return slopes; }
};

template <template <class> class Method> struct ByStruct {
  static_assert(Method<float>::operands <= 1);
  static constexpr bool operand = Method<float>::operands == 1;
  static constexpr Weighed weighed(int, int) { return Weighed::never; }
  static constexpr bool detaches = Method<float>::weighted && !std::is_same_v<Method<float>, Avg<float>>;

  template <int K, class Taps> struct Windows {
    using P = Pack<float>;
    Taps taps;
    static constexpr int bad = 0;  // the structs hold for every number
    Prepared<Method, P> cell;
    Sharing<Method, P> sharing;

    ADAPOOL_INLINE void begin(const Windows& opened) { taps = opened.taps; }
    ADAPOOL_INLINE void open() {}
    template <class F = Nothing> ADAPOOL_INLINE V pooled(V operand, const F& beside = {}) {
      prepare(operand, false, beside);
      return cell.m.pooled().raw;
    }
    template <bool exact, class F = Nothing> ADAPOOL_INLINE void differentiate(V operand, V g, const F& beside = {}) {
      prepare(operand, exact, beside);
      sharing = cell.times(P(g));
    }
    ADAPOOL_INLINE V apart() const { return cell.operand(0, WindowRegion<K, Taps>{taps, true}).raw; }
    template <bool exact> ADAPOOL_INLINE void share(int i, V* to) const {
      const WindowRegion<K, Taps> r{taps, exact};
      V a[K];
      taps.row(i, a);
      for (int k = 0; k < K; ++k) to[k] = sharing.share(r, r.tap(i, k, a[k])).raw;
    }

   private:
    template <class F> ADAPOOL_INLINE void prepare(V operand, bool slopes, const F& beside) {
      for (int i = 0; i < Taps::height; ++i) beside(i);
      cell.prepare(WindowRegion<K, Taps>{taps, slopes}, CellOperands<P>{{P(operand)}, {true}}, slopes);
    }
  };
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
