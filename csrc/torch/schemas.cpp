// The operators' schemas, for ever the same for every method, rank, dtype and device; and which methods they know.
#include <torch/csrc/stable/library.h>

#include "math/methods.h"

// constants: one number per operand of the method; the largest double: it is the next of
// `operands`; the lowest: the method's default (finite, because a packaged model keeps its numbers as JSON).
// detached: what the gradient of pool is to treat the weights as; the operator itself gives the same either way.
// extra: weights [N, C, *out, taps] or flat indices [N, C, *out], empty unless wanted.
// wants: for x (unpool: y, guide) and each of `operands`, 1 if its gradient is wanted; empty tensors for the others.
// size: empty for the guide's, with stored weights for the smallest that pools to y: a traced program then holds none.
// Method "weights" of unpool takes stored weights [N, C, *out, taps] in place of the guide.
#define ADAPOOL_WINDOW "int[] kernel, int[] stride, int[] padding, bool ceil_mode"
STABLE_TORCH_LIBRARY(adapool, m) {
  m.def("pool(Tensor x, Tensor[] operands, str method, " ADAPOOL_WINDOW
        ", float[] constants, bool want_extra, bool detached=False) -> (Tensor, Tensor)");
  m.def("pool_backward(Tensor grad, Tensor x, Tensor[] operands, str method, " ADAPOOL_WINDOW
        ", float[] constants, bool detached, int[] wants) -> Tensor[]");
  m.def("unpool(Tensor y, Tensor guide, Tensor[] operands, str method, int[] size, " ADAPOOL_WINDOW
        ", float[] constants, bool normalize) -> Tensor");
  m.def("unpool_backward(Tensor grad, Tensor y, Tensor guide, Tensor[] operands, str method, " ADAPOOL_WINDOW
        ", float[] constants, bool normalize, int[] wants) -> Tensor[]");
}

// The compiled methods by name, each behind a space: the only place that knows is asked.
extern "C" __attribute__((visibility("default"))) const char* adapool_methods() {
#define ADAPOOL_NAME(name, Struct) " " #name
  return ADAPOOL_METHODS(ADAPOOL_NAME);
#undef ADAPOOL_NAME
}
