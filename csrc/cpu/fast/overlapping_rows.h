// Gradients of a row of cells whose regions overlap; lanes are neighbouring cells of one plane.
#pragma once
#include "cpu/fast/rows.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// Lanes `by` further, those of the end at the beginning.
template <int by> ADAPOOL_INLINE V turned(V v) {
  return shuffled<[](int i) { return (i + kLanes - by) % kLanes; }>(v, v, Every{});
}

// What vectors cannot do of the shares of cells j and on, and their g dy / dbeta.
template <class Order, int K> __attribute__((noinline, cold)) void fallback_shares(const RowArguments& r, int bad, int64_t j, V* share) {
  float lanes[K * K][kLanes];
  for (int t = 0; t < K * K; ++t) store(lanes[t], share[t]);
  for (int lane = 0; lane < kLanes; ++lane) {
    const int64_t cell = j + Order::order(lane);
    if ((bad >> lane & 1) == 0 || cell >= r.cells) continue;
    Point p = r.first;
    p.at[2] += cell;
    r.fallback.cell(*r.fallback.job, r.fallback.direction, p, lanes[0] + lane, kLanes);
    if (r.by_beta) r.fallback.cell(*r.fallback.job, Direction::operand, p, r.by_beta + cell, 0);
  }
  for (int t = 0; t < K * K; ++t) share[t] = load(lanes[t]);
}

// Sums of shares by place: column c of step q takes tap k of cell q - k / S where k % S == c, so that shares of a vector's
// last cells are carried to the next one. Rows that no later cells reach go to the target, the others to r.after.
template <int K, int S> class Places {
 public:
  explicit Places(const RowArguments& r) : r_(r) {}

  // Of the K taps of row i, of cells j and on. The next vector begins `step` cells further.
  ADAPOOL_INLINE void add(int i, const V* share, int64_t j, int64_t step) {
    V sum[S];
    for (int c = 0; c < S; ++c) sum[c] = share[c];
    carry<S>(carried_[i], share, sum, step);
    if (i < K - S)
      for (int c = 0; c < S; ++c) sum[c] = sum[c] + load(r_.before + (i * S + c) * r_.pitch + j);
    if (i >= S) {
      for (int c = 0; c < S; ++c) store(r_.after + ((i - S) * S + c) * r_.pitch + j, sum[c]);
    } else if (__builtin_expect((j + kLanes) * S <= r_.columns, 1)) {
      Columns<S>::put(r_.to[i] + j * S, sum);
    } else if (j * S < r_.columns) {
      float end[kLanes * S];
      Columns<S>::put(&end[0], sum);
      for (int64_t c = j * S; c < r_.columns; ++c) r_.to[i][c] = end[c - j * S];
    }
  }

 private:
  template <int k> static ADAPOOL_INLINE void carry(V* carried, const V* share, V* sum, int64_t step) {
    if constexpr (k < K) {
      const V now = turned<k / S>(share[k]), moved = joined(carried[k - S], now, k / S);
      sum[k % S] = sum[k % S] + moved;
      carried[k - S] = __builtin_expect(step == kLanes, 1) ? now : from_lane(step, moved, now);
      carry<k + 1>(carried, share, sum, step);
    }
  }

  const RowArguments& r_;
  V carried_[K][K - S] = {};
};

template <class M, int K, int S, Computes computes, bool weighed> void run_places(const RowArguments& r) {
  using Order = Columns<S>;
  constexpr bool exact = computes == Computes::exact;
  Places<K, S> places(r);
  for (int64_t j = 0;;) {
    for (int i = 0; i < K; ++i) {
      if (i >= K - S) r.reads[i].ask<S>(j * S);
      if (i < S) r.writes[i].ask<S>(j * S);
    }
    WindowsOf<M, K, InRegisters<K, K, Order, weighed>> w;
    tell(r.fallback, w);
    w.taps.soft = r.soft;
    w.taps.at = j * S;
    for (int i = 0; i < K; ++i) Order::template take<K>(r.rows[i] + j * S, w.taps.a + i * K);
    w.open();
    const V grad = Order::lanes(r.grad.at(0, j)) * same(r.gain);
    w.template differentiate<exact>(Order::lanes(r.beta.at(0, j)), grad);
    if constexpr (M::operand)
      if (r.by_beta) store(r.by_beta + j, Order::natural(grad * w.apart()));
    const bool done = j + kLanes >= r.cells;
    const int64_t step = done || j + 2 * kLanes <= r.cells ? kLanes : r.cells - kLanes - j;
    const auto repair = [&](V* share) { fallback_shares<Order, K>(r, w.bad, j, share); };
    each_share<exact, K>(w, repair, [&](int i, V* share) __attribute__((always_inline)) {
      for (int k = 0; k < K; ++k) share[k] = Order::natural(share[k]);
      for (int k = 0; k < K && r.cells < kLanes; ++k) share[k] = joined(share[k], V{}, r.cells);
      places.add(i, share, j, step);
    });
    j += step;
    if (!done) continue;
    const V none[K] = {};
    for (int i = 0; i < K; ++i) places.add(i, none, j, kLanes);
    for (int i = 0; i < S; ++i)
      for (int64_t c = (j + kLanes) * S; c < r.columns; ++c) r.to[i][c] = 0;
    return;
  }
}

template <class M, int R, int K, int S, Computes computes> void run_row(const RowArguments& r) {
  by_weights<M::weighed(K, S)>(r.soft[0], [&]<bool weighed>() {
    if constexpr (K == S || computes == Computes::value) run_line<M, R, K, S, computes, weighed>(r);
    else run_places<M, K, S, computes, weighed>(r);
  });
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
