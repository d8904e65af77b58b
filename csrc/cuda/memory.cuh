// Several numbers of memory at once, and shuffles of whatever a region gathers. Device only (and its emulator).
#pragma once
#include "math/numbers.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// Two numbers of 16 bits in a word.
template <class T> ADAPOOL_HD float low(uint32_t pair) { return widen(T{uint16_t(pair)}); }
template <class T> ADAPOOL_HD float high(uint32_t pair) { return widen(T{uint16_t(pair >> 16)}); }
template <> ADAPOOL_HD float high<BFloat16>(uint32_t pair) { return bit_cast<float>(pair & 0xffff0000u); }
template <class T> ADAPOOL_HD uint32_t pair_of(float a, float b);
template <> ADAPOOL_HD uint32_t pair_of<Half>(float a, float b) { return half_pair(a, b); }
template <> ADAPOOL_HD uint32_t pair_of<BFloat16>(float a, float b) { return bfloat16_pair(a, b); }

// `size` neighbours, at an address that is a multiple of their bytes, which are 16 at most.
template <class T, int size, bool pairs = sizeof(T) == 2 && size % 2 == 0> struct alignas(sizeof(T) * size) Piece {
  T number[size];
  template <class A> ADAPOOL_HD void get(A* to) const {
#pragma unroll
    for (int i = 0; i < size; ++i) to[i] = A(widen(number[i]));
  }
  template <class A> ADAPOOL_HD void set(const A* from) {
#pragma unroll
    for (int i = 0; i < size; ++i) number[i] = narrow<T>(from[i]);
  }
};
template <class T, int size> struct alignas(2 * size) Piece<T, size, true> {
  uint32_t word[size / 2];
  template <class A> ADAPOOL_HD void get(A* to) const {
#pragma unroll
    for (int i = 0; i < size / 2; ++i) {
      to[2 * i] = low<T>(word[i]);
      to[2 * i + 1] = high<T>(word[i]);
    }
  }
  template <class A> ADAPOOL_HD void set(const A* from) {
#pragma unroll
    for (int i = 0; i < size / 2; ++i) word[i] = pair_of<T>(float(from[2 * i]), float(from[2 * i + 1]));
  }
};

// A copy of the whole piece is one access, where its members one by one would be several.
template <int size, class T, class A> ADAPOOL_HD void read_piece(const T* p, A* to) {
  const Piece<T, size> piece = *reinterpret_cast<const Piece<T, size>*>(p);
  piece.get(to);
}

// `n` numbers from `p` on, in pieces of 16 bytes at most that `together` neighbours allow; and back.
template <class T, int n, int together, class A> ADAPOOL_HD void read_row(const T* p, A* to) {
  constexpr int most = 16 / int(sizeof(T)), size = together < most ? together : most;
  static_assert(n % size == 0, "whole pieces");
#pragma unroll
  for (int i = 0; i < n; i += size) read_piece<size>(p + i, to + i);
}
template <class T, int n, int together, class A> ADAPOOL_HD void write_row(T* p, const A* from) {
  constexpr int most = 16 / int(sizeof(T)), size = together < most ? together : most;
  static_assert(n % size == 0, "whole pieces");
#pragma unroll
  for (int i = 0; i < n; i += size) {
    Piece<T, size> piece;
    piece.set(from + i);
    *reinterpret_cast<Piece<T, size>*>(p + i) = piece;
  }
}

// A struct as words, so that it can lie in memory word by word or go from thread to thread.
template <class M> constexpr int words_in = int(sizeof(M) / 4);
template <class M> struct AsWords {
  static_assert(sizeof(M) % 4 == 0, "whole words");
  uint32_t word[words_in<M>];
};

// What the thread whose number differs in the bits of `mask` has.
template <class M> ADAPOOL_HD M exchanged(const M& mine, int mask) {
  AsWords<M> all = bit_cast<AsWords<M>>(mine);
#pragma unroll
  for (int i = 0; i < words_in<M>; ++i) all.word[i] = uint32_t(__shfl_xor_sync(0xffffffffu, int(all.word[i]), mask));
  return bit_cast<M>(all);
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
