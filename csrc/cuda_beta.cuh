// The operand beta of the fast kernels: how it is read, and how its gradient is summed, always in the same order.
#pragma once
#include "cuda_sheet.cuh"
#include "cuda_tile.cuh"

namespace adapool {
inline namespace ADAPOOL_ISA {

__device__ inline float beta_at(const Any& beta, int64_t at) {
  if (beta.type == Type::float32) return static_cast<const float*>(beta.data)[at];
  if (beta.type == Type::bfloat16) return widen(static_cast<const BFloat16*>(beta.data)[at]);
  return widen(static_cast<const Half*>(beta.data)[at]);
}

template <class Tile>
__device__ void read_beta(const Sheet& s, int channel, int row, int first, int here, float* beta) {
#pragma unroll
  for (int w = 0; w < Tile::windows; ++w) {
    if (w / Tile::V >= here) return;
    beta[w] = beta_at(s.beta, int64_t(channel + w % Tile::V) * s.beta_channel + row * s.beta_row +
                                  (first + w / Tile::V) * s.beta_column);
  }
}

// Numbers of a row of windows to this thread's own places among the partial sums; `fresh`: these hold nothing yet.
template <class Tile>
__device__ void put_beta(const Sheet& s, int part, int64_t position, int channel, int here, bool fresh,
                         const float* terms) {
  constexpr int V = Tile::V;
  const bool joined = V > 1 && !s.by_channel;
  float* to = s.partial + int64_t(part) * s.partial_group + position * s.partial_channels +
              (joined ? channel / V : channel);
  float sum = 0;
#pragma unroll
  for (int w = 0; w < Tile::windows; ++w) sum += terms[w];
  if (joined) {
    *to = fresh ? sum : *to + sum;
    return;
  }
#pragma unroll
  for (int w = 0; w < Tile::windows; ++w) {
    if (w / V >= here) return;
    float* one = to + int64_t(w / V) * s.partial_channels + w % V;
    *one = fresh ? terms[w] : *one + terms[w];
  }
}

// A thread's sums to one for each block (and channel) and part of the images, by a fixed tree.
template <class Tile, int threads>
__device__ void fold_beta(const Sheet& s, int part, int local, int count, int lane, int channel, float* sums) {
  __shared__ float box[threads];
  const int me = int(threadIdx.x);
  float* to = s.partial + int64_t(part) * s.partial_group + int64_t(blockIdx.x) * s.partial_channels;
#pragma unroll
  for (int w = 1; w < Tile::windows; ++w)
    if (Tile::O > 1 || !s.by_channel) sums[0] += sums[w];
#pragma unroll
  for (int v = 0; v < Tile::V; ++v) {
    if (v > 0 && !s.by_channel) return;
    __syncthreads();
    box[me] = sums[v];
    for (int half = threads / 2; half > 0; half /= 2) {
      __syncthreads();
      if (local >= 0 && local < half && local + half < count) box[me] += box[me + half * s.lanes];
    }
    __syncthreads();
    if (local != 0 || part >= s.images || channel >= s.channels) continue;
    if (s.by_channel) {
      to[channel + v] = box[me];
    } else if (lane == 0) {
      float sum = box[me];
      for (int i = 1; i < s.lanes; ++i) sum += box[me + i];
      to[blockIdx.z] = sum;
    }
  }
}

// The sums of partial numbers: `across` neighbouring entries a block, the terms of each by a fixed tree.
template <int threads>
__global__ void __launch_bounds__(threads) total_kernel(const float* partial, Strides strides, Reduction reduction,
                                                       int across, Any result) {
  __shared__ float box[threads];
  const int me = int(threadIdx.x), slices = threads / across, slice = me / across;
  for (int64_t begin = int64_t(blockIdx.x) * across; begin < reduction.entries; begin += int64_t(gridDim.x) * across) {
    const int64_t entry = begin + me % across;
    float sum = 0;
    for (int64_t term = slice; entry < reduction.entries && term < reduction.terms; term += slices) {
      const Point p = reduction.cell(entry, term);
      sum += partial[strides.plane(p.n, p.c) + strides.in_plane(p.at)];
    }
    box[me] = sum;
    for (int half = slices / 2; half > 0; half /= 2) {
      __syncthreads();
      if (slice < half) box[me] += box[me + half * across];
    }
    if (slice == 0 && entry < reduction.entries) {
      switch (result.type) {
        case Type::float16: static_cast<Half*>(result.data)[entry] = narrow<Half>(box[me]); break;
        case Type::bfloat16: static_cast<BFloat16*>(result.data)[entry] = narrow<BFloat16>(box[me]); break;
        default: static_cast<float*>(result.data)[entry] = box[me];
      }
    }
    __syncthreads();
  }
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
