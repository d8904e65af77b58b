// The CPU's way through cells, places and operand entries: packs of neighbouring cells, in parallel, one writer for
// each result, and an order of sums that depends on shapes alone. No torch: the parallel loop is handed in.
#pragma once
#include <algorithm>
#include <memory>

#include "cell.h"
#include "lanes.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// Calls body(begin, end, context) on parts of 0 .. n, each of `grain` at least.
using Parallel = void (*)(int64_t n, int64_t grain, void (*body)(int64_t, int64_t, void*), void* context);

template <class F> void parallel(Parallel run, int64_t n, int64_t grain, const F& f) {
  const auto body = [](int64_t begin, int64_t end, void* c) { (*static_cast<const F*>(c))(begin, end); };
  if (n > 0) run(n, std::max<int64_t>(grain, 1), body, const_cast<void*>(static_cast<const void*>(&f)));
}

constexpr int64_t kGrain = 8192;     // taps that are worth a thread
constexpr int64_t kTile = 1 << 15;   // accumulators of one tile

// How a row of cells is cut into packs: neighbours along the row where their windows lie inside, neighbouring
// channels for the cells at its edges, in short rows and in channels_last.
struct Walk {
  int64_t lo, hi;       // the inner cells of a row
  int64_t group, groups;  // channels that are walked together, and how many such groups
  int size;

  Walk(const Job& job, int lanes) : size(lanes) {
    const Window& w = job.window;
    lo = (w.padding[2] + w.stride[2] - 1) / w.stride[2];
    hi = std::min(w.out[2], floor_div(w.in[2] + w.padding[2] - w.kernel[2], w.stride[2]) + 1);
    if (job.channels_last || hi - lo < size / 2) lo = hi = 0;
    group = lo == 0 && hi == w.out[2] ? 1 : std::min<int64_t>(size, job.channels);
    groups = group > 0 ? (job.channels + group - 1) / group : 0;
  }
  // f(point, lanes, channel within the group) for the packs that meet cells from .. to - 1 of the row of `p`.
  template <class F> void row(Point p, int64_t channels, int64_t from, int64_t to, const F& f) const {
    const int64_t c0 = p.c;
    const int together = int(std::min(group, channels - c0));
    for (p.at[2] = from; p.at[2] < to; ++p.at[2])
      if (p.at[2] < lo || p.at[2] >= hi) f(p, Lanes{false, together}, 0);
    const int64_t first = from <= lo ? lo : lo + (from - lo) / size * size, last = std::min(to, hi);
    for (int lane = 0; lane < together; ++lane) {
      p.c = c0 + lane;
      for (p.at[2] = first; p.at[2] < last; p.at[2] += size)
        f(p, Lanes{true, int(std::min<int64_t>(size, hi - p.at[2]))}, lane);
    }
  }
};

template <template <class> class M, class T> void forward_loop(const Job& job, Parallel run) {
  using V = Pack<AccOf<T>>;
  const Window& w = job.window;
  const Walk walk(job, V::size);
  parallel(run, job.batch * walk.groups * w.out[0] * w.out[1], kGrain / (w.taps() * w.out[2] * walk.group),
           [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t rest = i;
      Point p{};
      p.at[1] = split(rest, w.out[1]);
      p.at[0] = split(rest, w.out[0]);
      p.c = split(rest, walk.groups) * walk.group;
      p.n = rest;
      walk.row(p, job.channels, 0, w.out[2],
               [&](const Point& at, const Lanes& lanes, int) { pool_cell<M, T, V>(job, at, lanes); });
    }
  });
}

// Places are cut into tiles; the thread of a tile runs the regions that meet it, always in the same order, so that a
// place sums its regions alike wherever the cuts are.
struct Tiles {
  int64_t size[3], grid[3], count;

  Tiles(const Job& job, const Walk& walk) {
    const Window& w = job.window;
    for (int d = 0; d < 3; ++d) size[d] = w.in[d];
    for (int d = 0; d < 3; ++d)  // whole strides, so that abutting regions are not cut
      while (size[0] * size[1] * size[2] * walk.group > kTile && size[d] > w.stride[d])
        size[d] = std::max(w.stride[d], (size[d] / 2 + w.stride[d] - 1) / w.stride[d] * w.stride[d]);
    count = job.batch * walk.groups;
    for (int d = 0; d < 3; ++d) count *= grid[d] = (w.in[d] + size[d] - 1) / size[d];
  }
};

// sums[place * together + channel], to the target
template <class S> void write_tile(const Job& job, const Box& tile, const Point& first, int64_t together, const S* sums) {
  job.target.visit([&](auto* target) {
    using Out = std::remove_reference_t<decltype(*target)>;
    const int64_t step = job.xs.d[2];
    for (int64_t lane = 0; lane < together; ++lane) {
      const S* sum = sums + lane;
      int64_t at[3] = {0, 0, tile.lo[2]};
      for (at[0] = tile.lo[0]; at[0] < tile.hi[0]; ++at[0])
        for (at[1] = tile.lo[1]; at[1] < tile.hi[1]; ++at[1]) {
          Out* row = target + job.xs.plane(first.n, first.c + lane) + job.xs.in_plane(at);
          for (int64_t k = 0; k < tile.extent(2); ++k, sum += together) {
            S value = *sum;
            if (job.averages()) {
              const int64_t here[3] = {at[0], at[1], at[2] + k};
              value /= S(std::max<int64_t>(1, cover(job.window, here)));
            }
            row[k * step] = narrow<Out>(value);
          }
        }
    }
  });
}

template <template <class> class M, class T>
void gather_tile(const Job& job, const Walk& walk, const Tiles& tiles, int64_t index, AccOf<T>* sums) {
  using S = AccOf<T>;
  using V = Pack<S>;
  const Window& w = job.window;
  Box tile;
  for (int d = 2; d >= 0; --d) {
    tile.lo[d] = split(index, tiles.grid[d]) * tiles.size[d];
    tile.hi[d] = std::min(w.in[d], tile.lo[d] + tiles.size[d]);
  }
  const int64_t c0 = split(index, walk.groups) * walk.group, together = std::min(walk.group, job.channels - c0);
  const int64_t rows = tile.extent(1), width = tile.extent(2);
  std::fill_n(sums, tile.count() * together, S(0));
  const Box cells = cells_over(w, tile.lo, tile.hi);
  const bool slopes = job.use_through && !job.to_logits, whole = width == w.in[2];

  const auto add = [&](const Point& p, const Lanes& lanes, int channel) {
    const View<T, V> r(job, p, lanes);
    Prepared<M, T, V> cell;
    cell.prepare(r, p, slopes);
    const V c = coefficient_at<V>(job, p, lanes, r.count);
    Box part = r.box;
    for (int d = 0; d < (lanes.along_row ? 2 : 3); ++d) {
      part.lo[d] = std::max(part.lo[d], tile.lo[d]);
      part.hi[d] = std::min(part.hi[d], tile.hi[d]);
    }
    r.each_in(part, [&](const Tap<V>& t) {
      const V share = c * cell.share(r, t);
      const int64_t k = t.at[2] - tile.lo[2];
      S* to = sums + (((t.at[0] - tile.lo[0]) * rows + (t.at[1] - tile.lo[1])) * width + k) * together + channel;
      if (!lanes.along_row) {
        for (int i = 0; i < lanes.count; ++i) to[i] += share.raw[i];
      } else {
        const int64_t step = w.stride[2] * together;
        for (int i = 0; i < lanes.count; ++i)
          if (whole || (k + i * w.stride[2] >= 0 && k + i * w.stride[2] < width)) to[i * step] += share.raw[i];
      }
    });
  };
  Point p{index, c0, {0, 0, 0}};
  for (p.at[0] = cells.lo[0]; p.at[0] < cells.hi[0]; ++p.at[0])
    for (p.at[1] = cells.lo[1]; p.at[1] < cells.hi[1]; ++p.at[1])
      walk.row(p, job.channels, cells.lo[2], cells.hi[2], add);
  write_tile(job, tile, p, together, sums);
}

template <template <class> class M, class T> void gather_loop(const Job& job, Parallel run) {
  using S = AccOf<T>;
  const Walk walk(job, Pack<S>::size);
  if (job.batch == 0 || walk.groups == 0) return;
  const Tiles tiles(job, walk);
  const int64_t places = tiles.size[0] * tiles.size[1] * tiles.size[2] * walk.group;
  parallel(run, tiles.count, kGrain / places, [&](int64_t begin, int64_t end) {
    const std::unique_ptr<S[]> sums(new S[places]);
    for (int64_t i = begin; i < end; ++i) gather_tile<M, T>(job, walk, tiles, i, sums.get());
  });
}

// The gradient of a cell operand. A unit is a chunk of the summed rows of cells for one place of the kept ones; it
// writes partial[chunk * entries + entry], and the second stage adds the chunks in order. In double: there are many
// terms and few entries.
template <template <class> class M, class T>
void operand_loop(const Job& job, const Reduction& reduction, double* partial, const Any& result, Parallel run) {
  using V = Pack<AccOf<T>>;
  const Window& w = job.window;
  const Walk walk(job, V::size);
  const int64_t extents[4] = {job.batch, walk.groups, w.out[0], w.out[1]};
  const bool keeps[5] = {reduction.summed[0] == 1, reduction.summed[1] == 1, reduction.summed[2] == 1,
                         reduction.summed[3] == 1, reduction.summed[4] == 1};
  int64_t kept = 1, summed = 1, pitch[5], entries = 1;  // pitch: entries between neighbours of a kept axis
  for (int d = 4; d >= 0; --d) { pitch[d] = keeps[d] ? entries : 0; entries *= reduction.kept[d]; }
  for (int d = 0; d < 4; ++d) (keeps[d] ? kept : summed) *= extents[d];
  const int64_t chunks = reduction.chunks, span = (summed + chunks - 1) / chunks;
  const int64_t width = keeps[4] ? w.out[2] : 1, lines = keeps[1] ? walk.group : 1;

  parallel(run, kept * chunks, 1, [&](int64_t begin, int64_t end) {
    const std::unique_ptr<double[]> sums(new double[lines * width]);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t chunk = unit / kept, last = std::min((chunk + 1) * span, summed);
      std::fill_n(sums.get(), lines * width, 0.0);
      int64_t at[4] = {0, 0, 0, 0};
      for (int64_t term = chunk * span; term < std::max(last, chunk * span + 1); ++term) {
        int64_t k = unit % kept, s = term;
        for (int d = 3; d >= 0; --d) at[d] = split(keeps[d] ? k : s, std::max<int64_t>(extents[d], 1));
        if (term >= last) break;  // an empty chunk still needs its place
        const Point p{at[0], at[1] * walk.group, {at[2], at[3], 0}};
        walk.row(p, job.channels, 0, w.out[2], [&](const Point& cell, const Lanes& lanes, int channel) {
          const V terms = operand_term<M, T, V>(job, cell, lanes, reduction.which);
          for (int i = 0; i < lanes.count; ++i) {
            const int64_t line = lanes.along_row ? channel : i, column = cell.at[2] + (lanes.along_row ? i : 0);
            sums[(keeps[1] ? line : 0) * width + (keeps[4] ? column : 0)] += double(terms.raw[i]);
          }
        });
      }
      const int64_t c0 = at[1] * walk.group, real = keeps[1] ? std::min(walk.group, job.channels - c0) : 1;
      const int64_t first = at[0] * pitch[0] + c0 * pitch[1] + at[2] * pitch[2] + at[3] * pitch[3];
      for (int64_t line = 0; line < real; ++line)
        for (int64_t column = 0; column < width; ++column) {
          const int64_t entry = first + line * pitch[1] + column * pitch[4];
          if (chunks == 1) result.store(entry, sums[line * width + column]);
          else partial[chunk * entries + entry] = sums[line * width + column];
        }
    }
  });
  for (int64_t entry = 0; chunks > 1 && entry < entries; ++entry) {
    double sum = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * entries + entry];
    result.store(entry, sum);
  }
}

// The launch choice of the CPU: a fast instance of a method, dtype and window belongs here, before the generic loop.
template <class T>
void run_cpu(Method method, Direction direction, const Job& job, const Reduction* reduction, double* partial,
             const Any* result, Parallel run) {
  with_method(method, [&](auto choice) {
    using C = decltype(choice);
    if (direction == Direction::forward) forward_loop<C::template Struct, T>(job, run);
    else if (direction == Direction::gather) gather_loop<C::template Struct, T>(job, run);
    else if constexpr (C::template Struct<AccOf<T>>::operands > 0)
      operand_loop<C::template Struct, T>(job, *reduction, partial, *result, run);
  });
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
