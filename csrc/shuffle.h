// Lanes of vector registers in another order: what the compiler's shuffles are built from. Host only.
#pragma once
#include <utility>

#include "scalar.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

template <class V> constexpr int lanes_in = int(sizeof(V) / sizeof(std::declval<V>()[0]));
template <class V> using EveryLane = std::make_index_sequence<lanes_in<V>>;

// Lane b of the result is lane at(b) of x and y one after the other.
template <auto at, class V, size_t... b>
inline __attribute__((always_inline)) V shuffled(V x, V y, std::index_sequence<b...>) {
  return __builtin_shufflevector(x, y, at(int(b))...);
}

// Rows become columns: each round takes the lanes of the first and the second half of the vectors in turn.
template <class V> inline __attribute__((always_inline)) void transpose(V* v) {
  constexpr int lanes = lanes_in<V>;
#pragma GCC unroll 4
  for (int round = 1; round < lanes; round *= 2) {
    V next[lanes];
#pragma GCC unroll 16
    for (int i = 0; i < lanes / 2; ++i) {
      next[2 * i] = shuffled<[](int b) { return b / 2 + b % 2 * lanes; }>(v[i], v[i + lanes / 2], EveryLane<V>{});
      next[2 * i + 1] =
          shuffled<[](int b) { return lanes / 2 + b / 2 + b % 2 * lanes; }>(v[i], v[i + lanes / 2], EveryLane<V>{});
    }
    for (int i = 0; i < lanes; ++i) v[i] = next[i];
  }
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
