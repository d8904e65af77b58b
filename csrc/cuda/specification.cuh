// What is known of a kernel when it is compiled, and what follows from it. A specification is a struct S of constants
// that the host writes (host/specification.h): the method, types, window, layout and how work is cut. Device only (and
// its emulator).
#pragma once
#include "cuda/arguments.h"
#include "cuda/memory.cuh"
#include "math/cell.h"
#include "math/window.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

template <class S> using ComputeOf = AccOf<typename S::X>;

// A tensor by its type; `image` and what is inside it are in elements.
template <class T> ADAPOOL_HD const T* tensor(const void* data, int64_t first) {
  return static_cast<const T*>(data) + first;
}
template <class T> ADAPOOL_HD T* tensor(void* data, int64_t first) { return static_cast<T*>(data) + first; }

// How a plane (or for channels_last an image) lies in memory; offsets inside it are of the type of sizes that fit.
template <class S> struct Layout {
  using Index = typename S::Index;
  Index step, row, slab, image;  // elements between neighbours of the three axes, and of an image
  ADAPOOL_HD Layout(const Arguments& a, const int32_t* extent) {
    step = S::channels_last ? Index(a.channels) : 1;
    row = step * extent[2];
    slab = row * extent[1];
    image = S::flat ? slab : slab * extent[0];
  }
};

// The operand k of a cell. Constants say whether it is a number, a tensor or the method's default.
template <class S, int k, class T>
ADAPOOL_HD ComputeOf<S> operand_at(const Arguments& a, int64_t n, int64_t c, const int* cell) {
  const OperandArgument& o = a.operand[k];
  if constexpr (S::operand(k) != 2 && sizeof(ComputeOf<S>) == 8) return o.number;
  else if constexpr (S::operand(k) != 2) return o.rounded;
  else
    return ComputeOf<S>(widen(static_cast<const T*>(
        o.data)[n * o.image + c * o.channel + cell[0] * o.axis[0] + cell[1] * o.axis[1] + cell[2] * o.axis[2]]));
}
template <class S>
ADAPOOL_HD CellOperands<ComputeOf<S>> operands_at(const Arguments& a, int64_t n, int64_t c, const int* cell) {
  constexpr int count = S::template Method<ComputeOf<S>>::operands;
  CellOperands<ComputeOf<S>> all{};
  if constexpr (count > 0) all.at[0] = operand_at<S, 0, typename S::Operand0>(a, n, c, cell);
  if constexpr (count > 1) all.at[1] = operand_at<S, 1, typename S::Operand1>(a, n, c, cell);
  if constexpr (count > 2) all.at[2] = operand_at<S, 2, typename S::Operand2>(a, n, c, cell);
  for (int k = 0; k < 3; ++k) all.given[k] = S::operand(k) != 0;
  return all;
}

// How many windows hold a coordinate of axis d.
template <class S> ADAPOOL_HD int cover(const Arguments& a, int d, int at) {
  const int kernel = S::kernel(d) ? S::kernel(d) : a.kernel[d], stride = S::kernel(d) ? S::stride(d) : a.stride[d];
  const int padding = S::kernel(d) ? S::padding(d) : a.padding[d];
  const int before = at + padding - kernel + 1;  // the first window that holds it begins here or later
  const int first = before <= 0 ? 0 : (before + stride - 1) / stride, last = (at + padding) / stride;
  const int count = (last < a.cell[d] ? last : a.cell[d] - 1) - first + 1;
  return count > 1 ? count : 1;
}

// What a region is asked (see math/cell.h), as constants.
template <class S> struct Wanted {
  static constexpr bool picks = S::picks;
  ADAPOOL_HD static constexpr bool spreads() { return S::spreads; }
  ADAPOOL_HD static constexpr bool weighs() { return S::weighs; }
  ADAPOOL_HD static constexpr bool through() { return S::through; }
  ADAPOOL_HD static constexpr bool to_logits() { return S::to_logits; }
};

// What a cell's gradient or value is multiplied by: the region's taps where unpooling normalises.
template <class S, class R> ADAPOOL_HD ComputeOf<S> coefficient(const R& r, ComputeOf<S> cell) {
  return S::unpool && S::normalize ? cell * ComputeOf<S>(r.count) : cell;
}

// Marks an accumulator that takes a tap only if the tap is inside.
template <class A> struct Gated {
  A& all;
  bool inside;
  template <class B> ADAPOOL_HD void operator+=(B b) {
    if (inside) all += b;
  }
  template <class B> ADAPOOL_HD void take(B b) {
    if (inside) all.take(b);
  }
};
template <class V> struct Gated<Pick<V>> {
  Pick<V>& all;
  bool inside;
  ADAPOOL_HD bool rises(V of) const { return all.rises(of); }
  ADAPOOL_HD void take(bool better, const Tap<V>& t) {
    const bool taken = inside & (better | !all.begun);
    all.take(taken, t.a, int32_t(t.index));
    all.begun |= inside;
  }
};

template <class G> constexpr bool is_running = false;
template <class V> constexpr bool is_running<Running<V>> = true;

// A tap for what is gathered: one that is outside is computed with and left out, except where its other tensors would be
// read (`reads`), or what gathers has a state of its own beside it.
template <bool reads, class T, class F, class... Gathered>
ADAPOOL_HD void offer(F& f, const T& t, bool inside, Gathered&... gathered) {
  const auto call = [&](auto... gates) { f(t, gates...); };
  if constexpr (!reads && !(... || is_running<Gathered>)) call(Gated<Gathered>{gathered, inside}...);
  else if (inside) f(t, gathered...);
}

// The tap of one place, for a window that is prepared.
template <class S> struct OnePlace : Wanted<S> {
  using V = ComputeOf<S>;
  V other, back;
  ADAPOOL_HD V logit(const Tap<V>&) const { return other; }
  ADAPOOL_HD V spread(const Tap<V>&) const { return back; }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
