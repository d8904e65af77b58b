// How the CPU's loops cut their work: cells into packs, and boxes of cells or places into blocks, by shapes alone and
// not by the number of threads. No torch: the parallel loop is handed in.
#pragma once
#include <algorithm>

#include "cpu/buffers.h"
#include "cpu/instances.h"
#include "job.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

constexpr int64_t kGrain = 8192;     // taps that are worth a thread
constexpr int64_t kTile = 1 << 14;   // numbers of one block of work
constexpr int64_t kTerms = 64;       // numbers that are added one after the other, beyond which float loses digits
constexpr int64_t kRoom = 1 << 18;   // and at most: larger regions are read where they lie

template <class F> void each_row(const Part& part, const F& f) {
  Point p{part.n, part.c, {0, 0, part.box.lo[2]}};
  for (p.at[0] = part.box.lo[0]; p.at[0] < part.box.hi[0]; ++p.at[0])
    for (p.at[1] = part.box.lo[1]; p.at[1] < part.box.hi[1]; ++p.at[1]) f(p);
}

// How cells are put into packs: neighbouring channels where there are enough; else neighbours along the row where
// their windows lie inside, and channels for the cells at its edges.
struct Walk {
  int64_t lo, hi;         // the inner cells of a row
  int64_t group, groups;  // channels that are walked together, and how many such groups
  int size;
  bool buffered = false;  // see Lanes

  Walk(const Job& job, int lanes) : size(lanes) {
    const Window& w = job.window;
    lo = (w.padding[2] + w.stride[2] - 1) / w.stride[2];
    hi = std::min(w.out[2], floor_div(w.in[2] + w.padding[2] - w.kernel[2], w.stride[2]) + 1);
    if (job.channels >= size / 2 || hi - lo < size / 2) lo = hi = 0;
    group = lo == 0 && hi == w.out[2] ? 1 : std::min<int64_t>(size, job.channels);
    groups = group > 0 ? (job.channels + group - 1) / group : 0;
  }
  bool by_channel() const { return lo == hi; }
  int64_t lanes() const { return by_channel() ? size : group; }  // channels in a buffer

  // f(point, lanes) for the packs of some cells.
  template <class F> void cells(const Part& part, const F& f) const {
    const int64_t from = part.box.lo[2], to = part.box.hi[2], first = std::max(from, lo), last = std::min(to, hi);
    each_row(part, [&](Point p) {
      for (p.at[2] = from; p.at[2] < to; ++p.at[2])
        if (p.at[2] < lo || p.at[2] >= hi) f(p, Lanes{false, int(part.channels), buffered});
      for (p.c = part.c; p.c < part.c + part.channels; ++p.c)
        for (p.at[2] = first; p.at[2] < last; p.at[2] += size)
          f(p, Lanes{true, int(std::min<int64_t>(size, last - p.at[2]))});
    });
  }
};

// The places that the regions of `cells` hold.
inline Box places_of(const Window& w, const Box& cells) {
  const int64_t last[3] = {cells.hi[0] - 1, cells.hi[1] - 1, cells.hi[2] - 1};
  Box box = taps_of(w, cells.lo);
  const Box end = taps_of(w, last);
  for (int d = 0; d < 3; ++d) box.hi[d] = std::max(box.lo[d], end.hi[d]);
  return box;
}

// A box of all cells, or of all places, cut into parts of about kTile numbers, of whole multiples of `unit`.
struct Blocks {
  int64_t extent[3], size[3], grid[3], count;

  Blocks(const Job& job, const Walk& walk, const int64_t* all, const int64_t* unit, int64_t numbers_each) {
    for (int d = 0; d < 3; ++d) size[d] = extent[d] = all[d];
    for (int d = 0; d < 3; ++d)
      while (size[0] * size[1] * size[2] * numbers_each * walk.lanes() > kTile && size[d] > unit[d])
        size[d] = std::max(unit[d], (size[d] / 2 + unit[d] - 1) / unit[d] * unit[d]);
    count = job.batch * walk.groups;
    for (int d = 0; d < 3; ++d) count *= grid[d] = size[d] > 0 ? (extent[d] + size[d] - 1) / size[d] : 0;
  }
  Part part(int64_t index, const Job& job, const Walk& walk) const {
    Part part;
    for (int d = 2; d >= 0; --d) {
      part.box.lo[d] = split(index, grid[d]) * size[d];
      part.box.hi[d] = std::min(extent[d], part.box.lo[d] + size[d]);
    }
    part.c = split(index, walk.groups) * walk.group;
    part.n = index;
    part.channels = std::min(walk.group, job.channels - part.c);
    return part;
  }
};

// Cells in groups of so few that none of their places lies in more than kTerms of a group's regions. Cut by the window
// alone, wherever a part of the cells begins.
struct CellGroups {
  int64_t size[3];
  bool one = true;  // whether all cells are one group

  explicit CellGroups(const Window& w) {
    int64_t left = kTerms;
    for (int d = 2; d >= 0; --d) {
      const int64_t over = std::max<int64_t>(1, std::min(w.out[d], (w.kernel[d] + w.stride[d] - 1) / w.stride[d]));
      size[d] = over <= left ? std::max<int64_t>(1, w.out[d]) : left;
      one = one && over <= left;
      left = std::max<int64_t>(1, left / over);
    }
  }
  template <class F> void each(const Part& cells, const F& f) const {
    Part group = cells;
    const auto cut = [&](int d, int64_t i) {
      group.box.lo[d] = std::max(cells.box.lo[d], i * size[d]);
      group.box.hi[d] = std::min(cells.box.hi[d], (i + 1) * size[d]);
      return i * size[d] < cells.box.hi[d];
    };
    for (int64_t i = cells.box.lo[0] / size[0]; cut(0, i); ++i)
      for (int64_t j = cells.box.lo[1] / size[1]; cut(1, j); ++j)
        for (int64_t k = cells.box.lo[2] / size[2]; cut(2, k); ++k) f(group);
  }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
