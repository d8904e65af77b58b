// The names by which operators.cpp calls the loops compiled for one instruction set (Loops of table.h): the general ones of
// a computing type, and the fast ones, which are false where nothing was done. Arguments are a Method, a Direction, a Job,
// a Reduction, and an Any for the gradient of the operand that the reduction names (in a gather with a reduction both
// gradients are wanted at once), without type, because each instruction set has its own copies of the (identical) structs.
#pragma once
#include <algorithm>
#include <cstdint>

#include "math/builtins.h"

#define ADAPOOL_JOIN_(a, b, c, d) a##b##c##d
#define ADAPOOL_JOIN(a, b, c, d) ADAPOOL_JOIN_(a, b, c, d)
#define ADAPOOL_LOOPS(scalar, isa) ADAPOOL_JOIN(adapool_cpu_, scalar, _, isa)
#define ADAPOOL_FAST_LOOPS(isa) ADAPOOL_JOIN(adapool_fast_, isa, , )
#define ADAPOOL_PARAMETERS                                                                                  \
  (int32_t method, int32_t direction, const void* job, const void* reduction, const void* result,         \
   adapool::Parallel parallel)

namespace adapool {

// Calls body(begin, end, context) on parts of 0 .. n, each of `grain` at least, in threads. No torch: it is handed in.
using Parallel = void (*)(int64_t n, int64_t grain, void (*body)(int64_t, int64_t, void*), void* context);

inline namespace ADAPOOL_ISA {
template <class F> void parallel(Parallel run, int64_t n, int64_t grain, const F& f) {
  const auto body = [](int64_t begin, int64_t end, void* c) { (*static_cast<const F*>(c))(begin, end); };
  if (n > 0) run(n, std::max<int64_t>(grain, 1), body, const_cast<void*>(static_cast<const void*>(&f)));
}
}  // namespace ADAPOOL_ISA

}  // namespace adapool
