// The box of places that a block owns in backward where windows overlap. Pure.
#pragma once
#include "cuda/host/plan.h"

namespace adapool::cuda {

constexpr int64_t kShared = 48 << 10;  // bytes of what a block's windows share out, twice: what a kernel has without asking

// Chooses it for the launch's threads, lanes and places of a thread; false where none fits.
bool choose_box(Launch& launch, int64_t shared);

}  // namespace adapool::cuda
