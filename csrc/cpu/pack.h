// Several numbers side by side, for the CPU: the compiler's vector types with the functions that methods use.
// Host only; knows nothing of pooling.
#pragma once
#include <limits>
#include <type_traits>

#include "math/numbers.h"

// Bytes of one vector register, set by the build for each instruction set.
#ifndef ADAPOOL_VECTOR
#define ADAPOOL_VECTOR 16
#endif

namespace adapool {
inline namespace ADAPOOL_ISA {

template <class I> struct Mask {
  typedef I Raw __attribute__((vector_size(ADAPOOL_VECTOR)));
  Raw raw;
  friend Mask operator&&(Mask a, Mask b) { return {a.raw & b.raw}; }
  friend Mask operator||(Mask a, Mask b) { return {a.raw | b.raw}; }
  friend Mask operator!(Mask a) { return {~a.raw}; }
  friend Mask both(Mask a, Mask b) { return a && b; }
};

template <class S> struct Pack {
  using Integer = std::conditional_t<sizeof(S) == 8, int64_t, int32_t>;
  typedef S Raw __attribute__((vector_size(ADAPOOL_VECTOR)));
  typedef Integer Bits __attribute__((vector_size(ADAPOOL_VECTOR)));
  static constexpr int size = ADAPOOL_VECTOR / sizeof(S);
  Raw raw;

  Pack() = default;
  Pack(Raw r) : raw(r) {}
  template <class A, class = std::enable_if_t<std::is_arithmetic_v<A>>> Pack(A a) : raw(Raw{} + S(a)) {}
  Bits bits() const { return bit_cast<Bits>(raw); }
  static Pack get(const S* from) { Pack p; memcpy(&p, from, sizeof(p)); return p; }
  void put(S* to) const { memcpy(to, this, sizeof(*this)); }

  Pack& operator+=(Pack b) { raw += b.raw; return *this; }
  friend Pack operator+(Pack a, Pack b) { return a.raw + b.raw; }
  friend Pack operator-(Pack a, Pack b) { return a.raw - b.raw; }
  friend Pack operator*(Pack a, Pack b) { return a.raw * b.raw; }
  friend Pack operator/(Pack a, Pack b) { return a.raw / b.raw; }
  friend Pack operator-(Pack a) { return -a.raw; }
  friend Mask<Integer> operator<(Pack a, Pack b) { return {a.raw < b.raw}; }
  friend Mask<Integer> operator>(Pack a, Pack b) { return {a.raw > b.raw}; }
  friend Mask<Integer> operator<=(Pack a, Pack b) { return {a.raw <= b.raw}; }
  friend Mask<Integer> operator>=(Pack a, Pack b) { return {a.raw >= b.raw}; }
  friend Mask<Integer> operator==(Pack a, Pack b) { return {a.raw == b.raw}; }
  friend Mask<Integer> operator!=(Pack a, Pack b) { return {a.raw != b.raw}; }
};

template <class S> struct Lane<Pack<S>> {
  using Scalar = S;
  using Index = Pack<typename Pack<S>::Integer>;
};

template <class S> Pack<S> select(Mask<typename Pack<S>::Integer> m, Pack<S> a, Pack<S> b) { return m.raw ? a.raw : b.raw; }
template <class I> bool all(Mask<I> m) {
  I every = -1;
  for (unsigned i = 0; i < sizeof(m.raw) / sizeof(I); ++i) every &= m.raw[i];
  return every != 0;
}

template <class S> Pack<S> abs_of(Pack<S> a) {
  using Bits = typename Pack<S>::Bits;
  return bit_cast<typename Pack<S>::Raw>(a.bits() & (Bits{} + std::numeric_limits<typename Pack<S>::Integer>::max()));
}
template <class S> Pack<S> turned_by(Pack<S> x, Pack<S> by) {
  using Bits = typename Pack<S>::Bits;
  return bit_cast<typename Pack<S>::Raw>(x.bits() ^ (by.bits() & (Bits{} + std::numeric_limits<typename Pack<S>::Integer>::min())));
}
template <class S, class F> Pack<S> lanewise(F f) {
  Pack<S> r;
  for (int i = 0; i < Pack<S>::size; ++i) r.raw[i] = f(i);
  return r;
}
template <class S> Pack<S> root_of(Pack<S> a) { return lanewise<S>([&](int i) { return std::sqrt(a.raw[i]); }); }
inline Pack<double> log_of(Pack<double> a) { return lanewise<double>([&](int i) { return std::log(a.raw[i]); }); }
inline Pack<double> any_pow(Pack<double> a, Pack<double> p) {
  return lanewise<double>([&](int i) { return std::pow(a.raw[i], p.raw[i]); });
}

inline Pack<double> unit_of(Pack<double> top) { return lanewise<double>([&](int i) { return unit_of(top.raw[i]); }); }
inline Pack<float> unit_of(Pack<float> top) {
  const Pack<float>::Bits field = 254 - ((top.bits() >> 23) & 0xff);
  return bit_cast<Pack<float>::Raw>((field < 1 ? Pack<float>::Bits{} + 1 : field) << 23);
}

// ((sum x + c) x + d) ...
template <class P, class... C> inline ADAPOOL_OFTEN P horner(P x, P sum, C... more) {
  ((sum = sum * x + P(more)), ...);
  return sum;
}

// e^x = 2^n e^r, |r| <= ln 2 / 2, by Cephes' polynomial: 1e-7 relative. NaN stays NaN.
struct Reduced {
  using P = Pack<float>;
  P part;  // e^r
  P::Bits whole;  // n

  explicit Reduced(P x) {
    const P magic(12582912.0f), shifted = x * P(1.44269504f) + magic, n = shifted - magic;
    const P r = (x - n * P(0.693359375f)) + n * P(2.12194440e-4f);
    const P most = horner(r, P(1.9875691500e-4f), 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f,
                          5.0000001201e-1f);
    part = most * r * r + r + P(1);
    whole = shifted.bits() - magic.bits();
  }
};

// Two factors of about 2^(n/2) reach inf and the denormals.
inline Pack<float> exp_of(Pack<float> x) {
  using P = Pack<float>;
  const Reduced e(select(x < P(-150), P(-150), select(x > P(150), P(150), x)));
  const P::Bits half = e.whole >> 1;
  const P low = bit_cast<P::Raw>((half + 127) << 23), high = bit_cast<P::Raw>((e.whole - half + 127) << 23);
  return e.part * low * high;
}

// e^(k a) of a <= 0: one power of two is enough for it; 0 where that is less than 2^-125. By
// a factor, and not by adding to the exponent's bits, which can make a number of a NaN.
template <int k> Pack<float> exp_of_negative(Pack<float> a) {
  using P = Pack<float>;
  const P x = a * P(k), least(-86.6f);
  const auto small = x < least;
  const Reduced e(select(small, least, x));
  return select(small, P(0), e.part * P(bit_cast<P::Raw>((e.whole + 127) << 23)));
}

// e^x of x in [0, 1]: minimax, 1e-7 relative, with no power of two at all.
inline Pack<float> exp_steps(Pack<float> x) {
  return horner(x, Pack<float>(2.2720648e-3f), 7.06467452e-3f, 4.25258726e-2f, 1.6637598e-1f, 5.00045776e-1f,
                9.99997377e-1f, 1.0f);
}

// The same as exp_of() in double, by Cephes' rational form: 2e-16 relative.
inline Pack<double> exp_of(Pack<double> x) {
  using P = Pack<double>;
  x = select(x < P(-1000), P(-1000), select(x > P(1000), P(1000), x));
  const P magic(6755399441055744.0), shifted = x * P(1.4426950408889634) + magic, n = shifted - magic;
  const P r = (x - n * P(6.93145751953125e-1)) - n * P(1.42860682030941723212e-6), rr = r * r;
  const P top = r * horner(rr, P(1.26177193074810590878e-4), 3.02994407707441961300e-2, 1);
  const P low = horner(rr, P(3.00198505138664455042e-6), 2.52448340349684104192e-3, 2.27265548208155028766e-1, 2);
  const P value = P(1) + P(2) * (top / (low - top));
  const P::Bits whole = shifted.bits() - magic.bits(), half = whole >> 1;
  const P one = bit_cast<P::Raw>((half + 1023) << 52), other = bit_cast<P::Raw>((whole - half + 1023) << 52);
  return value * one * other;
}

// ln x = e ln 2 + ln m, m in [sqrt(1/2), sqrt 2), by Cephes' polynomial.
inline Pack<float> log_of(Pack<float> given) {
  using P = Pack<float>;
  const auto small = given < P(std::numeric_limits<float>::min());
  const P x = select(small, given * P(8388608.0f), given);
  P e = P(__builtin_convertvector((x.bits() >> 23) - 126, P::Raw)) - select(small, P(23), P(0));
  P m = bit_cast<P::Raw>((x.bits() & 0x007fffff) | 0x3f000000);
  const auto low = m < P(0.707106781f);
  e = e - select(low, P(1), P(0));
  m = select(low, m + m, m) - P(1);
  const P z = m * m;
  const P poly = horner(m, P(7.0376836292e-2f), -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                        -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f);
  const P y = poly * m * z + e * P(-2.12194440e-4f) - P(0.5f) * z;
  const P inf(std::numeric_limits<float>::infinity()), nan(std::numeric_limits<float>::quiet_NaN());
  const P found = m + y + e * P(0.693359375f);
  const P special = select(given == P(0), -inf, select(given == inf, inf, nan));
  return select(given > P(0) && given < inf, found, special);
}

inline Pack<float> any_pow(Pack<float> a, Pack<float> p) {  // of |a|, then the sign of an integer power
  using P = Pack<float>;
  const P size = exp_of(p * log_of(abs_of(a)));
  const P half = p * P(0.5f), whole = lanewise<float>([&](int i) { return std::floor(p.raw[i]); }),
          pairs = lanewise<float>([&](int i) { return std::floor(half.raw[i]); });
  const P nan(std::numeric_limits<float>::quiet_NaN());
  const P negative = select(whole == p, select(pairs == half, size, -size), nan);
  return select(p == P(0), P(1), select(a < P(0), negative, size));
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
