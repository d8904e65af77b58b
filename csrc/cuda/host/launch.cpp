// The numbers of a launch, with what each was found by. Measured ones: an H200, float32 unless said.
#include "cuda/host/launch.h"

#include <algorithm>

#include "cuda/host/box.h"
#include "cuda/host/cut.h"

namespace adapool::cuda {
namespace {

constexpr int kLargest = 49, kLargestBackward = 27, kResident = 2048;  // a window's numbers; a multiprocessor's threads

// Shares images among threads: as many as fill the device some times over, each walking equally many. Once over where
// each part of the images has terms of its own, which are written and read again (139 us of 148 with 689 parts).
void share_images(Launch& launch, const Reduction* reduction, int64_t threads, int multiprocessors, int64_t most) {
  const Specification& s = launch.specification;
  Arguments& a = launch.arguments;
  const int64_t wanted = up(int64_t(multiprocessors) * kResident * (reduction ? 1 : 4), std::max<int64_t>(threads, 1));
  int64_t parts = up(a.images, up(a.images, std::clamp<int64_t>(wanted, 1, std::max<int64_t>(a.images, 1))));
  const auto moves = [&](auto of) {
    for (int k = 0; k < 3; ++k)
      if (s.given[k] == Given::tensor && of(a.operand[k])) return true;
    return false;
  };
  const bool by_image = moves([&](const OperandArgument& o) { return o.image != 0 && a.batch > 1; });
  const bool by_channel =
      !s.channels_last && moves([&](const OperandArgument& o) { return o.channel != 0 && a.channels > 1; });
  if (by_channel || (reduction && !s.channels_last && reduction->kept[1] > 1))
    parts = std::min(a.images, up(parts, a.channels) * a.channels);  // each thread stays with its channel
  if (reduction && reduction->kept[0] > 1) parts = a.images;
  a.parts = std::max<int64_t>(1, std::min(parts, most));
  launch.specification.operands_move =
      a.parts < a.images && (by_image || (by_channel && (a.parts % a.channels != 0)));
}

// Numbers of x that a thread has at once: more of them are more loads under way, and cost registers and with them
// occupancy. Forward of 2/2 80 us with 8, 70 with 16; of max 3/2 in 16 bits 53 with 15, 48 with 27. kLarge: of methods
// that have numbers of their own.
constexpr int kForward = 28, kLarge = 18, kBackward = 8, kChannelsLast = 20;

// Windows side by side for NCHW, channels for channels_last: as many as 16 bytes hold, while registers do.
void choose_tile(Launch& launch) {
  Specification& s = launch.specification;
  const Arguments& a = launch.arguments;
  const int others = (a.logits != nullptr) + (a.spread != nullptr), rows = s.kernel[0] * s.kernel[1];
  const bool large = shape_of(s).words > 3;  // a method with numbers of its own
  const int most = s.kind == Kind::apart ? kBackward : s.channels_last ? kChannelsLast : large ? kLarge : kForward;
  const int cap = most / (1 + others) / (s.x == Type::float64 ? 2 : 1);
  const auto numbers = [&](int n) {
    return rows * (s.channels_last ? s.kernel[2] * n : (n - 1) * s.stride[2] + s.kernel[2]);
  };
  int32_t& tile = tile_of(s);
  const bool row = !s.channels_last && rows == 1;  // neighbours read neighbouring pieces of 16 bytes
  const bool pair = s.kind == Kind::apart && s.channels_last && numbers(2) <= 18;  // 3/3: 137 us in place of 196
  const auto fits = [&](int n) {  // so many numbers, and of a large method so many taps
    return numbers(n) <= cap && (!large || s.channels_last || n * rows * s.kernel[2] <= kLarge);
  };
  while (can_double(launch) && (fits(2 * tile) || (pair && tile == 1)) &&
         (!row || tile * s.stride[2] * size_of(s.x) % 16 != 0))
    tile *= 2;
}

bool without_powers(const Shape& shape) { return shape.operands == 0 || shape.scales; }  // not dpp, lp and power

// Words of a thread's numbers.
int words_of(const Specification& s, const Shape& shape) {
  const int numbers = s.kernel[0] * s.kernel[1] * ((s.windows - 1) * s.stride[2] + s.kernel[2]) * s.width;
  return numbers * (s.x == Type::float64 ? 4 : 1) * (1 + s.spreads + shape.logits);
}

// Whether to load the next image's numbers while those of one are computed with: forward where much is computed (ada
// 2/2 77 us without, 71 with), backward in three dimensions. Backward of 2/2 gains nothing in float32, and in 16 bits
// loses (118 us, 134), because numbers are widened when they arrive.
bool prefetches(const Specification& s, const Shape& shape) {
  const bool pays = s.kind == Kind::forward ? shape.words > 3 && !s.extra : !s.flat && size_of(s.x) > 2;
  return pays && !s.spreads && !shape.logits && without_powers(shape) && words_of(s, shape) <= 20;
}

// 64 registers a thread (four blocks) were best in every experiment; more only for what spills without them.
int blocks_for(const Specification& s, const Shape& shape, bool backward) {
  const int words = words_of(s, shape) * (backward ? 2 : 1);
  const bool simple = without_powers(shape);
  const bool few = backward ? words <= 16 && s.flat && simple && s.together > 1
                            : words <= (shape.words > 10 ? 16 : 28) && (simple || s.term < 0);
  return few ? 4 : simple && (words <= 18 || (!backward && words <= 30)) ? 3 : words <= 54 ? 2 : 1;
}

void bound_registers(Specification& s) {
  const bool backward = s.kind == Kind::apart;
  const Shape shape = shape_of(s);
  s.prefetches = prefetches(s, shape);
  const int taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  const bool many = backward && taps > 9 && shape.words > 4 && s.x != Type::float64;
  s.keeps = backward && (taps * s.windows * s.width <= 16 || many);
  s.threads = kThreads / 2;  // 2 % faster than blocks of twice as many
  s.blocks = 2 * blocks_for(s, shape, backward);
  const bool near = backward ? s.blocks == 6 : s.prefetches && words_of(s, shape) > 16;
  if (many) s.blocks = std::min(s.blocks, 3);  // 168 registers
  else if (near && shape.words > 6) --s.blocks;  // or else some spill
}

void cut_walk(Launch& launch, const Reduction* reduction, int multiprocessors) {
  fix_window(launch);
  choose_tile(launch);
  cut_tile(launch);
  bound_registers(launch.specification);
  share_images(launch, reduction, threads_of_image(launch), multiprocessors, launch.arguments.images);
  start_walk(launch);
}

// Rounds over `items`, of which `at_once` are worked on at once by a block.
unsigned rounds(int64_t items, int64_t at_once, int64_t most) {
  return unsigned(std::clamp<int64_t>(up(items, at_once), 1, most));
}

// Taps of a large window that a thread keeps in registers, and of each of several tensors: what is gathered is joined
// seldom, and registers allow four blocks (two where much is kept for each tap).
constexpr int kHeld = 13, kHeldOfMany = 8, kMostConstant = 1 << 20;

// Whether a thread has a window to itself, row by row: methods that need the taps' order, and windows that overlap, which
// share rows in the cache, if they are many.
bool has_rows(const Launch& launch, int multiprocessors) {
  const Arguments& a = launch.arguments;
  const int64_t beside = launch.specification.channels_last ? a.channels : a.cell[2];
  const bool many = beside >= 8 && a.units >= multiprocessors * kResident / 8;
  return a.kernel[2] <= 16 && (shape_of(launch.specification).ordered || (overlaps(launch) && many));
}

// A window's threads: few, for they join what they gather, yet so many that they hold all its taps while a block can.
// Those of channels_last stay 32 bytes wide along the channels.
void share_window(Launch& launch, int multiprocessors) {
  Specification& s = launch.specification;
  const int64_t taps = taps_of(launch);
  const int held = (s.spreads || launch.arguments.logits ? kHeldOfMany : kHeld) / (s.x == Type::float64 ? 2 : 1);
  const int widest = s.channels_last ? size_of(s.x) : 32;
  const bool rows = taps < kMostConstant && has_rows(launch, multiprocessors);
  if (rows || shape_of(s).ordered) {
    s.in_warp = s.warps = 1;
  } else {
    s.in_warp = s.channels_last ? 1 : shape_of(s).words > 4 ? 4 : 8;  // neighbours' sectors, where joining is cheap
    const auto share = [&] { return up(taps, s.in_warp * s.warps); };
    while (share() > held && s.in_warp < widest) s.in_warp *= 2;
    while (share() > held && s.warps < 8) s.warps *= 2;
    if (share() <= held) s.taps = int32_t(share());
    else if (s.channels_last && !s.whole) s.in_warp = 1;
  }
  if (!rows && s.taps == 0) return;
  s.keeps = s.taps > 0 && s.kind == Kind::large_backward && tiles(launch);
  fix_window(launch);
  fix_edges(launch);
}

// A block for every few windows: walking them costs registers, for what is known of each tap is then kept.
void start_units(Launch& launch) {
  Specification& s = launch.specification;
  const int64_t units = launch.arguments.units, of_block = s.threads / (s.in_warp * s.warps);
  launch.grid[0] = rounds(units, of_block, (int64_t(1) << 31) - 1);
  s.wide = s.wide || units + of_block >= (int64_t(1) << 31);  // they are counted in the type of offsets
}

void cut_large(Launch& launch, int multiprocessors) {
  Specification& s = launch.specification;
  const Arguments& a = launch.arguments;
  s.whole = true;
  for (int d = 0; d < 3; ++d) s.whole = s.whole && a.cell[d] == 1 && a.padding[d] == 0 && a.kernel[d] == a.in[d];
  share_window(launch, multiprocessors);
  const bool backward = s.kind == Kind::large_backward, slopes = backward || s.term >= 0;
  const int words = s.taps == 0 || s.taps > kHeldOfMany ? shape_of(s).words : 0;
  s.blocks = s.x == Type::float64 || (s.keeps && words > 5) ? 2 : slopes && (words > 4 || (s.keeps && !s.whole)) ? 3 : 4;
  if (backward && s.whole) cut_planes(launch);
  start_units(launch);
  launch.arguments.parts = a.images;
}

// What is known of a tap when its window is prepared is kept for its share, but in double, which would spill: 72 registers
// for nine taps, 168 above sixteen, 40 for few words (three blocks of softpool took 194 us, two 240, of max 157 and 210).
void bound_overlap(Specification& s, int64_t numbers) {
  const Shape shape = shape_of(s);
  const bool powers = !without_powers(shape), simple = !powers && !s.spreads && !s.averages;
  const bool few = simple && shape.words <= 4, wide = s.x == Type::float64;
  const bool tight = few ? s.stride[2] == 1 || s.channels_last : shape.words > 6 && !shape.scales;
  s.threads = numbers > 16 && !few ? 192 : numbers > 9 ? kThreads : !simple ? 320 : tight ? 384 : 448;
  s.blocks = numbers > 9 && wide ? 1 : few ? 3 : 2;
  s.keeps = !wide;
  s.prefetches = !powers && shape.words <= 10 && shape.words != 4 && (s.channels_last || size_of(s.x) > 2);
}

bool cut_overlap(Launch& launch, const Reduction* reduction, int multiprocessors) {
  Specification& s = launch.specification;
  Arguments& a = launch.arguments;
  fix_window(launch);
  const int lanes = s.flat ? 8 : 2;  // of a box in three dimensions most windows are at its edges, if it is small
  while (s.channels_last && s.lanes < lanes && s.lanes < a.channels) s.lanes *= 2;
  s.gathered = s.stride[2];
  while (!s.channels_last && s.gathered < 2 && 2 * s.gathered < a.in[2] + s.stride[2]) s.gathered *= 2;
  bound_overlap(s, taps_of(launch) * (s.x == Type::float64 ? 2 : 1));
  if (!choose_box(launch, kShared)) return false;
  cut_box(launch);
  share_images(launch, reduction, threads_of_image(launch) * s.threads, multiprocessors, 65535);
  if (reduction &&
      (reduction->kept[0] > 1 ? a.parts != a.images
                              : reduction->kept[1] > 1 && !s.channels_last && a.parts % a.channels != 0))
    return false;
  start_boxes(launch);
  return true;
}

int64_t places_of(const Launch& launch) {
  const Arguments& a = launch.arguments;
  return a.batch * a.channels * a.in[0] * a.in[1] * a.in[2];
}

}  // namespace

bool choose(Launch& launch, Direction direction, const Reduction* reduction, int multiprocessors) {
  Specification& s = launch.specification;
  const Arguments& a = launch.arguments;
  const bool backward = direction == Direction::gather;
  const bool whole = a.cell[0] == 1 && a.cell[1] == 1 && a.cell[2] == 1 && !s.channels_last;
  const int64_t taps = taps_of(launch), tensors = 1 + (a.logits != nullptr) + s.spreads;
  const int64_t numbers = taps * (s.x == Type::float64 ? 2 : 1) * tensors;
  // Windows far apart: a thread of backward would write all places up to the next one. The places ask for their window.
  const int64_t steps = int64_t(a.stride[0]) * a.stride[1] * a.stride[2];
  const bool far = backward && steps > std::max<int64_t>(256, 16 * taps);
  const bool small = numbers <= (backward ? kLargestBackward : kLargest) && !(whole && taps > 8) && !far;
  if (small && !(backward && overlaps(launch))) {
    s.kind = backward ? Kind::apart : Kind::forward;
    cut_walk(launch, reduction, multiprocessors);
    return true;
  }
  Launch tried = launch;
  tried.specification.kind = Kind::overlap;
  if (small && cut_overlap(tried, reduction, multiprocessors)) {
    launch = tried;
    return true;
  }
  s.kind = backward ? Kind::large_backward : Kind::large_forward;
  cut_large(launch, multiprocessors);
  return !backward || tiles(launch);
}

void cut_gather(Launch& launch, int multiprocessors) {
  Specification& s = launch.specification;
  s.kind = Kind::large_gather;
  s.in_warp = s.warps = 1;
  if (shape_of(s).words > 6) s.blocks = 3;  // four spill
  launch.grid[0] = rounds(places_of(launch), s.threads, int64_t(multiprocessors) * 64);
  s.wide = s.wide || places_of(launch) + 2 * s.threads * int64_t(launch.grid[0]) >= (int64_t(1) << 31);
}

std::vector<Launch> alternatives(const Launch& chosen) {
  std::vector<Launch> all = {chosen};
  const Kind kind = chosen.specification.kind;
  const bool walks = kind == Kind::forward || kind == Kind::apart, boxes = kind == Kind::overlap;
  // Takes what `change` makes of the launch, unless it cannot be or is among them.
  const auto add = [&](const auto& change) {
    Launch other = chosen;
    Specification& s = other.specification;
    if (!change(other, s) || s.blocks < 1 || s.blocks * s.threads > kResident) return;
    if (walks) cut_tile(other), start_walk(other);
    if (boxes) cut_box(other), start_boxes(other);
    if (std::none_of(all.begin(), all.end(), [&](const Launch& l) { return l.specification.key() == s.key(); }))
      all.push_back(other);
  };
  for (const int more : {-1, 1})  // fewer registers, and more threads that have them
    add([&](Launch&, Specification& s) { return s.blocks += more, true; });
  add([&](Launch& l, Specification& s) {  // blocks of half the threads
    if (s.warps > 1) return false;
    s.threads /= 2;
    s.blocks *= 2;
    if (kind == Kind::large_gather) l.grid[0] = rounds(places_of(l), s.threads, 2 * int64_t(l.grid[0]));
    else if (!walks && !boxes) start_units(l);
    return !boxes || choose_box(l, kShared);
  });
  if (walks) {
    const auto resize = [&](bool larger) {
      add([&](Launch& l, Specification& s) {
        if (larger ? !can_double(l) : tile_of(s) == 1) return false;
        tile_of(s) = larger ? 2 * tile_of(s) : tile_of(s) / 2;
        bound_registers(s);
        return true;
      });
    };
    resize(false);
    resize(true);
  }
  if (boxes) {
    add([](Launch& l, Specification&) { return choose_box(l, kShared / 2); });
    add([](Launch& l, Specification& s) {
      int32_t& mine = s.channels_last ? s.lanes : s.gathered;
      if (mine % 2 != 0 || (!s.channels_last && mine == s.stride[2])) return false;
      mine /= 2;
      return choose_box(l, kShared);
    });
  }
  return all;
}

}  // namespace adapool::cuda
