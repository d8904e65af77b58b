// Parts of tensors in buffers that packs read and write in one piece: in the accumulator's type, the lanes of a pack
// innermost. Host only; knows no method.
#pragma once
#include <algorithm>
#include <type_traits>
#include <vector>

#include "cpu/loader.h"
#include "cpu/shuffle.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// A part of a tensor: `channels` of them from (n, c) on, in a box of its places.
struct Part {
  int64_t n, c, channels;
  Box box;

  // Of a buffer with `lanes` channels innermost, the last one repeated.
  Strides strides(int64_t lanes) const {
    const int64_t row = lanes * box.extent(2);
    return {0, 1, {row * box.extent(1), row, lanes}};
  }
  int64_t room(int64_t lanes) const { return box.count() * lanes; }
  int64_t first(const Strides& s) const { return s.plane(n, c) + s.in_plane(box.lo); }

  // f(offset in one, offset in the other, number of places): runs of places that are equally spaced in both.
  template <class F> void each_run(const Strides& one, const Strides& other, const F& f) const {
    int64_t run = box.extent(2), rows = box.extent(1), slabs = box.extent(0);
    const auto merges = [&](int64_t d) { return one.d[d] == run * one.d[2] && other.d[d] == run * other.d[2]; };
    if (merges(1)) {
      run *= rows;
      rows = 1;
      if (merges(0)) { run *= slabs; slabs = 1; }
    }
    const int64_t from = first(one), to = first(other);
    for (int64_t i = 0; i < slabs; ++i)
      for (int64_t j = 0; j < rows; ++j)
        f(from + i * one.d[0] + j * one.d[1], to + i * other.d[0] + j * other.d[1], run);
  }
};

// A buffer as a tensor that is addressed with the coordinates of the whole one: its strides, and where the whole one
// would begin.
template <class S> struct Whole {
  S* data;
  Strides strides;

  Whole(const Part& part, int64_t lanes, std::vector<S>& buffer) : strides(part.strides(lanes)) {
    if (int64_t(buffer.size()) < part.room(lanes)) buffer.resize(part.room(lanes));
    data = reinterpret_cast<S*>(reinterpret_cast<uintptr_t>(buffer.data()) - uintptr_t(part.first(strides)) * sizeof(S));
  }
  operator Any() const { return {data, sizeof(S) == 8 ? Type::float64 : Type::float32}; }
};

template <class S> void read_part(const Part& part, const Any& tensor, const Strides& s, const Whole<S>& to) {
  using V = Pack<S>;
  const int64_t step = s.d[2];
  tensor.visit([&](const auto* all) {
    part.each_run(s, to.strides, [&](int64_t from_first, int64_t to_first, int64_t n) {
      const auto* from = all + from_first;
      S* out = to.data + to_first;
      const auto plane = [&](int64_t lane) { return from + std::min(lane, part.channels - 1) * s.c; };
      const auto load = [](const auto* p) { return Loader<V>::load(p, 1, V::size).raw; };
      if (step == 1 && s.c != 1) return rows_to_lanes<typename V::Raw>(out, n, plane, load);
      for (int64_t i = 0; i < n; ++i) Loader<V>::load(from + i * step, s.c, int(part.channels)).put(out + i * V::size);
    });
  });
}

// From a buffer with `from.strides.d[2]` channels innermost, a pack or fewer.
template <class S> void write_part(const Part& part, const Any& tensor, const Strides& s, const Whole<S>& from) {
  using V = Pack<S>;
  const int64_t step = s.d[2], lanes = from.strides.d[2];
  tensor.visit([&](auto* all) {
    using T = std::remove_reference_t<decltype(*all)>;
    part.each_run(s, from.strides, [&](int64_t to_first, int64_t from_first, int64_t n) {
      T* to = all + to_first;
      const S* in = from.data + from_first;
      if (lanes != V::size) {
        for (int64_t c = 0; c < part.channels; ++c)
          for (int64_t i = 0; i < n; ++i) to[c * s.c + i * step] = narrow<T>(in[i * lanes + c]);
      } else if (step == 1 && s.c != 1) {
        lanes_to_rows<typename V::Raw>(to, s.c, in, n, part.channels, [](T* p, V v) { Loader<V>::store(p, 1, V::size, v); });
      } else {
        for (int64_t i = 0; i < n; ++i)
          Loader<V>::store(to + i * step, s.c, int(part.channels), V::get(in + i * V::size));
      }
    });
  });
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
