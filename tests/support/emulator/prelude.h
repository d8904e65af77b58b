// CUDA's words for a program that g++ compiles: put before its text, with ADAPOOL_EMULATED_ENTRY after it. No standard
// header, so that a program that needs one fails here as it does under NVRTC. Knows nothing of pooling.
#pragma once
#include "machine.h"

#define ADAPOOL_EMULATED 1
#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __shared__ static  // one block runs at a time

using size_t = decltype(sizeof(0));

// The device's mathematics, by the C library. Its headers would be most of what is compiled.
extern "C" {
double fabs(double), log(double), exp(double), sqrt(double), pow(double, double);
double fma(double, double, double), fmax(double, double), fmin(double, double);
float fabsf(float), sqrtf(float), floorf(float), copysignf(float, float), exp2f(float), log2f(float);
float fmaf(float, float, float), fmaxf(float, float), fminf(float, float);
void* memcpy(void*, const void*, size_t);
}

namespace emulator {

// All of a program's .bss are its shared arrays, which the driver fills with NaN; so this lies elsewhere.
__attribute__((section(".data"))) Machine* machine = nullptr;

template <class T>
inline T meet(Meeting meeting, unsigned mask, unsigned source, T value, Place place) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
  unsigned long long bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(T));
  bits = machine->meet_warp(meeting, mask, source, bits, place);
  __builtin_memcpy(&value, &bits, sizeof(T));
  return value;
}

inline unsigned vote(Meeting meeting, unsigned mask, int predicate, Place place) {
  return meet<unsigned>(meeting, mask, machine->lane, predicate != 0, place);
}

inline unsigned first_of(int width) { return machine->lane & ~(width - 1u); }
inline unsigned last_of(int width) { return machine->lane | (width - 1u); }

template <unsigned...> struct Numbers {};

template <class... A, unsigned... I>
inline void call(void (*kernel)(A...), void** parameters, Numbers<I...>) {
  kernel(*static_cast<const A*>(parameters[I])...);
}

template <class... A>
inline void call(void (*kernel)(A...), void** parameters) {
  call(kernel, parameters, Numbers<__integer_pack(sizeof...(A))...>());
}

}  // namespace emulator

#define threadIdx emulator::machine->thread
#define blockIdx emulator::machine->block
#define blockDim emulator::machine->block_size
#define gridDim emulator::machine->grid_size
// The caller's place as a default argument: evaluated where the program calls.
#define ADAPOOL_HERE emulator::Place place = {__builtin_FILE(), __builtin_LINE()}

inline void __syncthreads(ADAPOOL_HERE) { emulator::machine->meet_block(place); }

inline void __syncwarp(unsigned mask = ~0u, ADAPOOL_HERE) {
  emulator::vote(emulator::Meeting::syncwarp, mask, 0, place);
}

// The lane that each shuffle reads from, as PTX's shfl.sync says: beyond its part of the warp a lane reads itself.
template <class T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, ADAPOOL_HERE) {
  const unsigned from = emulator::first_of(width) | (source & (width - 1u));
  return emulator::meet(emulator::Meeting::shfl, mask, from, value, place);
}

template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, ADAPOOL_HERE) {
  const unsigned lane = emulator::machine->lane, from = lane - emulator::first_of(width) < delta ? lane : lane - delta;
  return emulator::meet(emulator::Meeting::shfl_up, mask, from, value, place);
}

template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, ADAPOOL_HERE) {
  const unsigned lane = emulator::machine->lane, from = emulator::last_of(width) - lane < delta ? lane : lane + delta;
  return emulator::meet(emulator::Meeting::shfl_down, mask, from, value, place);
}

template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int other, int width = 32, ADAPOOL_HERE) {
  const unsigned lane = emulator::machine->lane, there = lane ^ static_cast<unsigned>(other);
  const unsigned from = there > emulator::last_of(width) ? lane : there;
  return emulator::meet(emulator::Meeting::shfl_xor, mask, from, value, place);
}

inline int __all_sync(unsigned mask, int predicate, ADAPOOL_HERE) {
  return emulator::vote(emulator::Meeting::all, mask, predicate, place) == mask;
}

inline int __any_sync(unsigned mask, int predicate, ADAPOOL_HERE) {
  return emulator::vote(emulator::Meeting::any, mask, predicate, place) != 0;
}

inline unsigned __ballot_sync(unsigned mask, int predicate, ADAPOOL_HERE) {
  return emulator::vote(emulator::Meeting::ballot, mask, predicate, place);
}

#undef ADAPOOL_HERE

extern "C" __attribute__((visibility("hidden"))) char __bss_start[], _end[];  // the linker's

// What the driver looks up in the compiled program: one call at loading, one for every thread.
#define ADAPOOL_EMULATED_EXPORT extern "C" __attribute__((visibility("default"), externally_visible)) void
#define ADAPOOL_EMULATED_ENTRY                                                                                        \
  ADAPOOL_EMULATED_EXPORT emulator_load(emulator::Machine* machine, char** shared) {                                  \
    emulator::machine = machine;                                                                                      \
    shared[0] = __bss_start;                                                                                          \
    shared[1] = _end;                                                                                                 \
  }                                                                                                                   \
  ADAPOOL_EMULATED_EXPORT emulator_thread(void** parameters) { emulator::call(&adapool_kernel, parameters); }
