// One call of an operator as plain data (Job), and what one cell, one place and one operand entry need of it.
// Host and device; CPU loops and CUDA kernels differ only in who supplies the index.
#pragma once
#include <type_traits>

#include "methods.h"

namespace adapool {

enum class Direction { forward, gather, operand };

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
  const void* x;
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

  int64_t cells() const { return batch * channels * window.cells(); }
};

template <class T> struct View : Region<T> {  // the region of one cell of a job
  using Acc = AccOf<T>;
  const Job& job;
  int64_t base;  // offset of its plane

  ADAPOOL_HD View(const Job& j, const Point& p)
      : Region<T>(static_cast<const T*>(j.x), j.xs, j.window, p), job(j), base(j.xs.plane(p.n, p.c)) {}
  ADAPOOL_HD Acc logit(const Tap<Acc>& t) const { return job.logits.template load<Acc>(base + t.offset); }
};

// The values that a method weighs (see weights.h).
template <class T> struct Values {
  using Acc = AccOf<T>;
  const Job& job;
  int64_t base;

  template <class M> ADAPOOL_HD Acc operator()(const M& m, const Tap<Acc>& t) const {
    if (!job.spread.given()) return m.relative(t);
    const Acc g = job.spread.load<Acc>(base + t.offset);
    return job.normalize ? g / Acc(cover(job.window, t.at)) : g;
  }
  template <class M> ADAPOOL_HD Acc slope(const M& m, Acc v) const { return job.spread.given() ? v * m.unit : v; }
  template <class M> ADAPOOL_HD Acc real(const M& m, Acc v) const { return job.spread.given() ? v : v / m.unit; }
  template <class M> ADAPOOL_HD Acc total(const M& m) const { return job.spread.given() ? m.mean : m.pooled(); }
};

template <class Acc> ADAPOOL_HD CellOperands<Acc> operands_at(const Job& job, const Point& p, int count) {
  CellOperands<Acc> cell{};
  for (int k = 0; k < count; ++k) {
    const Operand& o = job.operand[k];
    cell.given[k] = o.given;
    cell.at[k] = o.tensor.given() ? o.tensor.load<Acc>(o.strides.plane(p.n, p.c) + o.strides.in_plane(p.at))
                                  : Acc(o.number);
  }
  return cell;
}

// A method prepared on the region of one cell.
template <template <class> class Method, class T> struct Prepared {
  using Acc = AccOf<T>;
  using M = Method<Acc>;
  M m{};

  ADAPOOL_HD void prepare(const Job& job, const View<T>& r, const Point& p, bool slopes) {
    const CellOperands<Acc> o = operands_at<Acc>(job, p, M::operands);
    if constexpr (M::weighted) m.prepare(r, o, Values<T>{job, r.base}, slopes);
    else m.prepare(r, o);
  }
  ADAPOOL_HD Acc weight(const View<T>& r, const Tap<Acc>& t) const {
    if constexpr (M::logits) return m.weight_of(r.logit(t));
    else return m.weight(t);
  }
  // What the region adds to the target at tap t, before its cell's coefficient.
  ADAPOOL_HD Acc share(const Job& job, const View<T>& r, const Tap<Acc>& t) const {
    if constexpr (!M::weighted) {
      return m.slope(t);
    } else {
      const Values<T> v{job, r.base};
      if constexpr (M::logits) {
        if (job.to_logits) return m.through_logit(t, r.logit(t), v);
      }
      const Acc direct = job.use_weight ? weight(r, t) : Acc(0);
      return job.use_through ? direct + m.through(t, v) : direct;
    }
  }
};

template <class Acc> ADAPOOL_HD Acc coefficient_at(const Job& job, const Point& p, int64_t taps) {
  const Acc c = job.coefficient.load<Acc>(job.cs.plane(p.n, p.c) + job.cs.in_plane(p.at));
  return job.unpool && job.normalize ? c * Acc(taps) : c;
}

// Forward: the cell's value, and its weights or index where wanted.
template <template <class> class Method, class T> ADAPOOL_HD void pool_cell(const Job& job, const Point& p) {
  using Acc = AccOf<T>;
  using M = Method<Acc>;
  const View<T> r(job, p);
  Prepared<Method, T> cell;
  cell.prepare(job, r, p, false);
  const int64_t at = job.ys.plane(p.n, p.c) + job.ys.in_plane(p.at);
  if constexpr (M::weighted) {
    if (job.spread.given()) return job.y.store(at, job.normalize ? cell.m.mean * Acc(r.count) : cell.m.mean);
  }
  job.y.store(at, cell.m.pooled());
  if (job.extra == nullptr) return;
  const Window& w = job.window;
  if constexpr (M::weighted) {
    const int64_t index = ((p.n * job.channels + p.c) * w.out[0] + p.at[0]) * w.out[1] + p.at[1];
    Acc* weights = static_cast<Acc*>(job.extra) + (index * w.out[2] + p.at[2]) * w.taps();
    if (r.count < w.taps())
      for (int64_t i = 0; i < w.taps(); ++i) weights[i] = 0;
    r.each([&](const Tap<Acc>& t) { weights[t.index] = cell.weight(r, t); });
  } else if constexpr (M::indices) {
    r.each([&](const Tap<Acc>& t) {
      if (t.index == cell.m.chosen)
        static_cast<int64_t*>(job.extra)[at] = (t.at[0] * w.in[1] + t.at[1]) * w.in[2] + t.at[2];
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

template <template <class> class Method, class T>
ADAPOOL_HD AccOf<T> operand_term(const Job& job, const Point& p, int which) {
  using Acc = AccOf<T>;
  using M = Method<Acc>;
  const View<T> r(job, p);
  Prepared<Method, T> cell;
  cell.prepare(job, r, p, true);
  const Acc c = coefficient_at<Acc>(job, p, r.count);
  if constexpr (M::weighted) return c * cell.m.operand(which, r, Values<T>{job, r.base});
  else return c * cell.m.operand(which, r);
}

}  // namespace adapool
