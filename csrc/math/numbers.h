// Numbers in memory and in registers: 16-bit storage types, typed pointers, exact powers of two.
// Host and device; knows no window and no method.
#pragma once
#include "math/builtins.h"

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

ADAPOOL_HD double widen(double v) { return v; }
ADAPOOL_HD float widen(float v) { return v; }
ADAPOOL_HD float widen(BFloat16 v) { return bit_cast<float>(uint32_t(v.bits) << 16); }
ADAPOOL_HD float widen(Half v) { return float_of_half(v.bits); }

// Rounds to nearest even; NaN stays NaN, too large becomes inf.
template <class T> ADAPOOL_HD T rounded(float v);
template <> ADAPOOL_HD BFloat16 rounded<BFloat16>(float v) { return {bfloat16_of(v)}; }
template <> ADAPOOL_HD Half rounded<Half>(float v) { return {half_of(v)}; }
template <class T, class A> ADAPOOL_HD T narrow(A v) {
  if constexpr (sizeof(T) > 2) return T(v);
  else return rounded<T>(float(v));
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

// x / unit, unit being what unit_of() gave.
template <class V> ADAPOOL_HD V unscaled(V x, V unit) { return x / unit; }
#if defined(ADAPOOL_ON_DEVICE)
ADAPOOL_HD float unscaled(float x, float unit) {  // by a product: 1 / 2^127 is denormal, but a number
  const int32_t inverse = 0x7f000000 - bit_cast<int32_t>(unit);
  return x * bit_cast<float>(inverse > 0x00400000 ? inverse : 0x00400000);
}
#endif

// What methods are written with: `V` is float, double, or a pack of them (pack.h), and a condition on a V is a bool
// or a mask. Both sides of select() are computed.
template <class V> struct Lane { using Scalar = V; using Index = int32_t; };
template <class V> using ScalarOf = typename Lane<V>::Scalar;
template <class V> using IndexOf = typename Lane<V>::Index;

template <class A> ADAPOOL_HD A select(bool condition, A yes, A no) { return condition ? yes : no; }
ADAPOOL_HD bool all(bool condition) { return condition; }
ADAPOOL_HD bool both(bool a, bool b) { return a & b; }  // of conditions that are known, without a branch

// Whether to branch around arithmetic that few regions need: what a device would save it loses to the branch's registers.
#if defined(ADAPOOL_ON_DEVICE)
constexpr bool kSkipsWhatIsRare = false;
#else
constexpr bool kSkipsWhatIsRare = true;
#endif

#if !defined(ADAPOOL_ON_DEVICE)
template <class V> V larger(V a, V b) { return select(a > b, a, b); }
template <class V> V smaller(V a, V b) { return select(a < b, a, b); }
#endif
template <class V> ADAPOOL_HD V sign_of(V a) { return select(a > V(0), V(1), select(a < V(0), V(-1), V(0))); }
template <class V> ADAPOOL_HD V pow_of(V a, V p) {  // the usual exponents without a logarithm
  if (all(p == V(1))) return a;
  if (all(p == V(2))) return a * a;
  if (all(p == V(0.5))) return root_of(a);
  if (all(p == V(0))) return V(1);
  return any_pow(a, p);
}
#if defined(ADAPOOL_ON_DEVICE)
ADAPOOL_HD float pow_of(float a, float p) { return any_pow(a, p); }  // a few instructions for all of them
#endif
// a^p of a > 0.
template <class V> ADAPOOL_HD V positive_pow(V a, V p) { return pow_of(a, p); }
#if defined(ADAPOOL_ON_DEVICE)
ADAPOOL_HD float positive_pow(float a, float p) { return power_of_two(p * logarithm_of_two(a)); }
#endif

#if defined(ADAPOOL_ON_DEVICE)
template <class V> ADAPOOL_HD V general_pow(V a, V p) { return exp_of(p * log_of(a)); }
template <class V> ADAPOOL_HD int small_whole(V) { return 0; }  // a few instructions for all of them
#else
// Out of line, so that what calls it is short.
template <class V> __attribute__((noinline)) V general_pow(V a, V p) { return exp_of(p * log_of(a)); }
template <class V> int small_whole(V p) { return all(p == V(1)) ? 1 : all(p == V(2)) ? 2 : all(p == V(3)) ? 3 : 0; }
#endif

// a^p of a > 0; small whole exponents, which are usual, by products. That is found out once and not at each tap.
template <class V> struct Exponent {
  V p;
  int whole;  // or 0
  Exponent() = default;
  ADAPOOL_HD explicit Exponent(V of) : p(of), whole(small_whole(of)) {}
  ADAPOOL_HD V power(V a) const {
    if (whole == 0) return general_pow(a, p);
    if (whole == 1) return a;
    const V square = a * a;
    return whole == 2 ? square : square * a;
  }
};

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
