// Jobs whose lanes are neighbouring cells: NCHW, and channels_last with few channels, whose rows are taken apart into
// one row per channel. Each row of cells is computed alike wherever threads begin and end.
#pragma once
#include "fast_bands.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// What every row of cells of a job needs, with the buffers of one thread.
template <class T> class PlaneWalk {
 public:
  PlaneWalk(const Job& job, const Kernel& kernel, const Redo& redo)
      : job_(job), w_(job.window), kernel_(kernel), planes_(job.channels_last ? job.channels : 1),
        in_(job.x.data, job.batch * job.channels / planes_ * w_.in[1], w_.in[2], planes_, kernel.k, kLanes * kernel.s + kernel.k),
        grads_(job.coefficient.data, lines(), w_.out[2], planes_, 1, kLanes),
        weighed_(kernel.weighed && w_.in[2] >= kLanes * kernel.s + kernel.k), soft_(weighed_ ? kernel.k * planes_ : 0, w_.in[2]),
        apart_(planes_ > 1 && job.coefficient.given() && job.coefficient.type == Number<T>::type && job.cs.c == 1 &&
               job.cs.d[2] == planes_ && job.cs.d[1] == w_.out[2] * planes_ && job.cs.n == w_.cells() * planes_),
        beta_(padded(w_.out[2])), grad_(padded(w_.out[2])), by_beta_(padded(w_.out[2])) {
    row_.cells = row_.width = w_.out[2];
    row_.redo = redo;
    row_.gain = job.unpool && job.normalize ? float(kernel.k * kernel.k) : 1;
  }
  int64_t lines() const { return job_.batch * job_.channels / planes_ * w_.out[1]; }

  template <class Run> void run(Run kernel, int64_t group, int64_t plane, int64_t i, float* out, int64_t pitch) {
    for (int64_t r = 0; r < kernel_.k; ++r) {
      const int64_t line = group * w_.in[1] + i * kernel_.s + r;
      in_.read(line);
      row_.rows[r] = in_.at(line, plane);
    }
    bool near = weighed_;
    for (int64_t r = 0; near && r < kernel_.k; ++r) {
      row_.soft[r] = soft_.of((group * w_.in[1] + i * kernel_.s + r) * planes_ + plane, row_.rows[r]);
      near = row_.soft[r] != nullptr;
    }
    if (!near) row_.soft[0] = nullptr;
    row_.first = {group * planes_ / job_.channels, group * planes_ % job_.channels + plane, {0, i, 0}};
    row_.beta = operand_line(job_, row_.first, w_.out[2], beta_.at(0));
    row_.grad = row_.beta;
    if (apart_) {
      grads_.read(group * w_.out[1] + i);
      row_.grad = {grads_.at(group * w_.out[1] + i, plane), 0, 1};
    } else if (job_.coefficient.given()) {
      row_.grad = gradient_line(job_, row_.first, w_.out[2], grad_.at(0));
    }
    row_.out = out;
    row_.pitch = pitch;
    kernel(row_);
  }

  static int64_t together(const Job&) { return 1; }
  void difference(int64_t n, int64_t c, int64_t i, float* out) {
    run(kernel_.difference, planes_ == 1 ? n * job_.channels + c : n, planes_ == 1 ? 0 : c, i, out, 0);
  }

  void forward(int64_t group, int64_t first, int64_t last) {
    Rows<T> y(job_.y.data, lines(), w_.out[2], planes_, 1, kLanes);
    y.limit(group * w_.out[1] + last);
    for (int64_t i = first; i < last; ++i) {
      const int64_t line = group * w_.out[1] + i;
      for (int64_t c = 0; c < planes_; ++c) run(kernel_.value, group, c, i, y.at(line, c), 0);
      y.write(line);
    }
  }

  // `sums`, where given, take g dy / dbeta of every cell.
  void backward(int64_t group, int64_t first, int64_t last, BetaSums* sums) {
    row_.by_beta = sums ? by_beta_.at(0) : nullptr;
    if (kernel_.k > kernel_.s || w_.out[2] < kLanes) overlapping(group, first, last, sums);
    else disjoint(group, first, last, sums);
  }

 private:
  void gradients(int64_t group, int64_t plane, int64_t i, float* out, int64_t pitch, BetaSums* sums) {
    run(job_.use_through ? kernel_.exact : kernel_.detached, group, plane, i, out, pitch);
    if (sums) sums->add_cells(group, i, plane, row_.by_beta, w_.out[2]);
  }

  // Shares are written where they belong.
  void disjoint(int64_t group, int64_t first, int64_t last, BetaSums* sums) {
    const int64_t k = kernel_.k;
    Rows<T> target(job_.target.data, lines() / w_.out[1] * w_.in[1], w_.in[2], planes_, k, 0);
    for (int64_t i = first; i < last; ++i) {
      const int64_t row = group * w_.in[1] + i * k, rows = i + 1 < w_.out[1] ? k : w_.in[1] - i * k;
      for (int64_t c = 0; c < planes_; ++c) {
        for (int64_t r = 0; r < k; ++r) {
          row_.to[r] = target.at(row + r, c);
          std::fill(row_.to[r] + k * w_.out[2], row_.to[r] + w_.in[2], 0.f);
        }
        gradients(group, c, i, nullptr, 0, sums);
      }
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; r >= k && c < planes_; ++c) std::fill_n(target.at(row + r, c), w_.in[2], 0.f);
        target.write(row + r);
      }
    }
    row_.to[0] = nullptr;
  }

  // The cells' shares, first apart for each tap and then summed into the rows of the target.
  void overlapping(int64_t group, int64_t first, int64_t last, BetaSums* sums) {
    const int64_t k = kernel_.k, s = kernel_.s, columns = (w_.in[2] + s - 1) / s;
    const int64_t pitch = padded(std::max(columns, w_.out[2])) + kLanes;
    Buffer apart(k * k * pitch + kLanes), places(planes_ * k * s * pitch), none(s * pitch);
    Rows<T> target(job_.target.data, lines() / w_.out[1] * w_.in[1], w_.in[2], planes_, 1, 0);
    float* shares = apart.at(kLanes);
    for (int64_t i = std::max<int64_t>(0, first - (k - 1) / s); i < last; ++i) {
      for (int64_t c = 0; c < planes_; ++c) {
        gradients(group, c, i, shares, pitch, i >= first ? sums : nullptr);
        for (int64_t j = w_.out[2]; j < kLanes; ++j)
          for (int64_t t = 0; t < k * k; ++t) shares[t * pitch + j] = 0;
        for (int64_t r = 0; r < k; ++r)
          kernel_.gather(places.at((c * k + (i * s + r) % k) * s * pitch), shares + r * k * pitch, pitch, columns,
                         i == 0 || r >= k - s);
      }
      if (i < first) continue;
      target.expect(group * w_.in[1] + (i + 1) * s, s);
      for (int64_t r = i * s; r < (i + 1 < w_.out[1] ? (i + 1) * s : w_.in[1]); ++r) {
        const int64_t to = group * w_.in[1] + r;
        for (int64_t c = 0; c < planes_; ++c)
          kernel_.interleave(target.at(to, c), r >= i * s + k ? none.at(0) : places.at((c * k + r % k) * s * pitch), pitch,
                             w_.in[2]);
        target.write(to);
      }
    }
  }

  const Job& job_;
  const Window& w_;
  const Kernel& kernel_;
  const int64_t planes_;
  Rows<T> in_, grads_;
  const bool weighed_;  // whether vectors of taps stay within the rows of e^a
  SoftRows soft_;
  const bool apart_;  // whether rows of the incoming gradient are taken apart like those of x
  Buffer beta_, grad_, by_beta_;
  Row row_{};
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
