// CUDA kernels and their launch choice. No torch; the mathematics is in cell.h.
// Compiled by nvcc, and by g++ under the emulator of tests/emulator, which supplies the CUDA names used here.
#pragma once
#include "cell.h"
#include "masks.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = int64_t(1) << 20;  // more work than that is walked by grid-stride loops

ADAPOOL_HD Lanes one_lane() { return {false, 1}; }

__device__ inline int64_t first_index() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t index_step() { return int64_t(gridDim.x) * blockDim.x; }

// One thread, one cell.
template <template <class> class M, class T>
__global__ void __launch_bounds__(kThreads) forward_kernel(Job job) {
  const int64_t n = job.cells();
  for (int64_t i = first_index(); i < n; i += index_step())
    pool_cell<M, T, AccOf<T>>(job, point_at(i, job.channels, job.window.out, job.channels_last), one_lane());
}

// How places are cut into blocks: a box of places of some channels, one thread each.
struct BlockTiles {
  int32_t size[4];  // channels, then the three axes; their product is at most kThreads
  int64_t grid[4], count;
};

ADAPOOL_HD int32_t power_below(int64_t n, int32_t most) {
  int32_t p = 1;
  while (p < n && p < most) p *= 2;
  return p;
}

inline BlockTiles block_tiles(const Job& job) {
  const Window& w = job.window;
  BlockTiles tiles;
  int32_t left = kThreads;
  tiles.size[0] = job.channels_last ? power_below(job.channels, 32) : 1;  // neighbours in memory side by side
  left /= tiles.size[0];
  tiles.size[3] = power_below(w.in[2], left < 32 ? left : 32);
  left /= tiles.size[3];
  tiles.size[2] = power_below(w.in[1], left);
  left /= tiles.size[2];
  tiles.size[1] = power_below(w.in[0], left);
  left /= tiles.size[1];
  tiles.size[3] *= power_below((w.in[2] + tiles.size[3] - 1) / tiles.size[3], left);
  tiles.count = job.batch;
  for (int d = 0; d < 4; ++d) {
    tiles.grid[d] = ((d == 0 ? job.channels : w.in[d - 1]) + tiles.size[d] - 1) / tiles.size[d];
    tiles.count *= tiles.grid[d];
  }
  return tiles;
}

// One thread, one place. The regions that meet the block's places are prepared once each, kThreads at a time, into
// shared memory; then every place sums what the prepared regions that hold it add, in the order of their cells.
template <template <class> class M, class T>
__global__ void __launch_bounds__(kThreads) gather_kernel(Job job, BlockTiles tiles) {
  using V = AccOf<T>;
  using Cell = Prepared<M, T, V>;
  alignas(16) __shared__ unsigned char shared_cells[kThreads * sizeof(Cell)];
  __shared__ V shared_coefficients[kThreads];
  Cell* prepared = reinterpret_cast<Cell*>(shared_cells);
  const Window& w = job.window;

  for (int64_t block = blockIdx.x; block < tiles.count; block += gridDim.x) {
    int64_t rest = block, lo[4];
    for (int d = 3; d >= 1; --d) lo[d] = split(rest, tiles.grid[d]) * tiles.size[d];
    lo[0] = split(rest, tiles.grid[0]) * tiles.size[0];
    const int64_t n = rest;

    // this thread's place: channels innermost
    int32_t mine = int32_t(threadIdx.x), inner[4];
    for (int d : {0, 3, 2, 1}) { inner[d] = mine % tiles.size[d]; mine /= tiles.size[d]; }
    const int64_t c = lo[0] + inner[0];
    const int64_t at[3] = {lo[1] + inner[1], lo[2] + inner[2], lo[3] + inner[3]};
    const int64_t next[3] = {at[0] + 1, at[1] + 1, at[2] + 1};
    const bool real = mine == 0 && c < job.channels && at[0] < w.in[0] && at[1] < w.in[1] && at[2] < w.in[2];

    // the cells of the block
    int64_t end[3];
    for (int d = 0; d < 3; ++d) end[d] = lo[d + 1] + tiles.size[d + 1] < w.in[d] ? lo[d + 1] + tiles.size[d + 1] : w.in[d];
    const Box cells = cells_over(w, lo + 1, end), own = cells_over(w, at, next);
    const int64_t per_channel = cells.count();
    const int64_t channels = lo[0] + tiles.size[0] < job.channels ? tiles.size[0] : job.channels - lo[0];
    const int64_t total = per_channel * channels;

    Sum<V> sums{};
    for (int64_t begin = 0; begin < total; begin += kThreads) {
      if (begin + threadIdx.x < total) {
        int64_t index = begin + threadIdx.x;
        Point p;
        for (int d = 2; d >= 0; --d) p.at[d] = cells.lo[d] + split(index, cells.extent(d));
        p.n = n;
        p.c = lo[0] + index;
        const View<T, V> r(job, p, one_lane());
        Cell cell;
        cell.prepare(r, p, job.use_through && !job.to_logits);
        prepared[threadIdx.x] = cell;
        shared_coefficients[threadIdx.x] = coefficient_at<V>(job, p, one_lane(), r.count);
      }
      __syncthreads();
      if (real) {
        Point p{n, c, {0, 0, 0}};
        for (p.at[0] = own.lo[0]; p.at[0] < own.hi[0]; ++p.at[0])
          for (p.at[1] = own.lo[1]; p.at[1] < own.hi[1]; ++p.at[1]) {
            // number of the row's first cell among the block's cells, and the part of the row that is prepared
            const int64_t row = (((c - lo[0]) * cells.extent(0) + (p.at[0] - cells.lo[0])) * cells.extent(1) +
                                 (p.at[1] - cells.lo[1])) * cells.extent(2) - cells.lo[2] - begin;
            const int64_t from = own.lo[2] > -row ? own.lo[2] : -row;
            const int64_t to = own.hi[2] < kThreads - row ? own.hi[2] : kThreads - row;
            for (p.at[2] = from; p.at[2] < to; ++p.at[2]) {
              const int slot = int(row + p.at[2]);
              const View<T, V> r(job, p, one_lane());
              const Box here{{at[0], at[1], at[2]}, {next[0], next[1], next[2]}};
              r.each_in(here, [&](const Tap<V>& t) { sums.add(shared_coefficients[slot] * prepared[slot].share(r, t)); });
            }
          }
      }
      __syncthreads();
    }
    if (!real) continue;
    V sum = sums.value();
    if (job.averages()) {
      const int64_t count = own.count();
      sum /= V(count > 0 ? count : 1);
    }
    job.target.store(job.xs.plane(n, c) + job.xs.in_plane(at), sum);
  }
}

// One thread, one chunk of one operand entry: the terms chunk, chunk + chunks, ..., so that neighbours read neighbours.
template <template <class> class M, class T>
__global__ void __launch_bounds__(kThreads) operand_kernel(Job job, Reduction reduction, double* partial, Any result) {
  using V = AccOf<T>;
  const int64_t n = reduction.entries * reduction.chunks;
  for (int64_t i = first_index(); i < n; i += index_step()) {
    const bool by_chunk = reduction.entries < 32;  // which of the two runs along neighbouring threads
    const int64_t entry = by_chunk ? i / reduction.chunks : i % reduction.entries;
    const int64_t chunk = by_chunk ? i % reduction.chunks : i / reduction.entries;
    double sum = 0;
    for (int64_t term = chunk; term < reduction.terms; term += reduction.chunks)
      sum += double(operand_term<M, T, V>(job, reduction.cell(entry, term), one_lane(), reduction.which));
    if (reduction.chunks == 1) result.store(entry, sum);
    else partial[entry * reduction.chunks + chunk] = sum;
  }
}

// One block, one entry: its chunks by a fixed tree.
template <class V>
__global__ void __launch_bounds__(kThreads) combine_kernel(const V* partial, int64_t entries, int64_t chunks, Any result) {
  __shared__ V sums[kThreads];
  for (int64_t entry = blockIdx.x; entry < entries; entry += gridDim.x) {
    V sum = 0;
    for (int64_t i = threadIdx.x; i < chunks; i += kThreads) sum += partial[entry * chunks + i];
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = kThreads / 2; half > 0; half /= 2) {
      if (int(threadIdx.x) < half) sums[threadIdx.x] += sums[threadIdx.x + half];
      __syncthreads();
    }
    if (threadIdx.x == 0) result.store(entry, sums[0]);
    __syncthreads();
  }
}

// One thread, one place (forward) or one cell.
template <class V> __global__ void __launch_bounds__(kThreads) mask_kernel(MaskJob job, MaskDirection direction) {
  const bool forward = direction == MaskDirection::forward;
  const int64_t n = job.batch * job.channels * (forward ? job.window.places() : job.window.cells());
  for (int64_t i = first_index(); i < n; i += index_step()) {
    const Point p = point_at(i, job.channels, forward ? job.window.in : job.window.out, job.channels_last);
    if (forward) mask_place<V>(job, p);
    else mask_cell<V>(job, p, direction == MaskDirection::to_weights);
  }
}

inline unsigned blocks_for(int64_t items, int64_t per_block) {
  const int64_t blocks = (items + per_block - 1) / per_block;
  return unsigned(blocks < kMaxBlocks ? blocks : kMaxBlocks);
}

// The launch choice of CUDA: a fast instance of a method, dtype and window belongs here, before the generic kernels.
// `go(blocks, shuffles, kernel, arguments...)` starts a kernel; `shuffles` says that its threads meet at barriers.
template <class T, class Go>
void run_cuda(Method method, Direction direction, const Job& job, const Reduction* reduction, double* partial,
              const Any* result, const Go& go) {
  if (job.cells() == 0 && direction != Direction::operand) return;
  with_method(method, [&](auto choice) {
    using C = decltype(choice);
    if (direction == Direction::forward) {
      go(blocks_for(job.cells(), kThreads), false, forward_kernel<C::template Struct, T>, job);
    } else if (direction == Direction::gather) {
      const BlockTiles tiles = block_tiles(job);
      go(blocks_for(tiles.count, 1), true, gather_kernel<C::template Struct, T>, job, tiles);
    } else if constexpr (C::template Struct<AccOf<T>>::operands > 0) {
      go(blocks_for(reduction->entries * reduction->chunks, kThreads), false, operand_kernel<C::template Struct, T>, job,
         *reduction, partial, *result);
      if (reduction->chunks > 1)
        go(blocks_for(reduction->entries, 1), true, combine_kernel<double>, static_cast<const double*>(partial),
           reduction->entries, reduction->chunks, *result);
    }
  });
}

template <class Go> void run_masks(bool wide, const MaskJob& job, MaskDirection direction, const Go& go) {
  const bool forward = direction == MaskDirection::forward;
  const int64_t n = job.batch * job.channels * (forward ? job.window.places() : job.window.cells());
  if (n == 0) return;
  if (wide) go(blocks_for(n, kThreads), false, mask_kernel<double>, job, direction);
  else go(blocks_for(n, kThreads), false, mask_kernel<float>, job, direction);
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
