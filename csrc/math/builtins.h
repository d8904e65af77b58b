// What the mathematics needs of a platform: the compiler's own functions under NVRTC, which has no standard headers,
// the standard library elsewhere. The only file that asks where it is compiled.
#pragma once

#if defined(__CUDACC_RTC__) || defined(ADAPOOL_EMULATED)  // an emulated device has no standard headers either
#define ADAPOOL_ON_DEVICE
#define ADAPOOL_HD __device__ inline
#define ADAPOOL_OFTEN
#define ADAPOOL_RARE
using int32_t = int;
using uint32_t = unsigned int;
using int64_t = long long;
using uint64_t = unsigned long long;
using uint16_t = unsigned short;
using uintptr_t = unsigned long long;
#else
#include <cmath>
#include <cstdint>
#include <cstring>
#define ADAPOOL_HD inline
#define ADAPOOL_OFTEN __attribute__((always_inline))  // numbers that it adds to are then registers of the caller's
#define ADAPOOL_RARE __attribute__((noinline))        // keeps what calls it seldom small, and in registers
#endif

#if defined(__F16C__) && !defined(ADAPOOL_ON_DEVICE)
#include <immintrin.h>
#define ADAPOOL_F16C
#endif

// The CPU compiles these headers once for each instruction set, each in a namespace of its own, so that no inline
// function of one can stand in for another's at link time.
#ifndef ADAPOOL_ISA
#define ADAPOOL_ISA portable
#endif

namespace adapool {
inline namespace ADAPOOL_ISA {

template <class To, class From> ADAPOOL_HD To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast keeps the size");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

template <class S> struct Limits;
template <> struct Limits<float> {
  static constexpr float epsilon = 0x1p-23f, smallest = 0x1p-126f;
  ADAPOOL_HD static float infinity() { return bit_cast<float>(0x7f800000u); }
};
template <> struct Limits<double> {
  static constexpr double epsilon = 0x1p-52, smallest = 0x1p-1022;
  ADAPOOL_HD static double infinity() { return bit_cast<double>(uint64_t(0x7ff) << 52); }
};

ADAPOOL_HD double abs_of(double a) { return ::fabs(a); }
ADAPOOL_HD double log_of(double a) { return ::log(a); }
ADAPOOL_HD double exp_of(double a) { return ::exp(a); }
ADAPOOL_HD double root_of(double a) { return ::sqrt(a); }
ADAPOOL_HD double any_pow(double a, double p) { return ::pow(a, p); }
ADAPOOL_HD double reciprocal(double a) { return 1 / a; }
ADAPOOL_HD float abs_of(float a) { return ::fabsf(a); }
ADAPOOL_HD float root_of(float a) { return ::sqrtf(a); }

#if defined(__CUDACC_RTC__)
// One instruction each: 1 / x to one unit in the last place, 2^x to two, log2 x to 2^-22; denormals count as zero.
__device__ inline float reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ inline float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ inline float logarithm_of_two(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
#elif defined(ADAPOOL_EMULATED)
inline float flushed(float x) { return ::fabsf(x) < 0x1p-126f ? ::copysignf(0.f, x) : x; }
inline float reciprocal(float x) { return flushed(1 / flushed(x)); }
inline float power_of_two(float x) { return flushed(::exp2f(x)); }
inline float logarithm_of_two(float x) { return ::log2f(flushed(x)); }
#endif

// x with its sign turned where that of `by` is negative.
ADAPOOL_HD float turned_by(float x, float by) {
  return bit_cast<float>(bit_cast<uint32_t>(x) ^ (bit_cast<uint32_t>(by) & 0x80000000u));
}
ADAPOOL_HD double turned_by(double x, double by) {
  return bit_cast<double>(bit_cast<uint64_t>(x) ^ (bit_cast<uint64_t>(by) & (uint64_t(1) << 63)));
}

// The larger and the smaller of two numbers; `b` where `a` is NaN.
#if defined(ADAPOOL_ON_DEVICE)
ADAPOOL_HD float larger(float a, float b) { return ::fmaxf(a, b); }
ADAPOOL_HD double larger(double a, double b) { return ::fmax(a, b); }
ADAPOOL_HD float smaller(float a, float b) { return ::fminf(a, b); }
ADAPOOL_HD double smaller(double a, double b) { return ::fmin(a, b); }
#endif

// The larger of two numbers; NaN where one is.
#if defined(__CUDACC_RTC__) && __CUDA_ARCH__ >= 800
__device__ inline float peak_of(float a, float b) {
  float y;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
}
ADAPOOL_HD double peak_of(double a, double b) { return (a > b) | (a != a) ? a : b; }
#elif defined(ADAPOOL_ON_DEVICE)
template <class V> ADAPOOL_HD V peak_of(V a, V b) { return (a > b) | (a != a) ? a : b; }
#endif

// a b + c, rounded once on the device.
#if defined(ADAPOOL_ON_DEVICE)
ADAPOOL_HD float fused(float a, float b, float c) { return ::fmaf(a, b, c); }
ADAPOOL_HD double fused(double a, double b, double c) { return ::fma(a, b, c); }
// a / b of normal b without a branch: about(), to two units in the last place; over(), rounded once but for denormals.
ADAPOOL_HD float about(float a, float b) { return a * reciprocal(b); }
ADAPOOL_HD double about(double a, double b) { return a / b; }
ADAPOOL_HD float over(float a, float b) {
  const float r = reciprocal(b), q = a * r, left = ::fmaf(-q, b, a);
  return left == left ? ::fmaf(left, r, q) : q;
}
ADAPOOL_HD double over(double a, double b) { return a / b; }
#else
template <class V> V fused(V a, V b, V c) { return a * b + c; }
template <class V> V about(V a, V b) { return a / b; }
template <class V> V over(V a, V b) { return a / b; }
#endif

// e^x of x in [0, 1], where x is given in steps for which a platform has an instruction; `half` is 1 / (2 steps).
template <class S> struct Steps {
  static constexpr double half = 0.5;
};
#if defined(ADAPOOL_ON_DEVICE)
template <> struct Steps<float> {
  static constexpr double half = 0.34657359027997264;
};  // 1 / (2 log2 e)
#endif

#if defined(ADAPOOL_ON_DEVICE)
constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147181f;
ADAPOOL_HD float exp_of(float a) { return power_of_two(a * kLog2e); }
ADAPOOL_HD float log_of(float a) { return logarithm_of_two(a) * kLn2; }
// e^(k a) of a <= 0: what is known of the factor is multiplied when compiled.
template <int k> ADAPOOL_HD float exp_of_negative(float a) { return power_of_two(a * (k * kLog2e)); }
template <int k> ADAPOOL_HD double exp_of_negative(double a) { return exp_of(k * a); }
ADAPOOL_HD float exp_steps(float x) { return power_of_two(x); }
ADAPOOL_HD double exp_steps(double x) { return exp_of(x); }
ADAPOOL_HD float any_pow(float a, float p) {  // of |a|, then the sign of an integer power
  const float size = power_of_two(p * logarithm_of_two(::fabsf(a))), half = p * 0.5f;
  const float negative = ::floorf(p) != p ? bit_cast<float>(0x7fc00000u) : ::floorf(half) == half ? size : -size;
  return p == 0 ? 1.f : a < 0 ? negative : size;
}
#else
inline float exp_of(float a) { return std::exp(a); }
inline float log_of(float a) { return std::log(a); }
inline float any_pow(float a, float p) { return std::pow(a, p); }
template <int k, class V> V exp_of_negative(V a) { return exp_of(V(k) * a); }
template <class V> V exp_steps(V x) { return exp_of(x); }
template <class V> V reciprocal(V a) { return V(1) / a; }
#endif

// Numbers of 16 bits as words, rounded to nearest even; NaN stays NaN, too large becomes inf. Pairs: the first one low.
#if defined(__CUDACC_RTC__)
__device__ inline float float_of_half(uint16_t bits) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(bits));
  return wide;
}
__device__ inline uint16_t half_of(float v) {
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(v));
  return bits;
}
#elif defined(ADAPOOL_F16C)
inline float float_of_half(uint16_t bits) { return _cvtsh_ss(bits); }
inline uint16_t half_of(float v) { return uint16_t(_cvtss_sh(v, _MM_FROUND_TO_NEAREST_INT)); }
#else
inline float float_of_half(uint16_t bits) {
  // The exponent moves by a multiplication, which also makes half's denormals right.
  const uint32_t magnitude = uint32_t(bits & 0x7fff) << 13, sign = uint32_t(bits & 0x8000) << 16;
  const float scaled = bit_cast<float>(magnitude) * bit_cast<float>(uint32_t(254 - 15) << 23);
  const uint32_t special = magnitude >= (0x7c00u << 13) ? 0x7f800000u : 0u;
  return bit_cast<float>(bit_cast<uint32_t>(scaled) | special | sign);
}
inline uint16_t half_of(float v) {
  const uint32_t bits = bit_cast<uint32_t>(v), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return uint16_t(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return uint16_t(sign | 0x7c00u);  // 65520 and above round to inf
  if (magnitude < 0x38800000u) {  // a denormal half: adding 0.5 leaves the rounded steps of 2^-24 in the last bits
    const float steps = bit_cast<float>(magnitude) + 0.5f;
    return uint16_t(sign | (bit_cast<uint32_t>(steps) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1);
  return uint16_t(sign | ((rounded - (uint32_t(112) << 23)) >> 13));
}
#endif
#if defined(__CUDACC_RTC__) && __CUDA_ARCH__ >= 800
__device__ inline uint16_t bfloat16_of(float v) {
  uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(v));
  return bits;
}
__device__ inline uint32_t bfloat16_pair(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
__device__ inline uint32_t half_pair(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
#else
ADAPOOL_HD uint16_t bfloat16_of(float v) {
  const uint32_t bits = bit_cast<uint32_t>(v);
  if (v != v) return uint16_t((bits >> 16) | 0x40);
  return uint16_t((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}
ADAPOOL_HD uint32_t bfloat16_pair(float low, float high) { return bfloat16_of(low) | uint32_t(bfloat16_of(high)) << 16; }
ADAPOOL_HD uint32_t half_pair(float low, float high) { return half_of(low) | uint32_t(half_of(high)) << 16; }
#endif

}  // namespace ADAPOOL_ISA
}  // namespace adapool
