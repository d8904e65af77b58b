#include "cuda/host/box.h"

#include <algorithm>

#include "cuda/host/cut.h"

namespace adapool::cuda {

// The box of a block: whole strides and whole threads' places, with a thread for each window and for each thread's
// places. Of those the one with the least work for the tensor, where windows at edges are prepared twice; threads that
// have none of one cost half as much as those that have, for they wait. A window is some 40 instructions a tap, a tap of
// a place 3; both have 40 of their own. A block has no more threads than its box has work for, and there are more blocks
// then: of a plane of 7 by 7, 64 threads and not 448.
bool choose_box(Launch& launch, int64_t shared) {
  Specification& s = launch.specification;
  const Arguments& a = launch.arguments;
  const int64_t mine[3] = {s.stride[0], s.stride[1], s.gathered};
  const int64_t taps = taps_of(launch), size = 2 * s.lanes * taps * computing_size(s);
  const double window = 40.0 + 40.0 * taps, place = 40.0 + 3.0 * taps * s.gathered / s.stride[2];
  const int64_t limit = s.threads, resident = limit * s.blocks;
  double least = 0;
  int64_t box[3];
  const auto consider = [&] {
    int64_t windows = 1, workers = s.lanes, boxes = 1;
    for (int d = 0; d < 3; ++d) {
      windows *= (box[d] - 1 + s.padding[d]) / s.stride[d] + (s.kernel[d] - 1 - s.padding[d]) / s.stride[d] + 1;
      workers *= box[d] / mine[d];
      boxes *= up(a.in[d], box[d]);
    }
    if (windows * s.lanes > limit || workers > limit) return;
    if ((windows + (s.gathered > s.stride[2] ? windows / (box[2] / s.stride[2]) + 1 : 0)) * size > shared) return;
    const int64_t prepare = up(windows * s.lanes, 32), gather = up(workers, 32), all = std::max(prepare, gather);
    const int64_t blocks = std::min<int64_t>(resident / (32 * all), 16);
    const double idle = double(resident) / double(32 * all * blocks);  // threads that there is no room for
    const double work = double(boxes) * (window * double(prepare + all) + place * double(gather + all)) * (1 + idle);
    if (least != 0 && work >= least) return;
    least = work;
    s.threads = int32_t(32 * all);
    s.blocks = int32_t(blocks);
    for (int d = 0; d < 3; ++d) s.box[d] = int32_t(box[d]);
  };
  const int64_t columns = up(a.in[2], mine[2]);
  for (box[0] = mine[0]; box[0] <= 8 * mine[0] && box[0] < a.in[0] + mine[0]; box[0] += mine[0])
    for (box[1] = mine[1]; box[1] <= 32 && box[1] < a.in[1] + mine[1]; box[1] += mine[1])
      for (int64_t parts = 1; parts <= columns; parts = parts < 8 ? parts + 1 : 2 * parts) {
        box[2] = up(columns, parts) * mine[2];
        consider();
      }
  return least != 0;
}

}  // namespace adapool::cuda
