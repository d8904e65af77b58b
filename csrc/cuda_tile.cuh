// The taps that one thread holds in registers, and how they and its results travel between memory and registers.
//   line      O windows side by side in a row of a plane, 16 bytes at a time
//   channels  one window of V neighbouring channels, which share a piece of memory (channels_last)
//   cell      one window of one channel, number by number: for every width and alignment
// Knows no method's formula.
#pragma once
#include "cuda_numbers.cuh"

namespace adapool {
inline namespace ADAPOOL_ISA {

template <class T_, int K_, int S_, int O_, int V_> struct Tile {
  using T = T_;
  static constexpr int K = K_, S = S_, O = O_, V = V_;
  static constexpr bool line = O > 1;
  static constexpr int windows = O * V, columns = (O - 1) * S + K, own = O * S, extra = K - S;
  static constexpr int piece = line ? int(16 / sizeof(T)) : V;
  static_assert(O == 1 || V == 1, "windows side by side in a row or in channels");
  static_assert(!line || own % piece == 0, "a line is whole pieces");

  static constexpr int pieces = line ? (columns + piece - 1) / piece : columns;
  Piece<T, piece> held[K][pieces];

  // From the first tap at `from`, the next row `row` and the next column `step` numbers away; `left` columns are before
  // the end of the row.
  __device__ void load(const T* from, int row, int left, int step) {
#pragma unroll
    for (int i = 0; i < K; ++i)
#pragma unroll
      for (int c = 0; c < pieces; ++c)
        if constexpr (!line) held[i][c] = read<Piece<T, piece>>(from + i * row + c * step);
        else held[i][c] = read_if<Piece<T, piece>>(c == 0 || c * piece < left, from + i * row + c * piece);
  }
  // Tap `tap` of window `w`.
  __device__ float get(int w, int tap) const {
    const int i = tap / K, column = (w / V) * S + tap % K;
    if constexpr (!line) return held[i][column].get(w % V);
    else return held[i][column / piece].get(column % piece);
  }

  // The own columns of a row of places, f(column, channel).
  template <class F> __device__ static void store(T* to, int left, int step, const F& f) {
#pragma unroll
    for (int c = 0; c < own / (line ? piece : 1); ++c) {
      if ((line ? c * piece : c) >= left) return;
      Piece<T, piece> out;
      out.set([&](int n) { return line ? f(c * piece + n, 0) : f(c, n); });
      write(to + (line ? c * piece : c * step), out);
    }
  }

  // One number for each window, the first `count` of O in a row; `together`: all of them, at an address that suits a piece.
  template <class F> __device__ static void store_cells(T* to, int count, bool together, const F& f) {
    if (!line || __builtin_expect(together, true)) {
      Piece<T, windows> out;
      out.set(f);
      write(to, out);
    } else if constexpr (line) {
#pragma unroll
      for (int w = 0; w < O; ++w)
        if (w < count) to[w] = narrow<T>(f(w));
    }
  }
  __device__ static void load_cells(const T* from, int count, bool together, float* values) {
    if (!line || __builtin_expect(together, true)) {
      const auto in = read<Piece<T, windows>>(from);
#pragma unroll
      for (int w = 0; w < windows; ++w) values[w] = in.get(w);
    } else if constexpr (line) {
#pragma unroll
      for (int w = 0; w < O; ++w) values[w] = w < count ? widen(from[w]) : 0.f;
    }
  }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
