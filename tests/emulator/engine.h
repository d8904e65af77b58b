// What driver.cpp (protocol) and engine.cpp (kernels) say to each other.
#pragma once
#include "cell.h"
#include "masks.h"
#include "request.h"

template <class T> void run_engine(const Request&, const adapool::Job&, const adapool::Reduction&, double* partial,
                                   const adapool::Any& result);
// The fast CUDA kernels; with a reduction the gradient of its operand too.
template <class T> void run_fast_engine(const Request&, const adapool::Job&, const adapool::Reduction*,
                                        const adapool::Any& result);
void run_mask_engine(const Request&, const adapool::MaskJob&, adapool::MaskDirection);
