// Cells whose regions the padding cuts off, or the end of the plane where the last region begins before it. Lanes are channels.
#pragma once
#include "cpu/fast/rows.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

template <int K> struct AtEdge {
  static constexpr bool weighed = false, partial = true;
  static constexpr int height = K;
  const float *const *rows, *const *soft;  // rows: null where there is none
  int64_t from, next, column, width;

  ADAPOOL_INLINE bool holds(int i, int k) const { return rows[i] && column + k >= 0 && column + k < width; }
  ADAPOOL_INLINE void row(int i, V* to) const {
    for (int k = 0; k < K; ++k) to[k] = holds(i, k) ? load(rows[i] + from + (column + k) * next) : V{};
  }
  ADAPOOL_INLINE void weights(int i, V* to) const {
    for (int k = 0; k < K; ++k) to[k] = holds(i, k) ? load(soft[i] + from + (column + k) * next) : V{};
  }
  template <int G, int from = 0> ADAPOOL_INLINE void keep(int i, V* v, V other) const {
    for (int k = 0; k < G; ++k) v[k] = holds(i, from + k) ? v[k] : other;
  }
  float count() const {
    const auto rows_there = K - std::count(rows, rows + K, nullptr);
    return rows_there * (std::min<int64_t>(column + K, width) - std::max<int64_t>(column, 0));
  }
};

// For windows of K by K of any stride.
template <class M, int K, Computes computes> void run_edges(const ChannelArguments& r) {
  const int64_t stride = r.step / r.channels;
  for (int64_t j = 0; j < r.cells; ++j) {
    for (int64_t c = 0; c < r.channels; c = next_lanes<kLanes>(c, r.channels)) {
      WindowsOf<M, K, AtEdge<K>> w;
      tell(r.fallback, w);
      w.taps = {r.rows, r.soft, c, r.channels, r.column + j * stride, r.width};
      w.open();
      const V beta = r.beta.at(j, c);
      if constexpr (computes == Computes::value) {
        V y = w.pooled(beta);
        if (w.bad) fallback_channels<1>(r, w.bad, j, c, &y, nullptr);
        store(r.out + j * r.channels + c, y);
      } else {
        const V grad = load(r.grad + j * r.channels + c) * same(r.gain == 1 ? 1 : w.taps.count());
        constexpr bool exact = computes == Computes::exact;
        w.template differentiate<exact>(beta, grad);
        V by{}, share[K * K];
        if constexpr (M::operand)
          if (r.by_beta) by = grad * w.apart();
        for (int i = 0; i < K; ++i) w.template share<exact>(i, share + i * K);
        if (w.bad) fallback_channels<K * K>(r, w.bad, j, c, share, r.by_beta ? &by : nullptr);
        for (int n = 0; n < K * K; ++n)
          if (w.taps.holds(n / K, n % K)) {
            float* to = r.to[n / K] + (w.taps.column + n % K) * r.channels + c;
            store(to, K > stride ? load(to) + r.fresh(share[n], c) : share[n]);
          }
        if (r.by_beta) r.add_by_beta(j, c, by);
      }
    }
  }
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
