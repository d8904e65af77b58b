// Forward, for windows that fit in registers: a thread has some windows side by side, or one window in some channels,
// at a fixed place, and walks images. One writer for every number. Writes y (of unpooling its gradient), weights or
// indices, or what cells add to an operand's gradient.
#pragma once
#include "cuda/tile.cuh"

namespace adapool {
inline namespace ADAPOOL_ISA {

// Weights [n, c, cell, taps] or indices, laid out like y.
template <class S, class R, class P>
ADAPOOL_HD void store_extra(const Arguments& a, const R& r, const P& cell, int64_t n, int64_t c, const int* at,
                            int64_t y) {
  using V = ComputeOf<S>;
  using M = typename S::template Method<V>;
  if constexpr (M::indices) {
    const int i = cell.m.chosen, k2 = S::kernel(2), k1 = S::kernel(1);
    const int64_t place0 = at[0] * S::stride(0) - S::padding(0) + i / (k1 * k2);
    const int64_t place1 = at[1] * S::stride(1) - S::padding(1) + i / k2 % k1;
    const int64_t place2 = at[2] * S::stride(2) - S::padding(2) + i % k2;
    static_cast<int64_t*>(a.extra)[y] = (place0 * a.in[1] + place1) * a.in[2] + place2;
  } else if constexpr (M::weighted) {
    const int64_t row = ((n * a.channels + c) * a.cell[0] + at[0]) * a.cell[1] + at[1];
    V* to = static_cast<V*>(a.extra) + (row * a.cell[2] + at[2]) * R::size;
#pragma unroll
    for (int i = 0; i < R::size; ++i) to[i] = r.inside(i) ? cell.weight(r, r.tap(i, false)) : V(0);
  }
}

template <class S> ADAPOOL_HD void forward(const Arguments& a) {
  using V = ComputeOf<S>;
  constexpr int windows = S::windows, width = S::width;
  const ThreadWalk<S> walk(a);
  if (!walk.real) return;
  const Layout<S> places(a, a.in), cells(a, a.cell);
  const Reach<S> reach(a, walk.cell, places);
  const Covers<S> covers(a, reach);
  constexpr bool whole_rows = S::channels_last || S::together_out == windows;  // of so many windows each time
  const int left = a.cell[2] - walk.cell[2], here = whole_rows || left > windows ? windows : left;
  const int64_t at = walk.cell[0] * cells.slab + walk.cell[1] * cells.row + walk.cell[2] * cells.step + walk.channel;
  CellOperands<V> operands[windows][width];
  V terms[windows][width] = {};
  const auto read_operands = [&](int64_t image) {
    const Whose<S> whose(a, image, walk.channel);
#pragma unroll
    for (int w = 0; w < windows; ++w) {
      const int cell[3] = {walk.cell[0], walk.cell[1], walk.cell[2] + (w < here ? w : here - 1)};
#pragma unroll
      for (int v = 0; v < width; ++v) operands[w][v] = operands_at<S>(a, whose.n, whose.c + v, cell);
    }
  };
  if constexpr (!S::operands_move) read_operands(walk.image);
  int64_t first = int64_t(walk.image) * places.image + walk.channel + reach.corner;
  int64_t cell_at = int64_t(walk.image) * cells.image + at;
  Tiles<S> coming;
  if constexpr (S::prefetches) coming.load(a, first, reach, places);
  for (auto image = walk.image; image < walk.end; image += walk.step, first += a.next, cell_at += a.next_cell) {
    if constexpr (S::operands_move) read_operands(image);
    if constexpr (!S::prefetches) coming.load(a, first, reach, places);
    const Tiles<S> tiles = coming;
    if (S::prefetches && image + walk.step < walk.end) coming.load(a, first + a.next, reach, places);
    V y[windows * width];
#pragma unroll
    for (int w = 0; w < windows; ++w)
#pragma unroll
      for (int v = 0; v < width; ++v) {
        const TileRegion<S> r(tiles, reach, covers.share, w, v);
        Prepared<S::template Method, V> cell;
        cell.prepare(r, operands[w][v], S::term >= 0);
        if constexpr (S::term >= 0) {
          const V c = w < here ? V(widen(tensor<typename S::Cells>(a.cells, cell_at)[w * cells.step + v])) : V(0);
          const V term = coefficient<S>(r, c) * cell.operand(S::term, r);
          terms[w][v] += w < here ? term : V(0);
        } else {
          y[w * width + v] = coefficient<S>(r, cell.value(r));
        }
        if constexpr (S::extra) {
          const Whose<S> whose(a, image, walk.channel);
          const int where[3] = {walk.cell[0], walk.cell[1], walk.cell[2] + w};
          if (w < here) store_extra<S>(a, r, cell, whose.n, whose.c + v, where, cell_at + w * cells.step + v);
        }
      }
    if constexpr (S::term < 0) {
      typename S::Out* out = tensor<typename S::Out>(a.out, cell_at);
      if constexpr (S::channels_last) {
        write_row<typename S::Out, width, S::together_out>(out, y);
      } else if constexpr (whole_rows) {
        write_row<typename S::Out, windows, S::together_out>(out, y);
      } else {
#pragma unroll
        for (int w = 0; w < windows; ++w)
          if (w < here) out[w] = narrow<typename S::Out>(y[w]);
      }
    }
  }
  if constexpr (S::term >= 0) store_terms<S>(a, walk, at, here, terms);
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
