// What the taps of a region are gathered into: sums, extremes, the tap that is chosen. Each has merge(), which joins
// what two parts of a region have gathered. Host and device; knows no window.
#pragma once
#include "math/numbers.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

template <class V> struct Tap {
  int64_t index;   // within the kernel, padded taps counted
  int64_t offset;  // of its element, from the plane's first
  int64_t at[3];   // input coordinates
  V a;             // its activation
  bool known;      // whether there are
  V kept[3];       // numbers that prepare() left, so that they need not be computed again
};  // of the first lane, where V is a pack; a region fills in what it has use for

template <class V> ADAPOOL_HD V infinity() { return V(Limits<ScalarOf<V>>::infinity()); }

template <class V> struct Most {
  V value = -infinity<V>();
  ADAPOOL_HD void take(V a) { value = larger(a, value); }
  ADAPOOL_HD void merge(const Most& other) { take(other.value); }
};
// As Most, but NaN where a tap is.
template <class V> struct Peak {
  V value = -infinity<V>();
  ADAPOOL_HD void take(V a) { value = peak_of(a, value); }
  ADAPOOL_HD void merge(const Peak& other) { take(other.value); }
};
template <class V> struct Least {
  V value = infinity<V>();
  ADAPOOL_HD void take(V a) { value = smaller(a, value); }
  ADAPOOL_HD void merge(const Least& other) { take(other.value); }
};

// Whether a region is asked which tap a method chooses, and not for its value alone.
template <class R, class = void> constexpr bool asks_which = true;
template <class R> constexpr bool asks_which<R, decltype(void(R::picks))> = R::picks;

// One tap: the first one that is offered, until a better one is.
template <class V> struct Pick {
  V a = V(0);
  IndexOf<V> index = IndexOf<V>(-1);
  bool begun = false;
  // Whether a tap of `of` is larger than the one that was picked, or the first NaN.
  ADAPOOL_HD auto rises(V of) const { return both(!(of <= a), a == a); }
  template <class M> ADAPOOL_HD void take(M better, V of, IndexOf<V> at) {
    a = select(better, of, a);
    index = select(better, at, index);
  }
  template <class M> ADAPOOL_HD void take(M better, const Tap<V>& t) {
    if (!begun) {
      a = t.a;
      index = IndexOf<V>(int32_t(t.index));
    }
    begun = true;
    take(better, t.a, IndexOf<V>(int32_t(t.index)));
  }
};

// A sum that is looked at while it is added to, in the order of the taps.
template <class V> struct Running {
  V block = V(0), before = V(0);
  ADAPOOL_HD void operator+=(V term) { block += term; }
  ADAPOOL_HD V value() const { return before + block; }
};

// Long sums are made of short ones: a number that is added to hundreds of times loses digits, one that is added to some
// tens of times does not.
constexpr int64_t kBlockOfTerms = 32;

// The taps of a long window in blocks, in the order of the taps, and sums over them.
template <class V, class Box, int count> struct LongSums {
  Box all, block;
  int64_t size[3];
  Sum<V> sums[count];

  ADAPOOL_HD ADAPOOL_RARE const Box* begin(const Box& box) {
    for (Sum<V>& sum : sums) sum = {V(0), V(0)};
    all = block = box;
    int64_t left = kBlockOfTerms;  // a block goes on along an axis where it has the axes inside it as a whole
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
  template <class A> ADAPOOL_HD const A& take(int, const A& extreme, bool) { return extreme; }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
