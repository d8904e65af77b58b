#include "cuda/host/box.h"

#include "cuda/host/cut.h"

namespace adapool::cuda {
namespace {

// Bytes of a prepared window where it lies in shared memory: see StoredState.
int64_t kept_size(const Shape& shape, int computing) {
  const int64_t pieces = up(4 * shape.words + computing, 16);
  return 16 * (pieces | 1);
}

}  // namespace

// The box of a block: whole strides and whole threads' places, with a thread for each window and for each thread's
// places. Of those the one with the least work for the tensor, where windows at edges are prepared twice; threads that
// have none cost half as much as those that have, for the block waits with them. A window is some 26 instructions a
// tap, a tap of a place 22; both have 40 of their own.
bool choose_box(Launch& launch, int64_t shared) {
  Specification& s = launch.specification;
  const Arguments& a = launch.arguments;
  const int64_t mine[3] = {s.stride[0], s.stride[1], s.gathered};
  const int64_t size = 2 * s.lanes * kept_size(shape_of(s), computing_size(s));
  const double taps = double(s.kernel[0]) * s.kernel[1] * s.kernel[2];
  const double window = 40 + 26 * taps, place = 40 + 22 * taps * s.gathered / s.stride[2];
  double least = 0;
  int64_t box[3];
  const auto consider = [&] {
    int64_t windows = 1, workers = s.lanes, boxes = 1;
    for (int d = 0; d < 3; ++d) {
      windows *= (box[d] - 1 + s.padding[d]) / s.stride[d] + (s.kernel[d] - 1 - s.padding[d]) / s.stride[d] + 1;
      workers *= box[d] / mine[d];
      boxes *= up(a.in[d], box[d]);
    }
    if (windows * s.lanes > s.threads || workers > s.threads) return;
    if ((windows + (s.gathered > s.stride[2] ? windows / (box[2] / s.stride[2]) + 1 : 0)) * size > shared) return;
    const double all = double(up(s.threads, 32));
    const double work = double(boxes) * (window * (double(up(windows * s.lanes, 32)) + all) +
                                         place * (double(up(workers, 32)) + all));
    if (least != 0 && work >= least) return;
    least = work;
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
