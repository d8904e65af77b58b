// Gradients of a row of cells whose lanes are channels and whose regions overlap.
#pragma once
#include "cpu/fast/rows.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// What the next cell adds to is kept, in registers if there is one vector of channels.
template <class M, int K, int S, Computes computes, bool weighed, bool one> void run_carrying(const ChannelArguments& r) {
  constexpr bool exact = computes == Computes::exact;
  const int64_t channels = one ? kLanes : r.channels;
  V kept[K][K - S] = {}, terms{};
  if (!one) std::fill_n(r.kept, K * (K - S) * (channels + kLanes), 0.f);
  const auto put = [&](int i, int64_t column, int64_t c, V v) __attribute__((always_inline)) {
    float* to = r.to[i] + column * channels + c;
    store(to, i < r.begun ? load(to) + (one ? v : r.fresh(v, c)) : v);
  };
  const auto carried = [&](int i, int k, int64_t c) __attribute__((always_inline)) {
    return r.kept + (i * (K - S) + k) * (channels + kLanes) + ((c + kLanes - 1) & -kLanes);
  };
  WindowsOf<M, K, InMemory<K, weighed>> w, next;
  tell(r.fallback, w);
  next.taps = {r.rows, r.soft, 0, channels};
  next.open();
  for (int64_t j = 0; j < r.cells; ++j)
    for (int64_t c = 0, then; c < channels; c = then) {
      then = one ? channels : next_lanes<kLanes>(c, channels);
      const int64_t at = j * r.step + c;
      w.begin(next);
      next.taps.at = then == channels ? std::min(j + 1, r.cells - 1) * r.step : j * r.step + then;
      next.open();
      for (int i = 0; !one && i < K; ++i) r.ask_rows<K, S, true>(at, i, channels);
      const V grad = load(r.grad + j * channels + c) * same(r.gain);
      w.template differentiate<exact>(r.beta.at(j, c), grad, [&](int row) __attribute__((always_inline)) {
        if (r.ahead[0].lines > 0) r.ask<K, S, true>(j, row);
      });
      V by{};
      if constexpr (M::operand)
        if (r.by_beta) by = grad * w.apart();
      const auto repair = [&](V* share) { fallback_channels<K * K>(r, w.bad, j, c, share, r.by_beta ? &by : nullptr); };
      each_share<exact, K>(w, repair, [&](int i, const V* share) __attribute__((always_inline)) {
        V old[K - S];
        for (int k = 0; k < K - S; ++k) old[k] = one ? kept[i][k] : load(carried(i, k, c));
        for (int k = 0; k < K; ++k) {
          const V v = k < K - S ? old[k] + share[k] : share[k];
          if (k < S) put(i, j * S + k, c, v);
          else if (one) kept[i][k - S] = v;
          else store(carried(i, k - S, c), v);
        }
      });
      if (one) terms = terms + by;
      if (r.by_beta && (r.by_cell || !one)) r.add_by_beta(j, c, by);
    }
  for (int64_t c = 0; c < channels; c = next_lanes<kLanes>(c, channels))
    for (int i = 0; i < K; ++i)
      for (int k = 0; k < K - S; ++k)
        put(i, r.cells * S + k, c, one ? kept[i][k] : load(carried(i, k, c)));
  if (one && r.by_beta && !r.by_cell) store(r.by_beta, load(r.by_beta) + terms);
}

template <class M, int K, int S, Computes computes> void run_channels(const ChannelArguments& r) {
  by_weights<M::weighed(K, S)>(r.soft[0], [&]<bool weighed>() {
    if constexpr (K == S || computes == Computes::value) run_cells<M, K, S, computes, weighed>(r);
    else if (r.channels == kLanes) run_carrying<M, K, S, computes, weighed, true>(r);
    else run_carrying<M, K, S, computes, weighed, false>(r);
  });
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
