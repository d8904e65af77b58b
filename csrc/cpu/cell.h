// What one cell, or pack of neighbouring cells, of a job computes on the CPU: its value, its weights, what it adds to the
// gradient of an operand. No torch.
#pragma once
#include "cpu/region.h"
#include "job.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

template <class V> struct View : Region<V> {  // the region of one cell of a job
  const Job& job;

  View(const Job& j, const Point& p, const Lanes& l) : Region<V>(j.x, j.xs, j.window, p, l), job(j) {}
  V logit(const Tap<V>& t) const { return this->read(job.logits, t.offset); }
  V spread(const Tap<V>& t) const {
    const V g = this->read(job.spread, t.offset);
    return job.normalize ? g / cover_of<V>(this->window, t.at, this->lanes) : g;
  }
  bool spreads() const { return job.spread.given(); }
  bool weighs() const { return job.use_weight; }
  bool through() const { return job.use_through; }
  bool to_logits() const { return job.to_logits; }
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

// Forward: the cells' values, and their weights or indices where wanted.
template <template <class> class Method, class V>
void pool_cell(const Job& job, const Point& p, const Lanes& lanes) {
  using M = Method<V>;
  using Scalar = ScalarOf<V>;
  const View<V> r(job, p, lanes);
  Prepared<Method, V> cell;
  cell.prepare(r, operands_at<V>(job, p, lanes, M::operands), false);
  const int64_t at = job.ys.plane(p.n, p.c) + job.ys.in_plane(p.at), step = lanes.step(job.ys);
  V y = cell.value(r);
  if (job.spread.given() && job.normalize) y = y * V(r.count);
  Loader<V>::store(job.y, at, step, lanes.count, y);
  if (job.extra == nullptr) return;
  const Window& w = job.window;
  if constexpr (M::weighted) {
    const int64_t row = ((p.n * job.channels + p.c) * w.out[0] + p.at[0]) * w.out[1] + p.at[1], taps = w.taps();
    const int64_t pitch = lanes.along_row ? taps : w.cells() * taps;
    const Any weights{static_cast<Scalar*>(job.extra) + (row * w.out[2] + p.at[2]) * taps,
                      sizeof(Scalar) == 8 ? Type::float64 : Type::float32};
    if (r.count < taps)
      for (int64_t i = 0; i < taps; ++i) Loader<V>::store(weights, i, pitch, lanes.count, V(0));
    r.each([&](const Tap<V>& t) { Loader<V>::store(weights, t.index, pitch, lanes.count, cell.weight(r, t)); });
  } else if constexpr (M::indices) {
    int64_t* indices = static_cast<int64_t*>(job.extra) + at;
    r.each([&](const Tap<V>& t) {
      const int64_t place = (t.at[0] * w.in[1] + t.at[1]) * w.in[2] + t.at[2], next = lanes.along_row ? w.stride[2] : 0;
      const V hit = select(IndexOf<V>(int32_t(t.index)) == cell.m.chosen, V(1), V(0));
      Loader<V>::each(lanes.count, [&](int lane) {
        if (lane_of(hit, lane) != 0) indices[lane * step] = place + lane * next;
        return Scalar(0);
      });
    });
  }
}

// What each cell adds to the gradient of operand `which`.
template <template <class> class Method, class V>
V operand_term(const Job& job, const Point& p, const Lanes& lanes, int which) {
  const View<V> r(job, p, lanes);
  Prepared<Method, V> cell;
  cell.prepare(r, operands_at<V>(job, p, lanes, Method<V>::operands), true);
  const V c = coefficient_at<V>(job, p, lanes, r.count);
  return c * cell.operand(which, r);
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
