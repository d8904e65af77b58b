// A call in words, without tensors: for counting what its kernels cost on a machine without a GPU.
#pragma once
#include <string>

#include "cuda/host/plan.h"

namespace adapool::cuda {

// For example "ada backward float32 nchw 3x3/2x2+1x1 64x64x112x112 place": method, or `weights` that were stored;
// direction (forward, extra, backward with the gradients of operands and logits, detached, unpool, unpool_y,
// unpool_guide); type; layout (nchw, channels_last); kernel/stride+padding, and ^ where it is rounded up; shape; what
// operands vary with (number, scalar, channel, place, both, or every cell). Throws std::runtime_error that names the word.
Plan plan_of(const std::string& words, int multiprocessors);

}  // namespace adapool::cuda
