// What cuda.cu (torch) and cuda_instances.cu (kernels) say to each other.
#pragma once
#include "cell.h"
#include "masks.h"

namespace adapool {

using Stream = void*;

template <class T>
void launch_cuda(Method method, Direction direction, const Job& job, const Reduction* reduction, double* partial,
                 const Any* result, Stream stream);
void launch_masks(bool wide, const MaskJob& job, MaskDirection direction, Stream stream);

}  // namespace adapool
