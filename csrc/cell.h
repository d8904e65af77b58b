// One call of an operator as plain data (Job), and what one cell (or lane of cells) computes of it.
// Host and device; CPU loops and CUDA kernels differ only in who supplies the index.
#pragma once
#include <type_traits>

#include "methods.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

enum class Direction : int32_t { forward, gather, operand };

// An operand of a cell: a number, a tensor that broadcasts to [N, C, *out] (stride 0 on broadcast axes), or
// neither, which means the method's own default.
struct Operand {
  Any tensor;
  Strides strides;
  double number;
  bool given;
};

// Tensors of the input's shape (x, logits, spread, target) share the strides xs.
struct Job {
  Window window;
  int64_t batch, channels;
  bool channels_last;
  Any x;
  Strides xs;
  Any logits;
  Operand operand[3];
  Any spread;  // unpool's backward: the gradient that comes in at every place; else not given
  bool normalize;  // unpool: times the region's taps, over the number of regions at the place
  bool unpool;

  // forward: one value per cell, or the gradient of unpool's y
  Any y;
  Strides ys;
  void* extra;  // weights [N, C, *out, taps] in Acc, or int64 indices with y's strides; or null

  // gather: one value per place, summed over the regions that hold it, each times its cell's coefficient
  Any coefficient;  // the gradient of pool's y, or unpool's y
  Strides cs;
  Any target;
  bool use_weight, use_through, to_logits;

  ADAPOOL_HD int64_t cells() const { return batch * channels * window.cells(); }
  ADAPOOL_HD bool averages() const { return unpool && normalize && !spread.given(); }
};

template <class T, class V> struct View : Region<T, V> {  // the region of one cell of a job
  const Job& job;
  int64_t base;  // offset of its plane

  ADAPOOL_HD View(const Job& j, const Point& p, const Lanes& l)
      : Region<T, V>(j.x, j.xs, j.window, p, l), job(j), base(j.xs.plane(p.n, p.c)) {}
  ADAPOOL_HD V read(const Any& tensor, const Tap<V>& t) const {
    return Source<OthersOf<T>>(tensor, base).template load<V>(t.offset, this->step, this->lanes.count);
  }
  ADAPOOL_HD V logit(const Tap<V>& t) const { return read(job.logits, t); }
};

// The values that a method weighs (see weights.h).
template <class T, class V> struct Values {
  const View<T, V>& r;

  template <class M> ADAPOOL_HD V operator()(const M& m, const Tap<V>& t) const {
    if (!r.job.spread.given()) return m.relative(t);
    const V g = r.read(r.job.spread, t);
    return r.job.normalize ? g / cover_of<V>(r.window, t.at, r.lanes) : g;
  }
  template <class M> ADAPOOL_HD V slope(const M& m, V v) const { return r.job.spread.given() ? v * m.unit : v; }
  template <class M> ADAPOOL_HD V real(const M& m, V v) const { return r.job.spread.given() ? v : v / m.unit; }
  template <class M> ADAPOOL_HD V total(const M& m) const { return r.job.spread.given() ? m.mean : m.pooled(); }
};

// A tensor with one entry for each cell, at the cells of `lanes`.
template <class V> ADAPOOL_HD V at_cells(const Any& t, const Strides& s, const Point& p, const Lanes& lanes) {
  return Loader<V>::load(t, s.plane(p.n, p.c) + s.in_plane(p.at), lanes.step(s), lanes.count);
}

template <class V>
ADAPOOL_HD CellOperands<V> operands_at(const Job& job, const Point& p, const Lanes& lanes, int count) {
  CellOperands<V> cell{};
  for (int k = 0; k < count; ++k) {
    const Operand& o = job.operand[k];
    cell.given[k] = o.given;
    cell.at[k] = o.tensor.given() ? at_cells<V>(o.tensor, o.strides, p, lanes) : V(o.number);
  }
  return cell;
}

// A method prepared on the region of one cell.
template <template <class> class Method, class T, class V> struct Prepared {
  using M = Method<V>;
  M m{};

  ADAPOOL_HD void prepare(const View<T, V>& r, const Point& p, bool slopes) {
    const CellOperands<V> o = operands_at<V>(r.job, p, r.lanes, M::operands);
    if constexpr (M::weighted) m.prepare(r, o, Values<T, V>{r}, slopes);
    else m.prepare(r, o);
  }
  ADAPOOL_HD V weight(const View<T, V>& r, const Tap<V>& t) const {
    if constexpr (M::logits) return m.weight_of(t, r.logit(t));
    else return m.weight(t);
  }
  // What it adds to the gradient of operand k, before its coefficient.
  ADAPOOL_HD V operand(int k, const View<T, V>& r) const {
    if constexpr (M::weighted) return m.operand(k, r, Values<T, V>{r});
    else return m.operand(k, r);
  }
  // What the region adds to the target at tap t, before its cell's coefficient.
  ADAPOOL_HD V share(const View<T, V>& r, const Tap<V>& t) const {
    if constexpr (!M::weighted) {
      return m.slope(t);
    } else {
      const Values<T, V> v{r};
      if constexpr (M::logits) {
        if (r.job.to_logits) return m.through_logit(t, r.logit(t), v);
      }
      const V direct = r.job.use_weight ? weight(r, t) : V(0);
      return r.job.use_through ? direct + m.through(t, v) : direct;
    }
  }
};

template <class V> ADAPOOL_HD V coefficient_at(const Job& job, const Point& p, const Lanes& lanes, int64_t taps) {
  const V c = at_cells<V>(job.coefficient, job.cs, p, lanes);
  return job.unpool && job.normalize ? c * V(taps) : c;
}

// Forward: the cells' values, and their weights or indices where wanted.
template <template <class> class Method, class T, class V>
ADAPOOL_HD void pool_cell(const Job& job, const Point& p, const Lanes& lanes) {
  using M = Method<V>;
  using Scalar = ScalarOf<V>;
  const View<T, V> r(job, p, lanes);
  Prepared<Method, T, V> cell;
  cell.prepare(r, p, false);
  const int64_t at = job.ys.plane(p.n, p.c) + job.ys.in_plane(p.at), step = lanes.step(job.ys);
  V y = cell.m.pooled();
  if constexpr (M::weighted) {
    if (job.spread.given()) y = job.normalize ? cell.m.mean * V(r.count) : cell.m.mean;
  }
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
      const V hit = select(IndexOf<V>(t.index) == cell.m.chosen, V(1), V(0));
      Loader<V>::each(lanes.count, [&](int lane) {
        if (lane_of(hit, lane) != 0) indices[lane * step] = place + lane * next;
        return Scalar(0);
      });
    });
  }
}

// Which entry of an operand a cell belongs to: kept axes index the operand, the others are summed over.
struct Reduction {
  int64_t kept[5], summed[5];  // extents of (n, c, d0, d1, d2); 1 where the axis is of the other kind
  int64_t entries, terms;      // their products
  int64_t chunks;              // terms are summed in this many fixed parts, then the parts in order
  int which;                   // operand number

  ADAPOOL_HD Point cell(int64_t entry, int64_t term) const {
    int64_t at[5];
    for (int d = 4; d >= 0; --d) {
      const int64_t e = split(entry, kept[d]), t = split(term, summed[d]);
      at[d] = kept[d] > 1 ? e : t;
    }
    return {at[0], at[1], {at[2], at[3], at[4]}};
  }
};

// What each cell adds to the gradient of operand `which`.
template <template <class> class Method, class T, class V>
ADAPOOL_HD V operand_term(const Job& job, const Point& p, const Lanes& lanes, int which) {
  const View<T, V> r(job, p, lanes);
  Prepared<Method, T, V> cell;
  cell.prepare(r, p, true);
  const V c = coefficient_at<V>(job, p, lanes, r.count);
  return c * cell.operand(which, r);
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
