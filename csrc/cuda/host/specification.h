// What a kernel is compiled for, as plain numbers, and its source. Pure: knows no device and no tensor.
#pragma once
#include <string>

#include "cuda/host/kernels.h"
#include "job.h"
#include "math/masks.h"

namespace adapool::cuda {

enum class Kind : int32_t { forward, apart, overlap, large_forward, large_backward, large_gather, totals, masks };

enum class Given : int32_t { no, number, tensor };  // an operand

struct Specification {
  Kind kind;
  Method method;
  Type x, cells, out, spread, logits, operands[3];
  Given given[3];
  int32_t kernel[3], stride[3], padding[3];  // kernel 0: told when it runs
  int32_t before[3], beyond[3];              // coordinates of a tile that may lie before and beyond the tensor
  int32_t box[3], gathered, lanes;           // places of a block, places along a row of a thread, channels of a block
  int32_t windows, width;                    // of a thread: side by side, channels
  int32_t together, together_in, together_out, together_cells;  // neighbours that are read or written at once
  int32_t threads, blocks;                                      // of a block; on a multiprocessor at once
  int32_t in_warp, warps;                                       // threads of a warp, and warps, that share a window
  int32_t across;                                               // entries of a block that sums
  int32_t which;                 // the operand that a backward sums the gradient of
  int32_t term;       // the operand whose gradient's terms are written; -1: none
  int32_t direction;  // of masks; flat: the outermost axis has one place
  bool channels_last, wide, flat, spreads, weighs, through, to_logits, unpool, normalize, averages, extra, sums,
      operands_move, keeps, states;

  std::string_view key() const { return {reinterpret_cast<const char*>(this), sizeof(*this)}; }
};

std::string name_of(const Specification& s);  // one line
Source source_of(const Specification& s);

// What the host must know of a method's struct.
struct Shape {
  bool weighted, ordered, logits, scales;
  int operands, words;  // words: of what is left of a region for its gradient
};
Shape shape_of(Method method, bool wide);

}  // namespace adapool::cuda
