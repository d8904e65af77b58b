// One call of an operator as plain data: what torch/, cpu/ and cuda/host/ hand each other. No torch.
#pragma once
#include "math/numbers.h"
#include "math/window.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

enum class Direction : int32_t { forward, gather, operand };

// An operand of a cell: a number, a tensor that broadcasts to [N, C, *out] (stride 0 on broadcast axes), or
// neither, which means the method's own default.
struct Operand {
  Any tensor;
  Strides strides;
  double number;
  bool given;
};

// Tensors of the input's shape (x, logits, spread, target) share the strides xs.
struct Job {
  Window window;
  int64_t batch, channels;
  bool channels_last;
  Any x;
  Strides xs;
  Any logits;
  Operand operand[3];
  Any spread;  // unpool's backward: the gradient that comes in at every place; else not given
  bool normalize;  // unpool: times the region's taps, over the number of regions at the place
  bool unpool;

  // forward: one value per cell, or the gradient of unpool's y
  Any y;
  Strides ys;
  void* extra;  // weights [N, C, *out, taps] in Acc, or int64 indices with y's strides; or null

  // gather: one value per place, summed over the regions that hold it, each times its cell's coefficient
  Any coefficient;  // the gradient of pool's y, or unpool's y
  Strides cs;
  Any target;
  bool use_weight, use_through, to_logits;

  int64_t cells() const { return batch * channels * window.cells(); }
  bool averages() const { return unpool && normalize && !spread.given(); }
};

// Which entry of an operand a cell belongs to: kept axes index the operand, the others are summed over.
struct Reduction {
  int64_t kept[5], summed[5];  // extents of (n, c, d0, d1, d2); 1 where the axis is of the other kind
  int64_t entries, terms;      // their products
  int which;                   // operand number

  Point cell(int64_t entry, int64_t term) const {
    int64_t at[5];
    for (int d = 4; d >= 0; --d) {
      const int64_t e = split(entry, kept[d]), t = split(term, summed[d]);
      at[d] = kept[d] > 1 ? e : t;
    }
    return {at[0], at[1], {at[2], at[3], at[4]}};
  }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
