// Any method of methods.h without operands, on taps in registers, with the interface of cuda_window.cuh.
#pragma once
#include "cell.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

template <template <class> class Method, int N> struct Row {
  using M = Method<float>;
  M m{};
  float scale;

  // The taps as a region, as far as prepare() looks at one; and what is weighed: the taps themselves.
  template <class A> struct Taps {
    using V = float;
    const A& a;
    int64_t count = N;
    static __device__ Tap<float> tap(int i, float a) { return {i, 0, {0, 0, 0}, a, false, {}}; }
    template <class F, class... Sums> __device__ void each(const F& f, Sums&...) const {  // few taps: no long sums
#pragma unroll
      for (int i = 0; i < N; ++i) f(tap(i, a(i)));
    }
    __device__ void keep(const Tap<float>&, int, float) const {}
  };
  struct Values {
    __device__ float operator()(const M& m, const Tap<float>& t) const { return m.relative(t); }
    __device__ float slope(const M&, float v) const { return v; }
  };

  template <class A> __device__ void prepare(const A& a, bool slopes) {
    const Taps<A> taps{a};
    if constexpr (M::weighted) m.prepare(taps, {}, Values{}, slopes);
    else m.prepare(taps, {});
  }
  template <bool given, class A, class B> __device__ float value(const A& a, const B&, float, float&) {
    prepare(a, false);
    return m.pooled();
  }
  template <bool exact, class A> __device__ void differentiate(const A& a, float, float g, float) {
    prepare(a, true);
    scale = g;
  }
  __device__ float difference() const { return 0; }
  template <bool exact, bool first, class A> __device__ float share(const A& a, int i, float sum) const {
    const Tap<float> tap = Taps<A>::tap(i, a(i));
    float slope;
    if constexpr (M::weighted) slope = m.weight(tap) + m.through(tap, Values{});
    else slope = m.slope(tap);
    return first ? scale * slope : std::fma(scale, slope, sum);
  }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
