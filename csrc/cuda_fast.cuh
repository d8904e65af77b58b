// The fast kernels: a thread walks images (planes, or for channels_last whole images) at a fixed place of them, with
// the windows of a Tile in registers. Windows that overlap are walked downwards, each evaluated once: what they add to
// rows below stays in registers, what they add to columns of a neighbour goes through shared memory. One writer for
// every number, no atomics. The choice of an instance is in cuda_choice.cuh.
#pragma once
#include "cuda_beta.cuh"

namespace adapool {
inline namespace ADAPOOL_ISA {

// One over the number of windows of size K, S apart, that hold a coordinate.
template <int K, int S> __device__ float share_of(int at, int cells) {
  const int last = at / S < cells ? at / S : cells - 1, first = at < K ? 0 : (at - K) / S + 1;
  return reciprocal(last > first ? float(last - first + 1) : 1.f);
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

template <class T> __device__ T* onward(T* p, int64_t bytes) { return (T*)((const char*)p + bytes); }
// The place in `to` that `p` is in `from`: cheaper than registers for one more pointer.
template <class T> __device__ T* at_same(const T* p, const void* from, void* to) {
  return (T*)onward(p, static_cast<char*>(to) - static_cast<const char*>(from));
}

template <template <class> class M, class Tile, Want want, int threads = kBlock<Tile, want>>
__global__ void __launch_bounds__(threads, kRoom<Tile, want>) window_kernel(Sheet s) {
  using T = typename Tile::T;
  using Weigher = WeigherOf<M, Tile>;
  constexpr int K = Tile::K, S = Tile::S, V = Tile::V, W = Tile::windows, own = Tile::own, extra = Tile::extra;
  constexpr bool backward = is_backward(want), adds = backward && extra > 0;
  constexpr bool mixes = has_dice<M> && has_soft<M>;
  // whether special functions are what would bind
  constexpr bool scarce = mixes && extra > 0 && sizeof(T) == 2;
  constexpr bool holds = !backward && is_special<M>;
  constexpr bool averages = extra > 0 && (want == Want::given || want == Want::detached);
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
  const int part = int(blockIdx.y) * s.side + beside, parts = held<holds>(int(gridDim.y) * s.side);  // of the images
  const int top = adds ? strip * s.rows - above : strip, steps = adds ? s.rows + above : 1;

  const bool varies =
      mixes && s.beta.given() && ((s.beta_channel != 0 && s.image_channels > 1) || (adds && s.beta_row != 0));
  bool unread = mixes && s.beta.given();
  float beta[W], sums[W] = {};
  int turn = 0;
#pragma unroll
  for (int w = 0; w < W; ++w) beta[w] = s.number;

  const bool windows = inside && here > 0 && (adds || top < s.out_height);
  const int64_t at = int64_t(part) * s.image + top * S * s.row + g * own * s.column + channel;
  const int64_t cell = int64_t(part) * s.cells + top * s.out_row + first * s.out_column + channel;
  const int64_t next_at = held<holds>(int64_t(parts) * s.image * int(sizeof(T)));
  const int64_t next_cell = held<holds>(int64_t(parts) * s.cells * int(sizeof(T)));
  const T *image_x = static_cast<const T*>(s.x) + at, *image_other = static_cast<const T*>(s.other) + (backward ? cell : at);
  T* image_out = static_cast<T*>(s.out) + cell;
  float column_share[backward && averages ? own : 1];
  if constexpr (backward && averages)
#pragma unroll
    for (int c = 0; c < own; ++c) column_share[c] = s.averages ? share_of<K, S>(g * own + c, s.out_width) : 1.f;
  const bool together = held<holds>(int(s.together && here == Tile::O));
  // Where threads meet, those without a place of their own walk along.
  for (int image = adds || (backward ? inside : windows) ? part : s.images; (adds ? image - beside : image) < s.images;
       image += parts, image_x = onward(image_x, next_at), image_other = onward(image_other, backward ? next_cell : next_at),
           image_out = onward(image_out, next_cell)) {
    const bool real = !adds || (inside && image < s.images);
    const T *x = image_x, *other = image_other;
    T* out = backward ? at_same<T>(image_x, s.x, s.out) : image_out;
    float added[K][Tile::columns][V];
    if constexpr (adds) clear_from<Tile>(added, 0);
    for (int r = 0; r < steps; ++r, x += S * s.row, other += s.out_row, out += S * s.row) {
      const int oh = top + r;
      const bool cells = !backward || (windows && (!adds || (real && unsigned(oh) < unsigned(s.out_height))));
      if (cells) {
        if (unread) {
          const int c = s.image_channels > 1 ? image % s.image_channels : channel;
          read_beta<Tile>(s, c, oh, first, here, beta);
          unread = varies;
        }
        Tile tile;
        tile.load(x, s.row, left, s.column);
        if constexpr (!backward) {
          Tile others;
          if constexpr (want == Want::given) others.load(other, s.row, left, s.column);
          float down[averages ? K : 1] = {}, across[averages ? Tile::columns : 1] = {};
          if constexpr (averages) {
#pragma unroll
            for (int i = 0; i < K; ++i) down[i] = s.averages ? share_of<K, S>(oh * S + i, s.out_height) : 1.f;
#pragma unroll
            for (int c = 0; c < Tile::columns; ++c)
              across[c] = s.factor * (s.averages ? share_of<K, S>(first * S + c, s.out_width) : 1.f);
          }
          float values[W], under[W];
#pragma unroll
          for (int w = 0; w < W; ++w) {
            Weigher weigher;
            values[w] = weigher.template value<want == Want::given>(
                [&](int i) { return tile.get(w, i); },
                [&](int i) {
                  if constexpr (want != Want::given) return 0.f;
                  if constexpr (!averages) return others.get(w, i) * s.factor;
                  else return others.get(w, i) * (down[i / K] * across[w / V * S + i % K]);
                },
                beta[w], under[w]);
          }
          if constexpr (has_soft<M>) divide<Tile::line && scarce ? 4 : 1, W>(values, under);
          Tile::store_cells(out, here, together, [&](int w) { return values[w]; });
        } else {
          float grad[W];
          Tile::load_cells(other, here, together, grad);
#pragma unroll
          for (int w = 0; w < W; ++w) {
            if (adds && w / V >= here) continue;
            const auto tap = [&](int i) { return tile.get(w, i); };
            Weigher weigher;
            const float g = want == Want::detached ? grad[w] * s.factor : grad[w];
            weigher.template differentiate<want == Want::exact>(tap, beta[w], g, s.one);
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
#pragma unroll
          for (int i = 0; i < S; ++i) {
            if (oh * S + i >= s.height) break;
            const float across = averages && s.averages ? share_of<K, S>(oh * S + i, s.out_height) : 1.f;
            Tile::store(out + i * s.row, left, s.column, [&](int c, int v) {
              return averages ? added[i][c][v] * (across * column_share[averages ? c : 0]) : added[i][c][v];
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
      const int local = alone ? spot : inside ? g + strip * s.groups : -1;
      fold_beta<Tile, threads>(s, part, local, alone ? spots : s.groups * s.strips, lane, channel, sums);
    }
  }
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
