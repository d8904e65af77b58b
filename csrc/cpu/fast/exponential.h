// Exponentials and logarithms of vectors, with their errors.
#pragma once
#include "cpu/fast/vector.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

constexpr int kSteps = kLanes == 16 ? 16 : 1;  // of an octave: as many powers of 2 as a register holds, where they are enough

#if ADAPOOL_VECTOR == 64
// 2^(n / 16) for the last four bits n, less n of the fourth place of the exponent and on.
ADAPOOL_INLINE V sixteenth(V n) {
  constexpr float power[16] = {1.f,         1.04427378f, 1.09050773f, 1.13878863f, 1.18920712f, 1.24185781f,
                               1.29683955f, 1.35425555f, 1.41421356f, 1.47682615f, 1.54221083f, 1.61049033f,
                               1.68179283f, 1.75625216f, 1.83400809f, 1.91520656f};
  Bits table;
  for (int i = 0; i < 16; ++i) table[i] = __builtin_bit_cast(int32_t, power[i]) - (i << 19);
  return _mm512_permutexvar_ps(__m512i(n), V(table));
}
#else
V sixteenth(V n);  // none: eight lanes are too few
#endif

// The functions below work on G independent vectors step by step: one vector's steps wait for each other, and the
// processor looks ahead too little to find the next vector's by itself.
template <int G, size_t count> ADAPOOL_INLINE void polynomial(const V* x, V* p, const float (&coefficient)[count]) {
  for (int g = 0; g < G; ++g) p[g] = fma(x[g], same(coefficient[0]), same(coefficient[1]));
#pragma GCC unroll 8
  for (size_t n = 2; n < count; ++n)
    for (int g = 0; g < G; ++g) p[g] = fma(p[g], x[g], same(coefficient[n]));
}

// e^d for d in [0, 1]: minimax, relative error 6.7e-7; no range reduction.
template <int G> ADAPOOL_INLINE void exp_unit(const V* d, V* e) {
  polynomial<G>(d, e, {0.013617169f, 0.035501671f, 0.169805135f, 0.499301713f, 1.00005499f, 0.999999327f});
}

// e^a, f being what 1.4427 a is above the whole steps that `shifted` has in its last bits.
template <int G> ADAPOOL_INLINE void exp_of(const V* f, const V* shifted, V* e) {
  if constexpr (kSteps == 1) {
    polynomial<G>(f, e, {0.0013276472f, 0.00967554133f, 0.0555071327f, 0.240221197f, 0.693146967f, 1.00000007f});
    for (int g = 0; g < G; ++g) e[g] = V(Wrapping(e[g]) + (Wrapping(shifted[g]) << 23));
  } else {
    polynomial<G>(f, e, {0.240219463f, 0.693187831f, 1.00000001f});
    for (int g = 0; g < G; ++g) e[g] = e[g] * V(Wrapping(sixteenth(shifted[g])) + (Wrapping(shifted[g]) << 19));
  }
}
constexpr float kLog2e = 1.44269504f, kMagic = 12582912.f / kSteps;  // 1.5 * 2^23

// 2^b for b <= 64: relative error 5e-7 + 6e-8 |b|; 2^-125 in place of anything smaller. Not for NaN.
template <int G> ADAPOOL_INLINE void exp2_below(const V* b, V* e) {
  V power[G], shifted[G], f[G];
  for (int g = 0; g < G; ++g) power[g] = larger(b[g], same(-125.f));
  for (int g = 0; g < G; ++g) shifted[g] = power[g] + same(kMagic);
  for (int g = 0; g < G; ++g) f[g] = power[g] - (shifted[g] - same(kMagic));
  exp_of<G>(f, shifted, e);
}
// e^a for a <= 0: relative error 5e-7 + 8e-8 |a|.
template <int G> ADAPOOL_INLINE void exp_below(const V* a, V* e) {
  V b[G];
  for (int g = 0; g < G; ++g) b[g] = a[g] * same(kLog2e);
  exp2_below<G>(b, e);
}

// e^a for |a| <= 32: relative error 5e-7 + 2e-8 |a|.
constexpr float kNear = 32;
ADAPOOL_INLINE V exp_near(V a) {
  const V shifted = fma(a, same(kLog2e), same(kMagic)), f = fma(a, same(kLog2e), same(kMagic) - shifted);
  V e;
  exp_of<1>(&f, &shifted, &e);
  return e;
}

// log2 t for t > 0 that are normal: relative error 2e-7, and half a unit in the last place of the result.
template <int G> ADAPOOL_INLINE void log2_of(const V* t, V* l) {
  constexpr uint32_t two_thirds = 0x3f2aaaab, exponent = 0xff800000;
  Wrapping whole[G];
  V r[G], part[G];
  for (int g = 0; g < G; ++g) whole[g] = (Wrapping(t[g]) - two_thirds) & exponent;
  for (int g = 0; g < G; ++g) r[g] = V(Wrapping(t[g]) - whole[g]) - same(1);
  polynomial<G>(r, part, {-0.221680135f, 0.246862173f, -0.236891761f, 0.285582036f, -0.360783726f, 0.480965495f,
                          -0.721346617f, 1.44269478f});
  for (int g = 0; g < G; ++g) l[g] = fma(part[g], r[g], __builtin_convertvector(Bits(whole[g]) >> 23, V));
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
