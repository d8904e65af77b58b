// The four operators, once for every device. A Device supplies masks() and run(), which is false for what it cannot do
// at once (gather with a reduction), and says whether it wants the numbers of cells that it reads (`dense_cells`) in the
// layout of the input.
// Knows PyTorch's stable ABI; knows no method's formula.
#pragma once
#include <tuple>

#include "torch/check.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

inline Tensor nothing(const Tensor& like, ScalarType dtype) { return allocate({0}, dtype, like, false); }

template <class Device>
std::tuple<Tensor, Tensor> pool(const Tensor& x, std::vector<Tensor> operands, std::string method, Ints kernel,
                                Ints stride, Ints padding, bool ceil_mode, std::vector<double> constants,
                                bool want_extra, bool) {
  Call call(x, operands, method, kernel, stride, padding, ceil_mode, constants);
  Job& job = call.job;
  const Tensor& in = call.input.x;
  Tensor y = allocate(call.cells, in.scalar_type(), in, job.channels_last);
  const bool indices = call.traits.indices;
  const ScalarType dtype = indices ? ScalarType::Long : call.accumulator();
  Tensor extra = nothing(in, dtype);
  if (want_extra) {
    STD_TORCH_CHECK(indices || call.traits.weighted, "method: ", method, " has neither weights nor indices");
    Ints shape = call.cells;
    if (!indices) shape.push_back(job.window.taps());
    extra = allocate(shape, dtype, in, indices && job.channels_last);
    job.extra = extra.mutable_data_ptr();
  }
  job.y = write(y);
  job.ys = strides_of(y);
  Device::run(call, Direction::forward);
  return {y, extra};
}

inline Reduction reduction_of(const Call& call, size_t i) {
  const Tensor& t = call.tensors[i];
  const int64_t rank = int64_t(call.cells.size()), missing = rank - t.dim();
  Reduction reduction{{1, 1, 1, 1, 1}, {1, 1, 1, 1, 1}, 1, 1, call.which[i]};
  for (int64_t axis = 0; axis < rank; ++axis) {
    const int64_t d = axis < 2 ? axis : axis + 5 - rank, size = call.cells[axis];
    const bool kept = axis >= missing && t.size(axis - missing) == size;
    (kept ? reduction.kept : reduction.summed)[d] = size;
    (kept ? reduction.entries : reduction.terms) *= size;
  }
  return reduction;
}

template <class Device> void operand_gradient(const Call& call, size_t i, const Tensor& result) {
  const Reduction reduction = reduction_of(call, i);
  if (reduction.entries == 0) return;
  const Any out = write(result);
  Device::run(call, Direction::operand, &reduction, &out);
}

// Room for the gradients of operands that are wanted, empty tensors for the others. Before that of x: a small tensor
// behind a large one would keep the allocator from giving the next call the same memory.
inline std::vector<Tensor> operand_results(const Call& call, const Ints& wants, size_t first) {
  std::vector<Tensor> results;
  for (size_t i = 0; i < call.tensors.size(); ++i) {
    const Tensor& t = call.tensors[i];
    if (wants[first + i] == 0) results.push_back(nothing(t, t.scalar_type()));
    else if (call.which[i] < 0) results.push_back(call.like_input(t.scalar_type()));
    else results.push_back(allocate(shape_of(t), t.scalar_type(), t, false));
  }
  return results;
}

// Fills them. The job's coefficient is set.
template <class Device>
void operand_gradients(Call& call, const Ints& wants, size_t first, const std::vector<Tensor>& results) {
  for (size_t i = 0; i < call.tensors.size(); ++i) {
    if (wants[first + i] == 0) continue;
    if (call.which[i] >= 0) {
      operand_gradient<Device>(call, i, results[i]);
      continue;
    }
    call.job.to_logits = true;
    call.job.target = write(results[i]);
    Device::run(call, Direction::gather);
    call.job.to_logits = false;
  }
}

// The gradient of x; and of the only operand, where a device can do both at once: then true.
template <class Device> bool input_gradient(const Call& call, const Ints& wants, const std::vector<Tensor>& operands) {
  if (operands.size() == 1 && call.which[0] >= 0 && wants[1] != 0) {
    const Reduction reduction = reduction_of(call, 0);
    const Any out = write(operands[0]);
    if (reduction.entries > 0 && Device::run(call, Direction::gather, &reduction, &out)) return true;
  }
  Device::run(call, Direction::gather);
  return false;
}

template <class Device>
std::vector<Tensor> pool_backward(const Tensor& grad, const Tensor& x, std::vector<Tensor> operands,
                                  std::string method, Ints kernel, Ints stride, Ints padding, bool ceil_mode,
                                  std::vector<double> constants, bool detached, Ints wants) {
  Call call(x, operands, method, kernel, stride, padding, ceil_mode, constants);
  Job& job = call.job;
  const Tensor& in = call.input.x;
  check_shape(grad, call.cells, in, "grad");
  STD_TORCH_CHECK(wants.size() == 1 + call.tensors.size(), "wants: expected one for x and one for each operand");
  const Tensor cells = Device::dense_cells ? in_layout(grad, job.channels_last) : grad;
  job.coefficient = read(cells, "grad");
  job.cs = strides_of(cells);
  job.use_weight = true;
  job.use_through = !detached;
  const std::vector<Tensor> operand = operand_results(call, wants, 1);
  const Tensor target = wants[0] ? call.like_input(in.scalar_type()) : nothing(in, in.scalar_type());
  job.target = write(target);
  if (!wants[0] || !input_gradient<Device>(call, wants, operand)) operand_gradients<Device>(call, wants, 1, operand);
  std::vector<Tensor> results = {target};
  results.insert(results.end(), operand.begin(), operand.end());
  return results;
}

inline MaskJob mask_job(const Tensor& y, const Tensor& weights, const Ints& size, const Ints& kernel,
                        const Ints& stride, const Ints& padding, bool ceil_mode, bool normalize) {
  MaskJob job{};
  STD_TORCH_CHECK(y.dim() == int64_t(kernel.size()) + 2 && stride.size() == kernel.size() && padding.size() == kernel.size(),
                  "kernel: expected as many sizes as spatial axes");
  Ints whole = size;
  for (size_t i = 0; size.empty() && i < kernel.size(); ++i)
    whole.push_back((y.size(2 + int64_t(i)) - 1) * stride[i] + kernel[i] - 2 * padding[i]);
  job.window = window_of(whole, kernel, stride, padding, ceil_mode);
  Ints cells = with_spatial(y, job.window.out);
  check_shape(y, cells, y, "y");
  cells.push_back(job.window.taps());
  check_shape(weights, cells, y, "weights");
  job.batch = y.size(0);
  job.channels = y.size(1);
  job.normalize = normalize;
  job.y = read(y, "y");
  job.ys = strides_of(y);
  job.weights = read(weights, "weights");
  job.ws = {weights.stride(0), weights.stride(1), {0, 0, 0}};
  for (int64_t d = 5 - y.dim(); d < 3; ++d) job.ws.d[d] = weights.stride(d + y.dim() - 3);
  job.tap_stride = weights.stride(y.dim());
  return job;
}

template <class Device>
Tensor unpool(const Tensor& y, const Tensor& guide, std::vector<Tensor> operands, std::string method, Ints size,
              Ints kernel, Ints stride, Ints padding, bool ceil_mode, std::vector<double> constants, bool normalize) {
  if (method == "weights") {
    MaskJob job = mask_job(y, guide, size, kernel, stride, padding, ceil_mode, normalize);
    job.channels_last = !y.is_contiguous() && is_channels_last(y);
    Tensor out = allocate(with_spatial(y, job.window.in), y.scalar_type(), y, job.channels_last);
    job.out = write(out);
    job.os = strides_of(out);
    Device::masks(y, job, MaskDirection::forward);
    return out;
  }
  Call call(guide, operands, method, kernel, stride, padding, ceil_mode, constants);
  Job& job = call.job;
  STD_TORCH_CHECK(call.traits.weighted, "method: ", method, " has no weights");
  STD_TORCH_CHECK(size.empty() || size == spatial_of(guide), "size: expected the guide's");
  check_shape(y, call.cells, guide, "y");
  const Tensor given = Device::dense_cells ? in_layout(y, job.channels_last) : y;
  job.coefficient = read(given, "y");
  job.cs = strides_of(given);
  job.use_weight = job.unpool = true;
  job.normalize = normalize;
  Tensor out = call.like_input(y.scalar_type());
  job.target = write(out);
  Device::run(call, Direction::gather);
  return out;
}

template <class Device>
std::vector<Tensor> unpool_backward(const Tensor& grad, const Tensor& y, const Tensor& guide,
                                    std::vector<Tensor> operands, std::string method, Ints kernel, Ints stride,
                                    Ints padding, bool ceil_mode, std::vector<double> constants, bool normalize,
                                    Ints wants) {
  std::vector<Tensor> results;
  STD_TORCH_CHECK(wants.size() == 2 + operands.size(), "wants: expected one for y, guide and each operand");
  if (method == "weights") {
    MaskJob job = mask_job(y, guide, spatial_of(grad), kernel, stride, padding, ceil_mode, normalize);
    check_shape(grad, with_spatial(y, job.window.in), y, "grad");
    job.out = read(grad, "grad");
    job.os = strides_of(grad);
    job.channels_last = !y.is_contiguous() && is_channels_last(y);
    results.push_back(wants[0] ? allocate(shape_of(y), y.scalar_type(), y, job.channels_last) : nothing(y, y.scalar_type()));
    results.push_back(wants[1] ? allocate(shape_of(guide), guide.scalar_type(), y, false) : nothing(y, guide.scalar_type()));
    for (int i = 0; i < 2; ++i) {
      if (!wants[i]) continue;
      job.grad = write(results[i]);
      if (i == 0) job.gs = strides_of(results[0]);
      Device::masks(y, job, i == 0 ? MaskDirection::to_y : MaskDirection::to_weights);
    }
    return results;
  }
  Call call(guide, operands, method, kernel, stride, padding, ceil_mode, constants);
  Job& job = call.job;
  STD_TORCH_CHECK(call.traits.weighted, "method: ", method, " has no weights");
  check_shape(grad, shape_of(guide), guide, "grad");
  check_shape(y, call.cells, guide, "y");
  const Tensor spread = in_layout(grad, job.channels_last);
  job.spread = read(spread, "grad");
  job.unpool = true;
  job.normalize = normalize;
  results.push_back(nothing(y, y.scalar_type()));
  if (wants[0]) {
    results[0] = allocate(call.cells, y.scalar_type(), y, job.channels_last);
    job.y = write(results[0]);
    job.ys = strides_of(results[0]);
    Device::run(call, Direction::forward);
  }
  const Tensor cells = Device::dense_cells ? in_layout(y, job.channels_last) : y;
  job.coefficient = read(cells, "y");
  job.cs = strides_of(cells);
  job.use_through = true;
  results.push_back(nothing(guide, guide.scalar_type()));
  if (wants[1]) {
    results[1] = call.like_input(guide.scalar_type());
    job.target = write(results[1]);
    Device::run(call, Direction::gather);
  }
  const std::vector<Tensor> operand = operand_results(call, wants, 2);
  operand_gradients<Device>(call, wants, 2, operand);
  results.insert(results.end(), operand.begin(), operand.end());
  return results;
}

template <class Device> void register_on(torch::stable::detail::StableLibrary& m) {
  m.impl("pool", TORCH_BOX(&pool<Device>));
  m.impl("pool_backward", TORCH_BOX(&pool_backward<Device>));
  m.impl("unpool", TORCH_BOX(&unpool<Device>));
  m.impl("unpool_backward", TORCH_BOX(&unpool_backward<Device>));
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
