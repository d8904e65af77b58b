// What cuda.cu (torch) and cuda_instances.cu (kernels) say to each other.
#pragma once
#include "cell.h"
#include "masks.h"

namespace adapool {

using Stream = void*;

// What a fast kernel is asked for; with a reduction the gradient of beta too, into `result`.
struct FastCall {
  Method method;
  Direction direction;
  const Job* job;
  const Reduction* reduction;
  const Any* result;
  int64_t blocks;  // that are worth starting
  float* partial;  // room for `floats` numbers
  int64_t floats;
};

template <class T>
void launch_cuda(Method method, Direction direction, const Job& job, const Reduction* reduction, double* partial,
                 const Any* result, Stream stream);
// The fast kernels of a call on a stream; without one (null) only the room that they need. False: there are none.
template <class T> bool launch_fast(FastCall& call, const Stream* stream);
void launch_masks(bool wide, const MaskJob& job, MaskDirection direction, Stream stream);

}  // namespace adapool
