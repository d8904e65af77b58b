// Windows in registers: the taps of some windows side by side along a row, or of one window in some channels.
// Device only (and its emulator); knows no method.
#pragma once
#include "cuda/specification.cuh"

namespace adapool {
inline namespace ADAPOOL_ISA {

// Where the first tap of a tile lies, and which of its rows and columns are inside. S::before(d) and S::beyond(d) say
// how many of its coordinates may lie before and beyond the tensor; the others are known to be inside.
template <class S> struct Reach {
  static constexpr int columns = (S::windows - 1) * S::stride(2) + S::kernel(2);
  int first[3], extent[3];
  int64_t corner;  // the place of the first tap in an image

  ADAPOOL_HD Reach(const Arguments& a, const int* cell, const Layout<S>& places) {
    for (int d = 0; d < 3; ++d) {
      first[d] = cell[d] * S::stride(d) - S::padding(d);
      extent[d] = a.in[d];
    }
    corner = first[0] * places.slab + first[1] * places.row + first[2] * places.step;
  }
  ADAPOOL_HD static constexpr int size(int d) { return d == 2 ? columns : S::kernel(d); }
  ADAPOOL_HD bool holds(int d, int i) const {
    const bool low = i < S::before(d), high = i >= size(d) - S::beyond(d);
    if (low && high) return unsigned(first[d] + i) < unsigned(extent[d]);
    return low ? first[d] + i >= 0 : high ? first[d] + i < extent[d] : true;
  }
  static constexpr bool whole =
      S::before(0) + S::before(1) + S::before(2) + S::beyond(0) + S::beyond(1) + S::beyond(2) == 0;
  // Real taps of the window `w` of the tile.
  ADAPOOL_HD int taps(int w) const {
    int count = 1;
#pragma unroll
    for (int d = 0; d < 3; ++d) {
      int here = 0;
#pragma unroll
      for (int i = 0; i < S::kernel(d); ++i) here += holds(d, d == 2 ? w * S::stride(2) + i : i);
      count *= here;
    }
    return count;
  }
};

// The numbers of a tile. Rows of NCHW are read in pieces that lie as tiles do, S::together numbers each; what a window
// reaches before and beyond its own pieces is read one by one.
template <class S, class T> struct Tile {
  static constexpr int rows = S::kernel(0) * S::kernel(1), columns = Reach<S>::columns, channels = S::width;
  static constexpr int own = S::windows * S::stride(2);
  ComputeOf<S> number[rows][columns][channels];

  // What was computed of the numbers is computed again where it is asked for, and takes no registers until then: `zero`
  // is not known to the compiler. In double alone, which has fewer numbers in as many registers.
  ADAPOOL_HD void forget(uint64_t zero) {
#pragma unroll
    for (int i = 0; i < rows * columns; ++i)
#pragma unroll
      for (int v = 0; v < channels; ++v) {
        double& x = number[i / columns][i % columns][v];
        x = bit_cast<double>(bit_cast<uint64_t>(x) ^ zero);
      }
  }

  // From the place of the first tap on.
  ADAPOOL_HD void load(const T* first, const Reach<S>& reach, const Layout<S>& layout) {
#pragma unroll
    for (int i = 0; i < rows; ++i) {
      const bool inside = reach.holds(0, i / S::kernel(1)) && reach.holds(1, i % S::kernel(1));
      const T* row = first + i / S::kernel(1) * layout.slab + i % S::kernel(1) * layout.row;
      if constexpr (S::channels_last) {
#pragma unroll
        for (int c = 0; c < columns; ++c) {
          if (!used(c)) continue;
          if (inside && reach.holds(2, c)) read_row<T, channels, S::together>(row + c * layout.step, number[i][c]);
          else clear(number[i][c]);
        }
      } else {
        load_row(row, inside, reach, number[i]);
      }
    }
  }

 private:
  // Whether a column belongs to a window, and not to the gap between two.
  ADAPOOL_HD static constexpr bool used(int c) {
    return c % S::stride(2) < S::kernel(2) || c >= (S::windows - 1) * S::stride(2);
  }
  ADAPOOL_HD static void clear(ComputeOf<S>* to) {
#pragma unroll
    for (int v = 0; v < channels; ++v) to[v] = 0;
  }
  ADAPOOL_HD static void load_row(const T* row, bool inside, const Reach<S>& reach, ComputeOf<S> (*to)[1]) {
    constexpr int most = 16 / int(sizeof(T)), size = S::together < most ? S::together : most, shift = S::padding(2);
#pragma unroll
    for (int c = 0; c < columns; ++c) {
      const int piece = c - shift;  // pieces begin at multiples of `size` of this
      const bool pieces = size > 1 && piece >= 0 && piece < own;
      if (pieces && piece % size == 0) {  // inside as a whole or not at all
        static_assert(own % size == 0, "whole pieces");
        ComputeOf<S> some[size];
        if (inside && reach.holds(2, c)) {
          read_piece<size>(row + c, some);
        } else {
#pragma unroll
          for (int i = 0; i < size; ++i) some[i] = 0;
        }
#pragma unroll
        for (int i = 0; i < size; ++i)
          if (c + i < columns) to[c + i][0] = some[i];
      } else if (!pieces && used(c)) {
        to[c][0] = inside && reach.holds(2, c) ? ComputeOf<S>(widen(row[c])) : ComputeOf<S>(0);
      }
    }
  }
};

// The tiles of all tensors of the input's shape that a kernel reads.
template <class S> struct Tiles {
  Tile<S, typename S::X> x;
  Tile<S, typename S::Logits> logits;  // where the method has them
  Tile<S, typename S::Spread> spread;  // what flows back

  ADAPOOL_HD void load(const Arguments& a, int64_t first, const Reach<S>& reach, const Layout<S>& layout) {
    x.load(tensor<typename S::X>(a.x, first), reach, layout);
    if constexpr (S::has_logits) logits.load(tensor<typename S::Logits>(a.logits, first), reach, layout);
    if constexpr (S::spreads) spread.load(tensor<typename S::Spread>(a.spread, first), reach, layout);
  }
};

// The region of window `w` and channel `v` of a tile.
template <class S> struct TileRegion : Wanted<S> {
  using V = ComputeOf<S>;
  static constexpr int size = S::kernel(0) * S::kernel(1) * S::kernel(2);
  const Tiles<S>& tiles;
  const Reach<S>& reach;
  const V* covers;  // one over the windows at each of the tile's coordinates: kernel(0), kernel(1), columns
  int w, v, count;
  mutable V kept[S::keeps ? size : 1][3];

  ADAPOOL_HD TileRegion(const Tiles<S>& all, const Reach<S>& where, const V* c, int window, int channel)
      : tiles(all),
        reach(where),
        covers(c),
        w(window),
        v(channel),
        count(Reach<S>::whole ? size : where.taps(window)) {}
  ADAPOOL_HD static int row(int i) { return i / S::kernel(2); }
  ADAPOOL_HD int column(int i) const { return w * S::stride(2) + i % S::kernel(2); }
  ADAPOOL_HD bool inside(int i) const {
    return reach.holds(0, row(i) / S::kernel(1)) && reach.holds(1, row(i) % S::kernel(1)) && reach.holds(2, column(i));
  }
  ADAPOOL_HD Tap<V> tap(int i, bool known) const {
    Tap<V> t{};
    t.index = i;
    t.a = tiles.x.number[row(i)][column(i)][v];
    t.known = known;
    if (known)
      for (int slot = 0; slot < 3; ++slot) t.kept[slot] = kept[S::keeps ? i : 0][slot];
    return t;
  }

  template <class F, class... Gathered> ADAPOOL_HD void each(F f, Gathered&... gathered) const {
#pragma unroll
    for (int i = 0; i < size; ++i) {
      const bool in = inside(i);
      offer<false>(f, tap(i, false), in, gathered...);
    }
  }
  ADAPOOL_HD void keep(const Tap<V>& t, int slot, V number) const {
    if constexpr (S::keeps) kept[t.index][slot] = number;
  }
  ADAPOOL_HD V logit(const Tap<V>& t) const { return tiles.logits.number[row(int(t.index))][column(int(t.index))][v]; }
  ADAPOOL_HD V spread(const Tap<V>& t) const {
    const int i = int(t.index);
    const V g = tiles.spread.number[row(i)][column(i)][v];
    if constexpr (!S::averages) return g;
    else
      return g * (covers[row(i) / S::kernel(1)] * covers[S::kernel(0) + row(i) % S::kernel(1)] *
                  covers[S::kernel(0) + S::kernel(1) + column(i)]);
  }
};

// One over the windows that hold each coordinate of a tile.
template <class S> struct Covers {
  static constexpr int count = S::kernel(0) + S::kernel(1) + Reach<S>::columns;
  ComputeOf<S> share[S::averages ? count : 1];
  ADAPOOL_HD Covers(const Arguments& a, const Reach<S>& reach) {
    if constexpr (S::averages) {
#pragma unroll
      for (int i = 0; i < count; ++i) {
        const int d = i < S::kernel(0) ? 0 : i < S::kernel(0) + S::kernel(1) ? 1 : 2;
        const int at = d == 0 ? i : d == 1 ? i - S::kernel(0) : i - S::kernel(0) - S::kernel(1);
        share[i] = ComputeOf<S>(1) / ComputeOf<S>(cover<S>(a, d, reach.first[d] + at));
      }
    }
  }
};

// Where a thread is: a window group, some channels, and the images that it walks.
template <class S> struct ThreadWalk {
  using Index = typename S::Index;
  int cell[3];      // of its first window
  int64_t channel;  // of its first
  Index image, end, step;
  bool real;

  ADAPOOL_HD ThreadWalk(const Arguments& a) {
    const Index thread = Index(blockIdx.x) * Index(blockDim.x) + Index(threadIdx.x);  // no more than it counts
    const Index all = Index(a.lanes) * a.groups[0] * a.groups[1] * a.groups[2];
    image = thread;
    Index at = split(image, all);
    real = image < Index(a.parts);
    end = Index(a.images);
    step = Index(a.parts);
    channel = int64_t(split(at, Index(a.lanes))) * S::width;
    cell[2] = int(split(at, Index(a.groups[2]))) * S::windows;
    cell[1] = int(split(at, Index(a.groups[1])));
    cell[0] = S::flat ? 0 : int(at);
  }
};

// The place in the batch and the channel of a plane, or of an image of channels_last.
template <class S> struct Whose {
  int64_t n, c;
  ADAPOOL_HD Whose(const Arguments& a, int64_t image, int64_t channel) : n(image), c(channel) {
    if constexpr (!S::channels_last) c = split(n, a.channels);
  }
};

// What a thread's cells add to the gradient of an operand: one number for each cell and part of the images.
template <class S, class W, class Terms>
ADAPOOL_HD void store_terms(const Arguments& a, const W& walk, int64_t at, int here, const Terms& terms) {
  const Layout<S> cells(a, a.cell);
  ComputeOf<S>* to = static_cast<ComputeOf<S>*>(a.terms) + int64_t(walk.image) * cells.image + at;
#pragma unroll
  for (int w = 0; w < S::windows; ++w)
#pragma unroll
    for (int v = 0; v < S::width; ++v)
      if (w < here) to[w * cells.step + v] = terms[w][v];
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
