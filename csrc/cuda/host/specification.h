// What a kernel is compiled for, as plain numbers, and its source. Pure: knows no device and no tensor.
#pragma once
#include <string>
#include <type_traits>

#include "cuda/host/kernels.h"
#include "job.h"
#include "math/cell.h"
#include "math/masks.h"
#include "table.h"

namespace adapool::cuda {

enum class Kind : int32_t { forward, apart, overlap, large_forward, large_backward, large_gather, totals, masks };

enum class Given : int32_t { no, number, tensor };  // an operand

constexpr int kThreads = 256;

// The constants that device sources read, by the same names: numbers, truths, and numbers for each axis.
#define ADAPOOL_CONSTANTS(NUMBER, TRUTH, AXES)                                                                     \
  AXES(kernel) AXES(stride) AXES(padding)        /* kernel 0: told when it runs */                                 \
  AXES(before) AXES(beyond)                      /* coordinates of a tile that may lie before and beyond x */      \
  AXES(box) NUMBER(gathered, 1) NUMBER(lanes, 1) /* places of a block, along a row of a thread; its channels */    \
  NUMBER(windows, 1) NUMBER(width, 1)            /* of a thread: side by side, channels */                         \
  NUMBER(together, 1) NUMBER(together_out, 1) NUMBER(together_cells, 1) /* read or written at once */              \
  NUMBER(threads, kThreads)                      /* of a block */                                                  \
  NUMBER(in_warp, 1) NUMBER(warps, 1)            /* threads of a warp, and warps, that share a window */           \
  NUMBER(taps, 0) TRUTH(whole)                   /* of a window, that each has in registers; a plane is a window */ \
  NUMBER(across, 1)                              /* entries of a block that sums */                                \
  NUMBER(term, -1)                               /* the operand whose gradient's terms are written; -1: none */    \
  TRUTH(channels_last) TRUTH(wide) TRUTH(flat)   /* flat: the outermost axis has one place */                      \
  TRUTH(spreads) TRUTH(weighs) TRUTH(through) TRUTH(to_logits) TRUTH(unpool) TRUTH(normalize) TRUTH(averages)      \
  TRUTH(picks) TRUTH(prefetches)                 /* asked which tap is chosen; loads the next image's numbers */   \
  TRUTH(extra) TRUTH(operands_move) TRUTH(keeps) TRUTH(states) TRUTH(turns) /* rows of lanes, to those of a warp */

struct Specification {
  Kind kind{};
  Method method{};
  Type x{}, cells{}, out{}, spread{}, logits{}, operands[3]{};
  Given given[3]{};
  int32_t blocks = 1;     // on a multiprocessor at once
  int32_t direction = 0;  // of masks
#define ADAPOOL_NUMBER(name, value) int32_t name = value;
#define ADAPOOL_TRUTH(name) int32_t name = 0;
#define ADAPOOL_AXES(name) int32_t name[3]{};
  ADAPOOL_CONSTANTS(ADAPOOL_NUMBER, ADAPOOL_TRUTH, ADAPOOL_AXES)
#undef ADAPOOL_NUMBER
#undef ADAPOOL_TRUTH
#undef ADAPOOL_AXES

  std::string_view key() const { return {reinterpret_cast<const char*>(this), sizeof(*this)}; }
};
static_assert(std::has_unique_object_representations_v<Specification>, "its bytes are its key");

std::string name_of(const Specification& s);  // one line
Source source_of(const Specification& s);

Shape shape_of(Method method, bool wide);
inline Shape shape_of(const Specification& s) { return shape_of(s.method, s.x == Type::float64); }

}  // namespace adapool::cuda
