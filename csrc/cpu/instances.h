// The names by which operators.cpp calls the loops compiled for one computing type and one instruction set (Loops of
// table.h). Arguments are pointers without type, because each instruction set has its own copies of the (identical) structs.
#pragma once
#include <cstdint>

#define ADAPOOL_JOIN_(a, b, c, d) a##b##c##d
#define ADAPOOL_JOIN(a, b, c, d) ADAPOOL_JOIN_(a, b, c, d)
#define ADAPOOL_LOOPS(scalar, isa) ADAPOOL_JOIN(adapool_cpu_, scalar, _, isa)
#define ADAPOOL_PARAMETERS                                                                                  \
  (int32_t method, int32_t direction, const void* job, const void* reduction, const void* result,         \
   void (*parallel)(int64_t, int64_t, void (*)(int64_t, int64_t, void*), void*))
