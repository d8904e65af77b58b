// Sums of what cells add to the gradient of an operand: a block has S::across entries side by side, the other threads
// share the terms of each, in an order that depends on shapes alone. Large sums are made in two launches.
// Device only.
#pragma once
#include "cuda/specification.cuh"

namespace adapool {
inline namespace ADAPOOL_ISA {

ADAPOOL_HD int64_t offset_of(int64_t index, const int64_t* extent, const int64_t* step) {
  int64_t at = 0;
  for (int d = 2; d >= 0; --d) at += (extent[d] == 1 ? 0 : split(index, extent[d])) * step[d];
  return at;
}

// blockIdx.y is the part of the terms that is summed; part p of entry e goes to out[p * entries + e].
template <class S> ADAPOOL_HD void totals(const Arguments& a) {
  using V = ComputeOf<S>;
  constexpr int across = S::across, deep = S::threads / across;
  __shared__ V shared[deep][across];
  const Totals& t = a.totals;
  const int column = int(threadIdx.x) % across, line = int(threadIdx.x) / across;
  const int64_t entry = int64_t(blockIdx.x) * across + column, span = (t.terms + gridDim.y - 1) / gridDim.y;
  const int64_t begin = blockIdx.y * span, end = begin + span < t.terms ? begin + span : t.terms;
  Sum<V> sum{};
  if (entry < t.entries) {
    const V* from = static_cast<const V*>(a.terms) + offset_of(entry, t.kept, t.kept_step);
    const auto add = [&](const auto& term_at) {
      int64_t term = begin + line;
      for (; term + 3 * deep < end; term += 4 * deep) {  // four loads are under way at once
        const V some[4] = {term_at(term), term_at(term + deep), term_at(term + 2 * deep), term_at(term + 3 * deep)};
#pragma unroll
        for (int i = 0; i < 4; ++i) sum.add(some[i]);
      }
      for (; term < end; term += deep) sum.add(term_at(term));
    };
    if (t.summed[0] * t.summed[1] == 1) add([&](int64_t term) { return from[term * t.summed_step[2]]; });
    else add([&](int64_t term) { return from[offset_of(term, t.summed, t.summed_step)]; });
  }
  shared[line][column] = sum.value();
  __syncthreads();
  for (int half = deep / 2; half > 0; half /= 2) {
    if (line < half) shared[line][column] += shared[line + half][column];
    __syncthreads();
  }
  if (line == 0 && entry < t.entries)
    tensor<typename S::Out>(a.out, 0)[blockIdx.y * t.entries + entry] = narrow<typename S::Out>(shared[0][column]);
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
