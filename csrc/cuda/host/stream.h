// The device of a tensor made current, and torch's stream on it. Knows PyTorch's stable ABI; knows no kernel.
#pragma once
#include <torch/csrc/stable/tensor.h>

#include <memory>

namespace adapool::cuda {

struct Current {
  int device;
  void* stream;
  std::shared_ptr<void> guard;  // ends with the call
  explicit Current(const torch::stable::Tensor& tensor);
};

}  // namespace adapool::cuda
