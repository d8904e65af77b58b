// Chooses the fast kernel of a job, or none. Compiled once for each instruction set, ADAPOOL_ISA.
#include "fast.h"

#include "fast_flat.h"
#include "fast_sums.h"

namespace adapool {
inline namespace ADAPOOL_ISA {
namespace {

template <bool dice, bool soft, int K, int S, Want want> constexpr auto gradients_of() {
  if constexpr (K > S) return run_overlapping<dice, soft, K, S, want>;
  else return run_row<dice, soft, K, S, want>;
}

template <bool dice, bool soft, int K, int S> constexpr Kernel kernel_for() {
  Kernel kernel{K, S, soft && K > S,
                run_row<dice, soft, K, S, Want::value>, nullptr,
                gradients_of<dice, soft, K, S, Want::exact>(), gradients_of<dice, soft, K, S, Want::detached>(),
                run_channels<dice, soft, K, S, Want::value>, nullptr,
                run_channels<dice, soft, K, S, Want::exact>, run_channels<dice, soft, K, S, Want::detached>,
                run_edges<dice, soft, K, S, Want::value>, run_edges<dice, soft, K, S, Want::exact>,
                run_edges<dice, soft, K, S, Want::detached>,
                interleave<S>};
  if constexpr (dice && soft) {
    kernel.difference = run_row<dice, soft, K, S, Want::difference>;
    kernel.channels_difference = run_channels<dice, soft, K, S, Want::difference>;
  }
  return kernel;
}

template <bool dice, bool soft> const Kernel* find_kernel(const Window& w) {
  static constexpr Kernel kernels[] = {
      kernel_for<dice, soft, 2, 2>(), kernel_for<dice, soft, 3, 3>(), kernel_for<dice, soft, 3, 2>(),
      kernel_for<dice, soft, 5, 5>(), kernel_for<dice, soft, 7, 7>(), kernel_for<dice, soft, 2, 1>(),
      kernel_for<dice, soft, 3, 1>()};
  for (const Kernel& kernel : kernels)
    if (w.kernel[1] == kernel.k && w.kernel[2] == kernel.k && w.stride[1] == kernel.s && w.stride[2] == kernel.s)
      return &kernel;
  return nullptr;
}

template <template <class> class M, class T>
void redo_cell(const Job& job, Direction direction, const Point& p, float* out, int64_t pitch) {
  const View<T, float> r(job, p, Lanes{false, 1});
  Prepared<M, float> cell;
  cell.prepare(r, operands_at<float>(job, p, r.lanes, M<float>::operands), direction != Direction::forward);
  if (direction == Direction::forward) {
    *out = cell.m.pooled();
    return;
  }
  const float c = coefficient_at<float>(job, p, Lanes{false, 1}, r.count);
  if (direction == Direction::operand) *out = c * cell.operand(0, r);
  else r.each([&](const Tap<float>& t) { out[t.index * pitch] = cell.times(c).share(r, t); });
}

bool plain(const Job& job) {
  const Window& w = job.window;
  return job.batch * job.channels > 0 && w.in[0] == 1 && w.kernel[0] == 1 && w.padding[0] == 0 && job.extra == nullptr &&
         !job.spread.given() && !job.to_logits;
}

// More columns than that are taken apart by shuffles more slowly than planes are laid side by side.
constexpr int kFewColumns = 3;

// Whether that leaves fewer lanes idle than rows of cells would; laying planes side by side costs a tenth.
bool lanes_are_channels(const Job& job) {
  if (job.channels_last) return job.channels >= (kPairs ? kHalf : kLanes);
  const int64_t cells = job.window.out[2], vectors = (cells + kLanes - 1) / kLanes;
  return Groups(job).each_image * cells * 10 <= vectors * job.channels * 11;
}

template <class Walk>
void run_walk(const Job& job, const Kernel& kernel, const Redo& redo, const Reduction* reduction, const Any* result,
              Threads threads) {
  const bool by_cell = reduction && BetaSums::for_cells(job, *reduction);
  const bool by_image = by_cell && reduction->kept[0] > 1;
  const Cut cut(job, job.channels_last ? job.channels : Walk::together(job), by_cell, by_image);
  BetaSums sums(job, cut, reduction, by_cell);
  const int64_t taps = job.window.taps() * job.window.out[2] * cut.together * cut.rows * cut.span;
  in_parallel(threads, cut.chunks * cut.parts, kWorthAThread / taps, [&](int64_t begin, int64_t end) {
    Walk walk(job, kernel, redo);
    for (int64_t unit = begin; unit < end;) {
      const int64_t chunk = unit / cut.parts, part = unit % cut.parts, count = std::min(cut.parts - part, end - unit);
      const int64_t first = part * cut.rows, last = std::min(job.window.out[1], (part + count) * cut.rows);
      for (int64_t group = cut.begin(chunk); group < cut.end(chunk); ++group) {
        if (redo.direction == Direction::forward) walk.forward(group, first, last);
        else walk.backward(group, first, last, reduction ? &sums : nullptr);
      }
      unit += count;
    }
  });
  if (reduction) sums.write(*reduction, *result);
}

template <bool dice, bool soft, template <class> class M, class T>
bool run_typed(Direction direction, const Job& job, const Reduction* reduction, const Any* result, Threads threads) {
  const Kernel* kernel = find_kernel<dice, soft>(job.window);
  if (kernel == nullptr || (job.unpool && job.normalize && kernel->k > kernel->s)) return false;
  if (reduction && kernel->difference == nullptr) return false;
  if (reduction && direction == Direction::gather && !Terms::serve(job, *reduction) && !BetaSums::for_cells(job, *reduction))
    return false;
  const Redo redo{&job, direction, redo_cell<M, T>};
  const bool by_channel = lanes_are_channels(job);
  if (Rim(job.window).there()) {
    if (direction == Direction::operand || (job.channels_last && job.channels < kLanes)) return false;
    run_walk<ChannelWalk<T>>(job, *kernel, redo, reduction, result, threads);
  } else if (direction == Direction::operand) {
    if (job.channels_last && by_channel) sum_operand<ChannelWalk<T>>(job, *kernel, redo, *reduction, *result, threads);
    else sum_operand<PlaneWalk<T>>(job, *kernel, redo, *reduction, *result, threads);
  } else if (std::is_same_v<T, float> && FlatWalk::serves(job, *kernel) && (kernel->k <= kFewColumns || !by_channel)) {
    run_walk<FlatWalk>(job, *kernel, redo, reduction, result, threads);
  } else if (by_channel) {
    run_walk<ChannelWalk<T>>(job, *kernel, redo, reduction, result, threads);
  } else {
    run_walk<PlaneWalk<T>>(job, *kernel, redo, reduction, result, threads);
  }
  return true;
}

template <bool dice, bool soft, template <class> class M>
bool run_method(Type type, Direction direction, const Job& job, const Reduction* reduction, const Any* result,
                Threads threads) {
  if (direction == Direction::gather && job.target.type != type) return false;
  switch (type) {
    case Type::float32: return run_typed<dice, soft, M, float>(direction, job, reduction, result, threads);
    case Type::float16: return run_typed<dice, soft, M, Half>(direction, job, reduction, result, threads);
    case Type::bfloat16: return run_typed<dice, soft, M, BFloat16>(direction, job, reduction, result, threads);
    default: return false;
  }
}

}  // namespace
}  // namespace ADAPOOL_ISA
}  // namespace adapool

#define ADAPOOL_FAST_(isa) adapool_fast_##isa
#define ADAPOOL_FAST(isa) ADAPOOL_FAST_(isa)

extern "C" bool ADAPOOL_FAST(ADAPOOL_ISA)(int32_t method, int32_t type, int32_t direction, const void* job_of,
                                          const void* reduction_of, const void* result_of, adapool::Threads threads) {
  using namespace adapool;
  const Job& job = *static_cast<const Job*>(job_of);
  const auto* reduction = static_cast<const Reduction*>(reduction_of);
  const auto* result = static_cast<const Any*>(result_of);
  const auto run = [&](auto choose) { return choose(Type(type), Direction(direction), job, reduction, result, threads); };
  if (!plain(job)) return false;
  switch (Method(method)) {
    case Method::ada: return run(run_method<true, true, Ada>);
    case Method::edscw: return run(run_method<true, false, Edscw>);
    case Method::softpool: return run(run_method<false, true, SoftPool>);
    default: return false;
  }
}
