// Unpooling by weights that were stored: forward, and the gradients of y and of the weights.
// Host and device; knows no method.
#pragma once
#include "math/numbers.h"
#include "math/window.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

enum class MaskDirection { forward, to_y, to_weights };

struct MaskJob {
  Window window;
  int64_t batch, channels;
  bool channels_last;
  bool normalize;
  Any y, weights, out;  // out: the result, or the gradient that comes in at every place
  Strides ys, ws, os;
  int64_t tap_stride;   // of weights
  Any grad;             // where a gradient goes: dy with strides gs, or dense dweights
  Strides gs;
};

// N_R over c_i of a region and a place, or 1.
template <class Acc> ADAPOOL_HD Acc mask_factor(const MaskJob& job, const Box& region, const int64_t* at) {
  return job.normalize ? Acc(region.count()) / Acc(cover(job.window, at)) : Acc(1);
}

template <class Acc> ADAPOOL_HD Acc mask_weight(const MaskJob& job, const Point& cell, const int64_t* at) {
  const Window& w = job.window;
  int64_t tap = 0;
  for (int d = 0; d < 3; ++d) tap = tap * w.kernel[d] + (at[d] - (cell.at[d] * w.stride[d] - w.padding[d]));
  return job.weights.load<Acc>(job.ws.plane(cell.n, cell.c) + job.ws.in_plane(cell.at) + tap * job.tap_stride);
}

// out_i = sum over the regions at i of w y, times N over c where normalised
template <class Acc> ADAPOOL_HD void mask_place(const MaskJob& job, const Point& p) {
  const int64_t next[3] = {p.at[0] + 1, p.at[1] + 1, p.at[2] + 1};
  const Box cells = cells_over(job.window, p.at, next);
  Sum<Acc> sum{};
  Point cell = p;
  for (cell.at[0] = cells.lo[0]; cell.at[0] < cells.hi[0]; ++cell.at[0])
    for (cell.at[1] = cells.lo[1]; cell.at[1] < cells.hi[1]; ++cell.at[1])
      for (cell.at[2] = cells.lo[2]; cell.at[2] < cells.hi[2]; ++cell.at[2]) {
        const Acc y = job.y.load<Acc>(job.ys.plane(p.n, p.c) + job.ys.in_plane(cell.at));
        sum.add(mask_weight<Acc>(job, cell, p.at) * y * mask_factor<Acc>(job, taps_of(job.window, cell.at), p.at));
      }
  job.out.store(job.os.plane(p.n, p.c) + job.os.in_plane(p.at), sum.value());
}

// dy_R = sum_i g_i w_i, and dw_i = g_i y_R, for one cell
template <class Acc> ADAPOOL_HD void mask_cell(const MaskJob& job, const Point& cell, bool to_weights) {
  const Window& w = job.window;
  const Box box = taps_of(w, cell.at);
  const int64_t plane = job.os.plane(cell.n, cell.c);
  const int64_t row = ((cell.n * job.channels + cell.c) * w.out[0] + cell.at[0]) * w.out[1] + cell.at[1];
  const int64_t first = (row * w.out[2] + cell.at[2]) * w.taps();
  const Acc y = to_weights ? job.y.load<Acc>(job.ys.plane(cell.n, cell.c) + job.ys.in_plane(cell.at)) : Acc(0);
  Sum<Acc> sum{};
  for (int64_t tap = 0; tap < w.taps(); ++tap) {
    int64_t rest = tap, at[3];
    for (int d = 2; d >= 0; --d) at[d] = cell.at[d] * w.stride[d] - w.padding[d] + split(rest, w.kernel[d]);
    const bool real = box.holds(at);
    const Acc g = real ? job.out.load<Acc>(plane + job.os.in_plane(at)) * mask_factor<Acc>(job, box, at) : Acc(0);
    if (to_weights) job.grad.store(first + tap, g * y);
    else if (real) sum.add(g * mask_weight<Acc>(job, cell, at));
  }
  if (!to_weights) job.grad.store(job.gs.plane(cell.n, cell.c) + job.gs.in_plane(cell.at), sum.value());
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
