// The operators on CUDA devices: torch's current stream and device around the kernels of kernels.cuh and cuda_fast.cuh.
#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>

#include <cstdlib>
#include <string>

#include "bind.h"
#include "cuda_launch.h"

namespace adapool {

extern template void launch_cuda<double>(Method, Direction, const Job&, const Reduction*, double*, const Any*, Stream);
extern template void launch_cuda<float>(Method, Direction, const Job&, const Reduction*, double*, const Any*, Stream);
extern template void launch_cuda<Half>(Method, Direction, const Job&, const Reduction*, double*, const Any*, Stream);
extern template void launch_cuda<BFloat16>(Method, Direction, const Job&, const Reduction*, double*, const Any*, Stream);

extern template bool launch_fast<float>(FastCall&, const Stream*);
extern template bool launch_fast<Half>(FastCall&, const Stream*);
extern template bool launch_fast<BFloat16>(FastCall&, const Stream*);

namespace {

// Torch's own check calls a function that its headers promise for 2.10 and that 2.11 lacks.
void check(cudaError_t error) { STD_TORCH_CHECK(error == cudaSuccess, "CUDA: ", cudaGetErrorString(error)); }

// The device of a tensor made current, and its stream.
struct Current {
  torch::stable::accelerator::DeviceGuard guard;
  Stream stream = nullptr;
  explicit Current(const Tensor& t) : guard(t.get_device_index()) {
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
  }
};

int64_t multiprocessors() {
  int device = 0, count = 0;
  check(cudaGetDevice(&device));
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

// Blocks that are worth starting: some for each multiprocessor of the first device that was used.
int64_t blocks_wanted() {
  static const int64_t blocks = 8 * multiprocessors();
  return blocks;
}

// ADAPOOL_FAST=0 asks for the generic kernels alone, for tests and comparisons.
bool fast_wanted() {
  static const char* wish = std::getenv("ADAPOOL_FAST");
  return wish == nullptr || std::string(wish) != "0";
}

struct Cuda {
  static constexpr bool dense_cells = true;
  static bool fast(const Call& call, Direction direction, const Reduction* reduction, const Any* result) {
    if (!fast_wanted()) return false;
    const Current current(call.input.x);
    FastCall asked{call.traits.method, direction, &call.job, reduction, result, blocks_wanted(), nullptr, 0};
    const auto launch = [&](const Stream* stream) {
      switch (call.type()) {
        case Type::float32: return launch_fast<float>(asked, stream);
        case Type::float16: return launch_fast<Half>(asked, stream);
        case Type::bfloat16: return launch_fast<BFloat16>(asked, stream);
        default: return false;
      }
    };
    Tensor room;
    if (reduction != nullptr) {
      if (!launch(nullptr)) return false;
      room = allocate({asked.floats}, ScalarType::Float, call.input.x, false);
      asked.partial = static_cast<float*>(room.mutable_data_ptr());
    }
    if (!launch(&current.stream)) return false;
    check(cudaGetLastError());
    return true;
  }
  static bool run_both(const Call& call, const Reduction& reduction, const Any& result) {
    return fast(call, Direction::gather, &reduction, &result);
  }
  static void run(const Call& call, Direction direction, const Reduction* reduction, double* partial,
                  const Any* result = nullptr) {
    if (direction != Direction::operand && fast(call, direction, nullptr, nullptr)) return;
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
    check(cudaGetLastError());
  }
  static void masks(const Tensor& y, const MaskJob& job, MaskDirection direction) {
    const Current current(y);
    launch_masks(type_of(y, "y") == Type::float64, job, direction, current.stream);
    check(cudaGetLastError());
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
