// Lanes of vector registers in another order: what the compiler's shuffles are built from. Host only.
#pragma once
#include <utility>

#include "math/numbers.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

template <class V> constexpr int lanes_in = int(sizeof(V) / sizeof(std::declval<V>()[0]));
template <class V> using EveryLane = std::make_index_sequence<lanes_in<V>>;

// Lane b of the result is lane at(b) of x and y one after the other.
template <auto at, class V, size_t... b>
inline __attribute__((always_inline)) V shuffled(V x, V y, std::index_sequence<b...>) {
  return __builtin_shufflevector(x, y, at(int(b))...);
}

// Rows become columns, `lanes` of each. First within the 16-byte blocks of the registers, where a processor is quickest:
// v[q * per + c] then holds in block b the rows q * per and on of column b * per + c. Then the blocks. Either way a round
// joins each register with the one half of its group further, and as many rounds as the group has halvings turn it.
template <class V> inline __attribute__((always_inline)) void transpose(V* v) {
  constexpr int lanes = lanes_in<V>, per = lanes * 16 / int(sizeof(V)), blocks = lanes / per;
  constexpr auto low = [](int b) { return b / per * per + b % per / 2 + b % 2 * lanes; };
  constexpr auto high = [](int b) { return b / per * per + per / 2 + b % per / 2 + b % 2 * lanes; };
  constexpr auto even = [](int b) { return (b / per * 2 % blocks) * per + b % per + b / per * 2 / blocks * lanes; };
  constexpr auto odd = [](int b) { return (b / per * 2 % blocks + 1) * per + b % per + b / per * 2 / blocks * lanes; };
  V w[lanes];
#pragma GCC unroll 2
  for (int round = 0; round < per / 2; ++round) {
#pragma GCC unroll 16
    for (int i = 0; i < lanes; i += 2) {
      const V x = v[i / per * per + i % per / 2], y = v[i / per * per + i % per / 2 + per / 2];
      w[i] = shuffled<low>(x, y, EveryLane<V>{});
      w[i + 1] = shuffled<high>(x, y, EveryLane<V>{});
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) v[i] = w[i];
  }
#pragma GCC unroll 2
  for (int round = 0; round < blocks / 2; ++round) {
#pragma GCC unroll 16
    for (int i = 0; i < lanes / 2; ++i) {
      const V x = v[i / per * 2 * per + i % per], y = v[(i / per * 2 + 1) * per + i % per];
      w[i] = shuffled<even>(x, y, EveryLane<V>{});
      w[i + lanes / 2] = shuffled<odd>(x, y, EveryLane<V>{});
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) v[i] = w[i];
  }
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
