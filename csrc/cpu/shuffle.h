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

template <int bytes> struct Double;  // vectors of as many bytes
template <> struct Double<16> { typedef double Type __attribute__((vector_size(16))); };
template <> struct Double<32> { typedef double Type __attribute__((vector_size(32))); };
template <> struct Double<64> { typedef double Type __attribute__((vector_size(64))); };

// Rows become columns, `lanes` of each. First within the 16-byte blocks of the registers, where a processor is quickest:
// v[q * per + c] then holds in block b the rows q * per and on of column b * per + c. Then the blocks.
template <class V> inline __attribute__((always_inline)) void transpose(V* v) {
  constexpr int lanes = lanes_in<V>, per = lanes * 16 / int(sizeof(V)), blocks = lanes / per;
  using Doubles = typename Double<sizeof(V)>::Type;
  constexpr auto low = [](int b) { return b / per * per + b % per / 2 + b % 2 * lanes; };
  constexpr auto high = [](int b) { return b / per * per + per / 2 + b % per / 2 + b % 2 * lanes; };
  constexpr auto low_pair = [](int b) { return b / 2 * 2 + b % 2 * (lanes_in<Doubles>); };
  constexpr auto high_pair = [](int b) { return b / 2 * 2 + 1 + b % 2 * (lanes_in<Doubles>); };
  constexpr auto even = [](int b) { return (b / per * 2 % blocks) * per + b % per + b / per * 2 / blocks * lanes; };
  constexpr auto odd = [](int b) { return (b / per * 2 % blocks + 1) * per + b % per + b / per * 2 / blocks * lanes; };
  V w[lanes];
#pragma GCC unroll 16
  for (int i = 0; i < lanes; i += 2) {
    w[i] = shuffled<low>(v[i], v[i + 1], EveryLane<V>{});
    w[i + 1] = shuffled<high>(v[i], v[i + 1], EveryLane<V>{});
  }
  if constexpr (per == 4) {
#pragma GCC unroll 16
    for (int i = 0; i < lanes; i += 4)
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const Doubles x = Doubles(w[i + h]), y = Doubles(w[i + 2 + h]);
        v[i + 2 * h] = V(shuffled<low_pair>(x, y, EveryLane<Doubles>{}));
        v[i + 2 * h + 1] = V(shuffled<high_pair>(x, y, EveryLane<Doubles>{}));
      }
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) v[i] = w[i];
  }
  if constexpr (blocks > 1)
#pragma GCC unroll 4
    for (int c = 0; c < per; ++c) {
      V x[blocks], y[blocks];
#pragma GCC unroll 4
      for (int q = 0; q < blocks; ++q) x[q] = v[q * per + c];
      if constexpr (blocks == 4) {  // pairs of blocks, then blocks
#pragma GCC unroll 2
        for (int q = 0; q < 4; q += 2) {
          y[q] = shuffled<even>(x[q], x[q + 1], EveryLane<V>{});
          y[q + 1] = shuffled<odd>(x[q], x[q + 1], EveryLane<V>{});
        }
        x[0] = y[0]; x[1] = y[2]; x[2] = y[1]; x[3] = y[3];
      }
      constexpr int half = blocks / 2;
#pragma GCC unroll 2
      for (int q = 0; q < half; ++q) {
        v[q * per + c] = shuffled<even>(x[2 * q], x[2 * q + 1], EveryLane<V>{});
        v[(q + half) * per + c] = shuffled<odd>(x[2 * q], x[2 * q + 1], EveryLane<V>{});
      }
    }
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
