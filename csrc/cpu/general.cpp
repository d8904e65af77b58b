// The CPU loops that compute in ADAPOOL_SCALAR, double or float, for one instruction set ADAPOOL_ISA; the build
// compiles this file once for each pair.
#include "cpu/instances.h"
#include "cpu/loops.h"

extern "C" bool ADAPOOL_LOOPS(ADAPOOL_SCALAR, ADAPOOL_ISA) ADAPOOL_PARAMETERS {
  using namespace adapool;
  return run_cpu<ADAPOOL_SCALAR>(Method(method), Direction(direction), *static_cast<const Job*>(job),
                          static_cast<const Reduction*>(reduction), static_cast<const Any*>(result), parallel);
}
