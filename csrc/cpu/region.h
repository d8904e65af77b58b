// The region of a cell on the CPU, for one number or a pack of them: neighbouring cells that are computed side by side.
// No torch, no method.
#pragma once
#include <type_traits>

#include "math/cell.h"
#include "math/window.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// Cells that are computed side by side: `count` neighbours along the channels or along the last axis. A plain
// number is one lane; the lanes of a pack beyond `count` repeat the last real one.
struct Lanes {
  bool along_row;
  int count;
  int64_t step(const Strides& s) const { return along_row ? s.d[2] : s.c; }
};

template <class V> struct Loader {  // packs specialise it (lanes.h)
  static constexpr int size = 1;
  static constexpr int64_t kept = 0;
  template <class T> static V load(const T* p, int64_t, int) { return V(widen(*p)); }
  static V load(const Any& any, int64_t at, int64_t, int) { return any.load<V>(at); }
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

// Where a region's numbers are: of a type that is known when compiled, or only when run (T = Any).
template <class T> struct Source {
  const T* data;
  Source(const Any& all, int64_t first) : data(static_cast<const T*>(all.data) + first) {}
  template <class V> inline V load(int64_t offset, int64_t step, int count) const {
    return Loader<V>::load(data + offset, step, count);
  }
};
template <> struct Source<Any> {
  Any all;
  int64_t first;
  Source(const Any& a, int64_t f) : all(a), first(f) {}
  template <class V> inline V load(int64_t offset, int64_t step, int count) const {
    return Loader<V>::load(all, first + offset, step, count);
  }
};

// The type by which other tensors of the input's shape are read, which may differ from its own.
template <class T> struct Others { using Type = Any; };
template <class T> using OthersOf = typename Others<T>::Type;

// A read-only view of the real taps of a cell (of a lane of cells, with the same real taps), in the order of their
// index.
template <class T, class V_> struct Region {
  using V = V_;
  Source<T> plane;
  const Strides& strides;
  const Window& window;
  Lanes lanes;
  int64_t step;  // elements between the lanes' taps
  Box box;
  int64_t start[3];
  int64_t count;
  mutable Kept<V> kept;

  Region(const Any& data, const Strides& s, const Window& w, const Point& p, const Lanes& l)
      : plane(data, s.plane(p.n, p.c)), strides(s), window(w), lanes(l),
        step(l.along_row ? s.d[2] * w.stride[2] : s.c), box(taps_of(w, p.at)), count(box.count()) {
    for (int d = 0; d < 3; ++d) start[d] = p.at[d] * w.stride[d] - w.padding[d];
  }

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
  template <class F> inline void each_in(const Box& part, F f) const {
    for (int64_t i = part.lo[0]; i < part.hi[0]; ++i)
      for (int64_t j = part.lo[1]; j < part.hi[1]; ++j) {
        const int64_t row = i * strides.d[0] + j * strides.d[1];
        const int64_t first = ((i - start[0]) * window.kernel[1] + (j - start[1])) * window.kernel[2] - start[2];
        for (int64_t k = part.lo[2]; k < part.hi[2]; ++k) {
          const int64_t offset = row + k * strides.d[2];
          f(Tap<V>{first + k, offset, {i, j, k}, plane.template load<V>(offset, step, lanes.count), kept.full,
                   {kept.at(first + k, 0), kept.at(first + k, 1), kept.at(first + k, 2)}});
        }
      }
  }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
