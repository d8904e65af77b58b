// What a row of cells reads besides its taps, as floats, and the buffers that hold it. Knows tensors as data and strides.
#pragma once
#include <algorithm>
#include <memory>
#include <vector>

#include "cpu/fast/conversion.h"
#include "cpu/fast/kernel.h"
#include "cpu/fast/work_split.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// Room for whole vectors at the end of every line.
inline int64_t padded(int64_t n) { return (n + 2 * kLanes - 1) / kLanes * kLanes; }

class Buffer {  // zeros, or nothing; whole vectors from its start on do not cross cache lines
 public:
  explicit Buffer(int64_t n) : data_(n > 0 ? new float[n + 16]() : nullptr) {}
  float* at(int64_t i) const { return data_.get() + (-(reinterpret_cast<uintptr_t>(data_.get()) / 4) & 15) + i; }

 private:
  std::unique_ptr<float[]> data_;
};

// `cells` by `lanes` numbers of a tensor from element `at` on: in place where vectors can read `room` lanes there, else
// copied.
inline StridedFloats line_of(const Any& t, int64_t at, int64_t cell, int64_t lane, int64_t cells, int64_t lanes, int64_t room,
                    float* copy) {
  const bool plain = t.type == Type::float32 && (lane == 0 || (lane == 1 && lanes == room && lanes >= kLanes));
  if (plain) return {static_cast<const float*>(t.data) + at, cell, lane};
  if (lane == 0) lanes = room = 1;
  if (cell == 0) cells = 1;
  const Conversion* conversion = conversion_of(t.type);
  for (int64_t j = 0; j < cells; ++j) {
    float* to = copy + j * room;
    const int64_t from = at + j * cell;
    if (lane == 1 && conversion) conversion->read(to, static_cast<const char*>(t.data) + from * conversion->size, lanes);
    else t.visit([&](const auto* all) {
      for (int64_t i = 0; i < lanes; ++i) to[i] = float(widen(all[from + i * lane]));
    });
  }
  return {copy, cell == 0 ? 0 : room, lane == 0 ? 0 : 1};
}

// Calls f with a factor of `planes` that registers are taken apart by. They are 2 to 7: more would be lanes (dispatch.cpp).
template <class F> inline void with_factor(int64_t planes, const F& f) {
  if (planes % 3 == 0) f.template operator()<3>();
  else if (planes % 2 == 0) f.template operator()<2>();
  else if (planes == 5) f.template operator()<5>();
  else f.template operator()<7>();
}

// n numbers of each of `planes`, which lie side by side, to rows `pitch` apart. `spare` has room for twice as many.
inline void take_apart(float* to, int64_t pitch, const float* from, int64_t planes, int64_t n, float* spare) {
  with_factor(planes, [&]<int f>() {
    if (planes == f) return separate<f>(to, pitch, from, n);
    const int64_t rest = planes / f, part = n * rest;
    separate<f>(spare, part, from, part);
    for (int64_t r = 0; r < f; ++r) take_apart(to + r * pitch, f * pitch, spare + r * part, rest, n, spare + f * part);
  });
}
// The way back.
inline void put_together(float* to, const float* from, int64_t pitch, int64_t planes, int64_t n, float* spare) {
  with_factor(planes, [&]<int f>() {
    if (planes == f) return interleave<f>(to, from, pitch, f * n);
    const int64_t rest = planes / f, part = n * rest;
    for (int64_t r = 0; r < f; ++r) put_together(spare + r * part, from + r * pitch, f * pitch, rest, n, spare + f * part);
    interleave<f>(to, spare, part, f * part);
  });
}

// A row of n places from `count` columns of sums, `pitch` apart: a stride of 1 or 2.
inline void columns_to_row(float* row, const float* sums, int64_t pitch, int64_t count, int64_t n) {
  if (count == 1) std::copy_n(sums, n, row);
  else interleave<2>(row, sums, pitch, n);
}

// The rows of a tensor, as floats of one plane each; a `line` is a row of all the planes that lie side by side. `slots`:
// lines that are at hand at once, where they do not lie in place.
class Rows {
 public:
  Rows(const Any& tensor, int64_t lines, int64_t width, int64_t planes, int64_t slots, int64_t reach)
      : data_(static_cast<char*>(tensor.data)), conversion_(conversion_of(tensor.type)),
        floats_(tensor.type == Type::float32), width_(width), planes_(planes), slots_(slots),
        reach_(std::max(reach, width)), end_(lines * width), pitch_(padded(reach_)), wide_(planes > 1 ? width * planes : 0),
        spare_(planes > 1 ? 2 * width * planes : 0), copies_(slots * planes * pitch_), held_(slots, -1) {}

  // Vectors may pass the end of a row by `reach` in all, but not the end of `lines` rows: others may own what follows.
  void limit(int64_t lines) { end_ = lines * width_; }

  // A plane's part of a line that is read if it is not at hand.
  float* read(int64_t line, int64_t plane) {
    if (in_place(line)) return reinterpret_cast<float*>(data(line * width_));
    if (held_[line % slots_] != line) copy_in(line);
    return copy(line, plane);
  }
  float* at(int64_t line, int64_t plane) const {
    return in_place(line) ? reinterpret_cast<float*>(data(line * width_)) : copy(line, plane);
  }
  // Of a line that lies in place what follows; else a plane's part of the one that is `step` lines further.
  Prefetch prefetch_of(int64_t line, int64_t plane, int64_t step) const {
    const int64_t at = in_place(line) ? line * width_ + kAhead : ((line + step) * planes_ + plane) * width_;
    return {data(at), !floats_};
  }
  void write(int64_t line) const {
    if (!in_place(line)) copy_out(line);
  }

 private:
  void copy_in(int64_t line) {
    held_[line % slots_] = line;
    float* to = copy(line, 0);
    const char* from = data(line * planes_ * width_);
    if (planes_ == 1) return conversion_->read(to, from, width_);
    if (floats_) return take_apart(to, pitch_, reinterpret_cast<const float*>(from), planes_, width_, spare_.at(0));
    conversion_->read(wide_.at(0), from, width_ * planes_);
    take_apart(to, pitch_, wide_.at(0), planes_, width_, spare_.at(0));
  }
  void copy_out(int64_t line) const {
    const float* from = copy(line, 0);
    char* to = data(line * planes_ * width_);
    if (planes_ == 1) return conversion_->write(to, from, width_);
    float* together = floats_ ? reinterpret_cast<float*>(to) : wide_.at(0);
    put_together(together, from, pitch_, planes_, width_, spare_.at(0));
    if (!floats_) conversion_->write(to, together, width_ * planes_);
  }
  bool in_place(int64_t line) const { return floats_ && planes_ == 1 && line * width_ + reach_ <= end_; }
  float* copy(int64_t line, int64_t plane) const { return copies_.at((line % slots_ * planes_ + plane) * pitch_); }
  char* data(int64_t number) const { return data_ + number * conversion_->size; }

  char* data_;
  const Conversion* conversion_;
  bool floats_;
  int64_t width_, planes_, slots_, reach_, end_, pitch_;
  Buffer wide_, spare_, copies_;
  std::vector<int64_t> held_;
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
