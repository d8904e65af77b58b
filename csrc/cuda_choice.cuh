// Chooses the fast CUDA kernel of a job, its launch and its room for partial sums; or none. Host; knows no formula.
#pragma once
#include "cuda_fast.cuh"
#include "cuda_launch.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

struct Grid { unsigned x, y, z, threads; };

constexpr int kTotal = 256;        // threads that sum partial numbers

enum class Shape { line, channels, cell };

// How a job's tensors lie: one image after another (planes, or whole images of channels_last), all dense and small
// enough for 32 bits.
struct Layout {
  int64_t images, channels, step;  // step: numbers between neighbours in a row
  Layout(const Job& job)
      : images(job.channels_last ? job.batch : job.batch * job.channels), channels(job.channels_last ? job.channels : 1),
        step(channels) {}
};

inline bool at_multiple(const Any& tensor, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(tensor.data) % uintptr_t(bytes) == 0;
}

// Whether the strides are those of a dense tensor of some extents in the job's layout.
inline bool dense(const Job& job, const Strides& s, int64_t height, int64_t width) {
  const int64_t step = job.channels_last ? job.channels : 1;
  const auto fits = [](int64_t extent, int64_t stride, int64_t want) { return extent == 1 || stride == want; };
  return fits(job.batch, s.n, job.channels * height * width) &&
         fits(job.channels, s.c, job.channels_last ? 1 : height * width) &&
         fits(height, s.d[1], width * step) && fits(width, s.d[2], step);
}

// What a fast kernel computes of a job, if one does at all.
inline bool fast_want(Direction direction, const Job& job, Want& want) {
  const Window& w = job.window;
  const bool flat = w.in[0] == 1 && w.kernel[0] == 1 && w.kernel[1] == w.kernel[2] && w.stride[1] == w.stride[2];
  bool whole = flat && job.batch * job.channels > 0 && job.extra == nullptr && !job.to_logits;
  for (int d = 0; d < 3; ++d) whole = whole && w.padding[d] == 0 && (w.out[d] - 1) * w.stride[d] + w.kernel[d] <= w.in[d];
  const Layout layout(job);
  const int64_t most = int64_t(1) << 30;
  whole = whole && layout.images < most && job.channels <= 65535 && w.places() * layout.channels < most;
  whole = whole && dense(job, job.xs, w.in[1], w.in[2]);
  const Operand& beta = job.operand[0];
  if (beta.tensor.given()) whole = whole && beta.tensor.type != Type::float64 && (beta.strides.n == 0 || job.batch == 1);
  if (!whole) return false;
  if (direction == Direction::forward) {
    want = job.spread.given() ? Want::given : Want::value;
    return dense(job, job.ys, w.out[1], w.out[2]) && job.y.type == job.x.type &&
           (!job.spread.given() || job.spread.type == job.x.type);
  }
  want = job.use_through ? Want::exact : Want::detached;
  return direction == Direction::gather && job.use_weight && !job.spread.given() && job.target.type == job.x.type &&
         job.coefficient.type == job.x.type && dense(job, job.cs, w.out[1], w.out[2]);
}

template <class T> Shape shape_of(const Job& job, Want want) {
  const Window& w = job.window;
  const Any& out = want == Want::value || want == Want::given ? job.y : job.target;
  const Any* read[] = {&job.x, &job.spread, &job.coefficient, &out};
  for (const Any* tensor : read)
    if (tensor->given() && !at_multiple(*tensor, 16)) return Shape::cell;
  const int64_t bytes = sizeof(T) * (job.channels_last ? job.channels : w.in[2]);
  if (bytes % 16 != 0) return Shape::cell;
  return job.channels_last ? Shape::channels : Shape::line;
}

struct Launch {
  Sheet sheet;
  Grid grid;
  // the partial sums of beta's gradient: how they lie and what they are summed over
  Strides strides;
  Reduction totals;
  int64_t floats = 0;
};

// Shares the work of a job among blocks.
template <class Tile, Want want>
Launch launch_of(const Job& job, const Reduction* reduction, int64_t blocks) {
  constexpr bool backward = is_backward(want), adds = backward && Tile::extra > 0;
  constexpr int reach = adds ? (Tile::extra + Tile::own - 1) / Tile::own : 0;
  const Window& w = job.window;
  const Layout layout(job);
  const int64_t step = layout.step;
  Launch launch{};
  Sheet& s = launch.sheet;
  const auto up = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  const auto least = [](int64_t a, int64_t b) { return a < b ? a : b; };
  s.x = job.x.data;
  s.other = backward ? job.coefficient.data : job.spread.data;
  s.out = backward ? job.target.data : job.y.data;
  s.images = int32_t(layout.images); s.channels = int32_t(layout.channels);
  s.height = int32_t(w.in[1]); s.width = int32_t(w.in[2]);
  s.out_height = int32_t(w.out[1]); s.out_width = int32_t(w.out[2]);
  s.image = int32_t(w.places() * step); s.cells = int32_t(w.cells() * step);
  s.row = int32_t(w.in[2] * step); s.column = int32_t(step);
  s.out_row = int32_t(w.out[2] * step); s.out_column = int32_t(step);
  s.image_channels = int32_t(job.channels_last ? 1 : job.channels);
  const Any& cells = backward ? job.coefficient : job.y;
  s.together = Tile::line && w.out[2] * sizeof(typename Tile::T) % 16 == 0 && at_multiple(cells, 16);
  s.factor = job.unpool && job.normalize ? float(w.taps()) : 1.f;
  s.one = 1;
  s.averages = job.unpool && job.normalize && Tile::extra > 0;
  const Operand& beta = job.operand[0];
  s.beta = beta.tensor;
  s.number = float(beta.number);
  if (beta.tensor.given()) {
    s.beta_channel = int32_t(beta.strides.c);
    s.beta_row = int32_t(beta.strides.d[1]); s.beta_column = int32_t(beta.strides.d[2]);
  }

  const int64_t rows = backward ? up(w.in[1], Tile::S) : w.out[1];
  const int64_t groups = backward ? up(w.in[2], Tile::own) : up(w.out[2], Tile::O);
  const int64_t vectors = layout.channels / Tile::V;
  // Where windows overlap those to the left of a block are computed twice: then it had better be wide.
  int64_t lanes = least(vectors, adds ? 8 : 32);
  while (vectors % lanes != 0 && lanes > 4) --lanes;  // fewer idle threads
  const int64_t spots = kBlock<Tile, want> / lanes - reach, z = up(vectors, lanes);
  // Overlapping windows are walked downwards, as far as leaves enough blocks.
  const int64_t of_a_row = z * (groups < spots ? up(layout.images, spots / groups) : up(groups, spots) * layout.images);
  const int64_t wanted = least(up(rows, 8 * (1 + (Tile::K - 1) / Tile::S)), up(blocks, of_a_row));
  const int64_t high = adds ? up(rows, wanted) : 1, strips = up(rows, high), places = groups * strips;
  s.lanes = int32_t(lanes); s.groups = int32_t(groups); s.strips = int32_t(strips); s.rows = int32_t(high);

  s.by_channel = reduction != nullptr && reduction->kept[1] > 1;
  s.spatial = reduction != nullptr && (reduction->kept[3] > 1 || reduction->kept[4] > 1);
  const int64_t apart = s.by_channel && !job.channels_last ? job.channels : 1;  // images of a part have the same channel
  int64_t side = places < spots ? least(spots / places, layout.images) : 1;
  while (apart % side != 0 && apart > 1) --side;
  const int64_t x = up(side * places, spots), most = up(layout.images, side);
  // More blocks even out the end of a launch, but each part of the images has partial sums of its own.
  int64_t y = least(most, up(adds || s.spatial ? blocks : 4 * blocks, x * z));
  if (apart > 1) y = least(most, up(y, apart / side) * (apart / side));
  s.side = int32_t(side);
  launch.grid = {unsigned(x), unsigned(least(y, 65535)), unsigned(z), unsigned(kBlock<Tile, want>)};
  if (reduction == nullptr) return launch;

  const int64_t parts = least(launch.grid.y * side, layout.images);
  const int64_t ph = s.spatial ? w.out[1] : 1, pw = s.spatial ? w.out[2] : x;
  const int64_t pc = !job.channels_last ? 1 : s.by_channel ? job.channels : s.spatial ? vectors : z;
  s.partial_channels = int32_t(pc);
  s.partial_group = int32_t(ph * pw * pc);
  launch.floats = parts * ph * pw * pc;
  // as a tensor [n, c, 1, ph, pw]
  const int64_t c = job.channels_last ? pc : apart, n = parts / apart;
  launch.strides = {apart * ph * pw * pc, job.channels_last ? 1 : ph * pw, {0, pw * pc, pc}};
  const int64_t extent[5] = {n, c, 1, ph, pw};
  Reduction& totals = launch.totals;
  totals = *reduction;
  totals.entries = totals.terms = 1;
  for (int d = 0; d < 5; ++d) {
    const bool kept = reduction->kept[d] > 1;
    totals.kept[d] = kept ? extent[d] : 1;
    totals.summed[d] = kept ? 1 : extent[d];
    totals.entries *= totals.kept[d];
    totals.terms *= totals.summed[d];
  }
  return launch;
}

// How many windows side by side, or how many channels, a thread has registers for; 0: for one window of one channel only.
template <class T, int K, int S, Want want, bool line> constexpr int side_by_side() {
  constexpr bool backward = is_backward(want), value = want == Want::value;
  constexpr int sixteen = 16 / sizeof(T);
  if (K <= 3) return !line && backward && K == 3 && S == 1 ? 4 : sixteen;
  if (!line) return value && K <= 5 ? sixteen : 0;
  if (backward) return K == 4 ? (S == 4 ? sixteen / 2 : sixteen) : K == 5 && S == 2 ? 4 : 0;
  return (value && (S < 6 || sizeof(T) == 4)) || K == 4 ? sixteen : 0;
}

// f(instance) with the Tile of a window; false where there is none.
template <class T, int K, int S, Want want, class F> bool with_shape(Shape shape, const F& f) {
  constexpr int line = side_by_side<T, K, S, want, true>(), channels = side_by_side<T, K, S, want, false>();
  if constexpr (line > 0)
    if (shape == Shape::line) return f(Tile<T, K, S, line, 1>{});
  if constexpr (channels > 0)
    if (shape == Shape::channels) return f(Tile<T, K, S, 1, channels>{});
  return f(Tile<T, K, S, 1, 1>{});
}

#define ADAPOOL_FAST_WINDOWS(X) \
  X(2, 2) X(3, 3) X(3, 2) X(2, 1) X(3, 1) X(4, 4) X(4, 2) X(5, 5) X(5, 3) X(5, 2) X(6, 6) X(6, 3) X(7, 7) X(7, 4) X(7, 2)

// For ada, edscw and softpool (`special`) all of them, for other methods the most usual.
template <class T, Want want, bool special, class F> bool with_tile(const Job& job, const F& f) {
  const Window& w = job.window;
  const Shape shape = shape_of<T>(job, want);
#define ADAPOOL_WINDOW(k, s)                                                                                       \
  if constexpr (special || (k <= 3 && s >= 2))                                                                     \
    if (w.kernel[2] == k && w.stride[2] == s) return with_shape<T, k, s, want>(shape, f);
  ADAPOOL_FAST_WINDOWS(ADAPOOL_WINDOW)
#undef ADAPOOL_WINDOW
  return false;
}

template <bool special, class F> bool with_want(Want want, const F& f) {
  if (want == Want::value) return f(std::integral_constant<Want, Want::value>{});
  if (want == Want::exact) return f(std::integral_constant<Want, Want::exact>{});
  if constexpr (special) {
    if (want == Want::given) return f(std::integral_constant<Want, Want::given>{});
    return f(std::integral_constant<Want, Want::detached>{});
  }
  return false;
}

// Methods whose taps are all that they read, without powers (which would take the compiler minutes).
template <template <class> class M> constexpr bool has_tiles = is_special<M>;
template <> constexpr bool has_tiles<Max> = true;
template <> constexpr bool has_tiles<Avg> = true;
template <> constexpr bool has_tiles<Total> = true;
template <> constexpr bool has_tiles<StochasticEval> = true;
template <> constexpr bool has_tiles<Idw> = true;

// Starts the kernels of a call; without `go` (null) it says how much room they need. False: there are none.
template <class T, class Go> bool run_fast(FastCall& call, const Go* go) {
  const Job& job = *call.job;
  const Reduction* reduction = call.reduction;
  Want want{};
  if (!fast_want(call.direction, job, want)) return false;
  if (reduction && (call.result->type == Type::float64 || (reduction->kept[0] > 1 && job.batch > 1))) return false;
  bool done = false;
  with_method(call.method, [&](auto choice) {
    using C = decltype(choice);
    if constexpr (has_tiles<C::template Struct>) {
      constexpr bool special = is_special<C::template Struct>;
      static_assert(special || C::template Struct<float>::operands == 0, "operands are beta alone");
      done = with_want<special>(want, [&](auto which) {
        constexpr Want chosen = decltype(which)::value;
        return with_tile<T, chosen, special>(job, [&](auto tile) {
          using Chosen = decltype(tile);
          Launch launch = launch_of<Chosen, chosen>(job, reduction, call.blocks);
          call.floats = launch.floats;
          if (go == nullptr) return true;
          launch.sheet.partial = reduction ? call.partial : nullptr;
          (*go)(launch.grid, true, window_kernel<C::template Struct, Chosen, chosen>, launch.sheet);
          if (reduction == nullptr) return true;
          const int across = launch.totals.entries < 8 ? 1 : 8;
          const Grid grid{unsigned((launch.totals.entries + across - 1) / across), 1, 1, kTotal};
          (*go)(grid, true, total_kernel<kTotal>, static_cast<const float*>(call.partial), launch.strides, launch.totals,
                across, *call.result);
          return true;
        });
      });
    }
  });
  return done;
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
