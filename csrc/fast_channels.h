// Jobs whose lanes are channels: channels_last, and NCHW with rows of fewer cells than lanes, whose planes are laid side
// by side a vector at a time. Each row of cells is computed alike wherever threads begin and end.
#pragma once
#include "fast_lines.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

template <class T> class ChannelWalk {
 public:
  ChannelWalk(const Job& job, const Kernel& kernel, const Redo& redo)
      : job_(job), w_(job.window), kernel_(kernel), channels_(together(job)), groups_(job.channels / channels_),
        width_(w_.in[2] * channels_), in_(rows(job.x.data, w_.in, kernel.k)), beta_(padded(w_.out[2] * channels_)),
        grad_(padded(w_.out[2] * channels_)), by_beta_(padded(w_.out[2] * channels_)) {
    row_.cells = w_.out[2];
    row_.channels = channels_;
    row_.step = kernel.s * channels_;
    row_.gain = job.unpool && job.normalize ? float(kernel.k * kernel.k) : 1;
    row_.redo = redo;
  }

  // Channels of one row.
  static int64_t together(const Job& job) { return job.channels_last ? job.channels : kLanes; }

  // Row i of the cells of a group of channels.
  void run(void (*kernel)(const Channels&), int64_t group, int64_t i, float* out) {
    for (int64_t r = 0; r < kernel_.k; ++r) {
      const int64_t line = group * w_.in[1] + i * kernel_.s + r;
      in_.read(line);
      row_.rows[r] = in_.at(line, 0);
    }
    row_.first = {group / groups_, group % groups_ * channels_, {0, i, 0}};
    row_.beta = operand_line(job_, row_.first, w_.out[2], channels_, true, beta_.at(0));
    if (job_.coefficient.given())
      row_.grad = gradient_line(job_, row_.first, w_.out[2], channels_, true, grad_.at(0));
    row_.out = out;
    kernel(row_);
  }

  void difference(int64_t n, int64_t c, int64_t i, float* out) {
    run(kernel_.channels_difference, n * groups_ + c, i, out);
  }

  void forward(int64_t begin, int64_t end) {
    Rows<T> y = rows(job_.y.data, w_.out, 1);
    for (int64_t line = begin; line < end; ++line) {
      run(kernel_.channels_value, line / w_.out[1], line % w_.out[1], y.at(line, 0));
      y.write(line);
    }
  }

  // `terms`, where given, takes the sum of g dy / dbeta of every row of cells of every channel.
  // Rows of the target before and after this thread's own take shares that nobody reads: their owner computes them too.
  void backward(int64_t begin, int64_t end, Terms* terms) {
    row_.by_beta = terms ? by_beta_.at(0) : nullptr;
    const int64_t k = kernel_.k, s = kernel_.s, covered = (s * (w_.out[2] - 1) + k) * channels_;
    Rows<T> target = rows(job_.target.data, w_.in, k);
    Buffer nowhere(width_);
    for (int64_t line = begin; line < end;) {
      const int64_t group = line / w_.out[1], first = line % w_.out[1], last = std::min(w_.out[1], first + end - line);
      const int64_t own = first * s, own_end = last < w_.out[1] ? last * s : w_.in[1], base = group * w_.in[1];
      for (int64_t i = std::max<int64_t>(0, first - (k - 1) / s); i < last; ++i) {
        for (int64_t r = i * s; r < i * s + k; ++r) {
          const bool mine = r >= own && r < own_end;
          row_.to[r - i * s] = mine ? target.at(base + r, 0) : nowhere.at(0);
          if (!mine || (i > 0 && r < i * s + k - s)) continue;  // begun before
          float* to = target.at(base + r, 0);
          std::fill(to + (k > s ? 0 : covered), to + width_, 0.f);
        }
        run(job_.use_through ? kernel_.channels_exact : kernel_.channels_detached, group, i, nullptr);
        if (i < first) continue;
        if (terms) add_columns(terms->at(group, i), row_.by_beta, w_.out[2], channels_);
        for (int64_t r = i * s; r < (i + 1 < w_.out[1] ? (i + 1) * s : w_.in[1]); ++r) {
          if (r >= i * s + k) std::fill_n(target.at(base + r, 0), width_, 0.f);
          target.write(base + r);
        }
      }
      line += last - first;
    }
  }

 private:
  Rows<T> rows(const void* data, const int64_t* extent, int64_t slots) const {
    const int64_t lines = job_.batch * groups_ * extent[1];
    if (job_.channels_last) return Rows<T>(data, lines, extent[2] * channels_, 1, slots, 0);
    return Rows<T>(data, lines, extent[2], 1, slots, 0, extent[1] * extent[2]);
  }

  const Job& job_;
  const Window& w_;
  const Kernel& kernel_;
  const int64_t channels_, groups_, width_;
  Rows<T> in_;
  Buffer beta_, grad_, by_beta_;
  Channels row_{};
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
