// How work is cut once the numbers of a launch are chosen (launch.h): the pieces in which memory is read, groups, the
// grid. Pure.
#pragma once
#include "cuda/host/plan.h"

namespace adapool::cuda {

inline int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int size_of(Type type) { return type == Type::float64 ? 8 : type == Type::float32 ? 4 : 2; }
inline int computing_size(const Specification& s) { return s.x == Type::float64 ? 8 : 4; }  // bytes
inline int64_t state_size(const Shape& shape) { return 4 * shape.words; }  // bytes of a prepared window

int64_t taps_of(const Launch& launch);
int64_t threads_of_image(const Launch& launch);
bool overlaps(const Launch& launch);
bool tiles(const Launch& launch);  // whether every place lies in exactly one window

void fix_window(Launch& launch);  // makes it constants
void fix_edges(Launch& launch);   // of a window alone
void cut_planes(Launch& launch);  // that a warp writes side by side

// A walk: forward, or backward apart. Its tile is windows side by side, of channels_last channels.
int32_t& tile_of(Specification& s);
bool can_double(const Launch& launch);  // the tile
void cut_tile(Launch& launch);
void start_walk(Launch& launch);  // its grid, once images are shared among threads

void cut_box(Launch& launch);    // of backward where windows overlap
void start_boxes(Launch& launch);

}  // namespace adapool::cuda
