// The numbers of a launch, with what each was found by. Measured ones: an H200, float32 unless said.
#include "cuda/host/launch.h"

#include <algorithm>

#include "cuda/host/cut.h"

namespace adapool::cuda {
namespace {

constexpr int kLargest = 49, kLargestBackward = 27;  // numbers of a window in registers
constexpr int64_t kShared = 40 << 10;  // bytes of a block's prepared windows: four blocks fit on a multiprocessor
constexpr int64_t kResident = 2048;    // threads of a multiprocessor

// Shares images among threads: as many as fill the device some times over, each walking equally many. Once over where
// each part of the images has terms of its own, which are written and read again (139 us of 148 with 689 parts).
void share_images(Launch& launch, const Reduction* reduction, int64_t threads, int multiprocessors, int64_t most) {
  const Specification& s = launch.specification;
  Arguments& a = launch.arguments;
  const int64_t wanted = up(int64_t(multiprocessors) * kResident * (reduction ? 1 : 4), std::max<int64_t>(threads, 1));
  int64_t parts = std::clamp<int64_t>(wanted, 1, std::max<int64_t>(a.images, 1));
  parts = up(a.images, up(a.images, parts));
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

// Numbers of x that a thread has at once: more of them cost registers, and with them occupancy.
constexpr int kForward = 20, kBackward = 8;

// Windows side by side for NCHW, channels for channels_last: as many as 16 bytes hold, while registers do.
void choose_tile(Launch& launch) {
  Specification& s = launch.specification;
  const Arguments& a = launch.arguments;
  const int others = (a.logits != nullptr) + (a.spread != nullptr), rows = s.kernel[0] * s.kernel[1];
  const int cap = (s.kind == Kind::apart ? kBackward : kForward) / (1 + others) / (s.x == Type::float64 ? 2 : 1);
  const auto numbers = [&](int n) {
    return rows * (s.channels_last ? s.kernel[2] * n : (n - 1) * s.stride[2] + s.kernel[2]);
  };
  int32_t& tile = tile_of(s);
  while (can_double(launch) && numbers(2 * tile) <= cap &&
         (s.channels_last || tile * s.stride[2] * size_of(s.x) % 16 != 0))
    tile *= 2;
}

bool without_powers(const Shape& shape) { return shape.operands == 0 || shape.scales; }  // not dpp, lp and power

// 64 registers a thread (four blocks) were best in every experiment; more only for what spills without them.
int blocks_for(const Specification& s, const Shape& shape, bool backward) {
  const int numbers = s.kernel[0] * s.kernel[1] * ((s.windows - 1) * s.stride[2] + s.kernel[2]) * s.width;
  const int words = numbers * (s.x == Type::float64 ? 4 : 1) * (1 + s.spreads + shape.logits) * (backward ? 2 : 1);
  const bool simple = without_powers(shape);
  const bool few =
      backward ? words <= 16 && s.flat && simple && s.together > 1 : words <= kForward && (simple || s.term < 0);
  return few ? 4 : simple && (words <= 16 || (!backward && words <= 30)) ? 3 : words <= 54 ? 2 : 1;
}

void bound_registers(Specification& s) {
  const bool backward = s.kind == Kind::apart;
  s.keeps = backward && s.kernel[0] * s.kernel[1] * s.kernel[2] * s.windows * s.width <= 16;
  s.blocks = blocks_for(s, shape_of(s), backward);
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

// The box of a block: whole strides and whole threads' places. Of those whose windows fit in `shared` bytes, the one
// with the least work for a place: its edges are computed twice, and threads idle in the last turn.
bool choose_box(Launch& launch, int64_t shared) {
  Specification& s = launch.specification;
  const Arguments& a = launch.arguments;
  const Shape shape = shape_of(s);
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
        shared)
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

bool cut_overlap(Launch& launch, const Reduction* reduction, int multiprocessors) {
  Specification& s = launch.specification;
  Arguments& a = launch.arguments;
  fix_window(launch);
  while (s.channels_last && s.lanes < 16 && s.lanes < a.channels) s.lanes *= 2;
  s.gathered = s.stride[2];
  while (!s.channels_last && s.gathered < 4 && 2 * s.gathered < a.in[2] + s.stride[2]) s.gathered *= 2;
  if (!choose_box(launch, kShared)) return false;
  cut_box(launch);
  const int64_t taps = taps_of(launch) * (s.x == Type::float64 ? 4 : 1);
  const Shape shape = shape_of(s);
  const bool large = shape.words > (without_powers(shape) ? 10 : 6);
  s.blocks = taps > 27 ? 1 : taps > 16 ? 2 : large || s.stride[2] == 1 || s.averages ? 3 : 4;
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
  const int64_t taps = taps_of(launch),
                numbers = taps * (s.x == Type::float64 ? 2 : 1) * (1 + (a.logits != nullptr) + s.spreads);
  const bool small = numbers <= (backward ? kLargestBackward : kLargest) && !(whole && taps > 8);
  if (small && !(backward && overlaps(launch))) {
    s.kind = backward ? Kind::apart : Kind::forward;
    cut_walk(launch, reduction, multiprocessors);
    return true;
  }
  if (small) {
    Launch tried = launch;
    tried.specification.kind = Kind::overlap;
    if (cut_overlap(tried, reduction, multiprocessors)) {
      launch = tried;
      return true;
    }
  }
  s.kind = backward ? Kind::large_backward : Kind::large_forward;
  cut_large(launch, multiprocessors);
  return !backward || tiles(launch);
}

void cut_gather(Launch& launch, int multiprocessors) {
  Specification& s = launch.specification;
  s.kind = Kind::large_gather;
  s.in_warp = s.warps = 1;
  launch.grid[0] = rounds(places_of(launch), s.threads, int64_t(multiprocessors) * 64);
  s.wide = s.wide || places_of(launch) + 2 * s.threads * int64_t(launch.grid[0]) >= (int64_t(1) << 31);
}

std::vector<Launch> alternatives(const Launch& chosen) {
  std::vector<Launch> all = {chosen};
  const Kind kind = chosen.specification.kind;
  if (kind == Kind::totals || kind == Kind::masks) return all;
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
