// Rows of cells: a vector of neighbours at a time, or a vector of channels of one cell. Knows where taps lie and no tensor.
#pragma once
#include <algorithm>

#include "cpu/fast/policy.h"
#include "job.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// The arithmetic of a policy, see policy.h.
template <class M, int K, class Taps> using WindowsOf = typename M::template Windows<K, Taps>;

struct StridedFloats {  // numbers in float: cell j, lane c at p[j * cell + c * lane]; a lane step is 0 or 1
  const float* p;
  int64_t cell, lane;
  ADAPOOL_INLINE V at(int64_t j, int64_t c) const {
    const float* q = p + j * cell + c * lane;
    return lane ? load(q) : same(*q);
  }
};

// The windows that vectors cannot do, one at a time: a value to out[0], or the shares of all taps, pitch apart.
struct Fallback {
  const Job* job;
  Direction direction;
  void (*cell)(const Job&, Direction, const Point&, float* out, int64_t pitch);
  bool twin;  // whether the method is the twin of the one that the kernels are named for (methods.h)
};

// A policy of two methods is told which of them is computed.
template <class Windows> ADAPOOL_INLINE void tell(const Fallback& fallback, Windows& w) {
  if constexpr (requires { w.twin; }) w.twin = fallback.twin;
}

enum class Computes { value, exact, detached };

// Memory that is used soon, or null: as many numbers from p on as a row of taps takes, of half the size if `half`.
struct Prefetch {
  const void* p;
  bool half;
  Prefetch from(int64_t i) const { return {p ? static_cast<const float*>(p) + (i >> half) : nullptr, half}; }
  template <int vectors> ADAPOOL_INLINE void ask(int64_t i, int64_t step = kLanes) const {
    const float* at = static_cast<const float*>(p) + (i >> half);
#pragma GCC unroll 8
    for (int k = 0; k < vectors; ++k) __builtin_prefetch(at + (k * step >> half));
  }
};

struct CellArguments {  // of a row of cells, or of rows one after the other
  const float* rows[7];  // of the taps, from the first cell's first
  Prefetch reads[7], writes[7];  // beside each row of taps; writes: of those that have a row in `to`
  const float* soft[7];  // e^a of the taps, if all are within kNear, where regions overlap; or null
  int64_t cells;
  int64_t across, jump;  // cells of a row; elements from its end to the next one's first tap
  StridedFloats beta;
  float gain;            // times grad
  float* out;            // a number for each cell
  float* to[7];          // or the rows that shares go to
  float* by_beta;        // beside gradients, g dy / dbeta; or null
  Fallback fallback;
  Point first;
};

struct RowArguments : CellArguments {  // to: rows of the regions, or the S that no later rows of cells reach; by_beta: of each cell
  StridedFloats grad;
  const float* before;  // sums of shares of the cells above, where regions overlap: K - S rows of S columns, `pitch` apart
  float* after;         // and the sums for the cells below
  int64_t pitch, columns;  // columns: places of a row
};

// Out of line, so that the hot loop keeps its registers. Gradients are those of regions that abut.
template <class Order, int R, int K, int S>
__attribute__((noinline, cold)) void fallback_lanes(const RowArguments& r, int bad, int64_t j) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const int64_t cell = j + Order::order(lane);
    if ((bad >> lane & 1) == 0 || cell >= r.cells) continue;
    const int64_t row = cell / r.across, column = cell % r.across;
    Point p = r.first;
    p.at[1] += row;
    p.at[2] += column;
    if (r.to[0]) {
      float share[R * K];
      r.fallback.cell(*r.fallback.job, r.fallback.direction, p, share, 1);
      for (int i = 0; i < R; ++i)
        std::copy_n(share + i * K, K, r.to[i] + row * (r.across * S + r.jump) + column * S);
    } else {
      r.fallback.cell(*r.fallback.job, r.fallback.direction, p, r.out + cell, 0);
    }
    if (r.by_beta) r.fallback.cell(*r.fallback.job, Direction::operand, p, r.by_beta + cell, 0);
  }
}

template <int R, int K, class Order, bool with_weights> struct InRegisters {
  static constexpr bool weighed = with_weights, partial = false;
  static constexpr int height = R;
  static constexpr float count() { return R * K; }
  V a[R * K];
  const float* const* soft;
  int64_t at;  // of the first tap in its row
  ADAPOOL_INLINE void row(int i, V* to) const {
    for (int k = 0; k < K; ++k) to[k] = a[i * K + k];
  }
  ADAPOOL_INLINE void weights(int i, V* to) const { Order::template take<K>(soft[i] + at, to); }
};
template <int K, bool with_weights = false> struct InMemory {
  static constexpr bool weighed = with_weights, partial = false;
  static constexpr int height = K;
  static constexpr float count() { return K * K; }
  const float *const *rows, *const *soft;
  int64_t at, next;  // of the first tap in its row; from one to the next
  ADAPOOL_INLINE void row(int i, V* to) const {
    for (int k = 0; k < K; ++k) to[k] = load(rows[i] + at + k * next);
  }
  ADAPOOL_INLINE void weights(int i, V* to) const {
    for (int k = 0; k < K; ++k) to[k] = load(soft[i] + at + k * next);
  }
};

// Elements, of rows that follow each other in memory: as they are read side by side, the processor does not see it.
constexpr int64_t kAhead = 1024;

// f(row, its shares) for the rows of taps; of windows that vectors cannot do after repair(all shares).
template <bool exact, int K, class Windows, class Repair, class F>
ADAPOOL_INLINE void each_share(const Windows& w, const Repair& repair, const F& f) {
  if (__builtin_expect(w.bad, 0)) {
    V share[K * K];
    for (int i = 0; i < K; ++i) w.template share<exact>(i, share + i * K);
    repair(share);
    for (int i = 0; i < K; ++i) f(i, share + i * K);
  } else {
    each_row_of<K, K>([&](int i) __attribute__((always_inline)) {
      V share[K];
      w.template share<exact>(i, share);
      f(i, share);
    });
  }
}

// Lanes are neighbouring cells of one plane, their windows R rows of K taps. The last vector overlaps the one before it. Gradients: where regions abut.
template <class M, int R, int K, int S, Computes computes, bool weighed> void run_line(const RowArguments& r) {
  using Order = Columns<S>;
  int64_t from = 0, left = r.across;  // the first cell's first tap; cells to the end of its row
  for (int64_t j = 0;;) {
    const auto at = [&](const float* row, const auto& f) __attribute__((always_inline)) {
      if (K != S || __builtin_expect(left >= kLanes, 1)) f(const_cast<float*>(row) + from);
      else f(Split{const_cast<float*>(row) + from, left * S, r.jump});
    };
    for (int i = 0; i < R; ++i) {
      if (i >= K - S) r.reads[i].ask<S>(from);
      if (computes != Computes::value) r.writes[i].ask<S>(from);
    }
    WindowsOf<M, K, InRegisters<R, K, Order, weighed>> w;
    tell(r.fallback, w);
    w.taps.soft = r.soft;
    w.taps.at = from;
    for (int i = 0; i < R; ++i)
      at(r.rows[i], [&](const auto& p) __attribute__((always_inline)) { Order::template take<K>(p, w.taps.a + i * K); });
    w.open();
    const V beta = Order::lanes(r.beta.at(0, j));
    if constexpr (computes == Computes::value) {
      store(r.out + j, Order::natural(w.pooled(beta)));
    } else {
      constexpr bool exact = computes == Computes::exact;
      const V grad = Order::lanes(r.grad.at(0, j)) * same(r.gain);
      w.template differentiate<exact>(beta, grad);
      if constexpr (M::operand)
        if (r.by_beta) store(r.by_beta + j, Order::natural(grad * w.apart()));
      each_row_of<R, K>([&](int i) __attribute__((always_inline)) {
        V share[K];
        w.template share<exact>(i, share);
        at(r.to[i], [&](const auto& p) __attribute__((always_inline)) { Order::put_lanes(p, share); });
      });
    }
    if (__builtin_expect(w.bad, 0)) fallback_lanes<Order, R, K, S>(r, w.bad, j);
    if (j + kLanes >= r.cells) return;
    const int64_t step = next_lanes<kLanes>(j, r.cells) - j;
    j += step;
    from += step * S;
    left -= step;
    if (K == S && left <= 0) {
      left += r.across;
      from += r.jump;
    }
  }
}

// Lanes are channels, of which there are as many at least. out, grad: a number for each cell and channel; to: laid out as
// `rows`; by_beta: of each channel, summed over the cells.
struct ChannelArguments : CellArguments {
  bool along_row;  // or, of a single `cell`, the cells of a row, whose columns of taps lie as channels do
  int64_t channels, live, step;  // live: those that exist; step: elements between the first taps of neighbours
  const float* grad;
  int64_t begun;  // rows of `to` that hold sums, where regions overlap
  float* kept;    // there: room for every vector's K rows of the K - S places that neighbours share
  int64_t by_cell;  // or, where not 0, by_beta of each cell, and its pitch
  PrefetchStream ahead[3];  // of x, of the cells and of the target, for the next rows, where planes are laid side by side
  int64_t before;  // cells that have asked for their part of it
  int64_t column, width;  // where regions are cut off: of the first cell's first tap; of the rows, which are given whole

  // Of the channels from c on: 0 in the lanes that the vector before has done.
  ADAPOOL_INLINE V fresh(V v, int64_t c) const { return c % kLanes == 0 ? v : joined(V{}, v, kLanes - channels % kLanes); }
  ADAPOOL_INLINE void add_by_beta(int64_t j, int64_t c, V by) const {
    if (by_cell) store(by_beta + j * by_cell + c, by);
    else store(by_beta + c, load(by_beta + c) + fresh(by, c));
  }

  // Asks for what belongs to row i of cell j's region, whose first tap is at `at`. Planes side by side: in a burst, lines
  // would wait for each other, and the arithmetic for the burst.
  template <int K, int S, bool target> ADAPOOL_INLINE void ask(int64_t j, int i) const {
    constexpr int parts = K == 2 ? 1 : S, count = S * S / parts;
    if (i >= parts) return;
    const int64_t n = (before + j) * S * S + i * count;
    if (i == 0) ahead[1].ask<1>(before + j);
    ahead[0].ask<count>(n);
    if (target) ahead[2].ask<count>(n);
  }
  template <int K, int S, bool target> ADAPOOL_INLINE void ask_rows(int64_t at, int i, int64_t next) const {
    if (i >= K - S) reads[i].ask<S>(at, next);
    if (target && i < S) writes[i].ask<S>(at, next);
  }
};

// v: values or shares; `by`: g dy / dbeta, or null.
template <int N>
__attribute__((noinline, cold)) void fallback_channels(const ChannelArguments& r, int bad, int64_t j, int64_t c, V* v, V* by) {
  float lanes[N][kLanes], terms[kLanes];
  for (int k = 0; k < N; ++k) store(lanes[k], v[k]);
  if (by) store(terms, *by);
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((bad >> lane & 1) == 0) continue;
    if (by) terms[lane] = 0;
    if (c + lane >= r.live) continue;
    Point p = r.first;
    p.at[1] += j / r.across;
    p.at[2] += r.along_row ? c + lane : j % r.across;
    p.c += r.along_row ? 0 : c + lane;
    r.fallback.cell(*r.fallback.job, r.fallback.direction, p, lanes[0] + lane, kLanes);
    if (by) r.fallback.cell(*r.fallback.job, Direction::operand, p, terms + lane, 0);
  }
  for (int k = 0; k < N; ++k) v[k] = load(lanes[k]);
  if (by) *by = load(terms);
}

// Values, or shares of regions that abut. The last channels' vector overlaps the one before it.
// The next windows are opened early: their division is done when they are weighed.
template <class M, int K, int S, Computes computes, bool weighed> void run_cells(const ChannelArguments& r) {
  const int64_t channels = r.channels;
  WindowsOf<M, K, InMemory<K, weighed>> w, next;
  tell(r.fallback, w);
  next.taps = {r.rows, r.soft, 0, r.channels};
  next.open();
  for (int64_t j = 0, place = 0, following = 0, left = r.across; j < r.cells; ++j, place = following) {
    following = place + r.step;
    if (K == S && --left == 0) {
      left = r.across;
      following += r.jump;
    }
    for (int64_t c = 0, then; c < channels; c = then) {
      then = next_lanes<kLanes>(c, channels);
      const int64_t at = place + c;
      w.begin(next);
      next.taps.at = then < channels ? place + then : j + 1 < r.cells ? following : at;
      next.open();
      constexpr bool target = computes != Computes::value;
      const bool far = r.channels > kLanes;
      const auto beside = [&](int i) __attribute__((always_inline)) {
        if (r.ahead[0].lines > 0) r.ask<K, S, target>(j, i);
        if (!written_out<K> && far) r.ask_rows<K, S, target>(at, i, r.channels);
      };
      for (int i = 0; written_out<K> && far && i < K; ++i) r.ask_rows<K, S, target>(at, i, r.channels);
      const V beta = r.beta.at(j, c);
      if constexpr (!target) {
        V y = w.pooled(beta, beside);
        if (__builtin_expect(w.bad, 0)) fallback_channels<1>(r, w.bad, j, c, &y, nullptr);
        store(r.out + j * r.channels + c, y);
      } else {
        constexpr bool exact = computes == Computes::exact;
        const V grad = load(r.grad + j * r.channels + c) * same(r.gain);
        w.template differentiate<exact>(beta, grad, beside);
        V by{};
        if constexpr (M::operand)
          if (r.by_beta) by = grad * w.apart();
        const auto repair = [&](V* share) { fallback_channels<K * K>(r, w.bad, j, c, share, r.by_beta ? &by : nullptr); };
        each_share<exact, K>(w, repair, [&](int i, const V* share) __attribute__((always_inline)) {
          float* to = r.to[i] + at;
          for (int k = 0; k < K; ++k) store(to + k * r.channels, share[k]);
        });
        if (r.by_beta) r.add_by_beta(j, c, by);
      }
    }
  }
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
