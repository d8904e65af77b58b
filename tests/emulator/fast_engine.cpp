// The fast CUDA kernels of one storage type, ADAPOOL_STORAGE, compiled for the driver.
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "engine.h"
#include "emulator.h"

#include "cuda_choice.cuh"

namespace {

struct Go {
  template <class... Parameters, class... Arguments>
  void operator()(const adapool::Grid& grid, bool meets, void (*kernel)(Parameters...), const Arguments&... arguments) const {
    emulator::launch({grid.x, grid.y, grid.z}, grid.threads, meets, [&] { kernel(arguments...); });
  }
};

}  // namespace

template <> void run_fast_engine<ADAPOOL_STORAGE>(const Request& q, const adapool::Job& job,
                                                  const adapool::Reduction* reduction, const adapool::Any& result) {
  using namespace adapool;
  emulator::shuffle.seed(unsigned(q.seed));
  FastCall call{Method(q.method), Direction(q.direction), &job, reduction, &result, 1 + q.seed % 40, nullptr, 0};
  if (!run_fast<ADAPOOL_STORAGE, Go>(call, nullptr)) {
    std::fprintf(stderr, "no fast kernel serves this request\n");
    std::exit(4);
  }
  const std::unique_ptr<float[]> partial(new float[size_t(call.floats)]);  // of its exact size, for the sanitizer
  for (int64_t i = 0; i < call.floats; ++i) partial[size_t(i)] = std::numeric_limits<float>::quiet_NaN();
  call.partial = partial.get();
  const Go go;
  run_fast<ADAPOOL_STORAGE>(call, &go);
}
