// Planes of floats in NCHW whose regions do not overlap: all cells of some rows are one line of lanes, which begins
// anew only with the next part of the plane. Everything is read and written where it lies.
#pragma once
#include "cpu/fast/lines.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

constexpr int64_t kFlat = 4096;  // cells of one line, or so

class FlatWalk {
 public:
  static int64_t together(const Job&) { return 1; }
  static bool serves(const Job& job, const Kernel& kernel) {
    return kernel.rows[0] && !job.channels_last && job.x.type == Type::float32 && kernel.k == kernel.s && job.window.out[2] >= kLanes;
  }

  FlatWalk(const Job& job, const Kernel& kernel, const Fallback& fallback)
      : job_(job), w_(job.window), kernel_(kernel), computes_(kernel.computes(job, fallback.direction)),
        rows_(std::max<int64_t>(1, kFlat / w_.out[2])),
        beta_(lines_beta() ? 1 : rows_ * w_.out[2]), grad_(dense_grad() ? 1 : rows_ * w_.out[2]),
        by_beta_(fallback.direction == Direction::gather ? rows_ * w_.out[2] : 0) {
    row_.fallback = fallback;
    row_.gain = job.unpool && job.normalize ? float(kernel.k * kernel.k) : 1;
    row_.width = w_.out[2];
    row_.jump = kernel.s * (w_.in[2] - w_.out[2]);
  }

  void forward(int64_t plane, int64_t first, int64_t last) {
    float* y = static_cast<float*>(job_.y.data) + plane * w_.out[1] * w_.out[2];
    for (int64_t i = first; i < last; i += rows_) run(plane, i, std::min(i + rows_, last), y + i * w_.out[2]);
  }

  // `sums`, where given, take g dy / dbeta of every cell.
  void backward(int64_t plane, int64_t first, int64_t last, BetaSums* sums) {
    const int64_t k = kernel_.k, covered = k * w_.out[2];
    row_.by_beta = sums ? by_beta_.at(0) : nullptr;
    float* target = static_cast<float*>(job_.target.data) + plane * w_.in[1] * w_.in[2];
    for (int64_t i = first; i < last;) {
      const int64_t next = std::min({i + rows_, last, sums ? (i / sums->rows() + 1) * sums->rows() : last});
      for (int64_t r = 0; r < k; ++r) {
        row_.to[r] = target + (i * k + r) * w_.in[2];
        row_.writes[r] = {row_.to[r] + kAhead, false};
      }
      run(plane, i, next, nullptr);
      if (sums) sums->add_cells(plane, i, 0, row_.by_beta, row_.cells);
      for (int64_t r = i * k; covered < w_.in[2] && r < next * k; ++r)
        std::fill(target + r * w_.in[2] + covered, target + (r + 1) * w_.in[2], 0.f);
      i = next;
    }
    if (last == w_.out[1]) std::fill(target + last * k * w_.in[2], target + w_.in[1] * w_.in[2], 0.f);
  }

 private:
  bool dense(const Any& t, const Strides& s) const {
    return t.type == Type::float32 && s.d[2] == 1 && s.d[1] == w_.out[2];
  }
  bool dense_grad() const { return !job_.coefficient.given() || dense(job_.coefficient, job_.cs); }
  bool lines_beta() const {
    const Operand& beta = job_.operand[0];
    return !beta.tensor.given() || dense(beta.tensor, beta.strides) || (beta.strides.d[1] == 0 && beta.strides.d[2] == 0);
  }

  void run(int64_t plane, int64_t i, int64_t next, float* out) {
    for (int64_t r = 0; r < kernel_.k; ++r) {
      row_.rows[r] = static_cast<const float*>(job_.x.data) + (plane * w_.in[1] + i * kernel_.s + r) * w_.in[2];
      row_.reads[r] = {row_.rows[r] + kAhead, false};
    }
    row_.cells = (next - i) * w_.out[2];
    row_.first = {plane / job_.channels, plane % job_.channels, {0, i, 0}};
    if (lines_beta()) row_.beta = operand_line(job_, row_.first, row_.cells, beta_.at(0));
    else row_.beta = by_rows(beta_, i, next, [&](const Point& p, float* to) { return operand_line(job_, p, w_.out[2], to); });
    row_.grad = row_.beta;
    if (job_.coefficient.given() && dense_grad()) row_.grad = gradient_line(job_, row_.first, row_.cells, grad_.at(0));
    else if (job_.coefficient.given())
      row_.grad = by_rows(grad_, i, next, [&](const Point& p, float* to) { return gradient_line(job_, p, w_.out[2], to); });
    row_.out = out;
    kernel_.rows[computes_](row_);
  }

  template <class F> StridedFloats by_rows(const Buffer& buffer, int64_t i, int64_t next, const F& line_at) const {
    for (int64_t r = i; r < next; ++r) {
      float* to = buffer.at((r - i) * w_.out[2]);
      Point p = row_.first;
      p.at[1] = r;
      const StridedFloats line = line_at(p, to);
      if (line.p == to && line.lane == 1) continue;
      for (int64_t j = w_.out[2] - 1; j >= 0; --j) to[j] = line.p[j * line.lane];
    }
    return {buffer.at(0), 0, 1};
  }

  const Job& job_;
  const Window& w_;
  const Kernel& kernel_;
  const int computes_;
  const int64_t rows_;
  Buffer beta_, grad_, by_beta_;
  RowArguments row_{};
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
