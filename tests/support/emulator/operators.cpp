// The operators of a CUDA device, registered for the CPU: with the stand-in driver, device memory is the host's.
#include "cuda/host/operators.h"

namespace adapool {
namespace cuda {
Current::Current(const torch::stable::Tensor&) : device(0), stream(nullptr) {}
}  // namespace cuda
STABLE_TORCH_LIBRARY_IMPL(adapool, CPU, m) { register_on<cuda::Cuda>(m); }
}  // namespace adapool
