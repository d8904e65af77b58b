// Unpooling by weights that were stored: a thread for each place or each cell. Device only; the definition is
// masks.h's.
#pragma once
#include "math/masks.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

template <class V, MaskDirection direction> ADAPOOL_HD void masks(const MaskJob& job) {
  constexpr bool forward = direction == MaskDirection::forward;
  const int64_t all = job.batch * job.channels * (forward ? job.window.places() : job.window.cells());
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < all; i += step) {
    const Point p = point_at(i, job.channels, forward ? job.window.in : job.window.out, job.channels_last);
    if constexpr (forward) mask_place<V>(job, p);
    else mask_cell<V>(job, p, direction == MaskDirection::to_weights);
  }
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
