// The taps of one large window, shared by S::in_warp threads of a warp times S::warps, which join what they gather. Where
// the window is a constant, a thread keeps its taps in registers (S::taps), or reads them in rows at every pass, from the
// cache; else it walks them one by one. Device only (and its emulator); knows no
// method.
#pragma once
#include "cuda/specification.cuh"

namespace adapool {
inline namespace ADAPOOL_ISA {

// The first of the largest, and a NaN before all others: what max picks from the picks of two parts.
template <class V> ADAPOOL_HD void join(Pick<V>& mine, const Pick<V>& other) {
  const bool wrong = other.a != other.a, number = mine.a == mine.a, first = other.index < mine.index;
  const bool better = (other.a > mine.a) | (wrong & (number | first)) | ((other.a == mine.a) & first);
  const bool take = other.begun & (better | !mine.begun);
  mine.a = select(take, other.a, mine.a);
  mine.index = select(take, other.index, mine.index);
  mine.begun = mine.begun | other.begun;
}
template <class V> ADAPOOL_HD Pick<V> exchanged(const Pick<V>& mine, int mask) {
  Pick<V> other;
  other.a = exchanged(mine.a, mask);
  other.index = exchanged(mine.index, mask);
  other.begun = other.index >= 0;
  return other;
}
template <class A> ADAPOOL_HD void join(A& mine, const A& other) { mine.merge(other); }
ADAPOOL_HD void join(float& mine, const float& other) { mine += other; }
ADAPOOL_HD void join(double& mine, const double& other) { mine += other; }
template <class V> ADAPOOL_HD void join(Running<V>&, const Running<V>&) {}  // one thread alone walks in order

template <class S> struct SharedRegion : Wanted<S> {
  using V = ComputeOf<S>;
  using Index = typename S::Index;
  static constexpr int threads = S::in_warp * S::warps, apart = S::channels_last ? 32 / S::in_warp : 1;
  static constexpr bool held = S::taps > 0, constant = S::kernel(2) > 0;
  static constexpr bool planes = S::whole && !held && !S::method_ordered, rows = planes || (constant && !held);
  static constexpr int size = S::kernel(0) * S::kernel(1) * S::kernel(2), room = held ? S::taps : 1;
  const Arguments& a;
  int64_t first;  // of the plane, or of the image's channel; of the window where that is a constant
  Index step, row, slab, count;
  int start[3], lo[3], hi[3];  // real taps are those from lo on, before hi
  int part;                    // this thread's number among those of the window
  V number[room], logits[S::has_logits ? room : 1], back[S::spreads ? room : 1];
  mutable V kept[S::keeps ? room : 1][3];

  ADAPOOL_HD SharedRegion(const Arguments& args, int64_t f, const Layout<S>& layout, const int* cell, int p)
      : a(args), first(f), step(layout.step), row(layout.row), slab(layout.slab), count(1), part(p) {
    for (int d = 0; d < 3; ++d) {
      start[d] = S::whole ? 0 : constant ? cell[d] * S::stride(d) - S::padding(d) : cell[d] * a.stride[d] - a.padding[d];
      const int end = start[d] + kernel(d);
      lo[d] = edges(d) && start[d] < 0 ? 0 : start[d];
      hi[d] = edges(d) && end > a.in[d] ? a.in[d] : end;
      count *= hi[d] > lo[d] ? hi[d] - lo[d] : 0;
    }
    if constexpr (constant) first += start[0] * slab + start[1] * row + start[2] * step;
    if constexpr (held) {
      load<typename S::X>(a.x, number);
      if constexpr (S::has_logits) load<typename S::Logits>(a.logits, logits);
      if constexpr (S::spreads) load<typename S::Spread>(a.spread, back);
    }
  }
  ADAPOOL_HD int kernel(int d) const { return constant ? S::kernel(d) : a.kernel[d]; }
  ADAPOOL_HD bool holds(const int64_t* at) const {
    bool inside = true;
    for (int d = 0; d < 3; ++d) inside = inside && at[d] >= lo[d] && at[d] < hi[d];
    return inside;
  }
  // f of this thread's taps, once the window is prepared.
  template <class F> ADAPOOL_HD void mine(F f) const {
    if constexpr (held) walk_held(f, S::keeps);
    else if constexpr (rows) walk_rows([&](const Tap<V>& t, bool inside) { if (inside) f(t); }, [] {});
    else walk(f);
  }
  template <class F, class... Gathered> ADAPOOL_HD void each(F f, Gathered&... gathered) const {
    if constexpr (held) {
#pragma unroll
      for (int j = 0; j < S::taps; ++j) offer<false>(f, tap(j, false), inside(j), gathered...);
    } else {
      walk_in_blocks(f, gathered...);
    }
    together(gathered...);
  }
  ADAPOOL_HD void keep(const Tap<V>& t, int slot, V number) const {
    if constexpr (S::keeps) kept[place(t)][slot] = number;
  }
  ADAPOOL_HD V logit(const Tap<V>& t) const {
    if constexpr (held) return logits[place(t)];
    else return read<typename S::Logits>(a.logits, t);
  }
  ADAPOOL_HD V spread(const Tap<V>& t) const {
    V g;
    if constexpr (held) g = back[place(t)];
    else g = read<typename S::Spread>(a.spread, t);
    if constexpr (S::averages)
      g /= V(cover<S>(a, 0, int(t.at[0])) * int64_t(cover<S>(a, 1, int(t.at[1]))) * cover<S>(a, 2, int(t.at[2])));
    return g;
  }

 private:
  // Taps in registers: a thread's number j is part + j * threads of the window, so that neighbours read neighbours.
  ADAPOOL_HD int place(const Tap<V>& t) const { return int(t.index - part) / threads; }
  ADAPOOL_HD static constexpr bool edges(int d) { return !constant || S::before(d) + S::beyond(d) > 0; }
  ADAPOOL_HD static int along(int d, int i) {
    const unsigned tap = unsigned(i), k1 = constant ? S::kernel(1) : 1, k2 = constant ? S::kernel(2) : 1;
    return int(d == 2 ? tap % k2 : d == 1 ? tap / k2 % k1 : tap / (k1 * k2));
  }
  ADAPOOL_HD bool inside(int j) const {
    const int i = part + j * threads;
    bool inside = (j + 1) * threads <= size || i < size;
    for (int d = 0; d < 3; ++d)
      if (edges(d)) inside = inside && unsigned(start[d] + along(d, i)) < unsigned(a.in[d]);
    return inside;
  }
  // From the window's first tap, which may lie outside: it is `first` that moves with the window.
  ADAPOOL_HD int64_t offset(int j) const {
    if constexpr (S::whole && !S::channels_last) return int64_t(part) + j * threads;
    const int i = part + j * threads;
    if constexpr (S::whole) return i * step;
    return along(0, i) * slab + along(1, i) * row + along(2, i) * step;
  }
  template <class T> ADAPOOL_HD void load(const void* data, V* to) const {
    const T* from = static_cast<const T*>(data) + first;
#pragma unroll
    for (int j = 0; j < S::taps; ++j) to[j] = inside(j) ? V(widen(from[offset(j)])) : V(0);
  }
  ADAPOOL_HD Tap<V> tap(int j, bool known) const {
    Tap<V> t{};
    t.index = int64_t(part) + j * threads;
    t.offset = offset(j);
    for (int d = 0; d < 3; ++d) t.at[d] = start[d] + along(d, part + j * threads);
    t.a = number[j];
    t.known = known;
    if (known)
      for (int slot = 0; slot < 3; ++slot) t.kept[slot] = kept[S::keeps ? j : 0][slot];
    return t;
  }
  template <class F> ADAPOOL_HD void walk_held(F f, bool known) const {
#pragma unroll
    for (int j = 0; j < S::taps; ++j)
      if (inside(j)) f(tap(j, known));
  }

  // Taps in memory.
  template <class T> ADAPOOL_HD V read(const void* data, const Tap<V>& t) const {
    return V(widen(static_cast<const T*>(data)[first + t.offset]));
  }
  template <class F> ADAPOOL_HD void walk(F f) const {
    const int width = hi[2] > lo[2] ? hi[2] - lo[2] : 0;
    int at[3] = {lo[0], lo[1], lo[2] + part};
    while (true) {
      while (at[2] >= hi[2]) {
        at[2] -= width;
        if (++at[1] < hi[1]) continue;
        at[1] = lo[1];
        if (++at[0] >= hi[0]) return;
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
  // f(tap, whether it is inside) of rows, all loads of one on their way at once; done() after each. A row is one of the
  // window, or of a window that is the whole plane some taps that are `threads` apart.
  static constexpr int width = planes ? 8 : rows ? S::kernel(2) : 1;
  template <class F, class Done> ADAPOOL_HD void walk_rows(F f, Done done) const {
    if constexpr (planes) {
#pragma unroll 1
      for (Index i = part; i < count; i += width * threads) {
        walk_row(f, i, i * step, threads, [&](int k) { return i + k * threads < count; });
        done();
      }
    } else {
      const auto inside = [&](int k) { return !edges(2) || unsigned(start[2] + k) < unsigned(a.in[2]); };
      for (int i = lo[0] - start[0]; i < hi[0] - start[0]; ++i)
        for (int j = lo[1] - start[1]; j < hi[1] - start[1]; ++j) {
          walk_row(f, Index(i * kernel(1) + j) * width, i * slab + j * row, 1, inside);
          done();
        }
    }
  }
  template <class F, class Inside>
  ADAPOOL_HD void walk_row(F& f, Index number, Index offset, int apart, Inside inside) const {
    Tap<V> taps[width];
#pragma unroll
    for (int k = 0; k < width; ++k) {
      Tap<V>& t = taps[k] = {};
      t.index = number + k * apart;
      t.offset = int64_t(offset) + k * apart * step;
      for (int d = 0; constant && d < 3; ++d) t.at[d] = start[d] + along(d, int(t.index));
      t.a = inside(k) ? read<typename S::X>(a.x, t) : V(0);
    }
#pragma unroll
    for (int k = 0; k < width; ++k) f(taps[k], inside(k));
  }
  // Long sums block by block: see sums.h.
  template <class F, class... Gathered> ADAPOOL_HD void walk_in_blocks(F f, Gathered&... gathered) const {
    Sum<V> sums[sizeof...(Gathered)] = {};
    int terms = 0;
    const auto added = [&](int more) {  // than there are, before as many may be too many
      if ((terms += more) + more <= kBlockOfTerms) return;
      terms = 0;
      int i = 0;
      (take(sums[i++], gathered), ...);
    };
    if constexpr (rows) {
      constexpr bool reads = S::has_logits || S::spreads;
      walk_rows([&](const Tap<V>& t, bool in) { offer<reads>(f, t, in, gathered...); }, [&] { added(width); });
    } else {
      walk([&](const Tap<V>& t) {
        f(t, gathered...);
        added(1);
      });
    }
    int i = 0;
    (give(sums[i++], gathered), ...);
  }
  ADAPOOL_HD static void take(Sum<V>& all, V& block) {
    all.add(block);
    block = V(0);
  }
  ADAPOOL_HD static void take(Sum<V>& all, Running<V>& sum) {
    all.add(sum.block);
    sum = {V(0), all.value()};
  }
  template <class A> ADAPOOL_HD static void take(Sum<V>&, A&) {}
  ADAPOOL_HD static void give(Sum<V>& all, V& block) {
    all.add(block);
    block = all.value();
  }
  template <class A> ADAPOOL_HD static void give(Sum<V>&, A&) {}

  template <class... A> ADAPOOL_HD void together(A&... mine) const {
#pragma unroll
    for (int mask = 1; mask < S::in_warp; mask *= 2) (join(mine, exchanged(mine, mask * apart)), ...);
    if constexpr (S::warps > 1) {
      __shared__ uint32_t box[(0 + ... + words_in<A>)][S::threads / 32][32];
      int at = 0;
      ((put(box + at, mine), at += words_in<A>), ...);
      __syncthreads();
      at = 0;
      ((get(box + at, mine), at += words_in<A>), ...);
      __syncthreads();
    }
  }
  template <class A> ADAPOOL_HD static void put(uint32_t (*box)[S::threads / 32][32], const A& mine) {
    const auto all = bit_cast<AsWords<A>>(mine);
#pragma unroll
    for (int i = 0; i < words_in<A>; ++i) box[i][threadIdx.x / 32][threadIdx.x % 32] = all.word[i];
  }
  template <class A> ADAPOOL_HD static void get(const uint32_t (*box)[S::threads / 32][32], A& mine) {
    const int warp = int(threadIdx.x) / 32 / S::warps * S::warps;  // the window's first
    AsWords<A> all;
#pragma unroll
    for (int w = 0; w < S::warps; ++w) {
#pragma unroll
      for (int i = 0; i < words_in<A>; ++i) all.word[i] = box[i][warp + w][threadIdx.x % 32];
      if (w == 0) mine = bit_cast<A>(all);
      else join(mine, bit_cast<A>(all));
    }
  }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
