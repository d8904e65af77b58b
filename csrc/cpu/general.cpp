// The CPU loops that compute in ADAPOOL_SCALAR, double or float, for one instruction set ADAPOOL_ISA; the build
// compiles this file once for each pair.
#include "cpu/instances.h"
#include "cpu/loops.h"

extern "C" bool ADAPOOL_LOOPS(ADAPOOL_SCALAR, ADAPOOL_ISA) ADAPOOL_PARAMETERS {
  using namespace adapool;
#define ADAPOOL_CELLS(name, Struct) cells_of<Struct, ADAPOOL_SCALAR>(),
  static constexpr MethodCells<ADAPOOL_SCALAR> methods[] = {ADAPOOL_METHODS(ADAPOOL_CELLS)};
  return run_loops(methods[method], Direction(direction), *static_cast<const Job*>(job),
                   static_cast<const Reduction*>(reduction), static_cast<const Any*>(result), parallel);
}
