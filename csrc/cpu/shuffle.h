// Lanes of vector registers in another order: what the compiler's shuffles are built from. Host only.
#pragma once
#include <algorithm>
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

// to[i * lanes + lane] = from[lane * pitch + i] for n places i, of the first `live` rows; the last one fills the lanes
// that are left. The last block of places overlaps the one before it. load(p): a vector of numbers from p on.
template <class V, class S, class T, class Load>
void gather_lanes(S* to, const T* from, int64_t pitch, int64_t n, int64_t live, const Load& load) {
  constexpr int64_t lanes = lanes_in<V>;
  const auto row = [&](int64_t lane) { return from + std::min(lane, live - 1) * pitch; };
  for (int64_t i = 0; n >= lanes; i = i + 2 * lanes <= n ? i + lanes : n - lanes) {
    V v[lanes];
    for (int64_t lane = 0; lane < lanes; ++lane) v[lane] = load(row(lane) + i);
    transpose(v);  // and one by one, for a copy of them all goes through the stack
    for (int64_t k = 0; k < lanes; ++k) memcpy(to + (i + k) * lanes, &v[k], sizeof(V));
    if (i + lanes >= n) return;
  }
  for (int64_t i = 0; i < n; ++i)
    for (int64_t lane = 0; lane < lanes; ++lane) to[i * lanes + lane] = S(widen(row(lane)[i]));
}

// The way back. store(p, v): a vector to p and on.
template <class V, class S, class T, class Store>
void scatter_lanes(T* to, const S* from, int64_t pitch, int64_t n, int64_t live, const Store& store) {
  constexpr int64_t lanes = lanes_in<V>;
  for (int64_t i = 0; n >= lanes; i = i + 2 * lanes <= n ? i + lanes : n - lanes) {
    V v[lanes];
    for (int64_t k = 0; k < lanes; ++k) memcpy(&v[k], from + (i + k) * lanes, sizeof(V));
    transpose(v);
    for (int64_t lane = 0; lane < live; ++lane) store(to + lane * pitch + i, v[lane]);
    if (i + lanes >= n) return;
  }
  for (int64_t i = 0; i < n; ++i)
    for (int64_t lane = 0; lane < live; ++lane) to[lane * pitch + i] = narrow<T>(from[i * lanes + lane]);
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
