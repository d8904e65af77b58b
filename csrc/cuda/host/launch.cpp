// The numbers of a launch, with what each was found by. Measured ones: an H200, float32 unless said.
#include "cuda/host/launch.h"

#include <algorithm>

namespace adapool::cuda {
namespace {

constexpr int kLargest = 49, kLargestBackward = 27;  // numbers of a window in registers
constexpr int64_t kShared = 40 << 10;  // bytes of a block's prepared windows: four blocks fit on a multiprocessor
constexpr int64_t kResident = 2048;    // threads of a multiprocessor

int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }
int size_of(Type type) { return type == Type::float64 ? 8 : type == Type::float32 ? 4 : 2; }

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
int together_places(const Launch& launch, int64_t most, int64_t distance, int64_t extent) {
  const Specification& s = launch.specification;
  const Arguments& a = launch.arguments;
  int n = together(a.x, s.x, most, {distance, extent});
  if (a.logits) n = std::min(n, together(a.logits, s.logits, most, {distance, extent}));
  if (a.spread) n = std::min(n, together(a.spread, s.spread, most, {distance, extent}));
  return n;
}

int taps_of(const Job& job) { return int(std::min<int64_t>(job.window.taps(), 1 << 20)); }

bool overlaps(const Job& job) {
  for (int d = 0; d < 3; ++d)
    if (job.window.kernel[d] > job.window.stride[d] && job.window.out[d] > 1) return true;
  return false;
}
// Whether every place lies in exactly one window.
bool tiles(const Job& job) {
  const Window& w = job.window;
  for (int d = 0; d < 3; ++d)
    if ((w.out[d] > 1 && w.kernel[d] != w.stride[d]) ||
        (w.out[d] - 1) * w.stride[d] + w.kernel[d] - w.padding[d] < w.in[d])
      return false;
  return true;
}

void fix_window(Specification& s, const Arguments& a) {
  for (int d = 0; d < 3; ++d) {
    s.kernel[d] = a.kernel[d];
    s.stride[d] = a.cell[d] > 1 ? a.stride[d] : std::max(a.kernel[d], 1);
    s.padding[d] = a.padding[d];
  }
}

// How many coordinates of a tile of `windows` may lie outside, if `slots` windows are walked along axis d.
void fix_reach(Specification& s, const Arguments& a, int d, int64_t slots, int windows) {
  const int64_t size = int64_t(windows - 1) * s.stride[d] + s.kernel[d];
  const int64_t beyond = (slots - 1) * s.stride[d] + s.kernel[d] - s.padding[d] - a.in[d];
  s.before[d] = s.padding[d];
  s.beyond[d] = int32_t(std::clamp<int64_t>(beyond, 0, size));
}

// Shares images among threads: as many as fill the device some times over, each walking equally many. Once over where
// each part of the images has terms of its own, which are written and read again (139 us of 148 with 689 parts).
void share_images(Launch& launch, const Job& job, const Reduction* reduction, int64_t threads_of_image,
                  int multiprocessors, int64_t most) {
  Arguments& a = launch.arguments;
  const int64_t wanted =
      up(int64_t(multiprocessors) * kResident * (reduction ? 1 : 4), std::max<int64_t>(threads_of_image, 1));
  int64_t parts = std::clamp<int64_t>(wanted, 1, std::max<int64_t>(a.images, 1));
  parts = up(a.images, up(a.images, parts));
  const auto moves = [&](auto of) {
    for (int k = 0; k < 3; ++k)
      if (launch.specification.given[k] == Given::tensor && of(a.operand[k])) return true;
    return false;
  };
  const bool by_image = moves([&](const OperandArgument& o) { return o.image != 0 && job.batch > 1; });
  const bool by_channel =
      !job.channels_last && moves([&](const OperandArgument& o) { return o.channel != 0 && job.channels > 1; });
  if (by_channel || (reduction && !job.channels_last && reduction->kept[1] > 1))
    parts = std::min(a.images, up(parts, job.channels) * job.channels);  // each thread stays with its channel
  if (reduction && reduction->kept[0] > 1) parts = a.images;
  a.parts = std::max<int64_t>(1, std::min(parts, most));
  launch.specification.operands_move =
      a.parts < a.images && (by_image || (by_channel && (a.parts % job.channels != 0)));
}

// Numbers of x that a thread has at once: more of them cost registers, and with them occupancy.
constexpr int kForward = 20, kBackward = 8;

// Windows side by side for NCHW, channels for channels_last: as many as 16 bytes hold, while registers do.
void choose_tile(Launch& launch, const Job& job, bool backward) {
  Specification& s = launch.specification;
  const Arguments& a = launch.arguments;
  const int taps = s.kernel[0] * s.kernel[1] * s.kernel[2], others = (a.logits != nullptr) + (a.spread != nullptr);
  const int cap = (backward ? kBackward : kForward) / (1 + others) / (s.x == Type::float64 ? 2 : 1);
  if (job.channels_last) {
    int width = 16 / size_of(s.x);
    while (width > 1 && (taps * width > cap || job.channels % width != 0)) width /= 2;
    width = together_places(launch, width, width, job.channels);
    width = std::min(width, together(a.out, s.out, width, {job.channels}));
    if (a.cells) width = std::min(width, together(a.cells, s.cells, width, {job.channels}));
    s.width = s.together = s.together_out = s.together_cells = width;
    return;
  }
  int windows = 1;
  const auto numbers = [&](int n) { return s.kernel[0] * s.kernel[1] * ((n - 1) * s.stride[2] + s.kernel[2]); };
  const bool even = together_places(launch, 2, 2, job.window.in[2]) > 1;
  while (even && windows * s.stride[2] * size_of(s.x) % 16 != 0 && numbers(2 * windows) <= cap &&
         windows * 2 <= a.cell[2])
    windows *= 2;
  s.windows = windows;
  s.together = together_places(launch, 16, int64_t(windows) * s.stride[2], job.window.in[2]);
  const bool aligned = !backward || s.padding[2] == 0;
  s.together_out = !aligned   ? 1
                   : backward ? together(a.out, s.out, 16, {int64_t(windows) * s.stride[2], job.window.in[2]})
                              : together(a.out, s.out, windows, {job.window.out[2], windows});
  if (a.cells) s.together_cells = together(a.cells, s.cells, windows, {job.window.out[2], windows});
}

void cut_walk(Launch& launch, const Job& job, const Reduction* reduction, const int64_t* slots, int multiprocessors) {
  Specification& s = launch.specification;
  Arguments& a = launch.arguments;
  for (int d = 0; d < 3; ++d) a.groups[d] = int32_t(d == 2 ? up(slots[2], s.windows) : slots[d]);
  for (int d = 0; d < 3; ++d)
    fix_reach(s, a, d, d == 2 ? int64_t(a.groups[2]) * s.windows : slots[d], d == 2 ? s.windows : 1);
  a.lanes = int32_t(job.channels_last ? job.channels / s.width : 1);
  const int64_t all = int64_t(a.lanes) * a.groups[0] * a.groups[1] * a.groups[2];
  share_images(launch, job, reduction, all, multiprocessors, a.images);
  launch.grid[0] = unsigned(up(all * a.parts, s.threads));
  s.wide = s.wide || all * a.parts + s.threads >= (int64_t(1) << 31);  // threads are counted in the type of offsets
}

// 64 registers a thread (four blocks) were best in every experiment; more only for what spills without them.
int blocks_for(const Specification& s, const Shape& shape, bool backward) {
  const int numbers = s.kernel[0] * s.kernel[1] * ((s.windows - 1) * s.stride[2] + s.kernel[2]) * s.width;
  const int words = numbers * (s.x == Type::float64 ? 4 : 1) * (1 + s.spreads + shape.logits) * (backward ? 2 : 1);
  const bool simple = shape.operands == 0 || shape.scales;  // not dpp and lp with their powers
  const bool few =
      backward ? words <= 16 && s.flat && simple && s.together > 1 : words <= kForward && (simple || s.term < 0);
  return few ? 4 : simple && (words <= 16 || (!backward && words <= 30)) ? 3 : words <= 54 ? 2 : 1;
}

void cut_large(Launch& launch, const Job& job, const Shape& shape, int multiprocessors) {
  Specification& s = launch.specification;
  const int taps = taps_of(job);
  if (shape.ordered) s.in_warp = s.warps = 1;
  else if (job.channels_last) s.warps = taps > 64 ? 8 : 1;
  else s.in_warp = taps <= 64 ? 8 : taps <= 256 ? 16 : 32, s.warps = taps > 4096 ? 8 : 1;
  s.blocks = 4;
  const int64_t at_once = s.threads / (s.in_warp * s.warps);
  launch.grid[0] = unsigned(std::clamp<int64_t>(up(launch.arguments.units, at_once), 1, int64_t(multiprocessors) * 64));
  launch.arguments.parts = launch.arguments.images;
}

// The box of a block: whole strides and whole threads' places. Of those whose windows fit in shared memory, the one
// with the least work for a place: its edges are computed twice, and threads idle in the last turn.
bool choose_box(Launch& launch, const Job& job, const Shape& shape) {
  Specification& s = launch.specification;
  const Arguments& a = launch.arguments;
  s.lanes = 1;
  while (job.channels_last && s.lanes < 16 && s.lanes < job.channels) s.lanes *= 2;
  s.gathered = s.stride[2];
  while (!job.channels_last && s.gathered < 4 && 2 * s.gathered < a.in[2] + s.stride[2]) s.gathered *= 2;
  const int64_t mine[3] = {s.stride[0], s.stride[1], s.gathered};
  const double taps = double(s.kernel[0]) * s.kernel[1] * s.kernel[2];
  double least = 0;
  int64_t box[3];
  const auto consider = [&] {
    int64_t windows = s.lanes, workers = s.lanes, places = 1;
    for (int d = 0; d < 3; ++d) {
      windows *= (box[d] - 1 + s.padding[d]) / s.stride[d] + (s.kernel[d] - 1 - s.padding[d]) / s.stride[d] + 1;
      workers *= box[d] / mine[d];
      places *= std::min<int64_t>(box[d], a.in[d]);
    }
    const int64_t turns = up(windows, s.threads);
    if ((windows + 4 * s.lanes) * (state_size(shape) + computing_size(s)) + turns * s.threads * computing_size(s) >
        kShared)
      return;
    const double work = taps * double(turns) + taps * double(s.gathered) / s.stride[2] * double(up(workers, s.threads));
    const double of_a_place = work / double(places);
    if (least != 0 && of_a_place >= least) return;
    least = of_a_place;
    for (int d = 0; d < 3; ++d) s.box[d] = int32_t(box[d]);
  };
  for (box[0] = mine[0]; box[0] < 4 * mine[0] && box[0] < a.in[0] + mine[0]; box[0] += mine[0])
    for (box[1] = mine[1]; box[1] <= 32 && box[1] < a.in[1] + mine[1]; box[1] += mine[1])
      for (box[2] = mine[2]; box[2] <= 2048 && box[2] < 2 * (a.in[2] + mine[2]); box[2] *= 2) {
        const int64_t whole = up(a.in[2], mine[2]) * mine[2], half = box[2];
        if (half >= whole) box[2] = whole;
        consider();
        box[2] = half;
      }
  return least != 0;
}

bool cut_overlap(Launch& launch, const Job& job, const Shape& shape, const Reduction* reduction, int multiprocessors) {
  Specification& s = launch.specification;
  Arguments& a = launch.arguments;
  if (!choose_box(launch, job, shape)) return false;
  int64_t blocks = a.lanes = int32_t(job.channels_last ? up(job.channels, s.lanes) : 1);
  for (int d = 0; d < 3; ++d) {
    a.groups[d] = int32_t(up(a.in[d], s.box[d]));
    blocks *= a.groups[d];
    fix_reach(s, a, d, a.cell[d], 1);
  }
  s.together_in = together_places(launch, s.gathered, s.gathered, a.in[2]);
  if (s.together_in != s.gathered || job.channels_last) s.together_in = 1;
  s.together_out = together(a.out, s.out, s.gathered, {s.gathered, a.in[2]});
  if (s.together_out != s.gathered || job.channels_last) s.together_out = 1;
  const int taps = taps_of(job) * (s.x == Type::float64 ? 4 : 1);
  s.blocks = taps > 27 ? 1 : taps > 16 ? 2 : shape.words > 10 || s.stride[2] == 1 || s.averages ? 3 : 4;
  share_images(launch, job, reduction, blocks * s.threads, multiprocessors, 65535);
  if (reduction &&
      (reduction->kept[0] > 1 ? a.parts != a.images
                              : reduction->kept[1] > 1 && !job.channels_last && a.parts % job.channels != 0))
    return false;
  launch.grid[0] = unsigned(blocks);
  launch.grid[1] = unsigned(a.parts);
  return true;
}

}  // namespace

bool choose(Launch& launch, Direction direction, const Job& job, const Shape& shape, const Reduction* reduction,
            int multiprocessors) {
  Specification& s = launch.specification;
  const bool backward = direction == Direction::gather, whole = job.window.cells() == 1 && !job.channels_last;
  const int taps = taps_of(job),
            numbers = taps * (s.x == Type::float64 ? 2 : 1) * (1 + (launch.arguments.logits != nullptr) + s.spreads);
  const bool small = numbers <= (backward ? kLargestBackward : kLargest) && !(whole && taps > 8);
  if (small) fix_window(s, launch.arguments);
  const int64_t* out = job.window.out;
  if (!backward) {
    if (small) {
      s.kind = Kind::forward;
      choose_tile(launch, job, false);
      s.blocks = blocks_for(s, shape, false);
      cut_walk(launch, job, reduction, out, multiprocessors);
    } else {
      s.kind = Kind::large_forward;
      cut_large(launch, job, shape, multiprocessors);
    }
    return true;
  }
  if (small && !overlaps(job)) {
    s.kind = Kind::apart;
    choose_tile(launch, job, true);
    s.keeps = taps * s.windows * s.width <= 16;
    s.blocks = blocks_for(s, shape, true);
    int64_t slots[3];
    for (int d = 0; d < 3; ++d) slots[d] = up(job.window.in[d] + s.padding[d], s.stride[d]);
    cut_walk(launch, job, reduction, slots, multiprocessors);
    return true;
  }
  if (small) {
    s.kind = Kind::overlap;
    Launch tried = launch;
    if (cut_overlap(tried, job, shape, reduction, multiprocessors)) {
      launch = tried;
      return true;
    }
    for (int d = 0; d < 3; ++d) s.kernel[d] = s.stride[d] = s.padding[d] = 0;
  }
  cut_large(launch, job, shape, multiprocessors);
  if (!tiles(job)) return false;
  s.kind = Kind::large_backward;
  return true;
}

void cut_gather(Launch& launch, const Job& job, int multiprocessors) {
  launch.specification.kind = Kind::large_gather;
  launch.specification.in_warp = launch.specification.warps = 1;
  const int64_t places = job.batch * job.channels * job.window.places();
  launch.grid[0] =
      unsigned(std::clamp<int64_t>(up(places, launch.specification.threads), 1, int64_t(multiprocessors) * 64));
}

}  // namespace adapool::cuda
