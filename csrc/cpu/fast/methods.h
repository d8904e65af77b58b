// The methods that have fast kernels; CMakeLists.txt reads the list too. Another one's line is all that it needs: its struct
// of math/ computes then, unless kernels.cpp knows a quicker policy.
#pragma once

#define ADAPOOL_FAST_METHODS(X) \
  X(max)                        \
  X(avg)                        \
  X(sum)                        \
  X(idw)                        \
  X(softpool)                   \
  X(edscw)                      \
  X(ada)                        \
  X(lp)                         \
  X(lp_abs)                     \
  X(lip)                        \
  X(power)                      \
  X(power_sum)                  \
  X(mixed)
