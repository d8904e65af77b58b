// Backward where windows do not overlap: a thread has some windows at a fixed place, writes all their places and those
// of the gap that follows each, and walks images. One writer for every number. Where a window's row is no piece of
// memory that is written at once, a warp turns what its lanes have: neighbours then write neighbouring places.
#pragma once
#include "cuda/tile.cuh"

namespace adapool {
inline namespace ADAPOOL_ISA {

// The rows of a warp's windows, of which each lane has one. They follow one another, and each lane writes every 32nd
// place of them.
template <class S> struct WarpRows {
  static constexpr int rows = S::kernel(0) * S::kernel(1), own = S::kernel(2);  // kernels as long as strides
  using Index = typename S::Index;
  using Out = typename S::Out;
  Index ahead[own];   // from this lane's first place to the first of those that it writes, k by k
  bool inside[own];   // whether these are in the tensor, by their column
  uint32_t mine = 0;  // which rows of this lane's window are
  bool whole;         // whether all rows of the warp's windows are

  ADAPOOL_HD static int lane() { return int(threadIdx.x) % 32; }
  ADAPOOL_HD static int owner(int k) { return (32 * k + lane()) / own; }  // the lane whose window it is
  // `first`: this lane's first place in the tensor, `place`: its coordinates.
  ADAPOOL_HD WarpRows(const Arguments& a, bool real, int64_t first, const int* place) {
#pragma unroll
    for (int i = 0; i < rows; ++i)
      if (real && unsigned(place[0] + i / S::kernel(1)) < unsigned(a.in[0]) &&
          unsigned(place[1] + i % S::kernel(1)) < unsigned(a.in[1]))
        mine |= 1u << i;
    whole = __all_sync(~0u, mine == (1u << rows) - 1);
#pragma unroll
    for (int k = 0; k < own; ++k) {
      const int of = owner(k), column = (32 * k + lane()) % own;
      const uint32_t low = uint32_t(__shfl_sync(~0u, int(first), of));
      const uint32_t high = uint32_t(__shfl_sync(~0u, int(first >> 32), of));
      ahead[k] = Index(int64_t(uint64_t(high) << 32 | low) - first) + column;
      inside[k] = unsigned(__shfl_sync(~0u, place[2], of) + column) < unsigned(a.in[2]);
    }
  }
  // Before an image: what was put down for the one before has been read by all lanes.
  ADAPOOL_HD static void begin() { __syncwarp(); }
  ADAPOOL_HD static void put(int row, int column, ComputeOf<S> number) {
    of_warp()[row][lane() * own + column] = narrow<Out>(number);
  }
  // `out`: this lane's first place; `live`: the lanes that have an image.
  ADAPOOL_HD void write(Out* out, const Layout<S>& places, uint32_t live) const {
    __syncwarp();
    const auto write_column = [&](int k, uint32_t its) {
      Out* to = out + ahead[k];
#pragma unroll
      for (int i = 0; i < rows; ++i) {
        if (its >> i & 1) *to = of_warp()[i][32 * k + lane()];
        to += i % S::kernel(1) + 1 < S::kernel(1) ? places.row : places.slab - (S::kernel(1) - 1) * places.row;
      }
    };
    if (whole && live == ~0u) {
#pragma unroll
      for (int k = 0; k < own; ++k)
        if (inside[k]) write_column(k, ~0u);
    } else {
#pragma unroll
      for (int k = 0; k < own; ++k) {
        const uint32_t its = uint32_t(__shfl_sync(~0u, int(mine), owner(k)));
        if (inside[k] && (live >> owner(k) & 1)) write_column(k, its);
      }
    }
  }

 private:
  ADAPOOL_HD static Out (*of_warp())[32 * own] {
    __shared__ Out put_down[S::threads / 32][rows][32 * own];
    return put_down[threadIdx.x / 32];
  }
};

template <class S> ADAPOOL_HD void backward_apart(const Arguments& a) {
  using V = ComputeOf<S>;
  using Out = typename S::Out;
  constexpr int windows = S::windows, width = S::width, k0 = S::kernel(0), k1 = S::kernel(1), k2 = S::kernel(2);
  constexpr int s0 = S::stride(0), s1 = S::stride(1), s2 = S::stride(2), own = windows * s2;
  const ThreadWalk<S> walk(a);
  if (!S::turns && !walk.real) return;
  const Layout<S> places(a, a.in), cells(a, a.cell);
  const Reach<S> reach(a, walk.cell, places);
  const Covers<S> covers(a, reach);
  // Places after the last window have none.
  const bool rows = walk.real && walk.cell[0] < a.cell[0] && walk.cell[1] < a.cell[1];
  const int left = rows ? a.cell[2] - walk.cell[2] : 0, here = left < windows ? left : windows;
  const int64_t at = walk.cell[0] * cells.slab + walk.cell[1] * cells.row + walk.cell[2] * cells.step + walk.channel;
  CellOperands<V> operands[windows][width];
  V terms[windows][width] = {};
  const auto read_operands = [&](int64_t image) {
    const Whose<S> whose(a, image, walk.channel);
#pragma unroll
    for (int w = 0; w < windows; ++w) {
      const int cell[3] = {walk.cell[0], walk.cell[1], walk.cell[2] + w};
#pragma unroll
      for (int v = 0; v < width; ++v)
        if (w < here) operands[w][v] = operands_at<S>(a, whose.n, whose.c + v, cell);
    }
  };
  if constexpr (!S::operands_move) read_operands(walk.image);
  int64_t first = int64_t(walk.image) * places.image + walk.channel + reach.corner;
  int64_t cell_at = int64_t(walk.image) * cells.image + at;
  struct Numbers {
    Tiles<S> tiles;
    V cells[windows * width];
  } coming;
  const auto load = [&](int64_t place_from, int64_t cell_from) {
    const typename S::Cells* from = tensor<typename S::Cells>(a.cells, cell_from);
    coming.tiles.load(a, place_from, reach, places);
    if constexpr (S::channels_last) {
      if (here > 0) read_row<typename S::Cells, width, S::together_cells>(from, coming.cells);
    } else if (S::together_cells == windows && here == windows) {
      read_row<typename S::Cells, windows, S::together_cells>(from, coming.cells);
    } else {
#pragma unroll
      for (int w = 0; w < windows; ++w)
        if (w < here) coming.cells[w] = V(widen(from[w]));
    }
  };
  const auto lanes_with = [&](auto image) {  // of the warp
    if constexpr (S::turns) return __ballot_sync(~0u, walk.real && image < walk.end);
    else return image < walk.end;
  };
  const auto warp = [&] {
    if constexpr (S::turns) return WarpRows<S>(a, walk.real, first, reach.first);
    else return 0;
  }();
  if (S::prefetches && walk.real) load(first, cell_at);
  for (auto image = walk.image; const auto live = lanes_with(image);
       image += walk.step, first += a.next, cell_at += a.next_cell) {
    const bool some = !S::turns || (walk.real && image < walk.end);
    if (S::operands_move && some) read_operands(image);
    if (!S::prefetches && some) load(first, cell_at);
    const Numbers now = coming;
    if (S::prefetches && some && image + walk.step < walk.end) load(first + a.next, cell_at + a.next_cell);
    if constexpr (S::turns) warp.begin();
    V added[k0 * k1][own][width];
    const auto gets = [&](int row, int column, int v, V number) {
      if constexpr (S::turns) warp.put(row, column, number);
      else added[row][column][v] = number;
    };
#pragma unroll
    for (int w = 0; w < windows; ++w)
#pragma unroll
      for (int v = 0; v < width; ++v) {
        const TileRegion<S> r(now.tiles, reach, covers.share, w, v);
        if (some && w < here) {
          Prepared<S::template Method, V> cell;
          cell.prepare(r, operands[w][v], S::through && !S::to_logits);
          const V share = coefficient<S>(r, now.cells[w * width + v]);
          if constexpr (S::term >= 0) terms[w][v] += share * cell.operand(S::term, r);
          const Sharing<S::template Method, V> sharing = cell.times(share);
#pragma unroll
          for (int i = 0; i < r.size; ++i)
            gets(i / k2, w * s2 + i % k2, v, r.inside(i) ? sharing.share(r, r.tap(i, S::keeps)) : V(0));
        } else {
#pragma unroll
          for (int i = 0; i < r.size; ++i) gets(i / k2, w * s2 + i % k2, v, 0);
        }
#pragma unroll
        for (int i = 0; i < k0 * k1; ++i)
#pragma unroll
          for (int gap = k2; gap < s2; ++gap) gets(i, w * s2 + gap, v, 0);
      }
    Out* out = tensor<Out>(a.out, first);
    if constexpr (S::turns) {
      warp.write(out, places, live);
      continue;
    }
#pragma unroll
    for (int i0 = 0; i0 < s0; ++i0)
#pragma unroll
      for (int i1 = 0; i1 < s1; ++i1) {
        const bool inside =
            unsigned(reach.first[0] + i0) < unsigned(a.in[0]) && unsigned(reach.first[1] + i1) < unsigned(a.in[1]);
        if (!inside) continue;
        Out* row = out + i0 * places.slab + i1 * places.row;
        V numbers[own][width];
#pragma unroll
        for (int c2 = 0; c2 < own; ++c2)
#pragma unroll
          for (int v = 0; v < width; ++v)
            numbers[c2][v] = i0 < k0 && i1 < k1 ? added[i0 < k0 && i1 < k1 ? i0 * k1 + i1 : 0][c2][v] : V(0);
        if constexpr (S::channels_last) {
#pragma unroll
          for (int c2 = 0; c2 < own; ++c2)
            if (unsigned(reach.first[2] + c2) < unsigned(a.in[2]))
              write_row<Out, width, S::together_out>(row + c2 * places.step, numbers[c2]);
        } else {
          constexpr int most = 16 / int(sizeof(Out)), piece = S::together_out < most ? S::together_out : most;
#pragma unroll
          for (int c2 = 0; c2 < own; c2 += piece)  // inside as a whole or not at all
            if (unsigned(reach.first[2] + c2) < unsigned(a.in[2])) write_row<Out, piece, piece>(row + c2, numbers[c2]);
        }
      }
  }
  if constexpr (S::term >= 0)
    if (here > 0) store_terms<S>(a, walk, at, here, terms);
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
