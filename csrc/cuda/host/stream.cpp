#include "cuda/host/stream.h"

#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>

#include <stdexcept>

namespace adapool::cuda {
namespace {

// torch 2.13 gives the handle of any device's stream; before, the function of its CUDA half does, which is looked for
// in a library that is loaded already, so that nothing of CUDA is needed to link this one.
using NativeHandle = AOTITorchError (*)(StreamHandle, void**);
using CudaStream = AOTITorchError (*)(int32_t, void**);

CudaStream cuda_stream() {
  void* library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
  void* found = library != nullptr ? dlsym(library, "aoti_torch_get_current_cuda_stream") : nullptr;
  if (found == nullptr)
    throw std::runtime_error(
        "CUDA: torch tells no current stream: neither torch_stream_native_handle nor libtorch_cuda.so is loaded");
  return reinterpret_cast<CudaStream>(found);
}

void* stream_of(int device) {
  static const auto native = reinterpret_cast<NativeHandle>(dlsym(RTLD_DEFAULT, "torch_stream_native_handle"));
  void* handle = nullptr;
  if (native == nullptr) {
    static const CudaStream ask = cuda_stream();
    STABLE_TORCH_ERROR_CODE_CHECK(ask(device, &handle));
    return handle;
  }
  StreamHandle stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_stream(device, &stream));
  const AOTITorchError error = native(stream, &handle);
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_delete_stream(stream));
  STABLE_TORCH_ERROR_CODE_CHECK(error);
  return handle;
}

}  // namespace

Current::Current(const torch::stable::Tensor& tensor)
    : device(tensor.get_device_index()),
      guard(std::make_shared<torch::stable::accelerator::DeviceGuard>(tensor.get_device_index())) {
  stream = stream_of(device);
}

}  // namespace adapool::cuda
