// The CPU's way through unpooling by stored weights: planes in parallel, each row of cells at a time.
// No torch: the parallel loop is handed in. The definition is masks.h's; here divisions are done once for each axis.
#pragma once
#include <memory>

#include "math/masks.h"
#include "cpu/walk.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// For every coordinate of an axis, 1 / (number of regions); for every cell, its taps on that axis; 1 for both where
// nothing is normalised.
template <class S> struct Shares {
  std::unique_ptr<S[]> axis[3], taps[3];
  explicit Shares(const MaskJob& job) {
    for (int d = 0; d < 3; ++d) {
      taps[d].reset(new S[job.window.out[d]]);
      for (int64_t i = 0; i < job.window.out[d]; ++i) {
        const int64_t cell[3] = {d == 0 ? i : 0, d == 1 ? i : 0, d == 2 ? i : 0};
        taps[d][i] = job.normalize ? S(taps_of(job.window, cell).extent(d)) : S(1);
      }
      axis[d].reset(new S[job.window.in[d]]);
      for (int64_t i = 0; i < job.window.in[d]; ++i) {
        int64_t first, last;
        span_over(job.window, d, i, first, last);
        const int64_t count = std::min(last, job.window.out[d] - 1) - std::max<int64_t>(first, 0) + 1;
        axis[d][i] = job.normalize && count > 0 ? S(1) / S(count) : S(1);
      }
    }
  }
  S rows(int64_t i, int64_t j) const { return axis[0][i] * axis[1][j]; }
};

// f(tap, i, j, k of its cell 0, from, to): the kernel's taps in order, each with the cells from .. to - 1 of the row of
// cells (o0, o1) for which it lies in `part`. Neighbouring cells of a tap are then one plain loop.
template <class F> void each_tap_of_row(const Window& w, int64_t o0, int64_t o1, const Box& part, const F& f) {
  int64_t tap = 0;
  for (int64_t a = 0; a < w.kernel[0]; ++a)
    for (int64_t b = 0; b < w.kernel[1]; ++b) {
      const int64_t i = o0 * w.stride[0] - w.padding[0] + a, j = o1 * w.stride[1] - w.padding[1] + b;
      const bool inside = i >= part.lo[0] && i < part.hi[0] && j >= part.lo[1] && j < part.hi[1];
      for (int64_t c = 0; c < w.kernel[2]; ++c, ++tap) {
        const int64_t k = c - w.padding[2];
        const int64_t from = std::max<int64_t>(0, -floor_div(k - part.lo[2], w.stride[2]));
        const int64_t to = std::min(w.out[2], floor_div(part.hi[2] - 1 - k, w.stride[2]) + 1);
        if (inside && from < to) f(tap, i, j, k, from, to);
      }
    }
}

// y of a row of cells, times the taps of each region where normalised
template <class S> void row_of_y(const MaskJob& job, const Shares<S>& shares, const Point& p, S* y) {
  const S rows = shares.taps[0][p.at[0]] * shares.taps[1][p.at[1]];
  const int64_t first = job.ys.plane(p.n, p.c) + p.at[0] * job.ys.d[0] + p.at[1] * job.ys.d[1], step = job.ys.d[2];
  job.y.visit([&](const auto* all) {
    for (int64_t o = 0; o < job.window.out[2]; ++o) y[o] = S(widen(all[first + o * step])) * (rows * shares.taps[2][o]);
  });
}

// out: tiles of places, summed over the rows of cells that meet them, always in the same order
template <class S> void mask_forward(const MaskJob& job, Parallel run) {
  const Window& w = job.window;
  const Shares<S> shares(job);
  Job shape{};  // as far as tiles look at it
  shape.window = w;
  shape.batch = job.batch * job.channels;
  shape.channels = 1;
  const Walk walk(shape, 1);
  const Blocks tiles(shape, walk, w.in, w.stride, 1);
  const int64_t places = tiles.size[0] * tiles.size[1] * tiles.size[2], step = w.stride[2];
  parallel(run, tiles.count, kGrain / places, [&](int64_t begin, int64_t end) {
    const std::unique_ptr<S[]> sums(new S[places]);
    const std::unique_ptr<S[]> y(new S[w.out[2]]);
    for (int64_t index = begin; index < end; ++index) {
      const Part part = tiles.part(index, shape, walk);
      const Box& tile = part.box;
      Point p{part.n / job.channels, part.n % job.channels, {0, 0, 0}};
      std::fill_n(sums.get(), tile.count(), S(0));
      const Box cells = cells_over(w, tile.lo, tile.hi);
      job.weights.visit([&](const auto* all) {
        for (p.at[0] = cells.lo[0]; p.at[0] < cells.hi[0]; ++p.at[0])
          for (p.at[1] = cells.lo[1]; p.at[1] < cells.hi[1]; ++p.at[1]) {
            p.at[2] = 0;
            row_of_y(job, shares, p, y.get());
            const auto* weights = all + job.ws.plane(p.n, p.c) + job.ws.in_plane(p.at);
            each_tap_of_row(w, p.at[0], p.at[1], tile, [&](int64_t tap, int64_t i, int64_t j, int64_t k, int64_t from, int64_t to) {
              S* row = sums.get() + ((i - tile.lo[0]) * tile.extent(1) + (j - tile.lo[1])) * tile.extent(2) + k - tile.lo[2];
              const auto* weight = weights + tap * job.tap_stride;
              for (int64_t o = from; o < to; ++o) row[o * step] += S(widen(weight[o * job.ws.d[2]])) * y[o];
            });
          }
      });
      job.out.visit([&](auto* out) {
        using Out = std::remove_reference_t<decltype(*out)>;
        const S* sum = sums.get();
        for (int64_t i = tile.lo[0]; i < tile.hi[0]; ++i)
          for (int64_t j = tile.lo[1]; j < tile.hi[1]; ++j) {
            Out* row = out + job.os.plane(p.n, p.c) + i * job.os.d[0] + j * job.os.d[1];
            const S share = shares.rows(i, j);
            for (int64_t k = tile.lo[2]; k < tile.hi[2]; ++k)
              row[k * job.os.d[2]] = narrow<Out>(*sum++ * (share * shares.axis[2][k]));
          }
      });
    }
  });
}

// dy or dweights of every cell
template <class S> void mask_backward(const MaskJob& job, bool to_weights, Parallel run) {
  const Window& w = job.window;
  const Shares<S> shares(job);
  const int64_t taps = w.taps(), width = w.out[2], step = w.stride[2];
  const Box plane{{0, 0, 0}, {w.in[0], w.in[1], w.in[2]}};
  parallel(run, job.batch * job.channels * w.out[0] * w.out[1], kGrain / (taps * width), [&](int64_t begin, int64_t end) {
    const std::unique_ptr<S[]> row(new S[width]);       // y of the cells, or the gradient of it
    const std::unique_ptr<S[]> given(new S[w.in[2]]);  // the gradient of a row of places
    for (int64_t index = begin; index < end; ++index) {
      int64_t rest = index;
      Point p{};
      p.at[1] = split(rest, w.out[1]);
      p.at[0] = split(rest, w.out[0]);
      p.c = split(rest, job.channels);
      p.n = rest;
      const int64_t dense = index * width * taps;
      const auto each = [&](const auto& f) {  // f(tap, cell, gradient at the tap's place)
        int64_t held[2] = {-1, -1};
        each_tap_of_row(w, p.at[0], p.at[1], plane, [&](int64_t tap, int64_t i, int64_t j, int64_t k, int64_t from, int64_t to) {
          if (i != held[0] || j != held[1]) {
            const S share = shares.rows(held[0] = i, held[1] = j);
            job.out.visit([&](const auto* grad) {
              const auto* line = grad + job.os.plane(p.n, p.c) + i * job.os.d[0] + j * job.os.d[1];
              for (int64_t at = 0; at < w.in[2]; ++at) given[at] = S(widen(line[at * job.os.d[2]])) * (share * shares.axis[2][at]);
            });
          }
          for (int64_t o = from; o < to; ++o) f(tap, o, given[o * step + k]);
        });
      };
      if (to_weights) {
        row_of_y(job, shares, p, row.get());
        job.grad.visit([&](auto* to) {
          using Out = std::remove_reference_t<decltype(*to)>;
          std::fill_n(to + dense, width * taps, narrow<Out>(0));  // padded taps
          each([&](int64_t tap, int64_t o, S g) { to[dense + o * taps + tap] = narrow<Out>(g * row[o]); });
        });
        continue;
      }
      std::fill_n(row.get(), width, S(0));
      job.weights.visit([&](const auto* all) {
        const auto* weights = all + job.ws.plane(p.n, p.c) + job.ws.in_plane(p.at);
        each([&](int64_t tap, int64_t o, S g) { row[o] += S(widen(weights[o * job.ws.d[2] + tap * job.tap_stride])) * g; });
      });
      const S rows = shares.taps[0][p.at[0]] * shares.taps[1][p.at[1]];
      for (p.at[2] = 0; p.at[2] < width; ++p.at[2])
        job.grad.store(job.gs.plane(p.n, p.c) + job.gs.in_plane(p.at), row[p.at[2]] * (rows * shares.taps[2][p.at[2]]));
    }
  });
}

template <class S> void mask_loop(const MaskJob& job, MaskDirection direction, Parallel run) {
  if (direction == MaskDirection::forward) mask_forward<S>(job, run);
  else mask_backward<S>(job, direction == MaskDirection::to_weights, run);
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
