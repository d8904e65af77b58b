// The region of a cell on the CPU, for one number or a pack of them: neighbouring cells that are computed side by side.
// No torch, no method.
#pragma once
#include <type_traits>

#include "job.h"
#include "math/cell.h"
#include "math/window.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// Cells that are computed side by side: `count` neighbours along the channels or along the last axis. A plain
// number is one lane; the lanes of a pack beyond `count` repeat the last real one.
struct Lanes {
  bool along_row;
  int count;
  bool buffered = false;  // whether tensors of the input's shape are buffers, which have room for every lane side by side
  int64_t step(const Strides& s) const { return along_row ? s.d[2] : s.c; }
};

// Out of line: loops over taps call it where taps are not read in place, and every method has many of those loops.
#define ADAPOOL_APART __attribute__((noinline, pure))

template <class V> struct Loader {  // packs specialise it (loader.h)
  static constexpr int size = 1;
  static constexpr int64_t kept = 0;
  static V get(const V* p) { return *p; }
  static ADAPOOL_APART V load(Any any, int64_t at, int64_t, int) { return any.load<V>(at); }
  static void store(const Any& any, int64_t at, int64_t, int, V v) { any.store(at, v); }
  template <class F> static V each(int, F f) { return V(f(0)); }
};

// First and last cell of axis `d` whose region holds coordinate `at`, as if the row of cells had no end.
inline void span_over(const Window& w, int d, int64_t at, int64_t& first, int64_t& last) {
  int64_t low = at + w.padding[d] - w.kernel[d] + 1, high = at + w.padding[d];
  if (w.kernel[d] == w.stride[d]) {
    split(high, w.stride[d]);
    first = last = high;
    return;
  }
  split(high, w.stride[d]);
  last = high;
  if (low >= 0) { low += w.stride[d] - 1; split(low, w.stride[d]); first = low; }
  else { low = -low; split(low, w.stride[d]); first = -low; }
}

// How many regions hold the place `at`, in each lane; `at` lies in one. Lanes along a row are a stride apart, so that
// their cells are neighbours and one division serves them all.
template <class V> inline V cover_of(const Window& w, const int64_t* at, const Lanes& lanes) {
  if (w.kernel[0] <= w.stride[0] && w.kernel[1] <= w.stride[1] && w.kernel[2] <= w.stride[2]) return V(1);
  int64_t rows = 1, first, last;
  for (int d = 0; d < 2; ++d) {
    span_over(w, d, at[d], first, last);
    rows *= (last < w.out[d] ? last : w.out[d] - 1) - (first > 0 ? first : 0) + 1;
  }
  span_over(w, 2, at[2], first, last);
  return Loader<V>::each(lanes.count, [&](int lane) {
    const int64_t move = lanes.along_row ? lane : 0, from = first + move, to = last + move;
    return ScalarOf<V>(rows * ((to < w.out[2] ? to : w.out[2] - 1) - (from > 0 ? from : 0) + 1));
  });
}

// Room for what a method keeps of each tap.
template <class V, int64_t room = Loader<V>::kept> struct Kept {
  bool full = false;
  V tap[room][3];
  V at(int64_t index, int slot) const { return full ? tap[index][slot] : V(0); }
  void keep(int64_t index, int64_t taps, int slot, V v) {
    if (taps > room) return;
    tap[index][slot] = v;
    full = true;
  }
};
template <class V> struct Kept<V, 0> {
  static constexpr bool full = false;
  V at(int64_t, int) const { return V(0); }
  void keep(int64_t, int64_t, int, V) {}
};

// A read-only view of the real taps of a cell of a job (of a lane of cells, with the same real taps), in the order of their
// index.
template <class V_> struct Region {
  using V = V_;
  using Scalar = ScalarOf<V>;
  const Job& job;
  const Window& window;
  Lanes lanes;
  int64_t base, step;  // offset of its plane; elements between the lanes' taps
  const Scalar* in_place;  // the plane, where the lanes of a tap lie side by side and need no conversion; else null
  Box box;
  int64_t start[3];
  int64_t count;
  mutable Kept<V> kept;

  Region(const Job& j, const Point& p, const Lanes& l)
      : job(j), window(j.window), lanes(l), base(j.xs.plane(p.n, p.c)),
        step(l.along_row ? j.xs.d[2] * j.window.stride[2] : j.xs.c), in_place(place_of(j.x)), box(taps_of(j.window, p.at)),
        count(box.count()) {
    for (int d = 0; d < 3; ++d) start[d] = p.at[d] * window.stride[d] - window.padding[d];
  }

  V logit(const Tap<V>& t) const { return read(job.logits, place_of(job.logits), t.offset); }
  V spread(const Tap<V>& t) const {
    const V g = read(job.spread, place_of(job.spread), t.offset);
    if (!job.normalize) return g;
    const int64_t at[3] = {t.at[0], t.at[1], t.at[2]};  // a copy: the address of a tap's own would keep it out of registers
    return g / cover_of<V>(window, at, lanes);
  }
  bool spreads() const { return job.spread.given(); }
  bool weighs() const { return job.use_weight; }
  bool through() const { return job.use_through; }
  bool to_logits() const { return job.to_logits; }

  // f of every tap, and what it gathers; of a long window the sums block by block.
  template <class F, class... Gathered> ADAPOOL_OFTEN void each(F f, Gathered&... gathered) const {
    constexpr bool sums = (... || (std::is_same_v<Gathered, V> || std::is_same_v<Gathered, Running<V>>));
    const auto one = [&](const Tap<V>& t) { f(t, gathered...); };
    if constexpr (!sums) {
      each_in(box, one);
    } else {
      LongSums<V, Box, sizeof...(Gathered)> blocks;
      const bool many = window.taps() > kBlockOfTerms;
      const Box* part = many ? blocks.begin(box) : &box;
      for (bool last = false; !last;) {
        each_in(*part, one);
        if (!many) return;
        last = !blocks.next();
        int i = 0;
        ((gathered = blocks.take(i++, gathered, last)), ...);
      }
    }
  }
  void keep(const Tap<V>& t, int slot, V v) const { kept.keep(t.index, window.taps(), slot, v); }

  // Only the taps inside `part`, which must lie in the region's own box.
  template <class F> ADAPOOL_OFTEN void each_in(const Box& part, F f) const {
    for (int64_t i = part.lo[0]; i < part.hi[0]; ++i)
      for (int64_t j = part.lo[1]; j < part.hi[1]; ++j) {
        const int64_t row = i * job.xs.d[0] + j * job.xs.d[1];
        const int64_t first = ((i - start[0]) * window.kernel[1] + (j - start[1])) * window.kernel[2] - start[2];
        for (int64_t k = part.lo[2]; k < part.hi[2]; ++k) {
          const int64_t offset = row + k * job.xs.d[2];
          f(Tap<V>{first + k, offset, {i, j, k}, read(job.x, in_place, offset), kept.full,
                   {kept.at(first + k, 0), kept.at(first + k, 1), kept.at(first + k, 2)}});
        }
      }
  }

 private:
  const Scalar* place_of(const Any& tensor) const {
    constexpr int size = Loader<V>::size;
    const bool whole = size == 1 || lanes.buffered || (step == 1 && lanes.count == size);
    return whole && tensor.type == Number<Scalar>::type ? static_cast<const Scalar*>(tensor.data) + base : nullptr;
  }
  V read(const Any& tensor, const Scalar* place, int64_t offset) const {
    if (__builtin_expect(place != nullptr, 1)) return Loader<V>::get(place + offset);
    return Loader<V>::load(tensor, base + offset, step, lanes.count);
  }
};

// A tensor with one entry for each cell, at the cells of `lanes`.
template <class V> V at_cells(const Any& t, const Strides& s, const Point& p, const Lanes& lanes) {
  return Loader<V>::load(t, s.plane(p.n, p.c) + s.in_plane(p.at), lanes.step(s), lanes.count);
}

template <class V>
CellOperands<V> operands_at(const Job& job, const Point& p, const Lanes& lanes, int count) {
  CellOperands<V> cell{};
  for (int k = 0; k < count; ++k) {
    const Operand& o = job.operand[k];
    cell.given[k] = o.given;
    cell.at[k] = o.tensor.given() ? at_cells<V>(o.tensor, o.strides, p, lanes) : V(o.number);
  }
  return cell;
}

template <class V> V coefficient_at(const Job& job, const Point& p, const Lanes& lanes, int64_t taps) {
  const V c = at_cells<V>(job.coefficient, job.cs, p, lanes);
  return job.unpool && job.normalize ? c * V(taps) : c;
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
