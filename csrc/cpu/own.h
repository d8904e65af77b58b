// The one entry of a library that is compiled while the process runs, for one struct in ADAPOOL_SCALAR: the general loops.
#pragma once
#include "cpu/instances.h"
#include "cpu/loops.h"

#define ADAPOOL_OWN_LOOPS(Struct)                                                                            \
  extern "C" __attribute__((visibility("default"))) bool adapool_own_loops ADAPOOL_PARAMETERS {              \
    using namespace adapool;                                                                                 \
    (void)method;                                                                                            \
    return run_loops(cells_of<Struct, ADAPOOL_SCALAR>(), Direction(direction), *static_cast<const Job*>(job),    \
                     static_cast<const Reduction*>(reduction), static_cast<const Any*>(result), parallel);   \
  }
