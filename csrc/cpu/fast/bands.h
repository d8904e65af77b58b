// Rows of places or cells with the channels of a group innermost, as floats: where they lie (channels_last), or in a
// buffer of some rows of the group that slides down its planes. Knows no method.
#pragma once
#include "cpu/fast/exponential.h"
#include "cpu/fast/lines.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// How the channels of a job are walked: channels_last all of an image's, else as many as a vector has lanes.
struct ChannelGroups {
  int64_t size, each_image, all;

  explicit ChannelGroups(const Job& job)
      : size(job.channels_last ? job.channels : kLanes), each_image((job.channels + size - 1) / size),
        all(job.batch * each_image) {}
  Point first(int64_t group) const { return {group / each_image, group % each_image * size, {0, 0, 0}}; }
};

class Band {
 public:
  // Of a plane of `extent`, with `rows` in the buffer.
  Band(const Job& job, const ChannelGroups& groups, const Any& tensor, const Strides& strides, const int64_t* extent,
       int64_t rows)
      : job_(job), groups_(groups), tensor_(tensor), conversion_(conversion_of(tensor.type)), strides_(strides),
        height_(extent[1]), width_(extent[2]), pitch_(width_ * groups.size), dense_(conversion_ && lies_dense()),
        in_place_(dense_ && job.channels_last && tensor.type == Type::float32),
        rows_(rows), buffer_(in_place_ ? 0 : rows * pitch_) {}

  void open(int64_t group) {
    point_ = groups_.first(group);
    live_ = std::min(groups_.size, job_.channels - point_.c);
    base_ = end_ = first_ = 0;
    const Point next = groups_.first(std::min(group + 1, groups_.all - 1));
    next_ = strides_.plane(next.n, next.c);
  }
  int64_t live() const { return live_; }
  float* at(int64_t row) const {
    if (in_place_) return static_cast<float*>(tensor_.data) + (point_.n * height_ + row) * pitch_;
    return buffer_.at(slot(row) * pitch_);
  }

  // Makes room for rows lo .. hi - 1 and returns the first that is not at hand: those that are, are kept.
  int64_t slide(int64_t lo, int64_t hi) {
    first_ = end_ > lo ? slot(lo) : 0;
    const int64_t fresh = std::max(lo, end_);
    base_ = lo;
    end_ = std::max(hi, end_);
    return fresh;
  }
  void read(int64_t lo, int64_t hi) {
    const int64_t from = slide(lo, hi);
    if (in_place_) return;
    if (!dense_) return read_any(from, hi);
    in_pieces(from, hi, [&](int64_t row, int64_t n) {
      if (job_.channels_last) conversion_->read(at(row), data(row), n * groups_.size);
      else conversion_->gather(at(row), data(row), height_ * width_, n, live_);
    });
  }
  // Where rows lo .. hi - 1 lie, where planes are laid side by side: these are more streams of memory than the processor
  // foresees. Behind the last row of the group come those of the next one.
  PrefetchStream ahead(int64_t lo, int64_t hi) const {
    if (!dense_ || job_.channels_last) return {reinterpret_cast<const char*>(buffer_.at(0)), 0, 0, 0};
    const char* at = lo < height_ ? data(lo) : number(next_ + (lo - height_) * width_);
    return {at, height_ * width_ * conversion_->size, kLanes * conversion_->size,
            ((hi - lo) * width_ + kLanes - 1) / kLanes * kLanes};
  }
  // Where channels lie innermost: of a row that lies in place what follows, or the row `step` further if rows are read
  // before they are computed; of others the memory of that row.
  Prefetch prefetch_of(int64_t row, int64_t step, bool before) const {
    if (!dense_ || !job_.channels_last) return {nullptr, false};
    if (in_place_) return {at(row) + (before ? step * pitch_ : kAhead), false};
    return {data(row + step), tensor_.type != Type::float32};
  }
  void write(int64_t lo, int64_t hi) const {
    if (in_place_) return;
    in_pieces(lo, hi, [&](int64_t row, int64_t n) {
      if (job_.channels_last) conversion_->write(data(row), at(row), n * groups_.size);
      else conversion_->scatter(data(row), at(row), height_ * width_, n, live_);
    });
  }

 private:
  // The buffer is a ring.
  int64_t slot(int64_t row) const {
    const int64_t i = first_ + row - base_;
    return i < rows_ ? i : i - rows_;
  }
  // Calls f(row, places) on rows that follow each other in it.
  template <class F> void in_pieces(int64_t lo, int64_t hi, const F& f) const {
    for (int64_t next; lo < hi; lo = next) {
      next = std::min(hi, lo + rows_ - slot(lo));
      f(lo, (next - lo) * width_);
    }
  }
  bool lies_dense() const {  // an axis of one place may have any stride
    const int64_t unit = job_.channels_last ? job_.channels : 1, plane = height_ * width_;
    return (width_ == 1 || strides_.d[2] == unit) && (height_ == 1 || strides_.d[1] == width_ * unit) &&
           (job_.channels == 1 || strides_.c == (job_.channels_last ? 1 : plane)) &&
           (job_.batch == 1 || strides_.n == job_.channels * plane);
  }
  char* number(int64_t i) const { return static_cast<char*>(tensor_.data) + i * conversion_->size; }
  char* data(int64_t row) const { return number(strides_.plane(point_.n, point_.c) + row * strides_.d[1]); }
  void read_any(int64_t lo, int64_t hi) const {
    const int64_t first = strides_.plane(point_.n, point_.c);
    for (int64_t i = lo; i < hi; ++i)
      for (int64_t j = 0; j < width_; ++j)
        for (int64_t c = 0; c < groups_.size; ++c)
          at(i)[j * groups_.size + c] =
              tensor_.load<float>(first + std::min(c, live_ - 1) * strides_.c + i * strides_.d[1] + j * strides_.d[2]);
  }

  const Job& job_;
  const ChannelGroups& groups_;
  Any tensor_;
  const Conversion* conversion_;
  Strides strides_;
  int64_t height_, width_, pitch_;
  bool dense_, in_place_;
  int64_t rows_;
  Buffer buffer_;
  int64_t next_ = 0;  // where the first plane of the next group begins
  int64_t live_ = 0, base_ = 0, end_ = 0, first_ = 0;  // rows base .. end - 1 are at hand, from slot `first` on
  Point point_{};
};

// e^a of rows of x, of which the last few are kept.
class SoftRows {
 public:
  SoftRows(int64_t rows, int64_t width)
      : width_(width), pitch_(padded(width)), buffer_(rows * pitch_), held_(rows, -1), near_(rows) {}

  void open() { std::fill(held_.begin(), held_.end(), -1); }
  // e^a of a row that lies at x; null where it has numbers beyond kNear.
  const float* of(int64_t row, const float* x) {
    const int64_t slot = row % int64_t(held_.size());
    float* to = buffer_.at(slot * pitch_);
    if (held_[slot] != row) {
      held_[slot] = row;
      near_[slot] = weigh(to, x);
    }
    return near_[slot] ? to : nullptr;
  }

 private:
  bool weigh(float* to, const float* x) const {
    Bits most{};  // as bits, where NaN is more than any number
    for (int64_t i = 0; i < width_; i = next_lanes<kLanes>(i, width_)) {
      const V a = load(x + i);
      const Bits size = Bits(magnitude(a));
      most = size > most ? size : most;
      store(to + i, exp_near(a));
    }
    return not_within(V(most), kNear) == 0;
  }

  int64_t width_, pitch_;
  Buffer buffer_;
  std::vector<int64_t> held_;
  std::vector<char> near_;
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
