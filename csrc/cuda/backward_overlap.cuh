// Backward where windows overlap: a block owns a box of places (for channels_last of some channels) and walks images.
// First every thread computes what one of the windows that meet the box adds to each of its taps, into shared memory;
// then it sums that for some places, in the order of the windows. One writer for every number.
#pragma once
#include "cuda/tile.cuh"

namespace adapool {
inline namespace ADAPOOL_ISA {

constexpr int floor_of(int a, int b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
constexpr int ceil_of(int a, int b) { return -floor_of(-a, b); }

// A box of S::box(d) places, whole strides each, and the windows that meet it: from the first of its own on by low(d).
template <class S> struct Overlap {
  static constexpr int low(int d) { return ceil_of(S::padding(d) - S::kernel(d) + 1, S::stride(d)); }
  static constexpr int windows(int d) { return floor_of(S::box(d) - 1 + S::padding(d), S::stride(d)) - low(d) + 1; }
  static constexpr int all = windows(0) * windows(1) * windows(2);
  // Places that a thread gathers, and the windows that may hold them.
  static constexpr int mine(int d) { return d == 2 ? S::gathered : S::stride(d); }
  static constexpr int over(int d) { return floor_of(mine(d) - 1 + S::padding(d), S::stride(d)) - low(d) + 1; }
  static constexpr int workers = (S::box(0) / mine(0)) * (S::box(1) / mine(1)) * (S::box(2) / mine(2));
  // Neighbouring threads read windows `apart` from each other: these lie side by side.
  static constexpr int apart = mine(2) / S::stride(2), columns = (windows(2) + apart - 1) / apart;
  static constexpr int slots = windows(0) * windows(1) * columns * apart;
  ADAPOOL_HD static int slot(int w0, int w1, int w2) {
    return ((w0 * windows(1) + w1) * apart + w2 % apart) * columns + w2 / apart;
  }
};

// The places of a thread from `at` on, which lie from `corner` on, get what the windows that hold them share out; those
// begin with (slab, line, column) of the box.
template <class S>
ADAPOOL_HD void gather(const Arguments& a, int64_t corner, const int* at, int slab, int line, int column, int lane,
                       const ComputeOf<S> (*shares)[Overlap<S>::slots * S::lanes], const Layout<S>& places) {
  using V = ComputeOf<S>;
  using O = Overlap<S>;
  using Out = typename S::Out;
  constexpr int m0 = O::mine(0), m1 = O::mine(1), m2 = O::mine(2);
  V sum[m0 * m1][m2] = {};
#pragma unroll
  for (int w = 0; w < O::over(0) * O::over(1) * O::over(2); ++w) {
    const int w0 = w / (O::over(1) * O::over(2)), w1 = w / O::over(2) % O::over(1), w2 = w % O::over(2);
    const int slot = O::slot(slab + w0, line + w1, column + w2) * S::lanes + lane;
#pragma unroll
    for (int i = 0; i < m0 * m1 * m2; ++i) {
      const int t0 = i / (m1 * m2) + S::padding(0) - (w0 + O::low(0)) * S::stride(0);
      const int t1 = i / m2 % m1 + S::padding(1) - (w1 + O::low(1)) * S::stride(1);
      const int t2 = i % m2 + S::padding(2) - (w2 + O::low(2)) * S::stride(2);
      if (t0 < 0 || t0 >= S::kernel(0) || t1 < 0 || t1 >= S::kernel(1) || t2 < 0 || t2 >= S::kernel(2)) continue;
      sum[i / m2][i % m2] += shares[(t0 * S::kernel(1) + t1) * S::kernel(2) + t2][slot];
    }
  }
#pragma unroll
  for (int i = 0; i < m0 * m1; ++i) {
    if (at[0] + i / m1 >= a.in[0] || at[1] + i % m1 >= a.in[1]) continue;
    if constexpr (S::unpool && S::normalize && !S::spreads)
#pragma unroll
      for (int j = 0; j < m2; ++j)
        sum[i][j] /= V(cover<S>(a, 0, at[0] + i / m1) * cover<S>(a, 1, at[1] + i % m1) * cover<S>(a, 2, at[2] + j));
    Out* out = tensor<Out>(a.out, corner + i / m1 * places.slab + i % m1 * places.row);
    if (!S::channels_last && S::together_out == m2) {
      write_row<Out, m2, S::together_out>(out, sum[i]);
    } else {
#pragma unroll
      for (int j = 0; j < m2; ++j)
        if (at[2] + j < a.in[2]) out[j * places.step] = narrow<Out>(sum[i][j]);
    }
  }
}

template <class S> ADAPOOL_HD void backward_overlap(const Arguments& a) {
  using V = ComputeOf<S>;
  using O = Overlap<S>;
  using Index = typename S::Index;
  constexpr int lanes = S::lanes, taps = S::kernel(0) * S::kernel(1) * S::kernel(2);
  static_assert(O::all * lanes <= S::threads && O::workers * lanes <= S::threads, "a thread has one window at most");
  __shared__ V shared[2][taps][O::slots * lanes];  // in turns, so that some may be written while others are read
  const Layout<S> places(a, a.in), cells(a, a.cell);

  int64_t block = blockIdx.x;
  const int64_t group = split(block, a.lanes);
  int box[3];  // the first place
  box[2] = int(split(block, a.groups[2])) * S::box(2);
  box[1] = S::flat ? int(block) * S::box(1) : int(split(block, a.groups[1])) * S::box(1);
  box[0] = S::flat ? 0 : int(block) * S::box(0);
  const int lane = int(threadIdx.x) % lanes, worker = int(threadIdx.x) / lanes, channel = int(group) * lanes + lane;
  const bool some = !S::channels_last || channel < a.channels;

  // This thread's window.
  const int w[3] = {worker / (O::windows(2) * O::windows(1)), worker / O::windows(2) % O::windows(1),
                    worker % O::windows(2)};
  int cell[3];
  bool real = some && worker < O::all, mine = true;  // mine: it belongs to the box
  for (int d = 0; d < 3; ++d) {
    cell[d] = box[d] / S::stride(d) + O::low(d) + w[d];
    real = real && unsigned(cell[d]) < unsigned(a.cell[d]);
    // Windows belong to the box that they begin with, those that begin after the last place to the last.
    mine = mine && w[d] >= -O::low(d);
    mine = mine && (w[d] < -O::low(d) + S::box(d) / S::stride(d) || box[d] + S::box(d) >= a.in[d]);
  }
  const int to = O::slot(w[0], w[1], w[2]) * lanes + lane;
  const Reach<S> reach(a, cell, places);
  const Covers<S> covers(a, reach);
  const Index at = cell[0] * cells.slab + cell[1] * cells.row + cell[2] * cells.step + channel;
  const Index first = Index(reach.corner) + channel;
  CellOperands<V> operands;
  const auto read_operands = [&](int64_t image) {
    const Whose<S> whose(a, image, channel);
    if (real) operands = operands_at<S>(a, whose.n, whose.c, cell);
  };
  if constexpr (!S::operands_move) read_operands(blockIdx.y);

  // Its places.
  const int column = worker % (S::box(2) / O::mine(2)), rest = worker / (S::box(2) / O::mine(2));
  const int line = rest % (S::box(1) / O::mine(1)), slab = rest / (S::box(1) / O::mine(1));
  const int place[3] = {box[0] + slab * O::mine(0), box[1] + line * O::mine(1), box[2] + column * O::mine(2)};
  const bool gathers = some && worker < O::workers && place[0] < a.in[0] && place[1] < a.in[1] && place[2] < a.in[2];

  V terms = 0;
  int turn = 0;
  const Index corner = place[0] * places.slab + place[1] * places.row + place[2] * places.step + channel;
  Tiles<S> tiles;
  V gradient = 0;
  const auto load = [&](Index image) {
    if (!real) return;
    tiles.load(a, image * int64_t(places.image) + first, reach, places);
    gradient = V(widen(*tensor<typename S::Cells>(a.cells, image * int64_t(cells.image) + at)));
  };
  if constexpr (S::prefetches) load(Index(blockIdx.y));
  for (Index image = blockIdx.y; image < Index(a.images); image += Index(a.parts), turn ^= 1) {
    if constexpr (S::operands_move) read_operands(image);
    V shares[taps] = {};
    if constexpr (!S::prefetches) load(image);
    if (real) {
      const TileRegion<S> r(tiles, reach, covers.share, 0, 0);
      Prepared<S::template Method, V> prepared;
      prepared.prepare(r, operands, S::through && !S::to_logits);
      const V c = coefficient<S>(r, gradient);
      const Sharing<S::template Method, V> sharing = prepared.times(c);
      if constexpr (S::term >= 0) terms += c * prepared.operand(S::term, r);
      if constexpr (!S::keeps) tiles.x.forget(uint32_t(a.lanes) >> 31);  // there is a lane, and not 2^31 of them
#pragma unroll
      for (int i = 0; i < taps; ++i) shares[i] = sharing.share(r, r.tap(i, S::keeps));
    }
    if (worker < O::all)
#pragma unroll
      for (int i = 0; i < taps; ++i) shared[turn][i][to] = shares[i];
    __syncthreads();
    const Index next = image + Index(a.parts);
    if (S::prefetches && next < Index(a.images)) load(next);  // is under way while places are gathered
    const int64_t from = image * int64_t(places.image) + corner;
    if (gathers) gather<S>(a, from, place, slab, line, column * O::apart, lane, shared[turn], places);
  }
  if constexpr (S::term >= 0)
    if (real && mine) static_cast<V*>(a.terms)[blockIdx.y * int64_t(cells.image) + at] = terms;
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
