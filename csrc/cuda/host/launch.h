// The numbers of a launch (tile or box, threads, registers): a pure function of the specification and of the shape.
#pragma once
#include "cuda/host/plan.h"

namespace adapool::cuda {

// Completes a launch: its kind, its constants and its grid. False where it takes two kernels: this one then prepares
// the windows, and large_gather (cut_gather) sums for every place what they add.
bool choose(Launch& launch, Direction direction, const Reduction* reduction, int multiprocessors);
void cut_gather(Launch& launch, int multiprocessors);

// The launch as it was chosen, then neighbours that do the same: on all of them each number comes of the same sums in
// the same order. What sums are split by (parts of the images, threads that share a window) is never another.
std::vector<Launch> alternatives(const Launch& chosen);

}  // namespace adapool::cuda
