// The operators on CUDA devices: torch's current stream and device around the kernels of kernels.cuh.
#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>

#include "bind.h"
#include "cuda_launch.h"

namespace adapool {

extern template void launch_cuda<double>(Method, Direction, const Job&, const Reduction*, double*, const Any*, Stream);
extern template void launch_cuda<float>(Method, Direction, const Job&, const Reduction*, double*, const Any*, Stream);
extern template void launch_cuda<Half>(Method, Direction, const Job&, const Reduction*, double*, const Any*, Stream);
extern template void launch_cuda<BFloat16>(Method, Direction, const Job&, const Reduction*, double*, const Any*, Stream);

namespace {

// The device of a tensor made current, and its stream.
struct Current {
  torch::stable::accelerator::DeviceGuard guard;
  Stream stream = nullptr;
  explicit Current(const Tensor& t) : guard(t.get_device_index()) {
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
  }
};

struct Cuda {
  static bool run_both(const Call&, const Reduction&, const Any&) { return false; }
  static void run(const Call& call, Direction direction, const Reduction* reduction, double* partial,
                  const Any* result = nullptr) {
    const Current current(call.input.x);
    const auto launch = [&](auto function) {
      function(call.traits.method, direction, call.job, reduction, partial, result, current.stream);
    };
    switch (call.type()) {
      case Type::float64: launch(launch_cuda<double>); break;
      case Type::float32: launch(launch_cuda<float>); break;
      case Type::float16: launch(launch_cuda<Half>); break;
      default: launch(launch_cuda<BFloat16>);
    }
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
  static void masks(const Tensor& y, const MaskJob& job, MaskDirection direction) {
    const Current current(y);
    launch_masks(type_of(y, "y") == Type::float64, job, direction, current.stream);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
  // About 2^17 threads, so that the device is full; partials stay under 2 MB.
  static int64_t chunks(int64_t entries, int64_t terms) {
    const int64_t wanted = (int64_t(1) << 17) / (entries > 0 ? entries : 1), useful = terms / 8;
    const int64_t chunks = wanted < useful ? wanted : useful;
    return chunks > 1 ? chunks : 1;
  }
};

STABLE_TORCH_LIBRARY_IMPL(adapool, CUDA, m) { register_on<Cuda>(m); }

}  // namespace
}  // namespace adapool
