// Jobs in channels_last whose lanes are channels. Each row of cells is computed alike wherever threads begin and end.
#pragma once
#include "fast_lines.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

template <class T> class ChannelWalk {
 public:
  ChannelWalk(const Job& job, const Kernel& kernel, const Redo& redo)
      : job_(job), w_(job.window), kernel_(kernel), width_(w_.in[2] * job.channels),
        in_(job.x, job.batch * w_.in[1], width_, 1, kernel.k, 0), beta_(padded(w_.out[2] * job.channels)),
        grad_(padded(w_.out[2] * job.channels)) {
    row_.cells = w_.out[2];
    row_.channels = job.channels;
    row_.step = kernel.s * job.channels;
    row_.gain = job.unpool && job.normalize ? float(kernel.k * kernel.k) : 1;
    row_.redo = redo;
  }

  void run(void (*kernel)(const Channels&), int64_t n, int64_t i, float* out) {
    for (int64_t r = 0; r < kernel_.k; ++r) {
      const int64_t line = n * w_.in[1] + i * kernel_.s + r;
      in_.read(line);
      row_.rows[r] = in_.at(line, 0);
    }
    row_.first = {n, 0, {0, i, 0}};
    row_.beta = operand_line(job_, row_.first, w_.out[2], job_.channels, true, beta_.at(0));
    if (job_.coefficient.given())
      row_.grad = gradient_line(job_, row_.first, w_.out[2], job_.channels, true, grad_.at(0));
    row_.out = out;
    kernel(row_);
  }

  static constexpr bool lanes_are_channels = true;
  void difference(int64_t n, int64_t, int64_t i, float* out) { run(kernel_.channels_difference, n, i, out); }

  void forward(int64_t begin, int64_t end) {
    Rows<T> y(job_.y.data, job_.batch * w_.out[1], w_.out[2] * job_.channels, 1, 1, 0);
    for (int64_t line = begin; line < end; ++line) {
      run(kernel_.channels_value, line / w_.out[1], line % w_.out[1], y.at(line, 0));
      y.write(line);
    }
  }

  // Rows of the target before and after this thread's own take shares that nobody reads: their owner computes them too.
  void backward(int64_t begin, int64_t end) {
    const int64_t k = kernel_.k, s = kernel_.s, covered = (s * (w_.out[2] - 1) + k) * job_.channels;
    Rows<T> target(job_.target.data, job_.batch * w_.in[1], width_, 1, k, 0);
    Buffer nowhere(width_);
    for (int64_t line = begin; line < end;) {
      const int64_t n = line / w_.out[1], first = line % w_.out[1], last = std::min(w_.out[1], first + end - line);
      const int64_t own = first * s, own_end = last < w_.out[1] ? last * s : w_.in[1], base = n * w_.in[1];
      for (int64_t i = std::max<int64_t>(0, first - (k - 1) / s); i < last; ++i) {
        for (int64_t r = i * s; r < i * s + k; ++r) {
          const bool mine = r >= own && r < own_end;
          row_.to[r - i * s] = mine ? target.at(base + r, 0) : nowhere.at(0);
          if (!mine || (i > 0 && r < i * s + k - s)) continue;  // begun before
          float* to = target.at(base + r, 0);
          std::fill(to + (k > s ? 0 : covered), to + width_, 0.f);
        }
        run(job_.use_through ? kernel_.channels_exact : kernel_.channels_detached, n, i, nullptr);
        if (i < first) continue;
        for (int64_t r = i * s; r < (i + 1 < w_.out[1] ? (i + 1) * s : w_.in[1]); ++r) {
          if (r >= i * s + k) std::fill_n(target.at(base + r, 0), width_, 0.f);
          target.write(base + r);
        }
      }
      line += last - first;
    }
  }

 private:
  const Job& job_;
  const Window& w_;
  const Kernel& kernel_;
  const int64_t width_;
  Rows<T> in_;
  Buffer beta_, grad_;
  Channels row_{};
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
