// Gradients of a row of cells whose lanes are as many planes laid side by side.
#pragma once
#include "fast_rows.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// Shares of a vector of channels: what the next cell adds to is kept in registers.
template <bool dice, bool soft, int K, int S, Want want, bool weighed> void run_vector(const Channels& r) {
  constexpr bool exact = want == Want::exact;
  V kept[K][K - S] = {}, terms{};
  const auto put = [&](int i, int64_t column, V v) __attribute__((always_inline)) {
    float* to = r.to[i] + column * kLanes;
    store(to, i < r.begun ? load(to) + v : v);
  };
  Windows<dice, soft, K, InMemory<K, weighed>> w, next;
  next.taps = {r.rows, r.soft, 0, kLanes};
  next.open();
  for (int64_t j = 0; j < r.cells; ++j) {
    w.begin(next);
    next.taps.at = std::min(j + 1, r.cells - 1) * r.step;
    next.open();
    const V grad = load(r.grad + j * kLanes) * same(r.gain);
    w.template differentiate<exact>(r.beta.at(j, 0), grad, [&](int row) __attribute__((always_inline)) {
      r.ask<K, S, true>(j, row);
    });
    V by{};
    if constexpr (dice && soft) by = grad * w.apart();
    const auto add = [&](int i, const V* share) __attribute__((always_inline)) {
      for (int k = 0; k < K; ++k) {
        const V v = k < K - S ? kept[i][k] + share[k] : share[k];
        if (k < S) put(i, j * S + k, v);
        else kept[i][k - S] = v;
      }
    };
    if (__builtin_expect(w.bad, 0)) {
      V share[K * K];
      for (int i = 0; i < K; ++i) w.template share<exact>(i, share + i * K);
      redo_channels<K * K>(r, w.bad, j, 0, share, r.by_beta ? &by : nullptr);
      for (int i = 0; i < K; ++i) add(i, share + i * K);
    } else {
      each_of<K>([&](int i) __attribute__((always_inline)) {
        V share[K];
        w.template share<exact>(i, share);
        add(i, share);
      });
    }
    terms = terms + by;
    if (r.by_beta && r.by_cell) store(r.by_beta + j * kLanes, by);
  }
  for (int i = 0; i < K; ++i)
    for (int k = 0; k < K - S; ++k) put(i, r.cells * S + k, kept[i][k]);
  if (r.by_beta && !r.by_cell) store(r.by_beta, load(r.by_beta) + terms);
}

template <bool dice, bool soft, int K, int S, Want want> void run_aside(const Channels& r) {
  if constexpr (K == S) return run_channels<dice, soft, K, S, want>(r);
  else if (soft && r.soft[0]) run_vector<dice, soft, K, S, want, soft>(r);
  else run_vector<dice, soft, K, S, want, false>(r);
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
