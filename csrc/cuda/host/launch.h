// How the work of a kernel is cut: a pure function of the specification and of the shape.
#pragma once
#include "cuda/host/plan.h"

namespace adapool::cuda {

constexpr int kThreads = 256;

// Completes a launch: its kind, its constants and its grid. False where it takes two kernels: this one then prepares
// the windows, and large_gather (cut_gather) sums for every place what they add.
bool choose(Launch& launch, Direction direction, const Job& job, const Shape& shape, const Reduction* reduction,
            int multiprocessors);
void cut_gather(Launch& launch, const Job& job, int multiprocessors);

int computing_size(const Specification& s);  // bytes of what it computes in
int64_t state_size(const Shape& shape);      // bytes of a prepared window

}  // namespace adapool::cuda
