// Windows that do not fit in the registers of a thread: several share one. Forward; backward where every place lies in
// exactly one window; and the preparation of windows that overlap, for large_gather.
#pragma once
#include "cuda/large_region.cuh"

namespace adapool {
inline namespace ADAPOOL_ISA {

// The window of a thread: units are numbered as y lies in memory.
template <class S> struct Unit {
  using Count = typename S::Index;  // the host starts no more threads than it counts
  static constexpr int of_warp = 32 / S::in_warp;
  int64_t number, image, channel, n, c;
  int64_t left;  // windows from the warp's first on
  int cell[3], part, within;
  bool real;

  ADAPOOL_HD Unit(const Arguments& a) {
    constexpr unsigned groups = S::threads / 32 / S::warps;
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    within = int(S::channels_last ? lane % of_warp : lane / S::in_warp);
    part = int((S::channels_last ? lane / of_warp : lane % S::in_warp) + warp % S::warps * S::in_warp);
    Count rest = (Count(blockIdx.x) * groups + warp / S::warps) * of_warp;
    left = Count(a.units) - rest;
    real = within < left;
    number = rest = real ? rest + within : 0;
    channel = S::channels_last ? split(rest, Count(a.channels)) : 0;
    for (int d = 2; d >= 0; --d) cell[d] = S::whole || (S::flat && d == 0) ? 0 : int(split(rest, Count(a.cell[d])));
    image = n = rest;
    c = S::channels_last ? channel : split(n, a.channels);
  }
};

template <class S> ADAPOOL_HD void large_forward(const Arguments& a) {
  using V = ComputeOf<S>;
  using M = typename S::template Method<V>;
  const Layout<S> places(a, a.in);
  const Unit<S> u(a);
  const SharedRegion<S> r(a, u.image * places.image + u.channel, places, u.cell, u.part);
  Prepared<S::template Method, V> cell;
  cell.prepare(r, operands_at<S>(a, u.n, u.c, u.cell), S::term >= 0 || S::states);
  V term = V(0);
  if constexpr (S::term >= 0 || S::states) {
    const V c = coefficient<S>(r, V(widen(tensor<typename S::Cells>(a.cells, 0)[u.number])));
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
      const int64_t k = split(rest, r.kernel(2)) + r.start[2], j = split(rest, r.kernel(1)) + r.start[1];
      static_cast<int64_t*>(a.extra)[u.number] = ((rest + r.start[0]) * a.in[1] + j) * a.in[2] + k;
    }
  } else if constexpr (S::extra && M::weighted) {
    const int64_t taps = int64_t(r.kernel(0)) * r.kernel(1) * r.kernel(2);
    const int64_t at =
        (((u.n * a.channels + u.c) * a.cell[0] + u.cell[0]) * a.cell[1] + u.cell[1]) * a.cell[2] + u.cell[2];
    V* to = static_cast<V*>(a.extra) + at * taps;
    if (u.real) {
      for (int64_t i = u.part; i < taps; i += r.threads) {
        int64_t rest = i, tap[3];
        for (int d = 2; d >= 0; --d) tap[d] = split(rest, r.kernel(d)) + r.start[d];
        if (!r.holds(tap)) to[i] = V(0);
      }
      r.mine([&](const Tap<V>& t) { to[t.index] = cell.weight(r, t); });
    }
  }
}

// The places of a warp's windows lie side by side where each is a whole plane: they go to memory through shared memory,
// in pieces that fill sectors. `share` gives a tap's.
template <class S, class R, class F>
ADAPOOL_HD void write_planes(const Arguments& a, const Unit<S>& u, const R& r, F share) {
  using Out = typename S::Out;
  constexpr int all = Unit<S>::of_warp * R::size, most = 16 / int(sizeof(Out));
  constexpr int size = S::together_out < most ? S::together_out : most;
  struct alignas(16) Room {
    Out number[(all + 7) / 8 * 8];
  };
  __shared__ Room rooms[S::threads / 32];
  Out* room = rooms[threadIdx.x / 32].number;
  const int lane = int(threadIdx.x % 32);
  r.mine([&](const Tap<ComputeOf<S>>& t) { room[u.within * R::size + int(t.index)] = share(t); });
  __syncwarp();
  Out* to = tensor<Out>(a.out, 0) + (u.number - u.within) * R::size;
  if (u.left >= Unit<S>::of_warp) {
#pragma unroll
    for (int i = 0; i < all; i += 32 * size)
      if (const int at = i + lane * size; at < all)
        *reinterpret_cast<Piece<Out, size>*>(to + at) = *reinterpret_cast<const Piece<Out, size>*>(room + at);
  } else {
    to = tensor<Out>(a.out, 0) + (a.units - u.left) * R::size;  // those that are not real stand for the first
#pragma unroll 1
    for (int at = lane; at < u.left * R::size; at += 32) to[at] = room[at];
  }
}

template <class S> ADAPOOL_HD void large_backward(const Arguments& a) {
  using V = ComputeOf<S>;
  const Layout<S> places(a, a.in);
  const Unit<S> u(a);
  const SharedRegion<S> r(a, u.image * places.image + u.channel, places, u.cell, u.part);
  Prepared<S::template Method, V> cell;
  cell.prepare(r, operands_at<S>(a, u.n, u.c, u.cell), S::through && !S::to_logits);
  const V c = coefficient<S>(r, V(widen(tensor<typename S::Cells>(a.cells, 0)[u.number])));
  if constexpr (S::term >= 0) {
    const V term = c * cell.operand(S::term, r);
    if (u.real && u.part == 0) static_cast<V*>(a.terms)[u.number] = term;
  }
  const Sharing<S::template Method, V> sharing = cell.times(c);
  const auto share = [&](const Tap<V>& t) { return narrow<typename S::Out>(sharing.share(r, t)); };
  if constexpr (r.held && S::whole && !S::channels_last && S::warps == 1 && S::in_warp < 32) write_planes<S>(a, u, r, share);
  else if (u.real) r.mine([&](const Tap<V>& t) { tensor<typename S::Out>(a.out, r.first)[t.offset] = share(t); });
}

// After large_forward has left the states of all windows: a thread for each place sums what the windows that hold it
// add, in the order of the windows.
template <class S> ADAPOOL_HD void large_gather(const Arguments& a) {
  using V = ComputeOf<S>;
  using State = Sharing<S::template Method, V>;
  using Count = typename S::Index;
  constexpr bool constant = S::kernel(2) > 0;
  const auto kernel = [&](int d) { return constant ? S::kernel(d) : a.kernel[d]; };
  const auto stride = [&](int d) { return constant ? S::stride(d) : a.stride[d]; };
  const auto padding = [&](int d) { return constant ? S::padding(d) : a.padding[d]; };
  constexpr bool few = constant && S::kernel(2) <= kBlockOfTerms * S::stride(2);  // windows along a row: see sums.h
  const Count all = Count(a.batch * a.channels) * a.in[0] * a.in[1] * a.in[2], step = Count(gridDim.x) * blockDim.x;
  for (Count place = Count(blockIdx.x) * blockDim.x + threadIdx.x; place < all; place += step) {
    Count image = place;
    const Count channel = S::channels_last ? split(image, Count(a.channels)) : 0;
    int at[3] = {}, lo[3] = {}, hi[3] = {1, 1, 1}, windows = 1;
    for (int d = 2; d >= (S::flat ? 1 : 0); --d) {
      at[d] = int(split(image, Count(a.in[d])));
      const int before = at[d] + padding(d) - kernel(d) + 1, last = (at[d] + padding(d)) / stride(d);
      lo[d] = before <= 0 ? 0 : (before + stride(d) - 1) / stride(d);
      hi[d] = last < a.cell[d] ? last + 1 : a.cell[d];
      windows *= hi[d] > lo[d] ? hi[d] - lo[d] : 0;
    }
    OnePlace<S> r{};
    Tap<V> t{};
    t.a = V(widen(tensor<typename S::X>(a.x, 0)[place]));
    if constexpr (S::has_logits) r.other = V(widen(tensor<typename S::Logits>(a.logits, 0)[place]));
    const V holding = V(windows > 0 ? windows : 1);
    if constexpr (S::spreads) {
      r.back = V(widen(tensor<typename S::Spread>(a.spread, 0)[place]));
      if constexpr (S::averages) r.back /= holding;
    }
    Sum<V> sum{};
    for (int i = lo[0]; i < hi[0]; ++i)
      for (int j = lo[1]; j < hi[1]; ++j) {
        const int first = ((at[0] - i * stride(0) + padding(0)) * kernel(1) + at[1] - j * stride(1) + padding(1)) *
                              kernel(2) + at[2] + padding(2);
        const Count row = ((image * a.cell[0] + i) * a.cell[1] + j) * a.cell[2];
        V block = V(0);
        for (int k = lo[2]; k < hi[2]; ++k) {
          const Count unit = S::channels_last ? (row + k) * Count(a.channels) + channel : row + k;
          AsWords<State> words;
#pragma unroll
          for (int w = 0; w < words_in<State>; ++w)
            words.word[w] = (static_cast<const uint32_t*>(a.states) + w * a.units)[unit];
          t.index = first - k * stride(2);
          const V share = bit_cast<State>(words).share(r, t);
          if constexpr (few) block += share;
          else sum.add(share);
        }
        if constexpr (few) sum.add(block);
      }
    V all_of_them = sum.value();
    if constexpr (S::unpool && S::normalize && !S::spreads) all_of_them /= holding;
    tensor<typename S::Out>(a.out, 0)[place] = narrow<typename S::Out>(all_of_them);
  }
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
