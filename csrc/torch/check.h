// From tensors and lists to a Job: checks (the second fence; Python's messages come first), layouts, allocation.
// Knows PyTorch's stable ABI; knows no device and no method's formula.
#pragma once
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <limits>
#include <string>
#include <vector>

#include "job.h"
#include "math/masks.h"
#include "table.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Ints = std::vector<int64_t>;

inline Traits traits_of(const std::string& name) {
  const Entry* entry = method_table().find(name);
  STD_TORCH_CHECK(entry != nullptr, "method: expected a compiled one, got ", name);
  return entry->traits;
}

inline Type type_of(const Tensor& t, const char* what) {
  switch (t.scalar_type()) {
    case ScalarType::Double: return Type::float64;
    case ScalarType::Float: return Type::float32;
    case ScalarType::Half: return Type::float16;
    case ScalarType::BFloat16: return Type::bfloat16;
    default: STD_TORCH_CHECK(false, what, ": expected float64, float32, float16 or bfloat16");
  }
}

inline Any read(const Tensor& t, const char* what) {
  return {const_cast<void*>(t.const_data_ptr()), type_of(t, what)};
}
inline Any write(const Tensor& t) { return {t.mutable_data_ptr(), type_of(t, "output")}; }

inline Strides strides_of(const Tensor& t) {  // [N, C, *spatial], spatial axes at the end of the three
  const int64_t rank = t.dim() - 2;
  Strides s{t.stride(0), t.stride(1), {0, 0, 0}};
  for (int64_t d = 0; d < rank; ++d) s.d[3 - rank + d] = t.stride(2 + d);
  return s;
}

// Sizes of 1 may have any stride, as in torch's own test.
inline bool is_channels_last(const Tensor& t) {
  int64_t expected = 1;
  const auto matches = [&](int64_t d) {
    if (t.size(d) != 1) {
      if (t.stride(d) != expected) return false;
      expected *= t.size(d);
    }
    return true;
  };
  if (!matches(1)) return false;
  for (int64_t d = t.dim() - 1; d >= 2; --d)
    if (!matches(d)) return false;
  return matches(0);
}

inline int32_t code_of(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Double: return aoti_torch_dtype_float64();
    case ScalarType::Float: return aoti_torch_dtype_float32();
    case ScalarType::Half: return aoti_torch_dtype_float16();
    case ScalarType::BFloat16: return aoti_torch_dtype_bfloat16();
    case ScalarType::Long: return aoti_torch_dtype_int64();
    default: STD_TORCH_CHECK(false, "output: expected float64, float32, float16, bfloat16 or int64");
  }
}

// By torch's C function and not by its operator empty, whose call takes a microsecond longer.
inline Tensor allocate(const Ints& shape, ScalarType dtype, const Tensor& like, bool channels_last) {
  const int64_t rank = int64_t(shape.size());
  Ints strides(shape.size());
  int64_t step = 1;
  const auto lay = [&](int64_t d) {
    strides[d] = step;
    step *= shape[d] > 1 ? shape[d] : 1;
  };
  if (channels_last) lay(1);
  for (int64_t d = rank - 1; d >= 0; --d)
    if (!channels_last || d >= 2) lay(d);
  if (channels_last) lay(0);
  AtenTensorHandle made = nullptr;
  const auto device = like.device();
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(
      rank, shape.data(), strides.data(), code_of(dtype),
      device.is_cuda() ? aoti_torch_device_type_cuda() : aoti_torch_device_type_cpu(),
      device.is_cuda() ? device.index() : 0, &made));
  return Tensor(made);
}

inline Ints shape_of(const Tensor& t) { return {t.sizes().begin(), t.sizes().end()}; }

// `t` in one of the two native layouts; anything else is copied once.
inline Tensor in_layout(const Tensor& t, bool channels_last) {
  if (channels_last ? is_channels_last(t) : t.is_contiguous()) return t;
  Tensor copy = allocate(shape_of(t), t.scalar_type(), t, channels_last);
  return torch::stable::copy_(copy, t);
}

struct Input {  // the tensor that regions are read from
  Tensor x;
  bool channels_last;
  explicit Input(const Tensor& given) : x(given), channels_last(!given.is_contiguous() && is_channels_last(given)) {
    x = in_layout(given, channels_last);
  }
};

inline void check_shape(const Tensor& t, const Ints& shape, const Tensor& like, const char* what) {
  STD_TORCH_CHECK(shape_of(t) == shape, what, ": unexpected shape");
  STD_TORCH_CHECK(t.is_cuda() == like.is_cuda() && t.get_device_index() == like.get_device_index(), what,
                  ": expected the device of the input");
}

// A kernel of -1 takes its axis whole, in one cell: a traced program then holds no size.
inline Window window_of(const Ints& size, const Ints& kernel, const Ints& stride, const Ints& padding, bool ceil_mode) {
  const size_t rank = kernel.size();
  STD_TORCH_CHECK(rank >= 1 && rank <= 3 && size.size() == rank && stride.size() == rank && padding.size() == rank,
                  "kernel: expected 1, 2 or 3 sizes, as many as spatial axes");
  Window w{{1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}};
  int64_t taps = 1;
  for (size_t i = 0; i < rank; ++i) {
    const size_t d = 3 - rank + i;
    const int64_t n = size[i], k = kernel[i] == -1 ? n : kernel[i], s = stride[i], p = padding[i];
    STD_TORCH_CHECK(n > 0 && k > 0 && s > 0 && p >= 0 && p <= k / 2,
                    "window: expected positive sizes and padding of at most half the kernel");
    STD_TORCH_CHECK(!__builtin_mul_overflow(taps, k, &taps), "kernel: expected fewer than 2**63 taps");
    const int64_t span = n - (k - 2 * p);
    STD_TORCH_CHECK(span >= 0 || (ceil_mode && span > -s), "kernel: expected at most the padded input on axis ", i);
    w.in[d] = n; w.kernel[d] = k; w.stride[d] = s; w.padding[d] = p;
    w.out[d] = span < 0 ? 1 : span / s + 1;
    // Rounded up, unless the last window would start in the right padding. By division: a stride may be huge.
    if (ceil_mode && span > 0 && span % s != 0 && w.out[d] <= (n + p - 1) / s) ++w.out[d];
  }
  return w;
}

inline Ints with_spatial(const Tensor& x, const int64_t* extents) {
  Ints shape = {x.size(0), x.size(1)};
  for (int64_t d = 5 - x.dim(); d < 3; ++d) shape.push_back(extents[d]);
  return shape;
}

inline Ints spatial_of(const Tensor& x) {
  STD_TORCH_CHECK(x.dim() >= 3 && x.dim() <= 5, "x: expected N, C and 1 to 3 spatial axes");
  Ints size;
  for (int64_t d = 2; d < x.dim(); ++d) size.push_back(x.size(d));
  return size;
}

// The operand's place in a job: broadcast against [N, C, *out], aligned at the right.
inline Operand operand_of(const Tensor& t, const Ints& cells) {
  Operand o{read(t, "operand"), {0, 0, {0, 0, 0}}, 0, true};
  const int64_t missing = int64_t(cells.size()) - t.dim();
  STD_TORCH_CHECK(missing >= 0, "operand: more axes than the output");
  for (int64_t i = 0; i < t.dim(); ++i) {
    const int64_t axis = missing + i, last = int64_t(cells.size()) - axis;
    STD_TORCH_CHECK(t.size(i) == 1 || t.size(i) == cells[axis], "operand: does not broadcast to the output");
    const int64_t stride = t.size(i) == 1 ? 0 : t.stride(i);
    (axis == 0 ? o.strides.n : axis == 1 ? o.strides.c : o.strides.d[3 - last]) = stride;
  }
  return o;
}

// The job of a method on `input`: everything but the outputs of a direction. Keeps alive what it points to.
struct Call {
  Traits traits;
  Input input;
  Job job{};
  Ints cells;                   // [N, C, *out]
  std::vector<Tensor> tensors;  // operands, logits in the input's layout
  std::vector<int> which;       // the operand number of each tensor; -1: logits

  Call(const Tensor& x, const std::vector<Tensor>& operands, const std::string& method, const Ints& kernel,
       const Ints& stride, const Ints& padding, bool ceil_mode, const std::vector<double>& constants)
      : traits(traits_of(method)), input(x) {
    const Tensor& in = input.x;
    job.window = window_of(spatial_of(in), kernel, stride, padding, ceil_mode);
    job.batch = in.size(0);
    job.channels = in.size(1);
    job.channels_last = input.channels_last;
    job.x = read(in, "x");
    job.xs = strides_of(in);
    cells = with_spatial(in, job.window.out);
    const size_t slots = traits.operands + (traits.logits ? 1 : 0);
    STD_TORCH_CHECK(constants.size() == slots, "constants: expected ", slots, " for method ", method);
    size_t next = 0;
    for (size_t k = 0; k < slots; ++k) {
      const bool tensor = constants[k] == std::numeric_limits<double>::max();
      if (!tensor) {
        STD_TORCH_CHECK(!traits.logits, "logits: expected a tensor");
        job.operand[k] = {{nullptr, Type::float32}, {}, constants[k], constants[k] > std::numeric_limits<double>::lowest()};
        continue;
      }
      STD_TORCH_CHECK(next < operands.size(), "operands: expected more tensors");
      Tensor t = operands[next++];
      if (traits.logits) {
        check_shape(t, shape_of(in), in, "logits");
        t = in_layout(t, job.channels_last);
        job.logits = read(t, "logits");
      } else {
        check_shape(t, shape_of(t), in, "operand");
        job.operand[k] = operand_of(t, cells);
      }
      tensors.push_back(t);
      which.push_back(traits.logits ? -1 : int(k));
    }
    STD_TORCH_CHECK(next == operands.size(), "operands: expected ", next, " tensors, got ", operands.size());
  }

  Type type() const { return type_of(input.x, "x"); }
  ScalarType accumulator() const { return type() == Type::float64 ? ScalarType::Double : ScalarType::Float; }
  Tensor like_input(ScalarType dtype) const { return allocate(shape_of(input.x), dtype, input.x, job.channels_last); }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
