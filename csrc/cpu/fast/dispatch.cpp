// Chooses the fast kernel of a job, or none. Compiled once for each instruction set, ADAPOOL_ISA.
#include <utility>

#include "cpu/fast/channel_walk.h"
#include "cpu/fast/methods.h"
#include "cpu/fast/plane_walk.h"
#include "cpu/instances.h"

namespace adapool {
inline namespace ADAPOOL_ISA {
namespace {

const Kernel* find_kernel(Method method, const Window& w) {
  switch (method) {
#define ADAPOOL_CASE(name) \
  case Method::name: return find_kernel<Method::name>(w);
    ADAPOOL_FAST_METHODS(ADAPOOL_CASE)
#undef ADAPOOL_CASE
    default: return nullptr;
  }
}

// The method whose kernels compute a method: another one's where the two are twins.
Method named_for(Method method) {
  switch (method) {
#define ADAPOOL_CASE(twin, of) \
  case Method::twin: return Method::of;
    ADAPOOL_FAST_TWINS(ADAPOOL_CASE)
#undef ADAPOOL_CASE
    default: return method;
  }
}

// Windows of one slab are windows of planes: a video's [N, C, D, H, W] is [N, C D, H, W], or [N D, C, H, W] where channels
// lie last. False where the slabs of a tensor, or of an operand and its gradient, are no more planes or images of it.
bool fold_slabs(Job& job, Reduction* reduction) {
  Window& w = job.window;
  const int64_t slabs = w.in[0];
  if (w.kernel[0] != 1) return true;  // see join_slabs()
  if (w.padding[0] != 0) return false;
  if (slabs == 1) return true;
  if (w.stride[0] != 1) return false;
  int64_t& planes = job.channels_last ? job.batch : job.channels;
  bool fits = true;
  const auto fold = [&](Strides& s) {
    int64_t& step = job.channels_last ? s.n : s.c;
    fits = fits && (planes == 1 || step == slabs * s.d[0]);
    step = s.d[0];
  };
  for (Strides* s : {&job.xs, &job.ys, &job.cs, &job.operand[0].strides}) fold(*s);
  if (reduction) {
    const int axis = job.channels_last ? 0 : 1;
    int64_t *kept = reduction->kept, *summed = reduction->summed;
    const bool alike = planes == 1 || (kept[axis] > 1) == (kept[2] > 1);
    if (!alike || (job.channels_last && kept[1] > 1 && kept[2] > 1)) return false;  // an operand's channels lie first
    kept[axis] *= std::exchange(kept[2], 1);
    summed[axis] *= std::exchange(summed[2], 1);
  }
  planes *= slabs;
  w.in[0] = w.out[0] = 1;
  return fits;
}

// The rows of cells of all slabs as those of one, for the windows that lie in several slabs; the walk finds their taps. False
// where an operand has entries for rows and none for slabs, or the other way round.
bool join_slabs(Job& job, Reduction* reduction) {
  Window& w = job.window;
  for (int64_t* extent : {w.in, w.out}) extent[1] *= std::exchange(extent[0], 1);
  if (reduction == nullptr) return true;
  int64_t *kept = reduction->kept, *summed = reduction->summed;
  const bool alike = (kept[2] > 1) == (kept[3] > 1) || kept[2] * summed[2] == 1 || kept[3] * summed[3] == 1;
  kept[3] *= std::exchange(kept[2], 1);
  summed[3] *= std::exchange(summed[2], 1);
  return alike;
}

bool plain(const Job& job, Direction direction) {
  const bool planes = job.batch * job.channels > 0;
  const bool typed = conversion_of(job.x.type) && (direction != Direction::gather || job.target.type == job.x.type);
  return planes && typed && job.extra == nullptr && !job.spread.given();
}

constexpr int64_t kWorthAThread = 32768;  // taps

// As many channels fill the vectors of AVX2, which operators.cpp asks next.
constexpr int kFewLanes = 8;

// Whether that leaves fewer lanes idle than rows of cells would; laying planes side by side costs a tenth.
bool lanes_are_channels(const Job& job) {
  if (job.channels_last) return job.channels >= kLanes;
  const int64_t cells = job.window.out[2], vectors = (cells + kLanes - 1) / kLanes;
  return ChannelGroups(job).each_image * cells * 10 <= vectors * job.channels * 11;
}

template <class Walk>
void run_walk(const Job& job, const Kernel& kernel, const Fallback& fallback, const Reduction* reduction, const Any* result,
              Parallel threads) {
  const bool by_cell = reduction && BetaSums::for_cells(job, *reduction);
  const bool by_image = by_cell && reduction->kept[0] > 1;
  const WorkSplit work(job, Walk::together(job), by_cell, by_image);
  BetaSums sums(job, work, reduction, result);
  const int64_t taps = job.window.taps() * job.window.out[2] * work.together * work.rows * work.span;
  parallel(threads, work.chunks * work.parts, kWorthAThread / taps, [&](int64_t begin, int64_t end) {
    Walk walk(job, kernel, fallback);
    for (int64_t unit = begin; unit < end;) {
      const int64_t chunk = unit / work.parts, part = unit % work.parts, count = std::min(work.parts - part, end - unit);
      const int64_t first = part * work.rows, last = std::min(job.window.out[1], (part + count) * work.rows);
      for (int64_t group = work.begin(chunk); group < work.end(chunk); ++group) {
        if (fallback.direction == Direction::forward) walk.forward(group, first, last);
        else walk.backward(group, first, last, reduction ? &sums : nullptr);
      }
      unit += count;
    }
  });
  if (reduction) sums.write();
}

// Whether a window that is not square has what it needs: whole regions, none of its slabs or rows left over, lanes that are
// cells.
bool rows_serve(const Kernel& kernel, const Job& job, int computes) {
  const Window& w = job.window;
  bool covered = w.padding[0] == 0;
  for (int d = 0; d < 2; ++d) covered = covered && w.in[d] == w.out[d] * w.kernel[d];
  const bool lanes_are_cells = w.out[2] >= kLanes && !(job.channels_last && job.channels >= kFewLanes);
  return kernel.rows[computes] && !Rim(w).there() && (covered || kernel.depth == 1) && lanes_are_cells;
}

bool run(Method method, Direction direction, Job job, Reduction* reduction, const Any* result, Parallel threads) {
  const bool twin = named_for(method) != method;
  const Kernel* kernel = find_kernel(named_for(method), job.window);
  if (kernel == nullptr || (job.unpool && job.normalize && kernel->k > kernel->s)) return false;
  const bool cut_off = Rim(job.window).there(), square = kernel->square();
  const int computes = kernel->computes(job, direction);
  if (square ? (cut_off ? kernel->edges : kernel->channels)[computes] == nullptr : !rows_serve(*kernel, job, computes)) return false;
  if (direction == Direction::operand) {  // with a gradient of x that nobody asked for
    std::vector<char> room(job.batch * job.channels * job.window.places() * conversion_of(job.x.type)->size);
    job.target = {room.data(), job.x.type};
    job.use_through = true;
    return run(method, Direction::gather, job, reduction, result, threads);
  }
  float number = float(job.operand[0].number);  // as a tensor whose entries all lie there
  if (!job.operand[0].tensor.given()) job.operand[0] = {{&number, Type::float32}, {}, 0, job.operand[0].given};
  const Fallback fallback{&job, direction, kernel->fallback[twin], twin};
  const bool by_channel = square && lanes_are_channels(job) && !PlaneWalk::flat(job, *kernel);
  if (kernel->logits && !cut_off && !by_channel) return false;
  if (job.channels_last && job.channels < kLanes && (cut_off || job.channels >= kFewLanes)) return false;
  if (kernel->depth > 1) {
    Job joined = job;
    if (!join_slabs(joined, reduction)) return false;
    run_walk<PlaneWalk>(joined, *kernel, fallback, reduction, result, threads);
  } else if (cut_off || by_channel) {
    run_walk<ChannelWalk>(job, *kernel, fallback, reduction, result, threads);
  } else {
    run_walk<PlaneWalk>(job, *kernel, fallback, reduction, result, threads);
  }
  return true;
}

}  // namespace
}  // namespace ADAPOOL_ISA
}  // namespace adapool

extern "C" bool ADAPOOL_FAST_LOOPS(ADAPOOL_ISA) ADAPOOL_PARAMETERS {
  using namespace adapool;
  Job of = *static_cast<const Job*>(job);
  Reduction sums;
  if (reduction) sums = *static_cast<const Reduction*>(reduction);
  Reduction* const of_operand = reduction ? &sums : nullptr;
  return fold_slabs(of, of_operand) && plain(of, Direction(direction)) &&
         run(Method(method), Direction(direction), of, of_operand, static_cast<const Any*>(result), parallel);
}
