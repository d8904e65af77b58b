// The CPU's way through cells, places and operand entries: in parallel, one writer for each result, and an order of sums
// that depends on shapes alone. Compiled once for all methods, whose cells are handed in. No torch: the parallel loop is
// handed in too.
#pragma once
#include "cpu/cells.h"
#include "cpu/terms.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// A job whose cells read buffers of one thread: where lanes are channels, and a region fits.
template <class S> class Near {
 public:
  Near(const Job& far, const Walk& far_walk) : job(far), walk(far_walk), far_(far) {}

  // Reads what the cells need, and the places of `also`; false where that cannot be, and `job` is the far one.
  bool take(const Part& cells, const Box* also = nullptr) {
    Part part = cells;
    part.box = places_of(far_.window, cells.box);
    for (int d = 0; also && d < 3; ++d) {
      part.box.lo[d] = std::min(part.box.lo[d], also->lo[d]);
      part.box.hi[d] = std::max(part.box.hi[d], also->hi[d]);
    }
    job = far_;
    walk.buffered = walk.by_channel() && part.room(walk.lanes()) <= kRoom && cells.room(walk.lanes()) <= kRoom;
    if (!walk.buffered) return false;
    const Whole<S> x(part, walk.lanes(), buffers_[0]);
    job.xs = x.strides;
    job.x = x;
    read_part(part, far_.x, far_.xs, x);
    if (far_.logits.given()) job.logits = read(1, part, far_.logits, far_.xs);
    if (far_.spread.given()) job.spread = read(2, part, far_.spread, far_.xs);
    if (far_.coefficient.given()) {
      job.coefficient = read(3, cells, far_.coefficient, far_.cs);
      job.cs = cells.strides(walk.lanes());
    }
    places = part;
    return true;
  }

  Job job;
  Walk walk;
  Part places;  // of x

 private:
  Any read(int which, const Part& part, const Any& tensor, const Strides& s) {
    const Whole<S> whole(part, walk.lanes(), buffers_[which]);
    read_part(part, tensor, s, whole);
    return whole;
  }

  const Job& far_;
  std::vector<S> buffers_[4];
};

template <class S> void forward_loop(const MethodCells<S>& method, const Job& job, Parallel run) {
  const Window& w = job.window;
  const Walk walk(job, Pack<S>::size);
  const int64_t unit[3] = {1, 1, walk.by_channel() ? 1 : 4 * Pack<S>::size};
  int64_t each = 1;  // numbers of x for each cell
  for (int d = 0; d < 3; ++d) each *= std::min(w.in[d], w.stride[d]);
  const Blocks blocks(job, walk, w.out, unit, each);
  const int64_t work = blocks.size[0] * blocks.size[1] * blocks.size[2] * w.taps() * walk.lanes();
  parallel(run, blocks.count, kGrain / std::max<int64_t>(work, 1), [&](int64_t begin, int64_t end) {
    Near<S> near(job, walk);
    std::vector<S> buffer;
    for (int64_t i = begin; i < end; ++i) {
      const Part cells = blocks.part(i, job, walk);
      const bool taken = near.take(cells), keeps = taken && job.extra == nullptr;  // indices are addressed like y
      const Whole<S> y(cells, walk.lanes(), buffer);
      if (keeps) {
        near.job.y = y;
        near.job.ys = y.strides;
      }
      method.pool(near.job, near.walk, cells);
      if (keeps) write_part(cells, job.y, job.ys, y);
    }
  });
}

// Divides the sums of places by the number of regions that hold them.
template <class S> void average(const Window& w, const Part& tile, const Whole<S>& sums) {
  const Strides& s = sums.strides;
  each_row(tile, [&](Point p) {
    for (p.at[2] = tile.box.lo[2]; p.at[2] < tile.box.hi[2]; ++p.at[2]) {
      const S regions = S(std::max<int64_t>(1, cover(w, p.at)));
      S* sum = sums.data + s.plane(p.n, p.c) + s.in_plane(p.at);
      for (int64_t c = 0; c < tile.channels; ++c) sum[c * s.c] /= regions;
    }
  });
}

// Moves what some regions have given to the places of a tile from one buffer to the other.
template <class From, class To>
void move_sums(const Part& tile, const Box& regions, const Whole<From>& from, const Whole<To>& to) {
  const Strides& s = from.strides;
  Part part = tile;
  for (int d = 0; d < 3; ++d) {
    part.box.lo[d] = std::max(part.box.lo[d], regions.lo[d]);
    part.box.hi[d] = std::min(part.box.hi[d], regions.hi[d]);
  }
  each_row(part, [&](const Point& p) {
    const int64_t first = s.plane(p.n, p.c) + s.in_plane(p.at), end = first + part.box.extent(2) * s.d[2];
    for (int64_t i = first; i < end; ++i) {
      to.data[i] += To(from.data[i]);
      from.data[i] = From(0);
    }
  });
}

// Places are cut into tiles; the thread of a tile runs the regions that meet it, always in the same order, so that a
// place sums its regions alike wherever the cuts are. A place that sums many adds them in groups.
// With a reduction also the gradient of its operand; false where that has to be computed by itself.
template <class S>
bool gather_loop(const MethodCells<S>& method, const Job& job, const Reduction* reduction, const Any* result, Parallel run) {
  const Window& w = job.window;
  const Walk walk(job, Pack<S>::size);
  if (job.batch == 0 || walk.groups == 0) return reduction == nullptr;
  int64_t unit[3];  // whole strides, so that abutting regions are not cut, and room for a few large ones
  for (int d = 0; d < 3; ++d) unit[d] = (2 * w.kernel[d] + w.stride[d] - 1) / w.stride[d] * w.stride[d];
  if (!walk.by_channel()) unit[2] = std::max(unit[2], 4 * Pack<S>::size * w.stride[2]);
  const Blocks tiles(job, walk, w.in, unit, 1);
  const int64_t places = tiles.size[0] * tiles.size[1] * tiles.size[2] * walk.lanes();
  const CellGroups groups(w);
  if (reduction && !Terms::serve(job, *reduction)) return false;
  Terms terms(job, walk.group, reduction ? tiles.count / (job.batch * walk.groups) : 0, 1, walk.lanes());
  parallel(run, tiles.count, kGrain / places, [&](int64_t begin, int64_t end) {
    Near<S> near(job, walk);
    std::vector<S> buffer;
    std::vector<double> wide;
    for (int64_t i = begin; i < end; ++i) {
      const Part tile = tiles.part(i, job, walk);
      Part cells = tile;
      cells.box = cells_over(w, tile.box.lo, tile.box.hi);
      const bool some = cells.box.count() > 0, taken = some && near.take(cells, &tile.box);
      const Part& all = taken ? near.places : tile;
      const Whole<S> sums(all, walk.lanes(), buffer);
      std::fill_n(buffer.data(), all.room(walk.lanes()), S(0));
      double* own = reduction ? terms.at(i / terms.parts, i % terms.parts) : nullptr;
      const Gathering<S> to{tile.box, sums, own, reduction ? reduction->which : 0};
      if (some && groups.one) {
        method.gather(near.job, near.walk, cells, to);
      } else if (some) {  // in double, for there may be many groups
        const Whole<double> totals(all, walk.lanes(), wide);
        std::fill_n(wide.data(), all.room(walk.lanes()), 0.0);
        groups.each(cells, [&](const Part& group) {
          method.gather(near.job, near.walk, group, to);
          move_sums(tile, places_of(w, group.box), sums, totals);
        });
        move_sums(tile, tile.box, totals, sums);
      }
      if (job.averages()) average(w, tile, sums);
      write_part(tile, job.target, job.xs, sums);
    }
  });
  if (reduction) terms.write(job, *reduction, *result);
  return true;
}

// The gradient of a cell operand: the term of every cell, then their sums.
template <class S>
void operand_loop(const MethodCells<S>& method, const Job& job, const Reduction& reduction, const Any& result, Parallel run) {
  const Window& w = job.window;
  const Walk walk(job, Pack<S>::size);
  std::vector<S> terms(job.cells());
  const int64_t work = w.taps() * w.out[2] * std::max<int64_t>(walk.group, 1);
  parallel(run, job.batch * walk.groups * w.out[0] * w.out[1], kGrain / work, [&](int64_t begin, int64_t end) {
    Near<S> near(job, walk);
    for (int64_t unit = begin; unit < end; ++unit) {
      int64_t rest = unit;
      const int64_t j = split(rest, w.out[1]), i = split(rest, w.out[0]), c = split(rest, walk.groups) * walk.group;
      const Part row{rest, c, std::min(walk.group, job.channels - c), {{i, j, 0}, {i + 1, j + 1, w.out[2]}}};
      near.take(row);
      method.operand(near.job, near.walk, row, reduction.which, terms.data());
    }
  });
  sum_up(reduction, terms.data(), result);
}

// The launch choice of the CPU's general loops, which compute in S whatever the tensors hold. A gather with a reduction
// wants both gradients at once: false if that cannot be, and nothing was done.
template <class S>
bool run_loops(const MethodCells<S>& method, Direction direction, const Job& job, const Reduction* reduction,
               const Any* result, Parallel run) {
  if (direction == Direction::gather) return gather_loop<S>(method, job, reduction, result, run);
  if (direction == Direction::forward) forward_loop<S>(method, job, run);
  else operand_loop<S>(method, job, *reduction, *result, run);
  return true;
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
