// The arithmetic of one window whose taps are in registers: values and gradients of ada, edscw and softpool.
// Formulas as in weights.h, without its scaling: right for every finite number, but means below 2^-123 count as zero.
#pragma once
#include "cuda_numbers.cuh"

namespace adapool {
inline namespace ADAPOOL_ISA {

// The degree of the polynomial for e^D, D in [0, 1]: relative errors 3e-4 and 2e-5, a part of what rounding to the type
// costs. 0: the special function unit, 3e-7. That unit is the scarce one for 16 bits, and on the newest devices always.
template <class T> constexpr int degree_for() {
  if (std::is_same_v<T, BFloat16>) return 3;
  if (std::is_same_v<T, Half>) return 4;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
  return 6;
#else
  return 0;
#endif
}

// e^(2q) for q in [0, 1/2], by relative minimax polynomials; of `unit` times q.
template <int degree> __device__ float exp_twice(float scaled, float unit) {
  constexpr float table[4][7] = {
      {0.999677719f, 2.02434809f, 1.73673089f, 2.17097033f},
      {1.00001614f, 1.99813698f, 2.03247964f, 1.14439153f, 1.08775186f},
      {0.999999327f, 2.00010997f, 1.99720685f, 1.35844108f, 0.568026741f, 0.4357494f},
      {1.00000002f, 1.99999472f, 2.00018313f, 1.33100784f, 0.680413989f, 0.226069584f, 0.145412148f}};
  float by[degree + 1], part = 1;
#pragma unroll
  for (int i = 0; i <= degree; ++i, part /= unit) by[i] = table[degree - 3][i] * part;
  float sum = by[degree];
#pragma unroll
  for (int i = degree - 1; i >= 0; --i) sum = std::fma(sum, scaled, by[i]);
  return sum;
}

// With u = a / m: D = 2 |u| / (1 + u^2), F = dD/du = 2 sign(u) (1 - u^2) / (1 + u^2)^2, k = edscw / m = sum e^D u / sum e^D,
//   d edscw / da = w (1 + (u - k) F) - (1/N) sum w (u - k) u F;  d softpool / da = w (1 + t - p), t = a - max, p = sum w t.
// v = alpha u and s = lambda t are what is computed, so that exponents need no multiplication of their own, and nothing
// overflows before the result does.
template <class T, bool dice, bool soft, int K, bool overlaps, bool line> struct Weigher {
  static constexpr int N = K * K;
  static constexpr int degree = degree_for<T>();
  static constexpr bool ranged = !std::is_same_v<T, Half>;  // whether differences of its numbers may overflow
  static constexpr bool keeps = N <= 36;                    // what was computed of more taps is computed twice
  static constexpr float alpha = degree == 0 ? 0.34657359f : 1.f;       // 1 / (2 log2 e)
  static constexpr float log2e = 1.44269504f, lambda = ranged ? 0.25f : log2e;
  float top, eighth, scale, shift;       // maximum, m / 8, alpha / m, lambda top
  float k, p;                            // alpha k, lambda p
  float e1[keeps ? N : 1], h[keeps ? N : 1], e2[keeps ? N : 1];  // e^D, then e^D (1 + (u - k) F); its slope; e^t
  float scale1, common, scale2, steep2, again;

  // The mean and the maximum in `parts`: of columns, where the compiler then computes once what windows share.
  template <int parts, class A> __device__ void begin(const A& a) {
#pragma unroll
    for (int part = 0; part < parts; ++part) {
      float sum = 0, most = a(part);
#pragma unroll
      for (int i = part; i < N; i += parts) {
        if constexpr (dice) sum = i == part ? a(i) * (1.f / (8 * N)) : std::fma(a(i), 1.f / (8 * N), sum);
        most = std::fmax(most, a(i));
      }
      if constexpr (dice) eighth = part == 0 ? sum : eighth + sum;
      top = part == 0 ? most : std::fmax(top, most);
    }
    if constexpr (dice) {  // a mean that nearly cancels, or is denormal, counts as zero
      scale = reciprocal(eighth) * (alpha / 8);
      scale = std::fabs(scale * top) < 0x1p57f ? scale : 0.f;
    }
    shift = top * lambda;
  }
  // log2 e, or less where taps are so large that any slope tells two apart and rounding would not cancel.
  __device__ float steepness() const {
    if constexpr (std::is_same_v<T, float>) {  // 2^24 / |top| to 12 %, if that is less
      const uint32_t bits = 0x8b000000u - (bit_cast<uint32_t>(top) & 0x7fffffffu), most = bit_cast<uint32_t>(log2e);
      return bit_cast<float>(bits < most ? bits : most);
    }
    // A product of a bfloat16 and 16 bits is exact, so that the difference of two is as good as that of the taps; half's
    // are too small to lose digits that count.
    constexpr float exact16 = 94548.f / 65536;  // log2 e to 5e-6
    return !ranged ? log2e : std::fabs(top) < 0x1p114f ? exact16 : exact16 * 0x1p-104f;
  }
  // e^t; 2^30 times it where what weighs nothing may be so far below that its t times the gradient overflows.
  __device__ float exponential(float s) const { return power_of_two(ranged ? std::fma(s, 4 * log2e, 30.f) : s); }
  // e^D; r = 1 / (alpha^2 (1 + u^2)). `often`: by a polynomial even where the special function unit would do.
  template <bool often = false> __device__ float similarity(float v, float& r) const {
    r = reciprocal(std::fma(v, v, alpha * alpha));
    const float q = std::fabs(v) * r;
    if constexpr (degree == 0 && !often) return power_of_two(q);
    else return exp_twice<degree == 0 ? 5 : degree>(q, 1 / alpha);
  }
  // e^D F / alpha, but for v = 0, where F is 0.
  __device__ float slope(float v, float r, float e) const {
    const float size = e * std::fma(r, 4 * alpha * alpha * alpha, -2 * alpha) * r;
    return bit_cast<float>(bit_cast<uint32_t>(size) ^ (bit_cast<uint32_t>(v) & 0x80000000u));
  }

  // The value, times `under` where a softmax is a part of it; or with `given` the mean of other numbers b by its weights.
  template <bool given, class A, class B> __device__ float value(const A& a, const B& b, float beta, float& under) {
    begin<overlaps && line ? K : 1>(a);
    // Differences of taps are only needed in exponents: what rounding of `down` does to all of them cancels in the weights,
    // and -inf does no harm. Of numbers so large that n2 z1 could overflow the weights have 2^-16 as a factor.
    const float steep = steepness(), down = std::fma(top, steep, 16.f);
    const auto exponent = [&](float tap) { return std::fma(tap, steep, -down); };
    float z1 = 0, n1 = 0, z2 = 0, n2 = 0;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if constexpr (dice) {
        float r;
        const float v = a(i) * scale, of = given ? b(i) : v;
        // Where windows overlap there are so many taps that the special function unit would be what binds: polynomials for
        // five of nine, and for four where no columns are shared, because instructions are scarcer there.
        const float e = overlaps && i % 2 == !line ? similarity<true>(v, r) : similarity(v, r);
        z1 = i == 0 ? e : z1 + e;
        n1 = i == 0 ? e * of : std::fma(e, of, n1);
      }
      if constexpr (soft) {
        const float e = power_of_two(exponent(a(i))), of = given ? b(i) : a(i);
        z2 = i == 0 ? e : z2 + e;
        n2 = i == 0 ? e * of : std::fma(e, of, n2);
      }
    }
    // In this order, or large numbers overflow.
    if constexpr (!soft) return given ? n1 * reciprocal(z1) : n1 * reciprocal(z1) * (8 / alpha) * eighth;
    under = dice ? z1 * z2 : z2;
    if constexpr (!dice) return n2;
    const float of_dice = given ? n1 * z2 : n1 * z2 * (8 / alpha) * eighth, of_soft = n2 * z1;
    return std::fma(beta, of_dice, std::fma(-beta, of_soft, of_soft));
  }

  // Before share(), which is g dy / da, or g times the weight alone, added to `sum` (unless it is the first), and before
  // difference(), which is dy / dbeta. `one` is 1, which the compiler must not know, lest it keep what is to be computed
  // again.
  template <bool exact, class A> __device__ void differentiate(const A& a, float beta, float g, float one) {
    begin<1>(a);
    again = one;
    float z1 = 0, n1 = 0, z2 = 0, n2 = 0, by = 0, by_v = 0;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if constexpr (dice) {
        float r;
        const float v = a(i) * scale, e = similarity(v, r);
        z1 = i == 0 ? e : z1 + e;
        n1 = i == 0 ? e * v : std::fma(e, v, n1);
        if constexpr (keeps) e1[i] = e;
        if constexpr (exact) {
          const float half = slope(v, r, e);
          if constexpr (keeps) h[i] = half;
          else by = std::fma(half, v, by), by_v = std::fma(half * v, v, by_v);
        }
      }
      if constexpr (soft) {
        const float s = std::fma(a(i), lambda, -shift), e = exponential(s);
        z2 = i == 0 ? e : z2 + e;
        n2 = i == 0 ? e * s : std::fma(e, s, n2);
        if constexpr (keeps) e2[i] = e;
      }
    }
    const float inverse1 = reciprocal(z1), inverse2 = reciprocal(z2);
    k = n1 * inverse1;
    p = n2 * inverse2;
    if constexpr (dice) {
      scale1 = (soft ? g * beta : g) * inverse1;
      if constexpr (exact) {
        if constexpr (keeps) {
#pragma unroll
          for (int i = 0; i < N; ++i) {
            const float v = a(i) * scale, x = h[i] * (v - k);
            by_v = i == 0 ? x * v : std::fma(x, v, by_v);
            add_unless_zero(e1[i], x, v);
          }
        } else {
          by_v = std::fma(-k, by, by_v);
        }
        common = scale1 * by_v * (-1 / (alpha * N));
      }
    }
    if constexpr (soft) {
      scale2 = (dice ? std::fma(-g, beta, g) : g) * inverse2;
      if constexpr (exact) {
        steep2 = scale2 * (1 / lambda);
        scale2 = std::fma(-steep2, p, scale2);
      }
    }
  }
  __device__ float difference() const { return std::fma(k * (8 / alpha), eighth, -std::fma(p, 1 / lambda, top)); }

  template <bool exact, bool first, class A> __device__ float share(const A& a, int i, float sum) const {
    const float tap = keeps ? a(i) : a(i) * again;
    if constexpr (dice) {
      float e = e1[keeps ? i : 0];
      if constexpr (!keeps) {
        float r;
        const float v = tap * scale;
        e = similarity(v, r);
        if constexpr (exact) add_unless_zero(e, slope(v, r, e) * (v - k), v);
      }
      if constexpr (exact) sum = std::fma(scale1, e, first ? common : common + sum);
      else sum = first ? scale1 * e : std::fma(scale1, e, sum);
    }
    if constexpr (soft) {
      const float s = std::fma(tap, lambda, -shift), e = keeps ? e2[keeps ? i : 0] : exponential(s);
      const float weight = exact ? std::fma(s, steep2, scale2) : scale2;
      sum = !dice && first ? e * weight : std::fma(e, weight, sum);
    }
    return sum;
  }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
