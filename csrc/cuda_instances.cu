// The CUDA kernels for one storage type, ADAPOOL_SCALAR; the build compiles this file once for each. No torch.
#include "cuda_choice.cuh"
#include "kernels.cuh"

namespace adapool {
namespace {

struct Go {
  cudaStream_t stream;
  template <class... Parameters, class... Arguments>
  void operator()(unsigned blocks, bool, void (*kernel)(Parameters...), const Arguments&... arguments) const {
    if (blocks > 0) kernel<<<blocks, kThreads, 0, stream>>>(arguments...);
  }
  template <class... Parameters, class... Arguments>
  void operator()(const Grid& grid, bool, void (*kernel)(Parameters...), const Arguments&... arguments) const {
    kernel<<<dim3(grid.x, grid.y, grid.z), grid.threads, 0, stream>>>(arguments...);
  }
};

}  // namespace

template <class T>
void launch_cuda(Method method, Direction direction, const Job& job, const Reduction* reduction, double* partial,
                 const Any* result, Stream stream) {
  run_cuda<T>(method, direction, job, reduction, partial, result, Go{static_cast<cudaStream_t>(stream)});
}
template void launch_cuda<ADAPOOL_SCALAR>(Method, Direction, const Job&, const Reduction*, double*, const Any*, Stream);

#ifdef ADAPOOL_FAST
template <class T> bool launch_fast(FastCall& call, const Stream* stream) {
  if (stream == nullptr) return run_fast<T, Go>(call, nullptr);
  const Go go{static_cast<cudaStream_t>(*stream)};
  return run_fast<T>(call, &go);
}
template bool launch_fast<ADAPOOL_SCALAR>(FastCall&, const Stream*);
#endif

#ifdef ADAPOOL_MASKS
void launch_masks(bool wide, const MaskJob& job, MaskDirection direction, Stream stream) {
  run_masks(wide, job, direction, Go{static_cast<cudaStream_t>(stream)});
}
#endif

}  // namespace adapool
