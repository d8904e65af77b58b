// Which kernels a call needs, how their work is cut, and what they are told: pure functions of the call and of the
// number of multiprocessors. Knows no torch and no driver.
#pragma once
#include <vector>

#include "cuda/arguments.h"
#include "cuda/host/specification.h"

namespace adapool::cuda {

constexpr int64_t kNowhere = -1;

// One launch. What lies in the call's scratch memory is given as bytes from its beginning.
struct Launch {
  Specification specification{};
  Arguments arguments{};
  unsigned grid[3] = {1, 1, 1};
  int64_t terms = kNowhere, states = kNowhere, out = kNowhere;
};

struct Plan {
  std::vector<Launch> launches;
  int64_t scratch = 0;  // bytes
};

// The kernels of a direction. With a reduction the gradient of an operand: of direction `gather` beside that of x.
// Throws std::runtime_error where an axis is too long, or a window too large.
Plan plan(Method method, Direction direction, const Job& job, const Reduction* reduction, const Any* result,
          int multiprocessors);
Launch plan_masks(bool wide, const MaskJob& job, MaskDirection direction);  // a grid of 0: nothing to do

}  // namespace adapool::cuda
