// Sums over the taps of a window, which may have millions: how they are cut into short ones. Knows no window.
#pragma once
#include "scalar.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// A sum that is looked at while it is added to.
template <class V> struct Running {
  V block = V(0), before = V(0);
  ADAPOOL_HD void operator+=(V term) { block += term; }
  ADAPOOL_HD V value() const { return before + block; }
};

// The taps of a long window in blocks, in the order of the taps, and sums over them: a number that is added to hundreds
// of times loses digits, one that is added to some tens of times does not. Short windows have no use for it.
template <class V, class Box, int count> struct LongSums {
  static constexpr int64_t most = 32;
  Box all, block;
  int64_t size[3];
  Sum<V> sums[count];

  ADAPOOL_HD ADAPOOL_RARE const Box* begin(const Box& box) {
    for (Sum<V>& sum : sums) sum = {V(0), V(0)};
    all = block = box;
    int64_t left = most;  // a block goes on along an axis where it has the axes inside it as a whole
    for (int d = 2; d >= 0; --d) {
      size[d] = box.extent(d) < left ? box.extent(d) : left;
      block.hi[d] = box.lo[d] + size[d];
      left = size[d] > 0 && left > size[d] ? left / size[d] : 1;
    }
    return &block;
  }
  ADAPOOL_HD ADAPOOL_RARE bool next() {
    for (int d = 2; d >= 0; --d) {
      const bool more = block.hi[d] < all.hi[d];
      block.lo[d] = more ? block.hi[d] : all.lo[d];
      block.hi[d] = block.lo[d] + size[d] < all.hi[d] ? block.lo[d] + size[d] : all.hi[d];
      if (more) return true;
    }
    return false;
  }
  // Takes the sum of a block; gives what it goes on from, or after the last one the whole.
  ADAPOOL_HD ADAPOOL_RARE V take(int i, V sum, bool last) {
    sums[i].add(sum);
    return last ? sums[i].value() : V(0);
  }
  ADAPOOL_HD Running<V> take(int i, Running<V> sum, bool) { return {V(0), take(i, sum.block, true)}; }
};

// The same for a thread of a GPU, by counting: two registers for each sum, where boxes and noinline calls would take
// local memory.
template <class V, int count> struct CountedSums {
  V totals[count] = {};
  int terms = 0;

  ADAPOOL_HD static void take(V& total, V& sum) { total += sum; sum = V(0); }
  ADAPOOL_HD static void take(V&, Running<V>& sum) { sum = {V(0), sum.before + sum.block}; }
  template <class... Sums> ADAPOOL_HD void term(Sums&... sums) {
    if (++terms < 32) return;
    terms = 0;
    int i = 0;
    (take(totals[i++], sums), ...);
  }
  ADAPOOL_HD static void close(V total, V& sum) { sum += total; }
  ADAPOOL_HD static void close(V, Running<V>&) {}
  template <class... Sums> ADAPOOL_HD void end(Sums&... sums) const {
    int i = 0;
    (close(totals[i++], sums), ...);
  }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
