// The methods that have fast kernels; CMakeLists.txt reads the list too. Another one's line is all that it needs: its struct
// of math/ computes then, unless kernels.cpp knows a quicker policy.
#pragma once

// X(method, the method whose kernels compute it too and ask Fallback::twin which it is): nothing is compiled for it.
#define ADAPOOL_FAST_TWINS(X) \
  X(lp_abs, lp)               \
  X(power_sum, power)

#define ADAPOOL_FAST_METHODS(X) \
  X(max)                        \
  X(avg)                        \
  X(sum)                        \
  X(idw)                        \
  X(softpool)                   \
  X(edscw)                      \
  X(ada)                        \
  X(lp)                         \
  X(lip)                        \
  X(power)                      \
  X(mixed)
