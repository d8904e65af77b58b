// The kernels of one method and window, which kernels.cpp makes and the walks call.
#pragma once
#include "cpu/fast/rows.h"
#include "math/methods.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

struct Kernel {  // a null pointer: the general loops do that
  int64_t k, s;
  bool weighed, logits;  // whether its regions share e^a of a tap; whether `detached` is the gradient of logits
  void (*value)(const RowArguments&), (*exact)(const RowArguments&), (*detached)(const RowArguments&);
  void (*channels_value)(const ChannelArguments&), (*channels_exact)(const ChannelArguments&), (*channels_detached)(const ChannelArguments&);
  void (*edges_value)(const ChannelArguments&), (*edges_exact)(const ChannelArguments&), (*edges_detached)(const ChannelArguments&);
  bool detached_in(const Job& job) const { return logits ? job.to_logits : !job.use_through; }
  void (*fallback[2])(const Job&, Direction, const Point&, float* out, int64_t pitch);  // of the method and of its twin
};

// Of the method's kernels those for the window; null where there are none. methods.h lists the methods.
template <Method method> const Kernel* find_kernel(const Window& w);

}  // namespace ADAPOOL_ISA
}  // namespace adapool
