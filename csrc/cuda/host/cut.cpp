#include "cuda/host/cut.h"

#include <algorithm>
#include <initializer_list>

namespace adapool::cuda {
namespace {

// Neighbours of a tensor that may be read at once: a power of two, 16 bytes at most, that divides every distance.
int together(const void* data, Type type, int64_t most, std::initializer_list<int64_t> distances) {
  int64_t n = 16 / size_of(type);
  const auto divides = [&](int64_t count) {
    return count <= most && reinterpret_cast<uintptr_t>(data) % uintptr_t(count * size_of(type)) == 0 &&
           std::all_of(distances.begin(), distances.end(), [&](int64_t d) { return d % count == 0; });
  };
  while (n > 1 && !divides(n)) n /= 2;
  return int(n);
}

// What all tensors of the input's shape that a kernel reads allow.
int together_places(const Launch& launch, int64_t most, std::initializer_list<int64_t> distances) {
  const Specification& s = launch.specification;
  const Arguments& a = launch.arguments;
  int n = together(a.x, s.x, most, distances);
  if (a.logits) n = std::min(n, together(a.logits, s.logits, most, distances));
  if (a.spread) n = std::min(n, together(a.spread, s.spread, most, distances));
  return n;
}

// How many coordinates of a tile of `windows` may lie outside, if `slots` windows are walked along axis d.
void fix_reach(Launch& launch, int d, int64_t slots, int windows) {
  Specification& s = launch.specification;
  const int64_t size = int64_t(windows - 1) * s.stride[d] + s.kernel[d];
  const int64_t beyond = (slots - 1) * s.stride[d] + s.kernel[d] - s.padding[d] - launch.arguments.in[d];
  s.before[d] = s.padding[d];
  s.beyond[d] = int32_t(std::clamp<int64_t>(beyond, 0, size));
}

// What lies between two images that a thread walks.
void fix_steps(Launch& launch) {
  Arguments& a = launch.arguments;
  const int64_t step = a.parts * (launch.specification.channels_last ? a.channels : 1);
  a.next = step * a.in[0] * a.in[1] * a.in[2];
  a.next_cell = step * a.cell[0] * a.cell[1] * a.cell[2];
}

}  // namespace

int64_t taps_of(const Launch& launch) {
  const int32_t* k = launch.arguments.kernel;
  return std::min<int64_t>(int64_t(k[0]) * k[1] * k[2], 1 << 20);
}

int64_t threads_of_image(const Launch& launch) {
  const Arguments& a = launch.arguments;
  return int64_t(a.lanes) * a.groups[0] * a.groups[1] * a.groups[2];
}

bool overlaps(const Launch& launch) {
  const Arguments& a = launch.arguments;
  for (int d = 0; d < 3; ++d)
    if (a.kernel[d] > a.stride[d] && a.cell[d] > 1) return true;
  return false;
}

bool tiles(const Launch& launch) {
  const Arguments& a = launch.arguments;
  for (int d = 0; d < 3; ++d)
    if ((a.cell[d] > 1 && a.kernel[d] != a.stride[d]) ||
        (a.cell[d] - 1) * a.stride[d] + a.kernel[d] - a.padding[d] < a.in[d])
      return false;
  return true;
}

void fix_window(Launch& launch) {
  const Arguments& a = launch.arguments;
  for (int d = 0; d < 3; ++d) {
    launch.specification.kernel[d] = a.kernel[d];
    launch.specification.stride[d] = a.cell[d] > 1 ? a.stride[d] : std::max(a.kernel[d], 1);
    launch.specification.padding[d] = a.padding[d];
  }
}

void fix_edges(Launch& launch) {
  for (int d = 0; d < 3; ++d) fix_reach(launch, d, launch.arguments.cell[d], 1);
}

void cut_planes(Launch& launch) {
  Specification& s = launch.specification;
  s.together_out = together(launch.arguments.out, s.out, 16, {32 / s.in_warp * taps_of(launch)});
}

int32_t& tile_of(Specification& s) { return s.channels_last ? s.width : s.windows; }

bool can_double(const Launch& launch) {
  const Specification& s = launch.specification;
  const Arguments& a = launch.arguments;
  if (!s.channels_last) return together_places(launch, 2, {a.in[2]}) > 1 && 2 * s.windows <= a.cell[2];
  int widest = std::min(together_places(launch, 16, {a.channels}), together(a.out, s.out, 16, {a.channels}));
  if (a.cells) widest = std::min(widest, together(a.cells, s.cells, 16, {a.channels}));
  return 2 * s.width <= widest;
}

void cut_tile(Launch& launch) {
  Specification& s = launch.specification;
  Arguments& a = launch.arguments;
  const bool backward = s.kind == Kind::apart;
  if (s.channels_last) {
    s.together = s.together_out = s.together_cells = s.width;
  } else {
    const int64_t own = int64_t(s.windows) * s.stride[2];
    s.together = together_places(launch, 16, {own, a.in[2]});
    s.together_out = backward && s.padding[2] > 0 ? 1
                     : backward                   ? together(a.out, s.out, 16, {own, a.in[2]})
                                : together(a.out, s.out, s.windows, {a.cell[2], s.windows});
    // On an H100 avg 3/3 took 149 us in float32, 148 in 16 bits, channels_last 84 and 45: lanes wrote every third place.
    const bool close = s.kernel[0] == s.stride[0] && s.kernel[1] == s.stride[1] && s.kernel[2] == s.stride[2];
    s.turns = backward && close && s.windows == 1 && own > 2 && s.together_out < own;
    if (a.cells) s.together_cells = together(a.cells, s.cells, s.windows, {a.cell[2], s.windows});
  }
  for (int d = 0; d < 3; ++d) {
    const int windows = d == 2 ? s.windows : 1;
    a.groups[d] = int32_t(up(backward ? up(int64_t(a.in[d]) + s.padding[d], s.stride[d]) : a.cell[d], windows));
    fix_reach(launch, d, int64_t(a.groups[d]) * windows, windows);
  }
  a.lanes = int32_t(s.channels_last ? a.channels / s.width : 1);
}

void start_walk(Launch& launch) {
  Specification& s = launch.specification;
  const int64_t all = threads_of_image(launch) * launch.arguments.parts;
  fix_steps(launch);
  launch.grid[0] = unsigned(up(all, s.threads));
  // Threads and images are counted in the type of offsets.
  s.wide = s.wide || all + s.threads >= (int64_t(1) << 31) || 2 * launch.arguments.images >= (int64_t(1) << 31);
}

void cut_box(Launch& launch) {
  Specification& s = launch.specification;
  Arguments& a = launch.arguments;
  a.lanes = int32_t(s.channels_last ? up(a.channels, s.lanes) : 1);
  for (int d = 0; d < 3; ++d) a.groups[d] = int32_t(up(a.in[d], s.box[d]));
  fix_edges(launch);
  s.together_out = together(a.out, s.out, s.gathered, {s.gathered, a.in[2]});
  if (s.together_out != s.gathered || s.channels_last) s.together_out = 1;
}

void start_boxes(Launch& launch) {
  launch.grid[0] = unsigned(threads_of_image(launch));
  launch.grid[1] = unsigned(launch.arguments.parts);
  launch.specification.wide = launch.specification.wide || 2 * launch.arguments.images >= (int64_t(1) << 31);
}

}  // namespace adapool::cuda
