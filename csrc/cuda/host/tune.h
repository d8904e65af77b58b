// Launches started on a stream; where ADAPOOL_TUNE=1 asks for it, the fastest of those that do the same, which was found
// by trying them. Without it nothing is timed or remembered, and a launch depends on the call alone.
#pragma once
#include "cuda/host/plan.h"

namespace adapool::cuda {

bool tunes();  // throws std::runtime_error for an ADAPOOL_TUNE that is neither 0 nor 1

const Kernel& kernel_of(int device, const Specification& s);  // made if need be
void start(int device, void* stream, const Launch& launch, void* arguments);

// The launch, or an alternative of it (launch.h) that is clearly faster on the device: remembered by this process or on
// disk, else found now by running all of them on the launch's own memory, which gets the same numbers each time. A stream
// that captures a graph has none run: what is remembered, or the launch as it is.
Launch fastest(int device, void* stream, const Launch& launch);

}  // namespace adapool::cuda
