// What a kernel is told when it runs; everything else of its specification is a constant. Shared by host and device.
#pragma once
#include "math/builtins.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

struct OperandArgument {
  const void* data;  // null where the number counts
  double number;
  float rounded;           // the same, so that no kernel in float computes in double
  int64_t image, channel;  // strides in elements, 0 on broadcast axes
  int64_t axis[3];
};

// Sums over some axes of a tensor of terms: neighbouring axes of one kind are merged.
struct Totals {
  int64_t kept[3], kept_step[3], summed[3], summed_step[3];  // extents, and elements between neighbours
  int64_t entries, terms;
};

struct Arguments {
  const void* x;
  const void* logits;
  const void* spread;  // what flows back to unpooled places
  const void* cells;   // the gradient of pool's y, or unpool's y
  void* out;           // y, or what each place gets
  void* extra;         // weights or indices
  void* terms;         // what cells add to the gradient of an operand
  void* states;        // prepared regions, word by word
  OperandArgument operand[3];
  int64_t batch, channels;
  int32_t in[3], cell[3];                    // extents of places and of cells
  int32_t kernel[3], stride[3], padding[3];  // of large windows, whose specification leaves them open
  int32_t groups[3];                         // work items along the axes
  int32_t lanes;                             // work items along the channels of channels_last, else 1
  int64_t images, parts;                     // images in all, and walked side by side
  int64_t next, next_cell;                   // elements between two images of a thread's walk: of places, of cells
  int64_t units;                             // windows in all, where each is a work item
  Totals totals;
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
