// The kernels of one method and window, which kernels.cpp makes and the walks call.
#pragma once
#include "cpu/fast/rows.h"
#include "math/methods.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

struct Kernel {  // by what a kernel computes; null: the general loops do that
  int64_t depth, height, k, s;  // slabs and their rows of k taps; s: along rows, and from row to row of square windows
  bool weighed, logits;  // whether its regions share e^a of a tap; whether `detached` is the gradient of logits
  void (*rows[3])(const RowArguments&);
  void (*channels[3])(const ChannelArguments&);
  void (*edges[3])(const ChannelArguments&);
  void (*fallback[2])(const Job&, Direction, const Point&, float* out, int64_t pitch);  // of the method and of its twin

  int64_t rows_of_taps() const { return depth * height; }
  int64_t taps() const { return depth * height * k; }
  bool square() const { return depth == 1 && height == k; }
  int computes(const Job& job, Direction direction) const {
    const bool detached = direction == Direction::gather && (logits ? job.to_logits : !job.use_through);
    return int(direction == Direction::forward ? Computes::value : detached ? Computes::detached : Computes::exact);
  }
};

// Of the method's kernels those for the window; null where there are none. methods.h lists the methods.
template <Method method> const Kernel* find_kernel(const Window& w);

}  // namespace ADAPOOL_ISA
}  // namespace adapool
