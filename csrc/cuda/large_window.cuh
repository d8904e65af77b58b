// Windows that do not fit in registers: S::in_warp threads of a warp, times S::warps, share the taps of one and join
// what they gather; taps are read again at every pass, from the cache. Forward; backward where every place lies in
// exactly one window; and the preparation of windows that overlap, for large_gather.
#pragma once
#include "cuda/specification.cuh"
#include "math/window.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// The first of the largest, and a NaN before all others: what max picks from the picks of two parts.
template <class V> ADAPOOL_HD void join(Pick<V>& mine, const Pick<V>& other) {
  const bool wrong = other.a != other.a, mine_wrong = mine.a != mine.a;
  const bool first = other.index < mine.index, equal = wrong == mine_wrong && (wrong || other.a == mine.a);
  if (other.begun && (!mine.begun || (wrong && !mine_wrong) || (!mine_wrong && other.a > mine.a) || (equal && first)))
    mine = other;
}
template <class A> ADAPOOL_HD void join(A& mine, const A& other) { mine.merge(other); }
ADAPOOL_HD void join(float& mine, const float& other) { mine += other; }
ADAPOOL_HD void join(double& mine, const double& other) { mine += other; }
template <class V> ADAPOOL_HD void join(Running<V>&, const Running<V>&) {}  // one thread alone walks in order

template <class S> struct SharedRegion : Wanted<S> {
  using V = ComputeOf<S>;
  static constexpr int threads = S::in_warp * S::warps, apart = S::channels_last ? 32 / S::in_warp : 1;
  const Arguments& a;
  int64_t first;  // of the plane, or of the image's channel
  int64_t step, row, slab;
  int start[3];
  Box box;
  int part;  // this thread's number among those of the window
  int64_t count;

  ADAPOOL_HD SharedRegion(const Arguments& args, int64_t f, const Layout<S>& layout, const int* cell, int p)
      : a(args), first(f), step(layout.step), row(layout.row), slab(layout.slab), part(p) {
    for (int d = 0; d < 3; ++d) {
      start[d] = cell[d] * a.stride[d] - a.padding[d];
      box.lo[d] = start[d] < 0 ? 0 : start[d];
      box.hi[d] = start[d] + a.kernel[d] < a.in[d] ? start[d] + a.kernel[d] : a.in[d];
    }
    count = box.count();
  }
  // f of this thread's taps.
  template <class F> ADAPOOL_HD void mine(F f) const {
    const int width = int(box.extent(2));
    int at[3] = {int(box.lo[0]), int(box.lo[1]), int(box.lo[2]) + part};
    while (true) {
      while (at[2] >= box.hi[2]) {
        at[2] -= width;
        if (++at[1] < box.hi[1]) continue;
        at[1] = int(box.lo[1]);
        if (++at[0] >= box.hi[0]) return;
      }
      Tap<V> t{};
      t.index = (int64_t(at[0] - start[0]) * a.kernel[1] + (at[1] - start[1])) * a.kernel[2] + (at[2] - start[2]);
      t.offset = at[0] * slab + at[1] * row + at[2] * step;
      for (int d = 0; d < 3; ++d) t.at[d] = at[d];
      t.a = read<typename S::X>(a.x, t);
      f(t);
      at[2] += threads;
    }
  }
  template <class F, class... Gathered> ADAPOOL_HD void each(F f, Gathered&... gathered) const {
    Sum<V> sums[sizeof...(Gathered)] = {};
    int terms = 0;
    mine([&](const Tap<V>& t) {
      f(t, gathered...);
      if (S::method_ordered || ++terms < kBlockOfTerms) return;
      terms = 0;
      int i = 0;
      (take(sums[i++], gathered), ...);
    });
    int i = 0;
    (give(sums[i++], gathered), ...);
    (together(gathered), ...);
  }
  ADAPOOL_HD void keep(const Tap<V>&, int, V) const {}
  ADAPOOL_HD V logit(const Tap<V>& t) const { return read<typename S::Logits>(a.logits, t); }
  ADAPOOL_HD V spread(const Tap<V>& t) const {
    const V g = read<typename S::Spread>(a.spread, t);
    if constexpr (!S::averages) return g;
    else
      return g / V(cover<S>(a, 0, int(t.at[0])) * int64_t(cover<S>(a, 1, int(t.at[1]))) * cover<S>(a, 2, int(t.at[2])));
  }

 private:
  template <class T> ADAPOOL_HD V read(const void* data, const Tap<V>& t) const {
    return V(widen(static_cast<const T*>(data)[first + t.offset]));
  }
  // Long sums block by block: see sums.h.
  ADAPOOL_HD static void take(Sum<V>& all, V& block) {
    all.add(block);
    block = V(0);
  }
  template <class A> ADAPOOL_HD static void take(Sum<V>&, A&) {}
  ADAPOOL_HD static void give(Sum<V>& all, V& block) {
    all.add(block);
    block = all.value();
  }
  template <class A> ADAPOOL_HD static void give(Sum<V>&, A&) {}

  template <class A> ADAPOOL_HD void together(A& mine) const {
#pragma unroll
    for (int mask = 1; mask < S::in_warp; mask *= 2) join(mine, exchanged(mine, mask * apart));
    if constexpr (S::warps > 1) {
      __shared__ AsWords<A> box[S::warps][32];
      const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
      box[warp][lane] = bit_cast<AsWords<A>>(mine);
      __syncthreads();
      mine = bit_cast<A>(box[0][lane]);
      for (int w = 1; w < S::warps; ++w) join(mine, bit_cast<A>(box[w][lane]));
      __syncthreads();
    }
  }
};

// The window of a thread: units are numbered as y lies in memory.
template <class S> struct Unit {
  int64_t number, image, channel, n, c;
  int cell[3], part;
  bool real;

  // `round` counts what the whole grid has done; every thread of a block is in the same one.
  ADAPOOL_HD Unit(const Arguments& a, int64_t round) {
    constexpr int of_warp = 32 / S::in_warp, groups = S::threads / 32 / S::warps;
    const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
    const int within = S::channels_last ? lane % of_warp : lane / S::in_warp;
    part = (S::channels_last ? lane / of_warp : lane % S::in_warp) + warp % S::warps * S::in_warp;
    number = ((round * gridDim.x + blockIdx.x) * groups + warp / S::warps) * of_warp + within;
    real = number < a.units;
    int64_t rest = real ? number : 0;
    channel = S::channels_last ? split(rest, a.channels) : 0;
    for (int d = 2; d >= 0; --d) cell[d] = int(split(rest, a.cell[d]));
    image = n = rest;
    c = S::channels_last ? channel : split(n, a.channels);
  }
  ADAPOOL_HD static int64_t rounds(const Arguments& a) {
    const int64_t at_once = int64_t(gridDim.x) * (S::threads / (S::in_warp * S::warps));
    return (a.units + at_once - 1) / at_once;
  }
};

template <class S> ADAPOOL_HD void large_forward(const Arguments& a) {
  using V = ComputeOf<S>;
  using M = typename S::template Method<V>;
  const Layout<S> places(a, a.in);
  for (int64_t round = 0; round < Unit<S>::rounds(a); ++round) {
    const Unit<S> u(a, round);
    const SharedRegion<S> r(a, u.image * places.image + u.channel, places, u.cell, u.part);
    Prepared<S::template Method, V> cell;
    cell.prepare(r, operands_at<S>(a, u.n, u.c, u.cell), S::term >= 0 || S::states);
    V term = V(0);
    if constexpr (S::term >= 0 || S::states) {
      const V c = coefficient<S>(r, V(widen(tensor<typename S::Cells>(a.cells, 0)[u.number * (u.real ? 1 : 0)])));
      if constexpr (S::term >= 0) term = c * cell.operand(S::term, r);
      if constexpr (S::states) {
        using State = Sharing<S::template Method, V>;
        const auto all = bit_cast<AsWords<State>>(cell.times(c));
        if (u.real && u.part == 0)
          for (int i = 0; i < words_in<State>; ++i)
            static_cast<uint32_t*>(a.states)[i * a.units + u.number] = all.word[i];
      }
      if (S::term >= 0 && u.real && u.part == 0) static_cast<V*>(a.terms)[u.number] = term;
    } else if (u.real && u.part == 0) {
      tensor<typename S::Out>(a.out, 0)[u.number] = narrow<typename S::Out>(coefficient<S>(r, cell.value(r)));
    }
    if constexpr (S::extra && M::indices) {
      if (u.real && u.part == 0) {
        int64_t rest = cell.m.chosen;
        const int64_t k = split(rest, a.kernel[2]) + r.start[2], j = split(rest, a.kernel[1]) + r.start[1];
        static_cast<int64_t*>(a.extra)[u.number] = ((rest + r.start[0]) * a.in[1] + j) * a.in[2] + k;
      }
    } else if constexpr (S::extra && M::weighted) {
      const int64_t taps = int64_t(a.kernel[0]) * a.kernel[1] * a.kernel[2];
      const int64_t at =
          (((u.n * a.channels + u.c) * a.cell[0] + u.cell[0]) * a.cell[1] + u.cell[1]) * a.cell[2] + u.cell[2];
      V* to = static_cast<V*>(a.extra) + at * taps;
      if (u.real) {
        for (int64_t i = u.part; i < taps; i += r.threads) {
          int64_t rest = i, tap[3];
          for (int d = 2; d >= 0; --d) tap[d] = split(rest, a.kernel[d]) + r.start[d];
          if (!r.box.holds(tap)) to[i] = V(0);
        }
        r.mine([&](const Tap<V>& t) { to[t.index] = cell.weight(r, t); });
      }
    }
  }
}

template <class S> ADAPOOL_HD void large_backward(const Arguments& a) {
  using V = ComputeOf<S>;
  const Layout<S> places(a, a.in);
  for (int64_t round = 0; round < Unit<S>::rounds(a); ++round) {
    const Unit<S> u(a, round);
    const int64_t first = u.image * places.image + u.channel;
    const SharedRegion<S> r(a, first, places, u.cell, u.part);
    Prepared<S::template Method, V> cell;
    cell.prepare(r, operands_at<S>(a, u.n, u.c, u.cell), S::through && !S::to_logits);
    const V c = coefficient<S>(r, V(widen(tensor<typename S::Cells>(a.cells, 0)[u.real ? u.number : 0])));
    if constexpr (S::sums) {
      const V term = c * cell.operand(S::which, r);
      if (u.real && u.part == 0) static_cast<V*>(a.terms)[u.number] = term;
    }
    const Sharing<S::template Method, V> sharing = cell.times(c);
    if (u.real)
      r.mine([&](const Tap<V>& t) {
        tensor<typename S::Out>(a.out, first)[t.offset] = narrow<typename S::Out>(sharing.share(r, t));
      });
  }
}

// After large_forward has left the states of all windows: a thread for each place sums what the windows that hold it
// add, in the order of the windows.
template <class S> ADAPOOL_HD void large_gather(const Arguments& a) {
  using V = ComputeOf<S>;
  using State = Sharing<S::template Method, V>;
  const Layout<S> places(a, a.in);
  Window w;
  for (int d = 0; d < 3; ++d) {
    w.in[d] = a.in[d];
    w.out[d] = a.cell[d];
    w.kernel[d] = a.kernel[d];
    w.stride[d] = a.stride[d];
    w.padding[d] = a.padding[d];
  }
  const int64_t all = a.batch * a.channels * w.places(), step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t place = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; place < all; place += step) {
    const Point p = point_at(place, a.channels, w.in, S::channels_last);
    const int64_t next[3] = {p.at[0] + 1, p.at[1] + 1, p.at[2] + 1};
    const Box cells = cells_over(w, p.at, next);
    OnePlace<S> r{};
    Tap<V> t{};
    t.a = V(widen(tensor<typename S::X>(a.x, 0)[place]));
    if constexpr (S::has_logits) r.other = V(widen(tensor<typename S::Logits>(a.logits, 0)[place]));
    const V holding = V(cells.count() > 0 ? cells.count() : 1);
    if constexpr (S::spreads) {
      r.back = V(widen(tensor<typename S::Spread>(a.spread, 0)[place]));
      if constexpr (S::averages) r.back /= holding;
    }
    Sum<V> sum{};
    Point c = p;
    for (c.at[0] = cells.lo[0]; c.at[0] < cells.hi[0]; ++c.at[0])
      for (c.at[1] = cells.lo[1]; c.at[1] < cells.hi[1]; ++c.at[1])
        for (c.at[2] = cells.lo[2]; c.at[2] < cells.hi[2]; ++c.at[2]) {
          const int64_t image = S::channels_last ? p.n : p.n * a.channels + p.c;
          const int64_t cell = ((image * w.out[0] + c.at[0]) * w.out[1] + c.at[1]) * w.out[2] + c.at[2];
          const int64_t unit = S::channels_last ? cell * a.channels + p.c : cell;
          AsWords<State> words;
#pragma unroll
          for (int i = 0; i < words_in<State>; ++i)
            words.word[i] = static_cast<const uint32_t*>(a.states)[i * a.units + unit];
          const State state = bit_cast<State>(words);
          t.index = 0;
          for (int d = 0; d < 3; ++d)
            t.index = t.index * w.kernel[d] + (p.at[d] - (c.at[d] * w.stride[d] - w.padding[d]));
          sum.add(state.share(r, t));
        }
    V all_of_them = sum.value();
    if constexpr (S::unpool && S::normalize && !S::spreads) all_of_them /= holding;
    tensor<typename S::Out>(a.out, 0)[place] = narrow<typename S::Out>(all_of_them);
  }
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
