// As many floats at a time as a register holds (8 with AVX2, 16 with AVX-512): 16-bit numbers, and rows of memory taken
// apart by column. Knows no method.
#pragma once
#include <immintrin.h>

#include "cpu/shuffle.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

typedef float V __attribute__((vector_size(ADAPOOL_VECTOR)));
typedef int32_t Bits __attribute__((vector_size(ADAPOOL_VECTOR)));
typedef uint32_t Wrapping __attribute__((vector_size(ADAPOOL_VECTOR)));
constexpr int kLanes = ADAPOOL_VECTOR / 4;

#define ADAPOOL_INLINE inline __attribute__((always_inline))

ADAPOOL_INLINE V same(float a) { return V{} + a; }
ADAPOOL_INLINE V fma(V a, V b, V c) { return a * b + c; }  // contracted: the build says -ffp-contract=fast
ADAPOOL_INLINE V magnitude(V a) { return V(Bits(a) & 0x7fffffff); }
constexpr int32_t kSign = 1 << 31;

template <class T> ADAPOOL_INLINE V load(const T* p);
template <class T> ADAPOOL_INLINE void store(T* p, V v);

#if ADAPOOL_VECTOR == 64
ADAPOOL_INLINE V with_sign_of(V sign, V a) {  // a ^ (sign & kSign), and 0 where sign is 0
  return V(_mm512_maskz_ternarylogic_epi32(_mm512_cmp_ps_mask(sign, V{}, _CMP_NEQ_UQ), __m512i(a), __m512i(sign),
                                           __m512i(Bits{} + kSign), 0x78));
}
ADAPOOL_INLINE V larger(V a, V b) { return _mm512_max_ps(a, b); }  // b where either is NaN
ADAPOOL_INLINE V root_of(V a) { return _mm512_sqrt_ps(a); }
ADAPOOL_INLINE int not_within(V a, float limit) { return _mm512_cmp_ps_mask(a, same(limit), _CMP_NLE_UQ); }
template <> ADAPOOL_INLINE V load(const float* p) { return _mm512_loadu_ps(p); }
template <> ADAPOOL_INLINE void store(float* p, V v) { _mm512_storeu_ps(p, v); }
template <> ADAPOOL_INLINE V load(const Half* p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p)); }
template <> ADAPOOL_INLINE void store(Half* p, V v) {
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
ADAPOOL_INLINE Bits load16(const void* p) { return Bits(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p))); }
ADAPOOL_INLINE void store16(void* p, Bits v) { _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16((__m512i)v)); }
#else
ADAPOOL_INLINE V with_sign_of(V sign, V a) { return sign != 0 ? V(Bits(a) ^ (Bits(sign) & kSign)) : V{}; }
ADAPOOL_INLINE V larger(V a, V b) { return _mm256_max_ps(a, b); }
ADAPOOL_INLINE V root_of(V a) { return _mm256_sqrt_ps(a); }
ADAPOOL_INLINE int not_within(V a, float limit) {
  return _mm256_movemask_ps(_mm256_cmp_ps(a, same(limit), _CMP_NLE_UQ));
}
template <> ADAPOOL_INLINE V load(const float* p) { return _mm256_loadu_ps(p); }
template <> ADAPOOL_INLINE void store(float* p, V v) { _mm256_storeu_ps(p, v); }
template <> ADAPOOL_INLINE V load(const Half* p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)); }
template <> ADAPOOL_INLINE void store(Half* p, V v) {
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
ADAPOOL_INLINE Bits load16(const void* p) { return Bits(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p))); }
ADAPOOL_INLINE void store16(void* p, Bits v) {
  const __m256i halves = _mm256_packus_epi32((__m256i)v, (__m256i)v);
  _mm_storeu_si128((__m128i*)p, _mm256_castsi256_si128(_mm256_permute4x64_epi64(halves, 0x08)));
}
#endif
template <> ADAPOOL_INLINE V load(const BFloat16* p) { return V(load16(p) << 16); }
template <> ADAPOOL_INLINE void store(BFloat16* p, V v) {  // to nearest even; NaN keeps its upper bits, as in narrow()
  const Bits bits = Bits(v), upper = (bits >> 16) & 0xffff, up = (bits + 0x7fff + (upper & 1)) >> 16 & 0xffff;
  store16(p, v != v ? upper | 0x40 : up);
}

// The functions below work on G independent vectors step by step.
template <int G> ADAPOOL_INLINE V sum_of(const V* v) {  // pairwise
  if constexpr (G == 1) return v[0];
  else return sum_of<G / 2>(v) + sum_of<G - G / 2>(v + G / 2);
}
template <int G> ADAPOOL_INLINE V largest_of(const V* v) {
  if constexpr (G == 1) return v[0];
  else return larger(largest_of<G / 2>(v), largest_of<G - G / 2>(v + G / 2));
}

// Lanes of `low` below `first`, of `high` from there on.
ADAPOOL_INLINE V joined(V low, V high, int64_t first) {
  Bits lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  return lane < int32_t(first) ? low : high;
}

// Of the lanes of a and b, one after the other, those from `first` on.
ADAPOOL_INLINE V from_lane(int64_t first, V a, V b) {
  Bits lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  lane += int32_t(first);
#if ADAPOOL_VECTOR == 64
  return _mm512_permutex2var_ps(a, __m512i(lane), b);
#else
  const V low = _mm256_permutevar8x32_ps(a, __m256i(lane)), high = _mm256_permutevar8x32_ps(b, __m256i(lane));
  return lane < kLanes ? low : high;
#endif
}

// Memory from p on that goes on `jump` elements further after `end` of them.
struct Split {
  float* p;
  int64_t end, jump;
};
ADAPOOL_INLINE V load_at(const float* p, int64_t i) { return load(p + i); }
ADAPOOL_INLINE V load_at(const Split& s, int64_t i) {
  const int64_t first = s.end - i;
  if (first >= kLanes) return load(s.p + i);
  if (first <= 0) return load(s.p + i + s.jump);
  return joined(load(s.p + i), load(s.p + i + s.jump), first);
}
ADAPOOL_INLINE void store_at(float* p, int64_t i, V v) { store(p + i, v); }
ADAPOOL_INLINE void store_at(const Split& s, int64_t i, V v) {
  const int64_t first = s.end - i;
  if (first >= kLanes) return store(s.p + i, v);
  float* after = s.p + i + s.jump;
  if (first > 0) {
    store(s.p + i, joined(v, load(s.p + i), first));
    v = joined(load(after), v, first);
  }
  store(after, v);
}

using Every = std::make_index_sequence<kLanes>;

// Lane b of the result is lane b of v[which(b)], for vectors up to `last`.
template <auto which, int last> ADAPOOL_INLINE V blended(const V* v) {
  if constexpr (last == 0) return v[0];
  else return shuffled<[](int b) { return which(b) == last ? kLanes + b : b; }>(blended<which, last - 1>(v), v[last], Every{});
}

// Memory that is used soon: `lines` of `line` bytes, one of each plane in turn, which are `pitch` bytes apart.
struct PrefetchStream {
  const char* first;
  int64_t pitch, line, lines;

  // Asks for `count` from the n-th on, into the second cache: rows of many planes would push each other out of the first.
  template <int count> ADAPOOL_INLINE void ask(uint64_t n) const {
    static_assert(count <= kLanes);
    const int64_t lane = n % kLanes, over = line - kLanes * pitch;
    const char* p = first + lane * pitch + n / kLanes * line;
#pragma GCC unroll 8
    for (int i = 0; i < count; ++i, p += pitch) {
      const bool within = kLanes % count == 0 || lane + i < kLanes;
      asm volatile("prefetcht1 %0" ::"m"(p[within ? 0 : over]));
    }
  }
};

// Memory in steps of S: column k of lane i lies at p[S * i + k]. Lanes have an order of their own; natural() and
// lanes() go to and from the order of memory. take() reads no more than the lanes' own columns for K == S or S <= 2.
template <int S> struct Columns {
  static_assert(S % 2 == 1, "no common factor with the lanes: in S vectors, each lane's column has its own position");
  static constexpr int order(int lane) { return lane; }
  static ADAPOOL_INLINE V natural(V v) { return v; }
  static ADAPOOL_INLINE V lanes(V v) { return v; }

  // The lane whose column k is at position b of one of the S vectors.
  static constexpr int lane_at(int k, int b) {
    int i = 0;
    while ((S * i + k) % kLanes != b) ++i;
    return i;
  }
  template <int k> static ADAPOOL_INLINE void take_from(const V* v, V* column) {
    if constexpr (k < S) {
      const V mixed = blended<[](int b) { return (S * lane_at(k, b) + k) / kLanes; }, S - 1>(v);
      column[k] = shuffled<[](int i) { return (S * i + k) % kLanes; }>(mixed, mixed, Every{});
      take_from<k + 1>(v, column);
    }
  }
  template <int K, class P> static ADAPOOL_INLINE void take(const P& p, V* column) {
    static_assert(S == 1 || K == S, "overlap needs a stride of 1 or 2");
    V v[S];
    for (int k = 0; k < S; ++k) v[k] = load_at(p, kLanes * k);
    if constexpr (S > 1) take_from<0>(v, column);
    else for (int k = 0; k < K; ++k) column[k] = load_at(p, k);
  }
  template <int k> static ADAPOOL_INLINE void turn(V* column) {
    if constexpr (k < S) {
      column[k] = shuffled<[](int b) { return lane_at(k, b); }>(column[k], column[k], Every{});
      turn<k + 1>(column);
    }
  }
  template <int n, class P> static ADAPOOL_INLINE void put_from(const P& p, const V* v) {
    if constexpr (n < S) {
      store_at(p, kLanes * n, blended<[](int b) { return (kLanes * n + b) % S; }, S - 1>(v));
      put_from<n + 1>(p, v);
    }
  }
  template <class P> static ADAPOOL_INLINE void put(const P& p, V* column) {  // the way back, from lanes in the order of memory
    turn<0>(column);
    put_from<0>(p, column);
  }
  template <class P> static ADAPOOL_INLINE void put_lanes(const P& p, V* column) { put(p, column); }  // from lanes in their own
};

template <> struct Columns<2> {
  static constexpr bool half_wise = kLanes == 8;  // shuffles within 128 bits are cheap, across them they cost a second
  static constexpr int order(int lane) { return half_wise ? lane / 4 * 2 + lane % 4 / 2 * 4 + lane % 2 : lane; }
  static constexpr int within(int b, int k) { return half_wise ? b / 4 * 4 + b % 2 * 2 + b % 4 / 2 * 8 + k : 2 * b + k; }
  static ADAPOOL_INLINE V natural(V v) {
    if constexpr (half_wise) return shuffled<[](int b) { return order(b); }>(v, v, Every{});
    else return v;
  }
  static ADAPOOL_INLINE V lanes(V v) { return natural(v); }
  template <int K, class P> static ADAPOOL_INLINE void take(const P& p, V* column) {
    for (int k = 0; k + 1 < K; k += 2) {
      const V a = load_at(p, k), b = load_at(p, k + kLanes);
      column[k] = shuffled<[](int b) { return within(b, 0); }>(a, b, Every{});
      column[k + 1] = shuffled<[](int b) { return within(b, 1); }>(a, b, Every{});
    }
    if constexpr (K % 2 == 1)
      column[K - 1] = shuffled<[](int b) { return within(b, 1); }>(load_at(p, K - 2), load_at(p, K - 2 + kLanes), Every{});
  }
  template <class P> static ADAPOOL_INLINE void put(const P& p, V* column) {
    const auto both = [](int b) { return b / 2 + b % 2 * kLanes; };
    store_at(p, 0, shuffled<both>(column[0], column[1], Every{}));
    store_at(p, kLanes, shuffled<[](int b) { return kLanes / 2 + b / 2 + b % 2 * kLanes; }>(column[0], column[1], Every{}));
  }
  template <class P> static ADAPOOL_INLINE void put_lanes(const P& p, V* column) {
    if constexpr (!half_wise) return put(p, column);
    const auto low = [](int b) { return b / 4 * 4 + b % 4 / 2 + b % 2 * kLanes; };
    const auto high = [](int b) { return b / 4 * 4 + b % 4 / 2 + 2 + b % 2 * kLanes; };
    store_at(p, 0, shuffled<low>(column[0], column[1], Every{}));
    store_at(p, kLanes, shuffled<high>(column[0], column[1], Every{}));
  }
};

// S columns, `pitch` apart, from p[0 .. S n - 1].
template <int S> inline void separate(float* to, int64_t pitch, const float* p, int64_t n) {
  for (int64_t i = 0; n >= kLanes && i < n; i = next_lanes<kLanes>(i, n)) {
    V column[S];
    Columns<S>::template take<S>(p + S * i, column);
    for (int k = 0; k < S; ++k) store(to + k * pitch + i, Columns<S>::natural(column[k]));
  }
  for (int64_t i = 0; n < kLanes && i < n; ++i)
    for (int k = 0; k < S; ++k) to[k * pitch + i] = p[S * i + k];
}

// p[0 .. n - 1] from S columns, `pitch` apart, which hold n / S + 1 numbers; the last vector overlaps.
template <int S> inline void interleave(float* p, const float* from, int64_t pitch, int64_t n) {
  const int64_t whole = n / S;
  for (int64_t i = 0; whole >= kLanes && i < whole; i = next_lanes<kLanes>(i, whole)) {
    V column[S];
    for (int k = 0; k < S; ++k) column[k] = load(from + k * pitch + i);
    Columns<S>::put(p + S * i, column);
  }
  for (int64_t i = whole >= kLanes ? whole * S : 0; i < n; ++i) p[i] = from[i % S * pitch + i / S];
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
