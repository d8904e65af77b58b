// The CPU's way through cells, places and operand entries: in parallel, one writer each, results independent of the
// number of threads. No torch: the parallel loop is handed in.
#pragma once
#include <algorithm>
#include <vector>

#include "cell.h"
#include "masks.h"

namespace adapool {

// Calls body(begin, end, context) on parts of 0 .. n, each of `grain` at least.
using Parallel = void (*)(int64_t n, int64_t grain, void (*body)(int64_t, int64_t, void*), void* context);

template <class F> void parallel(Parallel run, int64_t n, int64_t grain, const F& f) {
  if (n > 0) run(n, std::max<int64_t>(grain, 1), [](int64_t b, int64_t e, void* c) { (*static_cast<const F*>(c))(b, e); },
                 const_cast<void*>(static_cast<const void*>(&f)));
}

constexpr int64_t kGrain = 4096;       // taps that are worth a thread
constexpr int64_t kTile = 1 << 14;     // accumulators of one thread, in elements
constexpr int64_t kChannelBlock = 16;  // channels that a thread walks together in channels_last

template <template <class> class M, class T> void forward_loop(const Job& job, Parallel run) {
  const Window& w = job.window;
  parallel(run, job.cells(), kGrain / w.taps(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) pool_cell<M, T>(job, point_at(i, job.channels, w.out, job.channels_last));
  });
}

// Places are cut into tiles; the thread of a tile runs the regions that meet it, in the order of their cells, so
// that every place sums its regions in the same order wherever the cuts are.
struct Tiles {
  int64_t size[3], grid[3], channel_block, blocks, count;

  Tiles(const Job& job) {
    const Window& w = job.window;
    channel_block = job.channels_last ? std::min(kChannelBlock, job.channels) : 1;
    for (int d = 0; d < 3; ++d) size[d] = w.in[d];
    for (int d = 0; d < 3; ++d)  // whole strides, so that abutting regions are never cut
      while (size[0] * size[1] * size[2] * channel_block > kTile && size[d] > w.stride[d])
        size[d] = std::max(w.stride[d], (size[d] / 2 + w.stride[d] - 1) / w.stride[d] * w.stride[d]);
    blocks = (job.channels + channel_block - 1) / channel_block;
    count = job.batch * blocks;
    for (int d = 0; d < 3; ++d) count *= grid[d] = (w.in[d] + size[d] - 1) / size[d];
  }
};

template <template <class> class M, class T> void gather_tile(const Job& job, const Tiles& tiles, int64_t index,
                                                              std::vector<AccOf<T>>& sums) {
  using Acc = AccOf<T>;
  const Window& w = job.window;
  Box tile;
  for (int d = 2; d >= 0; --d) {
    tile.lo[d] = split(index, tiles.grid[d]) * tiles.size[d];
    tile.hi[d] = std::min(w.in[d], tile.lo[d] + tiles.size[d]);
  }
  const int64_t c0 = split(index, tiles.blocks) * tiles.channel_block, n = index;
  const int64_t lanes = std::min(tiles.channel_block, job.channels - c0);
  sums.assign(tile.count() * lanes, Acc(0));
  const Box cells = cells_over(w, tile.lo, tile.hi);
  const bool slopes = job.use_through;
  Point p{n, c0, {0, 0, 0}};
  for (p.at[0] = cells.lo[0]; p.at[0] < cells.hi[0]; ++p.at[0])
    for (p.at[1] = cells.lo[1]; p.at[1] < cells.hi[1]; ++p.at[1])
      for (p.at[2] = cells.lo[2]; p.at[2] < cells.hi[2]; ++p.at[2])
        for (int64_t lane = 0; lane < lanes; ++lane) {
          p.c = c0 + lane;
          const View<T> r(job, p);
          Prepared<M, T> cell;
          cell.prepare(job, r, p, slopes);
          const Acc c = coefficient_at<Acc>(job, p, r.count);
          Box part = r.box;
          for (int d = 0; d < 3; ++d) {
            part.lo[d] = std::max(part.lo[d], tile.lo[d]);
            part.hi[d] = std::min(part.hi[d], tile.hi[d]);
          }
          r.each_in(part, [&](const Tap<Acc>& t) {
            const int64_t row = (t.at[0] - tile.lo[0]) * tile.extent(1) + (t.at[1] - tile.lo[1]);
            sums[(row * tile.extent(2) + (t.at[2] - tile.lo[2])) * lanes + lane] += c * cell.share(job, r, t);
          });
        }
  const Acc* sum = sums.data();
  int64_t at[3];
  for (at[0] = tile.lo[0]; at[0] < tile.hi[0]; ++at[0])
    for (at[1] = tile.lo[1]; at[1] < tile.hi[1]; ++at[1])
      for (at[2] = tile.lo[2]; at[2] < tile.hi[2]; ++at[2])
        for (int64_t lane = 0; lane < lanes; ++lane) {
          const Acc value = *sum++;
          const bool average = job.unpool && job.normalize && !job.spread.given();
          job.target.store(job.xs.plane(n, c0 + lane) + job.xs.in_plane(at),
                           average ? value / Acc(std::max<int64_t>(1, cover(w, at))) : value);
        }
}

template <template <class> class M, class T> void gather_loop(const Job& job, Parallel run) {
  if (job.batch == 0 || job.channels == 0) return;
  const Tiles tiles(job);
  const int64_t work = tiles.size[0] * tiles.size[1] * tiles.size[2] * tiles.channel_block;
  parallel(run, tiles.count, kGrain / work, [&](int64_t begin, int64_t end) {
    std::vector<AccOf<T>> sums;
    for (int64_t i = begin; i < end; ++i) gather_tile<M, T>(job, tiles, i, sums);
  });
}

constexpr int64_t kEntryBlock = 64;  // operand entries that a thread sums side by side, so that it reads in order

// First stage: partial[chunk * entries + entry]; the second stage adds the chunks in order.
template <template <class> class M, class T>
void operand_loop(const Job& job, const Reduction& reduction, void* partial, const Any& result, Parallel run) {
  using Acc = AccOf<T>;
  Acc* sums = static_cast<Acc*>(partial);
  const int64_t entries = reduction.entries, blocks = (entries + kEntryBlock - 1) / kEntryBlock;
  const int64_t span = (reduction.terms + reduction.chunks - 1) / reduction.chunks;
  parallel(run, blocks * reduction.chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t chunk = unit / blocks, first = unit % blocks * kEntryBlock;
      const int64_t width = std::min(kEntryBlock, entries - first), last = std::min((chunk + 1) * span, reduction.terms);
      Acc sum[kEntryBlock] = {};
      for (int64_t term = chunk * span; term < last; ++term)
        for (int64_t j = 0; j < width; ++j)
          sum[j] += operand_term<M, T>(job, reduction.cell(first + j, term), reduction.which);
      for (int64_t j = 0; j < width; ++j) {
        if (reduction.chunks == 1) result.store(first + j, sum[j]);
        else sums[chunk * entries + first + j] = sum[j];
      }
    }
  });
  if (reduction.chunks == 1) return;
  for (int64_t entry = 0; entry < entries; ++entry) {
    Acc sum = 0;
    for (int64_t chunk = 0; chunk < reduction.chunks; ++chunk) sum += sums[chunk * entries + entry];
    result.store(entry, sum);
  }
}

template <class Acc> void mask_loop(const MaskJob& job, MaskDirection direction, Parallel run) {
  const Window& w = job.window;
  const bool forward = direction == MaskDirection::forward;
  const int64_t n = job.batch * job.channels * (forward ? w.places() : w.cells());
  parallel(run, n, kGrain / w.taps(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Point p = point_at(i, job.channels, forward ? w.in : w.out, job.channels_last);
      if (forward) mask_place<Acc>(job, p);
      else mask_cell<Acc>(job, p, direction == MaskDirection::to_weights);
    }
  });
}

// The launch choice of the CPU: a fast instance of a method, dtype and window belongs here, before the generic loop.
template <class T>
void run_cpu(Method method, Direction direction, const Job& job, const Reduction* reduction, void* partial,
             const Any* result, Parallel run) {
  with_method(method, [&](auto choice) {
    using C = decltype(choice);
    if (direction == Direction::forward) forward_loop<C::template Struct, T>(job, run);
    else if (direction == Direction::gather) gather_loop<C::template Struct, T>(job, run);
    else if constexpr (C::template Struct<AccOf<T>>::operands > 0)
      operand_loop<C::template Struct, T>(job, *reduction, partial, *result, run);
  });
}

}  // namespace adapool
