// The operators on the CPU: torch's thread pool around the loops of loops.h.
#include "bind.h"
#include "loops.h"

namespace adapool {

#define ADAPOOL_ELSEWHERE(T) \
  extern template void run_cpu<T>(Method, Direction, const Job&, const Reduction*, void*, const Any*, Parallel);
ADAPOOL_ELSEWHERE(double)
ADAPOOL_ELSEWHERE(float)
ADAPOOL_ELSEWHERE(Half)
ADAPOOL_ELSEWHERE(BFloat16)
#undef ADAPOOL_ELSEWHERE

namespace {

void in_threads(int64_t n, int64_t grain, void (*body)(int64_t, int64_t, void*), void* context) {
  torch::stable::parallel_for(0, n, grain, [=](int64_t begin, int64_t end) { body(begin, end, context); });
}

struct Cpu {
  static void run(const Call& call, Direction direction, const Reduction* reduction, void* partial,
                  const Any* result = nullptr) {
    const Method method = call.traits.method;
    switch (call.type()) {
      case Type::float64: return run_cpu<double>(method, direction, call.job, reduction, partial, result, in_threads);
      case Type::float32: return run_cpu<float>(method, direction, call.job, reduction, partial, result, in_threads);
      case Type::float16: return run_cpu<Half>(method, direction, call.job, reduction, partial, result, in_threads);
      default: return run_cpu<BFloat16>(method, direction, call.job, reduction, partial, result, in_threads);
    }
  }
  static void masks(const Tensor& y, const MaskJob& job, MaskDirection direction) {
    if (type_of(y, "y") == Type::float64) mask_loop<double>(job, direction, in_threads);
    else mask_loop<float>(job, direction, in_threads);
  }
  // Constants, not the number of threads, so that results do not depend on it; partials stay under 512 KB.
  static int64_t chunks(int64_t entries, int64_t terms) {
    const int64_t most = entries > 0 ? 65536 / entries : 1, useful = terms / 256;
    return std::max<int64_t>(1, std::min({most, useful, int64_t(256)}));
  }
};

STABLE_TORCH_LIBRARY_IMPL(adapool, CPU, m) { register_on<Cpu>(m); }

}  // namespace
}  // namespace adapool
