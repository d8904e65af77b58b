// The fast kernels: a thread walks images (planes, or for channels_last whole images) at a fixed place of them, with
// the windows of a Tile in registers. Windows that overlap are walked downwards, each evaluated once: what they add to
// rows below stays in registers, what they add to columns of a neighbour goes through shared memory. One writer for
// every number, no atomics. The choice of an instance is in cuda_choice.cuh.
#pragma once
#include "cell.h"
#include "cuda_tile.cuh"
#include "cuda_window.cuh"

namespace adapool {
inline namespace ADAPOOL_ISA {

enum class Want { value, given, exact, detached };  // given: the mean of other numbers by the weights

// What a launch is told. Numbers of elements, unless said otherwise.
struct Sheet {
  const void *x, *other;   // other: what is weighed, or the gradient of each cell
  void* out;               // a number for each cell, or for each place
  int32_t images, channels, height, width, out_height, out_width;
  int32_t image, cells;    // from one image of x, and of cells, to the next
  int32_t row, column, out_row, out_column;
  int32_t groups, strips, rows;  // groups of windows in a row; rows of windows in a strip
  int32_t side;            // images side by side in a block
  int32_t lanes;           // neighbouring threads along the channels
  bool together;           // cells may be read and written 16 bytes at a time
  float factor;            // of each cell's number
  float one;               // 1
  bool averages;           // over the windows that hold a place
  Any beta;
  float number;            // instead of it
  int32_t beta_channel, beta_row, beta_column;
  int32_t image_channels;  // channels that follow one another as images
  float* partial;          // sums for the gradient of beta, or null
  int32_t partial_group, partial_channels;
  bool spatial, by_channel;  // what the sums are kept apart by
};

template <template <class> class M> constexpr bool has_dice = false;  // which weights a method has
template <> constexpr bool has_dice<Ada> = true;
template <> constexpr bool has_dice<Edscw> = true;
template <template <class> class M> constexpr bool has_soft = false;
template <> constexpr bool has_soft<Ada> = true;
template <> constexpr bool has_soft<SoftPool> = true;

constexpr bool is_backward(Want want) { return want == Want::exact || want == Want::detached; }

// Threads of a block and blocks that a multiprocessor must have room for (0: as many as come about): the largest
// numbers that leave every instance its registers.
template <class Tile, Want want>
constexpr int kBlock = is_backward(want) && (Tile::K > 2 || Tile::extra > 0 || sizeof(typename Tile::T) == 2) ? 128 : 256;
template <class Tile, Want want>
constexpr int kRoom = is_backward(want) ? (kBlock<Tile, want> == 256 || Tile::K >= 6 || (Tile::K == 3 && Tile::S != 2) ? 2 : 3)
                                        : want == Want::given && Tile::K >= 5 ? 1 : 0;

__device__ inline float beta_at(const Any& beta, int64_t at) {
  if (beta.type == Type::float32) return static_cast<const float*>(beta.data)[at];
  if (beta.type == Type::bfloat16) return widen(static_cast<const BFloat16*>(beta.data)[at]);
  return widen(static_cast<const Half*>(beta.data)[at]);
}

// One over the number of windows of size K, S apart, that hold a coordinate.
template <int K, int S> __device__ float share_of(int at, int cells) {
  const int last = at / S < cells ? at / S : cells - 1, first = at < K ? 0 : (at - K) / S + 1;
  return reciprocal(last > first ? float(last - first + 1) : 1.f);
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

// What the windows of a row add to finished places of the groups to the right goes to the threads of these groups.
template <class Tile, class Box, class Added>
__device__ void hand_over(Box& box, Added& added, int g, int spot, int lanes) {
  constexpr int S = Tile::S, V = Tile::V, own = Tile::own, extra = Tile::extra;
  const int me = int(threadIdx.x);
#pragma unroll
  for (int i = 0; i < S * extra * V; ++i) box[i][me] = added[i / (extra * V)][own + i / V % extra][i % V];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < S * extra * V; ++i) {
    const int away = 1 + i / V % extra / own;
    if (g >= away && spot >= away) added[i / (extra * V)][i / V % extra % own][i % V] += box[i][me - away * lanes];
  }
}

// The places of windows from the number `window` on get nothing.
template <class Tile, class Added> __device__ void clear_from(Added& added, int window) {
#pragma unroll
  for (int c = 0; c < Tile::columns; ++c)
    if (c / Tile::S >= window)
#pragma unroll
      for (int i = 0; i < Tile::K * Tile::V; ++i) added[i / Tile::V][c][i % Tile::V] = 0;
}

// Numbers of a row of windows to this thread's own places among the partial sums; `fresh`: these hold nothing yet.
template <class Tile>
__device__ void put_beta(const Sheet& s, int part, int64_t position, int channel, int here, bool fresh, const float* terms) {
  constexpr int V = Tile::V;
  const bool joined = V > 1 && !s.by_channel;
  float* to = s.partial + int64_t(part) * s.partial_group + position * s.partial_channels + (joined ? channel / V : channel);
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

template <template <class> class M, class Tile, Want want, int threads = kBlock<Tile, want>>
__global__ void __launch_bounds__(threads, kRoom<Tile, want>) window_kernel(Sheet s) {
  using T = typename Tile::T;
  using Weigher = adapool::Weigher<T, has_dice<M>, has_soft<M>, Tile::K * Tile::K>;
  constexpr int K = Tile::K, S = Tile::S, V = Tile::V, W = Tile::windows, own = Tile::own, extra = Tile::extra;
  constexpr bool backward = is_backward(want), adds = backward && extra > 0;
  constexpr bool mixes = has_dice<M> && has_soft<M>, averages = extra > 0 && (want == Want::given || want == Want::detached);
  constexpr int reach = adds ? (extra + own - 1) / own : 0;  // groups to the left whose windows hold these places
  constexpr int above = adds ? (K - 1) / S : 0;              // and rows of windows above
  __shared__ float handed[adds ? 2 : 1][adds ? S * extra * V : 1][threads];

  // where this thread is
  const int lane = int(threadIdx.x) % s.lanes, spot = int(threadIdx.x) / s.lanes, spots = threads / s.lanes;
  const int channel = (int(blockIdx.z) * s.lanes + lane) * V;
  const int place = int(blockIdx.x) * (spots - reach) + spot - reach;
  const int known = place < 0 ? 0 : place;
  const int g = known % s.groups, strip = known / s.groups % s.strips, beside = known / s.groups / s.strips;
  const bool inside = place >= 0 && spot < spots && beside < s.side && channel < s.channels;
  const bool writes = inside && spot >= reach;
  const int first = g * Tile::O, left = s.width - g * own;
  const int here = !inside ? 0 : s.out_width - first < Tile::O ? s.out_width - first : Tile::O;
  const int part = int(blockIdx.y) * s.side + beside, parts = int(gridDim.y) * s.side;  // of the images
  const int top = adds ? strip * s.rows - above : strip, steps = adds ? s.rows + above : 1;

  const bool varies = mixes && s.beta.given() && ((s.beta_channel != 0 && s.image_channels > 1) || (adds && s.beta_row != 0));
  bool unread = mixes && s.beta.given();
  float beta[W], sums[W] = {};
  int turn = 0;
#pragma unroll
  for (int w = 0; w < W; ++w) beta[w] = s.number;

  const bool windows = inside && here > 0 && (adds || top < s.out_height);
  int64_t image_at = int64_t(part) * s.image + top * S * s.row + g * own * s.column + channel;
  int64_t image_cell = int64_t(part) * s.cells + top * s.out_row + first * s.out_column + channel;
  const int64_t next_at = int64_t(parts) * s.image, next_cell = int64_t(parts) * s.cells;
  // Where threads meet, those without a place of their own walk along.
  for (int image = adds || inside ? part : s.images; (adds ? image - beside : image) < s.images;
       image += parts, image_at += next_at, image_cell += next_cell) {
    const bool real = !adds || (inside && image < s.images);
    int64_t at = image_at, cell = image_cell;
    float added[K][Tile::columns][V];
    if constexpr (adds) clear_from<Tile>(added, 0);
    for (int r = 0; r < steps; ++r, at += int64_t(S) * s.row, cell += s.out_row) {
      const int oh = top + r;
      const bool cells = windows && (!adds || (real && unsigned(oh) < unsigned(s.out_height)));
      if (cells) {
        if (unread) {
          const int c = s.image_channels > 1 ? image % s.image_channels : channel;
          read_beta<Tile>(s, c, oh, first, here, beta);
          unread = varies;
        }
        Tile tile;
        tile.load(static_cast<const T*>(s.x) + at, s.row, left, s.column);
        if constexpr (!backward) {
          Tile others;
          if constexpr (want == Want::given) others.load(static_cast<const T*>(s.other) + at, s.row, left, s.column);
          float values[W];
#pragma unroll
          for (int w = 0; w < W; ++w) {
            Weigher weigher;
            values[w] = weigher.template value<want == Want::given>(
                [&](int i) { return tile.get(w, i); },
                [&](int i) {
                  const float b = want == Want::given ? others.get(w, i) * s.factor : 0.f;
                  if (!averages || !s.averages) return b;
                  return b * share_of<K, S>(oh * S + i / K, s.out_height) *
                         share_of<K, S>((first + w / V) * S + i % K, s.out_width);
                },
                beta[w]);
          }
          Tile::store_cells(static_cast<T*>(s.out) + cell, here, s.together, [&](int w) { return values[w]; });
        } else {
          float grad[W];
          Tile::load_cells(static_cast<const T*>(s.other) + cell, here, s.together, grad);
#pragma unroll
          for (int w = 0; w < W; ++w) {
            if (adds && w / V >= here) continue;
            const auto tap = [&](int i) { return tile.get(w, i); };
            Weigher weigher;
            weigher.template differentiate<want == Want::exact>(tap, beta[w], want == Want::detached ? grad[w] * s.factor : grad[w], s.one);
            if (mixes && (!adds || (writes && r >= above))) sums[w] = std::fma(grad[w], weigher.difference(), sums[w]);
#pragma unroll
            for (int i = 0; i < K * K; ++i) {
              float& to = added[i / K][(w / V) * S + i % K][w % V];
              to = weigher.template share<want == Want::exact, !adds>(tap, i, to);
            }
          }
          if (adds && mixes && s.partial != nullptr && s.spatial && writes && r >= above) {
            put_beta<Tile>(s, part, int64_t(oh) * s.out_width + first, channel, here, image == part, sums);
#pragma unroll
            for (int w = 0; w < W; ++w) sums[w] = 0;
          }
        }
      }
      if constexpr (backward) {
        if constexpr (adds) hand_over<Tile>(handed[turn ^= 1], added, g, spot, s.lanes);
        else if (!cells || here < Tile::O) clear_from<Tile>(added, cells ? here : 0);
        if (!adds || (real && writes && r >= above)) {
          T* to = static_cast<T*>(s.out) + at;
#pragma unroll
          for (int i = 0; i < S; ++i) {
            if (oh * S + i >= s.height) break;
            const float across = averages && s.averages ? share_of<K, S>(oh * S + i, s.out_height) : 1.f;
            Tile::store(to + i * s.row, left, s.column, [&](int c, int v) {
              if (!averages || !s.averages) return added[i][c][v];
              return added[i][c][v] * across * share_of<K, S>(g * own + c, s.out_width);
            });
          }
        }
        if constexpr (adds) {  // the next row of windows begins S rows below
#pragma unroll
          for (int n = 0; n < K * Tile::columns * V; ++n) {
            const int i = n / (Tile::columns * V), c = n / V % Tile::columns;
            added[i][c][n % V] = i + S < K ? added[i + S < K ? i + S : 0][c][n % V] : 0.f;
          }
        }
      }
    }
  }
  if constexpr (backward && mixes) {
#pragma unroll
    for (int w = 0; w < W; ++w) sums[w] = w / V < here ? sums[w] : 0.f;
    if (s.partial != nullptr && s.spatial && !adds && windows && part < s.images)
      put_beta<Tile>(s, part, int64_t(top) * s.out_width + first, channel, here, true, sums);
    if (s.partial != nullptr && !s.spatial) {
      const bool alone = s.side == 1;
      fold_beta<Tile, threads>(s, part, alone ? spot : inside ? g + strip * s.groups : -1, alone ? spots : s.groups * s.strips,
                      lane, channel, sums);
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
