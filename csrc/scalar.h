// Numbers in memory and in registers: 16-bit storage types, typed pointers, exact powers of two.
// Host and device; knows no window and no method.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#define ADAPOOL_HD __host__ __device__ inline
#define ADAPOOL_OFTEN
#define ADAPOOL_RARE
#else
#define ADAPOOL_HD inline
#define ADAPOOL_OFTEN __attribute__((always_inline))  // numbers that it adds to are then registers of the caller's
#define ADAPOOL_RARE __attribute__((noinline))  // keeps what calls it seldom small, and in registers
#endif
#if defined(__F16C__) && !defined(__CUDACC__)
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

struct Half { uint16_t bits; };
struct BFloat16 { uint16_t bits; };

enum class Type : int32_t { float64, float32, float16, bfloat16 };

template <class T> struct Number;  // Acc: what T is computed in
template <> struct Number<double> { using Acc = double; static constexpr Type type = Type::float64; };
template <> struct Number<float> { using Acc = float; static constexpr Type type = Type::float32; };
template <> struct Number<Half> { using Acc = float; static constexpr Type type = Type::float16; };
template <> struct Number<BFloat16> { using Acc = float; static constexpr Type type = Type::bfloat16; };
template <class T> using AccOf = typename Number<T>::Acc;

template <class To, class From> ADAPOOL_HD To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast keeps the size");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

ADAPOOL_HD double widen(double v) { return v; }
ADAPOOL_HD float widen(float v) { return v; }
ADAPOOL_HD float widen(BFloat16 v) { return bit_cast<float>(uint32_t(v.bits) << 16); }
ADAPOOL_HD float widen(Half v) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(v.bits));
#elif defined(ADAPOOL_F16C)
  return _cvtsh_ss(v.bits);
#else
  // The exponent moves by a multiplication, which also makes half's denormals right.
  const uint32_t magnitude = uint32_t(v.bits & 0x7fff) << 13, sign = uint32_t(v.bits & 0x8000) << 16;
  const float scaled = bit_cast<float>(magnitude) * bit_cast<float>(uint32_t(254 - 15) << 23);
  const uint32_t special = magnitude >= (0x7c00u << 13) ? 0x7f800000u : 0u;
  return bit_cast<float>(bit_cast<uint32_t>(scaled) | special | sign);
#endif
}

// Rounds to nearest even; NaN stays NaN, too large becomes inf.
template <class T> ADAPOOL_HD T narrow(double v) { return T(v); }
template <> ADAPOOL_HD BFloat16 narrow<BFloat16>(double wide) {
  const float v = float(wide);
  const uint32_t bits = bit_cast<uint32_t>(v);
  if (v != v) return {uint16_t((bits >> 16) | 0x40)};
  return {uint16_t((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16)};
}
template <> ADAPOOL_HD Half narrow<Half>(double wide) {
  const float v = float(wide);
#if defined(__CUDA_ARCH__)
  return {__half_as_ushort(__float2half_rn(v))};
#elif defined(ADAPOOL_F16C)
  return {uint16_t(_cvtss_sh(v, _MM_FROUND_TO_NEAREST_INT))};
#else
  const uint32_t bits = bit_cast<uint32_t>(v), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {uint16_t(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {uint16_t(sign | 0x7c00u)};  // 65520 and above round to inf
  if (magnitude < 0x38800000u) {  // a denormal half: adding 0.5 leaves the rounded steps of 2^-24 in the last bits
    const float steps = bit_cast<float>(magnitude) + 0.5f;
    return {uint16_t(sign | (bit_cast<uint32_t>(steps) - 0x3f000000u))};
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1);
  return {uint16_t(sign | ((rounded - (uint32_t(112) << 23)) >> 13))};
#endif
}

// A tensor's data whose dtype is known at run time only: operands, gradients, outputs.
struct Any {
  void* data;
  Type type;

  ADAPOOL_HD bool given() const { return data != nullptr; }
  template <class F> void visit(const F& f) const {  // f(pointer of the right type)
    switch (type) {
      case Type::float64: return f(static_cast<double*>(data));
      case Type::float32: return f(static_cast<float*>(data));
      case Type::float16: return f(static_cast<Half*>(data));
      default: return f(static_cast<BFloat16*>(data));
    }
  }
  template <class Acc> ADAPOOL_HD Acc load(int64_t i) const {
    switch (type) {
      case Type::float64: return Acc(static_cast<const double*>(data)[i]);
      case Type::float32: return Acc(static_cast<const float*>(data)[i]);
      case Type::float16: return Acc(widen(static_cast<const Half*>(data)[i]));
      default: return Acc(widen(static_cast<const BFloat16*>(data)[i]));
    }
  }
  template <class Acc> ADAPOOL_HD void store(int64_t i, Acc v) const {
    switch (type) {
      case Type::float64: static_cast<double*>(data)[i] = double(v); break;
      case Type::float32: static_cast<float*>(data)[i] = float(v); break;
      case Type::float16: static_cast<Half*>(data)[i] = narrow<Half>(v); break;
      default: static_cast<BFloat16*>(data)[i] = narrow<BFloat16>(v);
    }
  }
};

// The power of two that brings a largest magnitude `top` into [1, 4): multiplying by it is exact, so that sums,
// squares and differences of scaled values neither overflow nor underflow. Finite and normal for every top.
ADAPOOL_HD float unit_of(float top) {
  const int32_t field = 254 - int32_t((bit_cast<uint32_t>(top) >> 23) & 0xff);
  return bit_cast<float>(uint32_t(field < 1 ? 1 : field) << 23);
}
ADAPOOL_HD double unit_of(double top) {
  const int64_t field = 2046 - int64_t((bit_cast<uint64_t>(top) >> 52) & 0x7ff);
  return bit_cast<double>(uint64_t(field < 1 ? 1 : field) << 52);
}

// What methods are written with: `V` is float, double, or a pack of them (pack.h), and a condition on a V is a bool
// or a mask. Both sides of select() are computed.
template <class V> struct Lane { using Scalar = V; using Index = int64_t; };
template <class V> using ScalarOf = typename Lane<V>::Scalar;
template <class V> using IndexOf = typename Lane<V>::Index;

template <class A> ADAPOOL_HD A select(bool condition, A yes, A no) { return condition ? yes : no; }
ADAPOOL_HD float abs_of(float a) { return std::fabs(a); }
ADAPOOL_HD double abs_of(double a) { return std::fabs(a); }
ADAPOOL_HD float exp_of(float a) { return std::exp(a); }
ADAPOOL_HD double exp_of(double a) { return std::exp(a); }
ADAPOOL_HD float log_of(float a) { return std::log(a); }
ADAPOOL_HD double log_of(double a) { return std::log(a); }
ADAPOOL_HD float root_of(float a) { return std::sqrt(a); }
ADAPOOL_HD double root_of(double a) { return std::sqrt(a); }
ADAPOOL_HD float any_pow(float a, float p) { return std::pow(a, p); }
ADAPOOL_HD double any_pow(double a, double p) { return std::pow(a, p); }
ADAPOOL_HD float lane_of(float a, int) { return a; }
ADAPOOL_HD double lane_of(double a, int) { return a; }
ADAPOOL_HD bool all(bool condition) { return condition; }

template <class V> ADAPOOL_HD V sign_of(V a) { return select(a > V(0), V(1), select(a < V(0), V(-1), V(0))); }
template <class V> ADAPOOL_HD V pow_of(V a, V p) {  // the usual exponents without a logarithm
  if (all(p == V(1))) return a;
  if (all(p == V(2))) return a * a;
  if (all(p == V(0.5))) return root_of(a);
  if (all(p == V(0))) return V(1);
  return any_pow(a, p);
}

// A sum that keeps its digits however many terms there are: what each addition rounds away is added up beside it.
template <class V> struct Sum {
  V total, lost;  // from 0 on: Sum<V> sum{}
  ADAPOOL_HD void add(V term) {
    const V next = total + term, added = next - total;
    lost += (total - (next - added)) + (term - added);
    total = next;
  }
  ADAPOOL_HD V value() const {
    const V sum = total + lost;
    return select(sum == sum, sum, total);  // what an infinite total has lost is NaN
  }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
