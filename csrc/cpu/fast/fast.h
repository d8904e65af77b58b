// The door to the fast CPU kernels: some methods (methods.h) for the common windows, in float or 16 bits. No torch.
#pragma once
#include <cstdint>

namespace adapool {

// Arguments without type, as in instances.h: a Method, a Direction, a Job, a Reduction, and an Any for the gradient of
// the operand that the reduction names; in a gather with a reduction both gradients are wanted at once.
// False: nothing was done.
using Fast = bool (*)(int32_t method, int32_t direction, const void* job, const void* reduction,
                      const void* result,
                      void (*parallel)(int64_t, int64_t, void (*)(int64_t, int64_t, void*), void*));

}  // namespace adapool

extern "C" {
bool adapool_fast_avx2(int32_t, int32_t, const void*, const void*, const void*,
                       void (*)(int64_t, int64_t, void (*)(int64_t, int64_t, void*), void*));
bool adapool_fast_avx512(int32_t, int32_t, const void*, const void*, const void*,
                         void (*)(int64_t, int64_t, void (*)(int64_t, int64_t, void*), void*));
}
