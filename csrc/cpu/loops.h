// The CPU's way through cells, places and operand entries: packs of neighbouring cells, in parallel, one writer for
// each result, and an order of sums that depends on shapes alone. No torch: the parallel loop is handed in.
#pragma once
#include <memory>

#include "cpu/cell.h"
#include "cpu/terms.h"
#include "cpu/walk.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// A job whose cells read buffers of one thread: where lanes are channels, and a region fits.
template <class S> class Near {
 public:
  Near(const Job& far, const Walk& walk) : job(far), far_(far), walk_(walk) {}

  // Reads what the cells need, and the places of `also`; false where that cannot be, and `job` is the far one.
  bool take(const Part& cells, const Box* also = nullptr) {
    Part part = cells;
    part.box = places_of(far_.window, cells.box);
    for (int d = 0; also && d < 3; ++d) {
      part.box.lo[d] = std::min(part.box.lo[d], also->lo[d]);
      part.box.hi[d] = std::max(part.box.hi[d], also->hi[d]);
    }
    job = far_;
    if (!walk_.by_channel() || part.room(walk_.lanes()) > kRoom || cells.room(walk_.lanes()) > kRoom) return false;
    const Whole<S> x(part, walk_.lanes(), buffers_[0]);
    job.xs = x.strides;
    job.x = x;
    read_part(part, far_.x, far_.xs, x);
    if (far_.logits.given()) job.logits = read(1, part, far_.logits, far_.xs);
    if (far_.spread.given()) job.spread = read(2, part, far_.spread, far_.xs);
    if (far_.coefficient.given()) {
      job.coefficient = read(3, cells, far_.coefficient, far_.cs);
      job.cs = cells.strides(walk_.lanes());
    }
    places = part;
    return true;
  }

  Job job;
  Part places;  // of x

 private:
  Any read(int which, const Part& part, const Any& tensor, const Strides& s) {
    const Whole<S> whole(part, walk_.lanes(), buffers_[which]);
    read_part(part, tensor, s, whole);
    return whole;
  }

  const Job& far_;
  const Walk& walk_;
  std::vector<S> buffers_[4];
};

template <template <class> class M, class S> void forward_loop(const Job& job, Parallel run) {
  using V = Pack<S>;
  const Window& w = job.window;
  const Walk walk(job, V::size);
  const int64_t unit[3] = {1, 1, walk.by_channel() ? 1 : 4 * V::size};
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
      walk.cells(cells, [&](const Point& at, const Lanes& lanes) {
        if (taken) pool_cell<M, Packed<S>, V>(near.job, at, lanes);
        else pool_cell<M, Any, V>(near.job, at, lanes);
      });
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

// Adds what the regions of `cells` give to the places of a tile; and to `terms`, where given, what those that begin
// there give to the gradient of operand `which`.
template <template <class> class M, class T, class S>
void gather_cells(const Job& job, const Walk& walk, const Part& cells, const Box& tile, const Whole<S>& sums,
                  double* terms, int which) {
  using V = Pack<S>;
  const Strides& s = sums.strides;
  const bool slopes = (job.use_through || terms) && !job.to_logits;
  const int64_t move = job.window.stride[2];
  walk.cells(cells, [&](const Point& p, const Lanes& lanes) {
    const View<T, V> r(job, p, lanes);
    Prepared<M, V> cell;
    cell.prepare(r, operands_at<V>(job, p, lanes, M<V>::operands), slopes);
    const V c = coefficient_at<V>(job, p, lanes, r.count);
    if (terms && r.box.lo[0] >= tile.lo[0] && r.box.lo[1] >= tile.lo[1]) {
      const V term = c * cell.operand(which, r);
      for (int i = 0; i < lanes.count; ++i) {
        const int64_t k = r.box.lo[2] + (lanes.along_row ? i * move : 0);
        if (k >= tile.lo[2] && k < tile.hi[2]) terms[lanes.along_row ? p.c - cells.c : i] += double(term.raw[i]);
      }
    }
    const Sharing<M, V> sharing = cell.times(c);
    Box part = r.box;
    for (int d = 0; d < (lanes.along_row ? 2 : 3); ++d) {
      part.lo[d] = std::max(part.lo[d], tile.lo[d]);
      part.hi[d] = std::min(part.hi[d], tile.hi[d]);
    }
    S* const plane = sums.data + s.plane(p.n, p.c);
    r.each_in(part, [&](const Tap<V>& t) {
      const V share = sharing.share(r, t);
      if constexpr (std::is_same_v<T, Packed<S>>) {  // x and sums lie alike
        (V::get(plane + t.offset) + share).put(plane + t.offset);
      } else {
        S* to = plane + s.in_plane(t.at);
        for (int i = 0; i < lanes.count; ++i) {
          const int64_t k = t.at[2] + i * move;
          if (!lanes.along_row) to[i * s.c] += share.raw[i];
          else if (k >= tile.lo[2] && k < tile.hi[2]) to[i * move * s.d[2]] += share.raw[i];
        }
      }
    });
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
template <template <class> class M, class S>
bool gather_loop(const Job& job, const Reduction* reduction, const Any* result, Parallel run) {
  const Window& w = job.window;
  const Walk walk(job, Pack<S>::size);
  if (job.batch == 0 || walk.groups == 0) return reduction == nullptr;
  int64_t unit[3];  // whole strides, so that abutting regions are not cut, and room for a few large ones
  for (int d = 0; d < 3; ++d) unit[d] = (2 * w.kernel[d] + w.stride[d] - 1) / w.stride[d] * w.stride[d];
  if (!walk.by_channel()) unit[2] = std::max(unit[2], 4 * Pack<S>::size * w.stride[2]);
  const Blocks tiles(job, walk, w.in, unit, 1);
  const int64_t places = tiles.size[0] * tiles.size[1] * tiles.size[2] * walk.lanes();
  const Groups groups(w);
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
      const int which = reduction ? reduction->which : 0;
      const auto gather = [&](const Part& some_cells) {
        if (taken) gather_cells<M, Packed<S>>(near.job, walk, some_cells, tile.box, sums, own, which);
        else gather_cells<M, Any>(near.job, walk, some_cells, tile.box, sums, own, which);
      };
      if (some && groups.one) {
        gather(cells);
      } else if (some) {  // in double, for there may be many groups
        const Whole<double> totals(all, walk.lanes(), wide);
        std::fill_n(wide.data(), all.room(walk.lanes()), 0.0);
        groups.each(cells, [&](const Part& group) {
          gather(group);
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
template <template <class> class M, class S>
void operand_loop(const Job& job, const Reduction& reduction, const Any& result, Parallel run) {
  using V = Pack<S>;
  const Window& w = job.window;
  const Walk walk(job, V::size);
  std::vector<S> terms(job.cells());
  const Any all{terms.data(), sizeof(S) == 8 ? Type::float64 : Type::float32};
  const int64_t work = w.taps() * w.out[2] * std::max<int64_t>(walk.group, 1);
  parallel(run, job.batch * walk.groups * w.out[0] * w.out[1], kGrain / work, [&](int64_t begin, int64_t end) {
    Near<S> near(job, walk);
    for (int64_t unit = begin; unit < end; ++unit) {
      int64_t rest = unit;
      const int64_t j = split(rest, w.out[1]), i = split(rest, w.out[0]), c = split(rest, walk.groups) * walk.group;
      const Part row{rest, c, std::min(walk.group, job.channels - c), {{i, j, 0}, {i + 1, j + 1, w.out[2]}}};
      const bool taken = near.take(row);
      walk.cells(row, [&](const Point& cell, const Lanes& lanes) {
        const int64_t at = (((cell.n * job.channels + cell.c) * w.out[0] + i) * w.out[1] + j) * w.out[2] + cell.at[2];
        const V term = taken ? operand_term<M, Packed<S>, V>(near.job, cell, lanes, reduction.which)
                             : operand_term<M, Any, V>(near.job, cell, lanes, reduction.which);
        Loader<V>::store(all, at, lanes.along_row ? 1 : w.cells(), lanes.count, term);
      });
    }
  });
  sum_up(reduction, terms.data(), result);
}

// The launch choice of the CPU's generic loops, which compute in S whatever the tensors hold. A gather with a reduction
// wants both gradients at once: false if that cannot be, and nothing was done.
template <template <class> class M, class S>
bool run_struct(Direction direction, const Job& job, const Reduction* reduction, const Any* result, Parallel run) {
  if (direction == Direction::gather) return gather_loop<M, S>(job, reduction, result, run);
  if (direction == Direction::forward) forward_loop<M, S>(job, run);
  else if constexpr (M<S>::operands > 0) operand_loop<M, S>(job, *reduction, *result, run);
  return true;
}
template <class S>
bool run_cpu(Method method, Direction direction, const Job& job, const Reduction* reduction, const Any* result, Parallel run) {
  bool done = true;
  with_method(method, [&](auto choice) {
    done = run_struct<decltype(choice)::template Struct, S>(direction, job, reduction, result, run);
  });
  return done;
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
