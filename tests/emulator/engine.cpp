// The kernels and loops of one storage type, ADAPOOL_STORAGE, compiled for the driver.
#include "engine.h"
#include "emulator.h"

#include "kernels.cuh"
#include "loops.h"
#include "mask_loops.h"

namespace {

struct Go {
  template <class... Parameters, class... Arguments>
  void operator()(unsigned blocks, bool meets, void (*kernel)(Parameters...), const Arguments&... arguments) const {
    emulator::launch({blocks, 1, 1}, adapool::kThreads, meets, [&] { kernel(arguments...); });
  }
};

void in_turn(int64_t n, int64_t, void (*body)(int64_t, int64_t, void*), void* context) {
  const int64_t half = n / 2;  // two parts, as if two threads
  if (half > 0) body(0, half, context);
  body(half, n, context);
}

}  // namespace

template <> void run_engine<ADAPOOL_STORAGE>(const Request& q, const adapool::Job& job,
                                                          const adapool::Reduction& reduction, double* partial,
                                                          const adapool::Any& result) {
  using namespace adapool;
  emulator::shuffle.seed(unsigned(q.seed));
  const Method method = Method(q.method);
  const Direction direction = Direction(q.direction);
  if (q.engine == 0) run_cuda<ADAPOOL_STORAGE>(method, direction, job, &reduction, partial, &result, Go{});
  else run_cpu<AccOf<ADAPOOL_STORAGE>>(method, direction, job, direction == Direction::operand ? &reduction : nullptr,
                                       partial, &result, in_turn);
}

#ifdef ADAPOOL_MASKS
void run_mask_engine(const Request& q, const adapool::MaskJob& job, adapool::MaskDirection direction) {
  using namespace adapool;
  const bool wide = Type(q.type) == Type::float64;
  if (q.engine == 0) run_masks(wide, job, direction, Go{});
  else if (wide) mask_loop<double>(job, direction, in_turn);
  else mask_loop<float>(job, direction, in_turn);
}
#endif
