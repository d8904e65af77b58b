// What a method makes of a part of the cells of a job, pack by pack: all that is compiled for every method. No torch.
#pragma once
#include "cpu/region.h"
#include "cpu/walk.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// Forward: the cells' values, and their weights or indices where wanted.
template <template <class> class M, class S> void pool_cells(const Job& job, const Walk& walk, const Part& cells) {
  using V = Pack<S>;
  walk.cells(cells, [&](const Point& p, const Lanes& lanes) {
    const Region<V> r(job, p, lanes);
    Prepared<M, V> cell;
    cell.prepare(r, operands_at<V>(job, p, lanes, M<V>::operands), false);
    const int64_t at = job.ys.plane(p.n, p.c) + job.ys.in_plane(p.at), step = lanes.step(job.ys);
    V y = cell.value(r);
    if (job.spread.given() && job.normalize) y = y * V(r.count);
    Loader<V>::store(job.y, at, step, lanes.count, y);
    if (job.extra == nullptr) return;
    const Window& w = job.window;
    if constexpr (M<V>::weighted) {
      const int64_t row = ((p.n * job.channels + p.c) * w.out[0] + p.at[0]) * w.out[1] + p.at[1], taps = w.taps();
      const int64_t pitch = lanes.along_row ? taps : w.cells() * taps;
      const Any weights{static_cast<S*>(job.extra) + (row * w.out[2] + p.at[2]) * taps,
                        sizeof(S) == 8 ? Type::float64 : Type::float32};
      if (r.count < taps)
        for (int64_t i = 0; i < taps; ++i) Loader<V>::store(weights, i, pitch, lanes.count, V(0));
      r.each([&](const Tap<V>& t) { Loader<V>::store(weights, t.index, pitch, lanes.count, cell.weight(r, t)); });
    } else if constexpr (M<V>::indices) {
      int64_t* indices = static_cast<int64_t*>(job.extra) + at;
      r.each([&](const Tap<V>& t) {
        const int64_t place = (t.at[0] * w.in[1] + t.at[1]) * w.in[2] + t.at[2], next = lanes.along_row ? w.stride[2] : 0;
        const auto hit = IndexOf<V>(int32_t(t.index)) == cell.m.chosen;
        for (int lane = 0; lane < lanes.count; ++lane)
          if (hit.raw[lane]) indices[lane * step] = place + lane * next;
      });
    }
  });
}

// Where what regions give is added: to the places of a tile; and to `terms`, where given, what the regions that begin
// there give to the gradient of operand `which`.
template <class S> struct Gathering {
  const Box& tile;
  const Whole<S>& sums;
  double* terms;
  int which;

  // Lane by lane, where taps do not lie as the sums do; out of line, as ADAPOOL_APART is.
  // `k`: the last coordinate of the first, whose sum is at `to`; `move`: from there to the next.
  __attribute__((noinline)) void add(S* to, int64_t k, int64_t move, Lanes lanes, Pack<S> share) const {
    const Strides& s = sums.strides;
    for (int i = 0; i < lanes.count; ++i, k += move) {
      if (!lanes.along_row) to[i * s.c] += share.raw[i];
      else if (k >= tile.lo[2] && k < tile.hi[2]) to[i * move * s.d[2]] += share.raw[i];
    }
  }
};

template <template <class> class M, class S>
void gather_cells(const Job& job, const Walk& walk, const Part& cells, const Gathering<S>& to) {
  using V = Pack<S>;
  const Strides& s = to.sums.strides;
  const Box& tile = to.tile;
  const bool slopes = (job.use_through || to.terms) && !job.to_logits;
  walk.cells(cells, [&](const Point& p, const Lanes& lanes) {
    const Region<V> r(job, p, lanes);
    Prepared<M, V> cell;
    cell.prepare(r, operands_at<V>(job, p, lanes, M<V>::operands), slopes);
    const V c = coefficient_at<V>(job, p, lanes, r.count);
    if (to.terms && r.box.lo[0] >= tile.lo[0] && r.box.lo[1] >= tile.lo[1]) {
      const V term = c * cell.operand(to.which, r);
      for (int i = 0; i < lanes.count; ++i) {
        const int64_t k = r.box.lo[2] + (lanes.along_row ? i * job.window.stride[2] : 0);
        if (k >= tile.lo[2] && k < tile.hi[2]) to.terms[lanes.along_row ? p.c - cells.c : i] += double(term.raw[i]);
      }
    }
    const Sharing<M, V> sharing = cell.times(c);
    Box part = r.box;
    for (int d = 0; d < (lanes.along_row ? 2 : 3); ++d) {
      part.lo[d] = std::max(part.lo[d], tile.lo[d]);
      part.hi[d] = std::min(part.hi[d], tile.hi[d]);
    }
    S* const plane = to.sums.data + s.plane(p.n, p.c);
    const int64_t move = job.window.stride[2];
    const bool buffered = lanes.buffered;
    r.each_in(part, [&](const Tap<V>& t) {
      const V share = sharing.share(r, t);
      if (buffered) (V::get(plane + t.offset) + share).put(plane + t.offset);
      else to.add(plane + s.in_plane(t.at), t.at[2], move, lanes, share);
    });
  });
}

// What the cells add to the gradient of operand `which`, into a tensor [N, C, *out].
template <template <class> class M, class S>
void operand_cells(const Job& job, const Walk& walk, const Part& cells, int which, S* terms) {
  using V = Pack<S>;
  const Window& w = job.window;
  const Strides s{job.channels * w.cells(), w.cells(), {w.out[1] * w.out[2], w.out[2], 1}};
  walk.cells(cells, [&](const Point& p, const Lanes& lanes) {
    const Region<V> r(job, p, lanes);
    Prepared<M, V> cell;
    cell.prepare(r, operands_at<V>(job, p, lanes, M<V>::operands), true);
    const V c = coefficient_at<V>(job, p, lanes, r.count), term = c * cell.operand(which, r);
    Loader<V>::store(terms + s.plane(p.n, p.c) + s.in_plane(p.at), lanes.step(s), lanes.count, term);
  });
}

// These of one method; operand is null where it has none.
template <class S> struct MethodCells {
  void (*pool)(const Job&, const Walk&, const Part& cells);
  void (*gather)(const Job&, const Walk&, const Part& cells, const Gathering<S>& to);
  void (*operand)(const Job&, const Walk&, const Part& cells, int which, S* terms);
};
template <template <class> class M, class S> constexpr MethodCells<S> cells_of() {
  if constexpr (M<S>::operands == 0) return {pool_cells<M, S>, gather_cells<M, S>, nullptr};
  else return {pool_cells<M, S>, gather_cells<M, S>, operand_cells<M, S>};
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
