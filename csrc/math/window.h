// Which taps an output cell reads and which cells an input place feeds; strides are data, every rank is padded to 3.
// Host and device; knows no tensor's numbers and no method.
#pragma once
#include "math/builtins.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

struct Window {  // outermost axis first; an axis that is not there has size, kernel and stride 1
  int64_t in[3], out[3], kernel[3], stride[3], padding[3];

  ADAPOOL_HD int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  ADAPOOL_HD int64_t cells() const { return out[0] * out[1] * out[2]; }
  ADAPOOL_HD int64_t places() const { return in[0] * in[1] * in[2]; }
};

struct Strides {  // in elements
  int64_t n, c, d[3];
  ADAPOOL_HD int64_t plane(int64_t at_n, int64_t at_c) const { return at_n * n + at_c * c; }
  ADAPOOL_HD int64_t in_plane(const int64_t* at) const { return at[0] * d[0] + at[1] * d[1] + at[2] * d[2]; }
};

struct Point {  // one element of an [N, C, d0, d1, d2] tensor
  int64_t n, c, at[3];
};

struct Box {  // half-open, on the three spatial axes
  int64_t lo[3], hi[3];
  ADAPOOL_HD int64_t extent(int d) const { return hi[d] > lo[d] ? hi[d] - lo[d] : 0; }
  ADAPOOL_HD int64_t count() const { return extent(0) * extent(1) * extent(2); }
  ADAPOOL_HD bool holds(const int64_t* at) const {
    return at[0] >= lo[0] && at[0] < hi[0] && at[1] >= lo[1] && at[1] < hi[1] && at[2] >= lo[2] && at[2] < hi[2];
  }
};

// 64-bit division is several times slower than 32-bit division, on CPU and GPU, and rarely needed.
ADAPOOL_HD int64_t split(int64_t& index, int64_t extent) {
  if (((index | extent) >> 32) == 0) {
    const uint32_t i = uint32_t(index), e = uint32_t(extent), q = i / e;
    index = q;
    return i - q * e;
  }
  const int64_t q = index / extent, rest = index - q * extent;
  index = q;
  return rest;
}

ADAPOOL_HD int32_t split(int32_t& index, int32_t extent) {
  const int32_t rest = index % extent;
  index /= extent;
  return rest;
}

// The point of a flat index, in memory order: channels innermost for channels_last, else after the batch.
ADAPOOL_HD Point point_at(int64_t index, int64_t channels, const int64_t* extent, bool channels_last) {
  Point p;
  if (channels_last) p.c = split(index, channels);
  for (int d = 2; d >= 0; --d) p.at[d] = split(index, extent[d]);
  if (!channels_last) p.c = split(index, channels);
  p.n = index;
  return p;
}

ADAPOOL_HD int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

// The real taps of a cell, in input coordinates.
ADAPOOL_HD Box taps_of(const Window& w, const int64_t* cell) {
  Box box;
  for (int d = 0; d < 3; ++d) {
    const int64_t start = cell[d] * w.stride[d] - w.padding[d], end = start + w.kernel[d];
    box.lo[d] = start < 0 ? 0 : start;
    box.hi[d] = end > w.in[d] ? w.in[d] : end;
  }
  return box;
}

// The cells whose regions meet the input places lo .. hi - 1 of each axis.
ADAPOOL_HD Box cells_over(const Window& w, const int64_t* lo, const int64_t* hi) {
  Box box;
  for (int d = 0; d < 3; ++d) {
    const int64_t first = lo[d] + w.padding[d] - w.kernel[d] + 1, last = (hi[d] - 1 + w.padding[d]) / w.stride[d];
    box.lo[d] = first <= 0 ? 0 : (first + w.stride[d] - 1) / w.stride[d];
    box.hi[d] = last + 1 < w.out[d] ? last + 1 : w.out[d];
  }
  return box;
}

// How many regions hold the input place `at`.
ADAPOOL_HD int64_t cover(const Window& w, const int64_t* at) {
  const int64_t next[3] = {at[0] + 1, at[1] + 1, at[2] + 1};
  return cells_over(w, at, next).count();
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
