// A row of cells with too few channels left for a vector, innermost: two neighbouring cells by half as many channels.
#pragma once
#include "cpu/fast/rows.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

#if ADAPOOL_VECTOR == 64
ADAPOOL_INLINE V load_pair(const float* low, const float* high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(low)), _mm256_loadu_ps(high), 1);
}
ADAPOOL_INLINE void store_low(float* to, V v) { _mm256_storeu_ps(to, _mm512_castps512_ps256(v)); }
ADAPOOL_INLINE V swapped(V v) { return _mm512_shuffle_f32x4(v, v, 0x4e); }

template <int K, bool with_weights> struct InPairs {
  static constexpr bool weighed = with_weights, partial = false;
  static constexpr float count() { return K * K; }
  const float *const *rows, *const *soft;
  int64_t at, next, apart;  // as InMemory; from the first cell to the second
  ADAPOOL_INLINE void row(int i, V* to) const { take(rows[i] + at, to); }
  ADAPOOL_INLINE void weights(int i, V* to) const { take(soft[i] + at, to); }
  ADAPOOL_INLINE void take(const float* p, V* to) const {
    for (int k = 0; k < K; ++k) to[k] = load_pair(p + k * next, p + apart + k * next);
  }
};

// Shares of a row of taps, summed by place: of the S columns of the first cell and then of the second.
template <int K, int S> struct Pairs {
  V carried[K][K - S + 1] = {};

  template <int k = S> ADAPOOL_INLINE void add(int i, const V* share, V* sum) {
    if constexpr (k == S)
      for (int c = 0; c < S; ++c) sum[c] = share[c];
    if constexpr (k < K) {
      constexpr bool beyond = k / S > 1;  // the second cell
      const V now = beyond ? share[k] : swapped(share[k]), old = carried[i][k - S];
      sum[k % S] = sum[k % S] + (beyond ? old : joined(old, now, kHalf));
      carried[i][k - S] = now;
      add<k + 1>(i, share, sum);
    }
  }
};

// Of the eight channels from c on.
template <class M, int K, int S, Computes computes, bool weighed> void run_eight(const ChannelArguments& r, int64_t c) {
  constexpr bool exact = computes == Computes::exact, target = computes != Computes::value;
  static_assert(K <= 3 * S);
  const int64_t channels = r.channels, columns = r.cells * S + K - S;
  // Lanes that the eight channels before have done are 0.
  const auto fresh = [&](V v) __attribute__((always_inline)) {
    return c % kHalf == 0 ? v : V(_mm512_maskz_mov_ps((0xff << (kHalf - channels % kHalf) & 0xff) * 0x101, v));
  };
  Pairs<K, S> pairs;
  V terms{};
  WindowsOf<M, K, InPairs<K, weighed>> w, next;
  next.taps = {r.rows, r.soft, c, channels, r.cells > 1 ? r.step : 0};
  next.open();
  const auto put = [&](int i, int64_t column, V v) __attribute__((always_inline)) {
    if (K > S && __builtin_expect(column >= columns, 0)) return;
    float* to = r.to[i] + column * channels + c;
    store_low(to, K > S && i < r.begun ? load_pair(to, to) + fresh(v) : v);
  };
  const auto add = [&](int i, const V* share, int64_t j, bool both) __attribute__((always_inline)) {
    V sum[S];
    pairs.add(i, share, sum);
    for (int k = 0; k < S; ++k) {
      put(i, j * S + k, sum[k]);
      if (both || K > S) put(i, (j + 1) * S + k, swapped(sum[k]));
    }
  };
  int64_t j = 0;
  for (; j < r.cells; j += 2) {
    const bool both = j + 1 < r.cells;
    const int64_t at = j * r.step + c, then = std::min(j + 2, r.cells - 1);
    w.begin(next);
    next.taps.at = then * r.step + c;
    next.taps.apart = then + 1 < r.cells ? r.step : 0;
    next.open();
    for (int i = 0; c == 0 && i < K; ++i) r.ask_rows<K, S, target>(at, i, 2 * channels);
    const float* beta_at = r.beta.p + j * r.beta.cell + c * r.beta.lane;
    const float* beta_then = beta_at + (both ? r.beta.cell : 0);
    const V beta = r.beta.lane ? load_pair(beta_at, beta_then) : joined(same(*beta_at), same(*beta_then), kHalf);
    const float* grad_at = r.grad + j * channels + c;
    if constexpr (!target) {
      V y = w.pooled(beta);
      if (__builtin_expect(w.bad, 0)) fallback_channels<1, kHalf>(r, w.bad, j, c, &y, nullptr);
      store_low(r.out + j * channels + c, y);
      if (both) store_low(r.out + (j + 1) * channels + c, swapped(y));
    } else {
      const V grad = load_pair(grad_at, grad_at + (both ? channels : 0)) * same(r.gain);
      w.template differentiate<exact>(beta, grad);
      V by{};
      if constexpr (M::operand)
        if (r.by_beta) by = grad * w.apart();
      const auto single = [&](V v) __attribute__((always_inline)) { return both ? v : joined(v, V{}, kHalf); };
      if (__builtin_expect(w.bad, 0)) {
        V share[K * K];
        for (int i = 0; i < K; ++i) w.template share<exact>(i, share + i * K);
        fallback_channels<K * K, kHalf>(r, w.bad, j, c, share, r.by_beta ? &by : nullptr);
        for (V& v : share) v = single(v);
        for (int i = 0; i < K; ++i) add(i, share + i * K, j, both);
      } else {
        each_of<K>([&](int i) __attribute__((always_inline)) {
          V share[K];
          w.template share<exact>(i, share);
          for (V& v : share) v = single(v);
          add(i, share, j, both);
        });
      }
      terms = terms + single(by);
      if (r.by_beta && r.by_cell) {
        store_low(r.by_beta + j * r.by_cell + c, by);
        if (both) store_low(r.by_beta + (j + 1) * r.by_cell + c, swapped(by));
      }
    }
  }
  if constexpr (target) {
    const V none[K] = {};
    for (int i = 0; K > S && i < K; ++i) add(i, none, j, true);
    float* to = r.by_beta + c;
    if (r.by_beta && !r.by_cell) store_low(to, load_pair(to, to) + fresh(terms + swapped(terms)));
  }
}
#endif

// The channels that whole vectors do not do.
template <class M, int K, int S, Computes computes, bool weighed> void run_pairs(const ChannelArguments& r) {
  if constexpr (kPairs) {
    if (r.channels < kLanes) run_eight<M, K, S, computes, weighed>(r, 0);
    if (r.channels % kLanes != 0 && r.channels != kHalf) run_eight<M, K, S, computes, weighed>(r, r.channels - kHalf);
  }
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
