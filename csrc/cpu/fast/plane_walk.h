// Jobs whose lanes are neighbouring cells: NCHW, and channels_last with few channels, whose rows are taken apart into
// one row per channel. Each row of cells is computed alike wherever threads begin and end.
#pragma once
#include "cpu/fast/bands.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// What every row of cells of a job needs, with the buffers of one thread.
class PlaneWalk {
 public:
  PlaneWalk(const Job& job, const Kernel& kernel, const Fallback& fallback)
      : job_(job), w_(job.window), kernel_(kernel), computes_(kernel.computes(job, fallback.direction)),
        planes_(job.channels_last ? job.channels : 1),
        in_(job.x, job.batch * job.channels / planes_ * w_.in[1], w_.in[2], planes_, kernel.k, kLanes * kernel.s + kernel.k),
        grads_(job.coefficient, lines(), w_.out[2], planes_, 1, kLanes),
        weighed_(kernel.weighed && w_.in[2] >= kLanes * kernel.s + kernel.k), soft_(weighed_ ? kernel.k * planes_ : 0, w_.in[2]),
        apart_(planes_ > 1 && job.coefficient.given() && conversion_of(job.coefficient.type) && job.cs.c == 1 &&
               job.cs.d[2] == planes_ && job.cs.d[1] == w_.out[2] * planes_ && job.cs.n == w_.cells() * planes_),
        columns_(kernel.rows[0] ? 0 : 2 * kernel.k * kernel.k * std::max<int64_t>(w_.out[2], kLanes)),
        beta_(padded(w_.out[2])), grad_(padded(w_.out[2])), by_beta_(padded(w_.out[2])) {
    row_.cells = row_.width = w_.out[2];
    row_.fallback = fallback;
    row_.gain = job.unpool && job.normalize ? float(kernel.k * kernel.k) : 1;
  }
  int64_t lines() const { return job_.batch * job_.channels / planes_ * w_.out[1]; }

  void run(int64_t group, int64_t plane, int64_t i, float* out) {
    for (int64_t r = 0; r < kernel_.k; ++r) {
      const int64_t line = group * w_.in[1] + i * kernel_.s + r;
      in_.read(line);
      row_.rows[r] = in_.at(line, plane);
      row_.reads[r] = in_.prefetch_of(line, plane, kernel_.s);
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
    if (kernel_.rows[computes_]) kernel_.rows[computes_](row_);
    else run_columns();
  }

  static int64_t together(const Job&) { return 1; }
  void forward(int64_t group, int64_t first, int64_t last) {
    Rows y(job_.y, lines(), w_.out[2], planes_, 1, kLanes);
    y.limit(group * w_.out[1] + last);
    for (int64_t i = first; i < last; ++i) {
      const int64_t line = group * w_.out[1] + i;
      for (int64_t c = 0; c < planes_; ++c) run(group, c, i, y.at(line, c));
      y.write(line);
    }
  }

  // `sums`, where given, take g dy / dbeta of every cell.
  void backward(int64_t group, int64_t first, int64_t last, BetaSums* sums) {
    row_.by_beta = sums ? by_beta_.at(0) : nullptr;
    if (kernel_.k > kernel_.s) overlapping(group, first, last, sums);
    else disjoint(group, first, last, sums);
    row_.to[0] = nullptr;
  }

 private:
  // The row of large windows that abut: its taps are taken apart into columns, which the kernels for channels read.
  void run_columns() {
    const int64_t k = kernel_.k, cells = row_.cells, pitch = std::max<int64_t>(cells, kLanes);
    ChannelArguments columns{};
    columns.along_row = true;
    columns.cells = columns.across = 1;
    columns.channels = pitch;
    columns.live = cells;
    columns.beta = row_.beta;
    columns.grad = row_.grad.p;
    if (row_.grad.lane == 0) columns.grad = std::fill_n(grad_.at(0), pitch, *row_.grad.p) - pitch;
    columns.gain = row_.gain;
    columns.out = row_.out;
    columns.by_beta = row_.by_beta;
    columns.by_cell = 1;
    columns.fallback = row_.fallback;
    columns.first = row_.first;
    for (int64_t r = 0; r < k; ++r) {
      float* const taps = columns_.at(2 * r * k * pitch);
      take_apart(taps, pitch, row_.rows[r], k, cells, nullptr);
      columns.rows[r] = taps;
      columns.to[r] = taps + k * pitch;
      columns.reads[r] = row_.reads[r];
      columns.writes[r] = row_.writes[r];
    }
    kernel_.channels[computes_](columns);
    for (int64_t r = 0; !row_.out && r < k; ++r) put_together(row_.to[r], columns.to[r], pitch, k, cells, nullptr);
  }

  void gradients(int64_t group, int64_t plane, int64_t i, BetaSums* sums) {
    run(group, plane, i, nullptr);
    if (sums) sums->add_cells(group, i, plane, row_.by_beta, w_.out[2]);
  }

  // Shares are written where they belong.
  void disjoint(int64_t group, int64_t first, int64_t last, BetaSums* sums) {
    const int64_t k = kernel_.k;
    Rows target(job_.target, lines() / w_.out[1] * w_.in[1], w_.in[2], planes_, k, kLanes * k);
    if (w_.out[2] < kLanes) target.limit(0);  // a vector passes the end of a row
    for (int64_t i = first; i < last; ++i) {
      const int64_t row = group * w_.in[1] + i * k, rows = i + 1 < w_.out[1] ? k : w_.in[1] - i * k;
      for (int64_t c = 0; c < planes_; ++c) {
        for (int64_t r = 0; r < k; ++r) {
          row_.to[r] = target.at(row + r, c);
          row_.writes[r] = target.prefetch_of(row + r, c, 0);
        }
        gradients(group, c, i, sums);
        for (int64_t r = 0; r < k; ++r) std::fill(row_.to[r] + k * w_.out[2], row_.to[r] + w_.in[2], 0.f);
      }
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; r >= k && c < planes_; ++c) std::fill_n(target.at(row + r, c), w_.in[2], 0.f);
        target.write(row + r);
      }
    }
  }

  // Rows of the target that cells below reach too wait in one of two sets of sums: what a row of cells reads it does not
  // write, for its last vector computes some cells again.
  void overlapping(int64_t group, int64_t first, int64_t last, BetaSums* sums) {
    const int64_t k = kernel_.k, s = kernel_.s;
    const int64_t pitch = padded(std::max(w_.in[2] / s + 1, w_.out[2])) + 2 * kLanes, waiting = (k - s) * s * pitch;
    const bool few = w_.out[2] < kLanes;  // vectors pass the end of a row then
    row_.pitch = pitch;
    row_.columns = few ? std::max(w_.in[2], 2 * kLanes * s) : w_.in[2];
    Buffer waits(2 * planes_ * waiting), nowhere(s * row_.columns);
    Rows target(job_.target, lines() / w_.out[1] * w_.in[1], w_.in[2], planes_, s, row_.columns);
    if (few) target.limit(0);
    for (int64_t i = std::max<int64_t>(0, first - (k - 1) / s); i < last; ++i) {
      const int64_t row = group * w_.in[1] + i * s;
      for (int64_t c = 0; c < planes_; ++c) {
        for (int64_t r = 0; r < s; ++r) {
          row_.to[r] = i < first ? nowhere.at(r * row_.columns) : target.at(row + r, c);
          row_.writes[r] = target.prefetch_of(row + r, c, 0);
        }
        row_.before = waits.at((2 * c + i % 2) * waiting);
        row_.after = waits.at((2 * c + 1 - i % 2) * waiting);
        gradients(group, c, i, i >= first ? sums : nullptr);
      }
      if (i < first) continue;
      for (int64_t r = 0; r < s; ++r) target.write(row + r);
    }
    for (int64_t r = last * s; last == w_.out[1] && r < w_.in[1]; ++r) {
      const int64_t row = group * w_.in[1] + r, wait = r - last * s;
      for (int64_t c = 0; c < planes_; ++c) {
        const int64_t at = (2 * c + last % 2) * waiting + wait * s * pitch;
        if (wait < k - s) columns_to_row(target.at(row, c), waits.at(at), pitch, s, w_.in[2]);
        else std::fill_n(target.at(row, c), w_.in[2], 0.f);
      }
      target.write(row);
    }
  }

  const Job& job_;
  const Window& w_;
  const Kernel& kernel_;
  const int computes_;
  const int64_t planes_;
  Rows in_, grads_;
  const bool weighed_;  // whether vectors of taps stay within the rows of e^a
  SoftRows soft_;
  const bool apart_;  // whether rows of the incoming gradient are taken apart like those of x
  Buffer columns_, beta_, grad_, by_beta_;
  RowArguments row_{};
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
