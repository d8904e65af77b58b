// Lanes of vector registers: in another order, by the compiler's shuffles, and side by side from rows of memory. Host only.
#pragma once
#include <algorithm>
#include <utility>

#include "math/numbers.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

template <class V> constexpr int lanes_in = int(sizeof(V) / sizeof(std::declval<V>()[0]));
template <class V> using EveryLane = std::make_index_sequence<lanes_in<V>>;

// Of n numbers that are taken `lanes` at a time, where those after i begin: the last ones overlap those before. At the end, n.
template <int lanes> inline __attribute__((always_inline)) int64_t next_lanes(int64_t i, int64_t n) {
  return i + lanes >= n ? n : std::min(i + lanes, n - lanes);
}

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

// to[i * lanes + lane] = row(lane)[i] for i < n. `load` reads as many numbers as there are lanes.
template <class V, class S, class Row, class Load>
inline __attribute__((always_inline)) void rows_to_lanes(S* to, int64_t n, const Row& row, const Load& load) {
  constexpr int lanes = lanes_in<V>;
  for (int64_t i = 0; n >= lanes && i < n; i = next_lanes<lanes>(i, n)) {
    V v[lanes];
#pragma GCC unroll 16
    for (int lane = 0; lane < lanes; ++lane) v[lane] = load(row(lane) + i);
    transpose(v);
#pragma GCC unroll 16
    for (int k = 0; k < lanes; ++k) memcpy(to + (i + k) * lanes, &v[k], sizeof(V));
  }
  for (int64_t i = 0; n < lanes && i < n; ++i)
    for (int lane = 0; lane < lanes; ++lane) to[i * lanes + lane] = S(widen(row(lane)[i]));
}

// The way back, of the first `live` lanes.
template <class V, class S, class T, class Store>
inline __attribute__((always_inline)) void lanes_to_rows(T* to, int64_t pitch, const S* from, int64_t n, int64_t live,
                                                         const Store& store) {
  constexpr int lanes = lanes_in<V>;
  for (int64_t i = 0; n >= lanes && i < n; i = next_lanes<lanes>(i, n)) {
    V v[lanes];
#pragma GCC unroll 16
    for (int k = 0; k < lanes; ++k) memcpy(&v[k], from + (i + k) * lanes, sizeof(V));
    transpose(v);
    for (int lane = 0; lane < live; ++lane) store(to + lane * pitch + i, v[lane]);
  }
  for (int64_t i = 0; n < lanes && i < n; ++i)
    for (int lane = 0; lane < live; ++lane) to[lane * pitch + i] = narrow<T>(from[i * lanes + lane]);
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
