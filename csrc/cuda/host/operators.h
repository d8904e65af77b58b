// The operators on a CUDA device: plans a call, finds its kernels, launches them on torch's current stream.
#pragma once
#include "cuda/host/stream.h"
#include "cuda/host/tune.h"
#include "torch/bind.h"

namespace adapool::cuda {

struct Cuda {
  static constexpr bool dense_cells = true;

  static void masks(const Tensor& y, const MaskJob& job, MaskDirection direction) {
    Launch launch = plan_masks(type_of(y, "y") == Type::float64, job, direction);
    if (launch.grid[0] == 0) return;
    const Current current(y);
    start(current.device, current.stream, launch, const_cast<MaskJob*>(&job));
  }
  static bool run(const Call& call, Direction direction, const Reduction* reduction = nullptr,
                  const Any* result = nullptr) {
    const Current current(call.input.x);
    Plan plan = cuda::plan(call.traits.method, direction, call.job, reduction, result, multiprocessors(current.device));
    Tensor scratch;
    char* base = nullptr;
    if (plan.scratch > 0) {
      scratch = allocate({(plan.scratch + 7) / 8}, ScalarType::Double, call.input.x, false);
      base = static_cast<char*>(scratch.mutable_data_ptr());
    }
    for (Launch& launch : plan.launches) {
      Arguments& a = launch.arguments;
      if (launch.terms != kNowhere) a.terms = base + launch.terms;
      if (launch.states != kNowhere) a.states = base + launch.states;
      if (launch.out != kNowhere) a.out = base + launch.out;
      if (tunes()) launch = fastest(current.device, current.stream, launch);
      start(current.device, current.stream, launch, &a);
    }
    return true;
  }
};

}  // namespace adapool::cuda
