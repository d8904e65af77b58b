#include "cuda/host/operators.h"

namespace adapool {
STABLE_TORCH_LIBRARY_IMPL(adapool, CUDA, m) { register_on<cuda::Cuda>(m); }
}  // namespace adapool
