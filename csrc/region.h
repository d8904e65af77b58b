// Which taps an output cell reads and which cells an input place feeds; strides are data, every rank is padded to 3.
// Host and device; no torch, no CUDA runtime, no method.
#pragma once
#include "long_sums.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

struct Window {  // outermost axis first; an axis that is not there has size, kernel and stride 1
  int64_t in[3], out[3], kernel[3], stride[3], padding[3];

  ADAPOOL_HD int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  ADAPOOL_HD int64_t cells() const { return out[0] * out[1] * out[2]; }
  ADAPOOL_HD int64_t places() const { return in[0] * in[1] * in[2]; }
};

struct Strides {  // in elements
  int64_t n, c, d[3];
  ADAPOOL_HD int64_t plane(int64_t at_n, int64_t at_c) const { return at_n * n + at_c * c; }
  ADAPOOL_HD int64_t in_plane(const int64_t* at) const { return at[0] * d[0] + at[1] * d[1] + at[2] * d[2]; }
};

struct Point {  // one element of an [N, C, d0, d1, d2] tensor
  int64_t n, c, at[3];
};

struct Box {  // half-open, on the three spatial axes
  int64_t lo[3], hi[3];
  ADAPOOL_HD int64_t extent(int d) const { return hi[d] > lo[d] ? hi[d] - lo[d] : 0; }
  ADAPOOL_HD int64_t count() const { return extent(0) * extent(1) * extent(2); }
  ADAPOOL_HD bool holds(const int64_t* at) const {
    return at[0] >= lo[0] && at[0] < hi[0] && at[1] >= lo[1] && at[1] < hi[1] && at[2] >= lo[2] && at[2] < hi[2];
  }
};

// 64-bit division is several times slower than 32-bit division, on CPU and GPU, and rarely needed.
ADAPOOL_HD int64_t split(int64_t& index, int64_t extent) {
  if (((index | extent) >> 32) == 0) {
    const uint32_t i = uint32_t(index), e = uint32_t(extent), q = i / e;
    index = q;
    return i - q * e;
  }
  const int64_t q = index / extent, rest = index - q * extent;
  index = q;
  return rest;
}

// The point of a flat index, in memory order: channels innermost for channels_last, else after the batch.
ADAPOOL_HD Point point_at(int64_t index, int64_t channels, const int64_t* extent, bool channels_last) {
  Point p;
  if (channels_last) p.c = split(index, channels);
  for (int d = 2; d >= 0; --d) p.at[d] = split(index, extent[d]);
  if (!channels_last) p.c = split(index, channels);
  p.n = index;
  return p;
}

ADAPOOL_HD int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

// The real taps of a cell, in input coordinates.
ADAPOOL_HD Box taps_of(const Window& w, const int64_t* cell) {
  Box box;
  for (int d = 0; d < 3; ++d) {
    const int64_t start = cell[d] * w.stride[d] - w.padding[d], end = start + w.kernel[d];
    box.lo[d] = start < 0 ? 0 : start;
    box.hi[d] = end > w.in[d] ? w.in[d] : end;
  }
  return box;
}

// The cells whose regions meet the input places lo .. hi - 1 of each axis.
ADAPOOL_HD Box cells_over(const Window& w, const int64_t* lo, const int64_t* hi) {
  Box box;
  for (int d = 0; d < 3; ++d) {
    const int64_t first = lo[d] + w.padding[d] - w.kernel[d] + 1, last = (hi[d] - 1 + w.padding[d]) / w.stride[d];
    box.lo[d] = first <= 0 ? 0 : (first + w.stride[d] - 1) / w.stride[d];
    box.hi[d] = last + 1 < w.out[d] ? last + 1 : w.out[d];
  }
  return box;
}

// How many regions hold the input place `at`.
ADAPOOL_HD int64_t cover(const Window& w, const int64_t* at) {
  const int64_t next[3] = {at[0] + 1, at[1] + 1, at[2] + 1};
  return cells_over(w, at, next).count();
}

// Cells that are computed side by side: `count` neighbours along the channels or along the last axis. A plain
// number is one lane; the lanes of a pack beyond `count` repeat the last real one.
struct Lanes {
  bool along_row;
  int count;
  ADAPOOL_HD int64_t step(const Strides& s) const { return along_row ? s.d[2] : s.c; }
};

template <class V> struct Loader {  // packs specialise it (lanes.h)
  static constexpr int size = 1;
  static constexpr int64_t kept = 0;
  template <class T> static ADAPOOL_HD V load(const T* p, int64_t, int) { return V(widen(*p)); }
  static ADAPOOL_HD V load(const Any& any, int64_t at, int64_t, int) { return any.load<V>(at); }
  static ADAPOOL_HD void store(const Any& any, int64_t at, int64_t, int, V v) { any.store(at, v); }
  template <class F> static ADAPOOL_HD V each(int, F f) { return V(f(0)); }
};

// First and last cell of axis `d` whose region holds coordinate `at`, as if the row of cells had no end.
ADAPOOL_HD void span_over(const Window& w, int d, int64_t at, int64_t& first, int64_t& last) {
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
template <class V> ADAPOOL_HD V cover_of(const Window& w, const int64_t* at, const Lanes& lanes) {
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

template <class V> struct Tap {
  int64_t index;   // within the kernel, padded taps counted
  int64_t offset;  // of its element, from the plane's first
  int64_t at[3];   // input coordinates
  V a;             // its activation
  bool known;      // whether there are
  V kept[3];       // numbers that prepare() left, so that they need not be computed again
};  // offset and coordinates are those of the first lane

// Room for what a method keeps of each tap; none on a GPU, where computing is cheaper than memory.
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
  ADAPOOL_HD V at(int64_t, int) const { return V(0); }
  ADAPOOL_HD void keep(int64_t, int64_t, int, V) {}
};

// Where a region's numbers are: of a type that is known when compiled, or only when run (T = Any).
template <class T> struct Source {
  const T* data;
  ADAPOOL_HD Source(const Any& all, int64_t first) : data(static_cast<const T*>(all.data) + first) {}
  template <class V> ADAPOOL_HD V load(int64_t offset, int64_t step, int count) const {
    return Loader<V>::load(data + offset, step, count);
  }
};
template <> struct Source<Any> {
  Any all;
  int64_t first;
  ADAPOOL_HD Source(const Any& a, int64_t f) : all(a), first(f) {}
  template <class V> ADAPOOL_HD V load(int64_t offset, int64_t step, int count) const {
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

  ADAPOOL_HD Region(const Any& data, const Strides& s, const Window& w, const Point& p, const Lanes& l)
      : plane(data, s.plane(p.n, p.c)), strides(s), window(w), lanes(l),
        step(l.along_row ? s.d[2] * w.stride[2] : s.c), box(taps_of(w, p.at)), count(box.count()) {
    for (int d = 0; d < 3; ++d) start[d] = p.at[d] * w.stride[d] - w.padding[d];
  }

  // f of every tap. The numbers that it adds to are given as `sums`, so that long sums can be made of short ones.
  template <class F, class... Sums> ADAPOOL_HD ADAPOOL_OFTEN void each(F f, Sums&... sums) const {
    if constexpr (sizeof...(Sums) == 0) {
      each_in(box, f);
    } else {
#if defined(__CUDACC__)
      CountedSums<V, sizeof...(Sums)> blocks;
      each_in(box, [&](const Tap<V>& t) { f(t); blocks.term(sums...); });
      blocks.end(sums...);
#else
      LongSums<V, Box, sizeof...(Sums)> blocks;
      const bool many = window.taps() > blocks.most;
      const Box* part = many ? blocks.begin(box) : &box;
      for (bool last = false; !last;) {
        each_in(*part, f);
        if (!many) return;
        last = !blocks.next();
        int i = 0;
        ((sums = blocks.take(i++, sums, last)), ...);
      }
#endif
    }
  }
  ADAPOOL_HD void keep(const Tap<V>& t, int slot, V v) const { kept.keep(t.index, window.taps(), slot, v); }

  // Only the taps inside `part`, which must lie in the region's own box.
  template <class F> ADAPOOL_HD void each_in(const Box& part, F f) const {
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
