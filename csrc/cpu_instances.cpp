// The CPU loops compiled for one storage type, ADAPOOL_SCALAR; the build compiles this file once for each.
#include "loops.h"

namespace adapool {
template void run_cpu<ADAPOOL_SCALAR>(Method, Direction, const Job&, const Reduction*, void*, const Any*, Parallel);
}
