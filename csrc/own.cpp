// A person's own methods, as C functions for ctypes: Python declares them, and hands in what compilers made of them.
#include "table.h"

#define ADAPOOL_C extern "C" __attribute__((visibility("default")))

using namespace adapool;

// A method, which stands for its name from then on. `source` defines `its_struct` and says where it stands by #line. Its number.
ADAPOOL_C int adapool_add_method(const char* name, const char* its_struct, const char* source, int weighted,
                                 int indices, int logits, int operands) {
  const Traits traits{{}, weighted != 0, indices != 0, logits != 0, operands};
  return int(method_table().add(name, its_struct, source, traits).traits.method);
}

// The loops of the CPU that compute in float, or in double where `wide`.
ADAPOOL_C void adapool_set_loops(int method, int wide, Loops loops) {
  method_table().at(Method(method)).loops[wide != 0] = loops;
}

// What CUDA's launches depend on. Kept for ever, as the entry is.
ADAPOOL_C void adapool_set_shape(int method, int wide, int ordered, int logits, int scales, int operands, int words) {
  method_table().at(Method(method)).shapes[wide != 0] = new Shape{ordered != 0, logits != 0, scales != 0, operands, words};
}
