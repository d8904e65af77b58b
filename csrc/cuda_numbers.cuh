// What a GPU does in one instruction, and several numbers of memory at once. Under g++ (the emulator) every intrinsic
// has a twin of the same meaning. Knows no window.
#pragma once
#if defined(__CUDACC__)
#include <cuda_bf16.h>
#endif

#include "scalar.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// 1 / x to one unit in the last place. Denormal numbers count as zero.
__device__ inline float reciprocal(float x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return 1 / (std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.f, x) : x);
#endif
}

// over[i] /= under[i], with one reciprocal for `batch` of them, which must then be 2^-30 to 2^13; where they are not
// numbers, nor is `over`.
template <int batch, int count> __device__ void divide(float* over, const float* under) {
  static_assert(count % batch == 0, "whole batches");
#pragma unroll
  for (int first = 0; first < count; first += batch) {
    float before[batch], some[batch];  // the product of those before
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      some[i] = batch == 1 ? under[first] : std::fmin(under[first + i], 8192.f);
      before[i] = i == 0 ? 1.f : i == 1 ? some[0] : before[i - 1] * some[i - 1];
    }
    float left = reciprocal(batch == 1 ? some[0] : before[batch - 1] * some[batch - 1]);
#pragma unroll
    for (int i = batch - 1; i >= 0; --i) {
      over[first + i] *= i == 0 ? left : left * before[i];
      if (i > 0) left *= some[i];
    }
  }
}

// 2^x to two units in the last place.
__device__ inline float power_of_two(float x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return std::exp2(x);
#endif
}

// sum += x where v is not 0: one instruction under a predicate.
__device__ inline void add_unless_zero(float& sum, float x, float v) {
#if defined(__CUDA_ARCH__)
  asm("{ .reg .pred p; setp.neu.f32 p, %2, 0f00000000; @p add.f32 %0, %0, %1; }" : "+f"(sum) : "f"(x), "f"(v));
#else
  if (v != 0) sum += x;
#endif
}

// The number itself, which the compiler keeps in registers instead of computing it again.
template <bool yes> __device__ int64_t held(int64_t n) {
#if defined(__CUDA_ARCH__)
  if constexpr (yes) asm("" : "+l"(n));
#endif
  return n;
}
template <bool yes> __device__ int held(int n) {
#if defined(__CUDA_ARCH__)
  if constexpr (yes) asm("" : "+r"(n));
#endif
  return n;
}

template <class T> __device__ float low(uint32_t pair) { return widen(T{uint16_t(pair)}); }
template <class T> __device__ float high(uint32_t pair) { return widen(T{uint16_t(pair >> 16)}); }
template <class T> __device__ uint32_t pair_of(float a, float b) {
  return uint32_t(narrow<T>(a).bits) | uint32_t(narrow<T>(b).bits) << 16;
}
#if defined(__CUDA_ARCH__)
template <> __device__ inline float high<BFloat16>(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }
template <> __device__ inline float low<Half>(uint32_t pair) { return __low2float(bit_cast<__half2>(pair)); }
template <> __device__ inline float high<Half>(uint32_t pair) { return __high2float(bit_cast<__half2>(pair)); }
template <> __device__ inline uint32_t pair_of<BFloat16>(float a, float b) {
  return bit_cast<uint32_t>(__floats2bfloat162_rn(a, b));
}
template <> __device__ inline uint32_t pair_of<Half>(float a, float b) {
  return bit_cast<uint32_t>(__floats2half2_rn(a, b));
}
#endif

// `size` neighbours in memory, read and written at once; their address is a multiple of their bytes.
template <class T, int size> struct alignas(sizeof(T) * size) Piece {
  static_assert(size * sizeof(T) % 4 == 0 && size * sizeof(T) <= 16, "whole words, 16 bytes at most");
  uint32_t word[size * sizeof(T) / 4];
  __device__ float get(int i) const {
    if constexpr (sizeof(T) == 4) return bit_cast<float>(word[i]);
    else return i % 2 == 0 ? low<T>(word[i / 2]) : high<T>(word[i / 2]);
  }
  template <class F> __device__ void set(const F& f) {
#pragma unroll
    for (int i = 0; i < int(size * sizeof(T) / 4); ++i) {
      if constexpr (sizeof(T) == 4) word[i] = bit_cast<uint32_t>(f(i));
      else word[i] = pair_of<T>(f(2 * i), f(2 * i + 1));
    }
  }
};
template <class T> struct Piece<T, 1> {
  T one;
  __device__ float get(int) const { return widen(one); }
  template <class F> __device__ void set(const F& f) { one = narrow<T>(f(0)); }
};
template <class P, class T> __device__ P read(const T* from) { return *reinterpret_cast<const P*>(from); }
// The same where `there`; else any numbers. A load under a predicate, where the compiler would branch.
template <class P, class T> __device__ P read_if(bool there, const T* from) {
#if defined(__CUDA_ARCH__)
  static_assert(sizeof(P) == 16, "four words");
  P p;
  asm("{ .reg .pred p; setp.ne.s32 p, %5, 0; @p ld.global.v4.u32 {%0, %1, %2, %3}, [%4]; }"
      : "=r"(p.word[0]), "=r"(p.word[1]), "=r"(p.word[2]), "=r"(p.word[3])
      : "l"(__cvta_generic_to_global(from)), "r"(int(there)));
  return p;
#else
  return there ? read<P>(from) : P{};
#endif
}
template <class P, class T> __device__ void write(T* to, const P& piece) { *reinterpret_cast<P*>(to) = piece; }

}  // namespace ADAPOOL_ISA
}  // namespace adapool
