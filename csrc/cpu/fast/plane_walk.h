// Jobs whose lanes are neighbouring cells: NCHW, and channels_last with few channels, whose rows are taken apart into
// one row per channel. Each row of cells is computed alike wherever threads begin and end.
#pragma once
#include "cpu/fast/bands.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

constexpr int64_t kFlat = 4096;  // cells of one line, or so

// What every row of cells of a job needs, with the buffers of one thread.
class PlaneWalk {
 public:
  static int64_t together(const Job& job) { return job.channels_last ? job.channels : 1; }
  // Whether all cells of some rows are one line of lanes, which begins anew only with the next part of the plane: in planes
  // of floats whose regions do not overlap. Everything is read and written where it lies then.
  static bool flat(const Job& job, const Kernel& kernel) {
    return kernel.rows[0] && !job.channels_last && job.x.type == Type::float32 && kernel.k == kernel.s && job.window.out[2] >= kLanes;
  }

  PlaneWalk(const Job& job, const Kernel& kernel, const Fallback& fallback)
      : job_(job), w_(job.window), kernel_(kernel), computes_(kernel.computes(job, fallback.direction)),
        forward_(fallback.direction == Direction::forward), planes_(together(job)), flat_(flat(job, kernel)),
        slab_(fallback.job->window), held_(kernel.depth > 1 ? slab_.in[1] + kernel.height : kernel.height),
        rows_(flat_ ? std::clamp<int64_t>(kFlat / w_.out[2], 1, slab_.out[1]) : 1),
        beyond_(w_.out[2] < kLanes ? 2 * kLanes * kernel.s : 0),
        in_(job.x, lines(w_.in), w_.in[2], planes_, flat_ ? 0 : held_, flat_ ? 0 : kLanes * kernel.s + kernel.k),
        y_(job.y, 0, w_.out[2], planes_, !flat_ && forward_, kLanes),
        target_(job.target, beyond_ ? 0 : lines(w_.in), w_.in[2], planes_, flat_ || forward_ ? 0 : kernel.k > kernel.s ? kernel.s : held_, beyond_),
        apart_(planes_ > 1 && job.coefficient.given() && conversion_of(job.coefficient.type) && job.cs.c == 1 &&
               job.cs.d[2] == planes_ && job.cs.d[1] == w_.out[2] * planes_ && job.cs.n == w_.cells() * planes_),
        grads_(job.coefficient, lines(w_.out), w_.out[2], planes_, apart_, kLanes),
        weighed_(kernel.weighed && w_.in[2] >= kLanes * kernel.s + kernel.k), soft_(weighed_ ? kernel.k * planes_ : 0, w_.in[2]),
        columns_(kernel.rows[0] ? 0 : 2 * kernel.k * (kernel.k + 1) * std::max<int64_t>(w_.out[2], kLanes)),
        beta_(copied(job.operand[0].tensor, job.operand[0].strides)), grad_(forward_ ? 0 : copied(job.coefficient, job.cs)),
        by_beta_(forward_ ? 0 : padded(rows_ * w_.out[2])) {
    row_.across = w_.out[2];
    row_.jump = flat_ ? w_.stride[1] * w_.in[2] - kernel.s * w_.out[2] : 0;
    row_.fallback = fallback;
    row_.gain = job.unpool && job.normalize ? float(kernel.taps()) : 1;
  }

  void forward(int64_t group, int64_t first, int64_t last) {
    y_.limit(group * w_.out[1] + last);
    for (int64_t i = first, next; i < last; i = next) {
      const int64_t line = group * w_.out[1] + i;
      next = std::min(last, end_of_line(i));
      for (int64_t c = 0; c < planes_; ++c) run(group, c, i, next - i, y_.at(line, c));
      y_.write(line);
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
  int64_t lines(const int64_t* extent) const { return job_.batch * job_.channels / planes_ * extent[1]; }

  // Row i of the cells as a place of its slab.
  Point place_of(int64_t i) const {
    const int64_t slab = kernel_.depth > 1 ? i / slab_.out[1] : 0;
    return {0, 0, {slab, i - slab * slab_.out[1], 0}};
  }
  // The line of row r of its taps.
  int64_t line_of_taps(int64_t group, int64_t i, int64_t r) const {
    if (kernel_.depth == 1) return group * w_.in[1] + i * w_.stride[1] + r;
    const Point at = place_of(i);
    const int64_t high = kernel_.height, slab = at.at[0] * kernel_.depth + r / high;
    return group * w_.in[1] + slab * slab_.in[1] + at.at[1] * w_.stride[1] + r % high;
  }
  // Where the rows of cells end that are one line with row i.
  int64_t end_of_line(int64_t i) const { return std::min(i + rows_, (place_of(i).at[0] + 1) * slab_.out[1]); }

  // Whether the numbers of a line lie in memory as its cells follow each other; and room for a copy, where they may not.
  bool lies(const Any& t, const Strides& s) const {
    const int64_t width = w_.out[2];
    return t.type == Type::float32 && s.d[1] == s.d[2] * width && (s.d[2] == 0 || (s.d[2] == 1 && width >= kLanes));
  }
  int64_t copied(const Any& t, const Strides& s) const { return flat_ && lies(t, s) ? 0 : padded(rows_ * w_.out[2]); }
  StridedFloats line(const Any& t, const Strides& s, int64_t rows, float* copy) const {
    const int64_t at = s.plane(row_.first.n, row_.first.c) + s.in_plane(row_.first.at), width = w_.out[2], n = rows * width;
    if (lies(t, s)) return {static_cast<const float*>(t.data) + at, 0, s.d[2]};
    if (rows == 1) return line_of(t, at, 0, s.d[2], 1, n, n, copy);
    t.visit([&](const auto* all) {
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t j = 0; j < width; ++j) copy[r * width + j] = float(widen(all[at + r * s.d[1] + j * s.d[2]]));
    });
    return {copy, 0, 1};
  }

  // So many rows of cells from the i-th on.
  void run(int64_t group, int64_t plane, int64_t i, int64_t rows, float* out) {
    for (int64_t r = 0; r < kernel_.rows_of_taps(); ++r) {
      const int64_t line = line_of_taps(group, i, r);
      row_.rows[r] = in_.read(line, plane);
      row_.reads[r] = in_.prefetch_of(line, plane, kernel_.s);
    }
    bool near = weighed_;
    for (int64_t r = 0; near && r < kernel_.k; ++r) {
      row_.soft[r] = soft_.of((group * w_.in[1] + i * kernel_.s + r) * planes_ + plane, row_.rows[r]);
      near = row_.soft[r] != nullptr;
    }
    if (!near) row_.soft[0] = nullptr;
    row_.cells = rows * w_.out[2];
    row_.first = place_of(i);
    row_.first.n = group * planes_ / job_.channels;
    row_.first.c = group * planes_ % job_.channels + plane;
    row_.beta = line(job_.operand[0].tensor, job_.operand[0].strides, rows, beta_.at(0));
    row_.grad = row_.beta;
    if (apart_) {
      row_.grad = {grads_.read(group * w_.out[1] + i, plane), 0, 1};
    } else if (!forward_) {
      row_.grad = line(job_.coefficient, job_.cs, rows, grad_.at(0));
    }
    row_.out = out;
    if (kernel_.rows[computes_]) kernel_.rows[computes_](row_);
    else run_columns();
  }

  // The row of large windows that abut: its taps are taken apart into columns, which the kernels for channels read.
  void run_columns() {
    const int64_t k = kernel_.k, cells = row_.cells, pitch = std::max<int64_t>(cells, kLanes);
    ChannelArguments columns{row_};
    columns.along_row = true;
    columns.cells = columns.across = 1;
    columns.channels = pitch;
    columns.live = cells;
    columns.grad = row_.grad.p;
    if (!forward_ && row_.grad.lane == 0) columns.grad = std::fill_n(grad_.at(0), pitch, *row_.grad.p) - pitch;
    columns.by_cell = 1;
    float* const spare = columns_.at(2 * k * k * pitch);
    for (int64_t r = 0; r < k; ++r) {
      float* const taps = columns_.at(2 * r * k * pitch);
      take_apart(taps, pitch, row_.rows[r], k, cells, spare);
      columns.rows[r] = taps;
      columns.to[r] = taps + k * pitch;
    }
    kernel_.channels[computes_](columns);
    for (int64_t r = 0; !row_.out && r < k; ++r) put_together(row_.to[r], columns.to[r], pitch, k, cells, spare);
  }

  void gradients(int64_t group, int64_t plane, int64_t i, int64_t rows, BetaSums* sums) {
    run(group, plane, i, rows, nullptr);
    if (sums) sums->add_cells(group, i, plane, row_.by_beta, row_.cells);
  }

  // Shares are written where they belong.
  void disjoint(int64_t group, int64_t first, int64_t last, BetaSums* sums) {
    const int64_t taps = kernel_.rows_of_taps(), covered = kernel_.k * w_.out[2], width = w_.in[2];
    const int64_t part = sums ? sums->rows() : w_.out[1];
    for (int64_t i = first, next; i < last; i = next) {
      next = std::min({last, end_of_line(i), (i / part + 1) * part});
      for (int64_t c = 0; c < planes_; ++c) {
        for (int64_t r = 0; r < taps; ++r) {
          const int64_t line = line_of_taps(group, i, r);
          row_.to[r] = target_.at(line, c);
          row_.writes[r] = target_.prefetch_of(line, c, 0);
        }
        gradients(group, c, i, next - i, sums);
        for (int64_t r = 0; covered < width && r < taps; ++r) {
          int64_t line = line_of_taps(group, i, r);
          for (int64_t row = i; row < next; ++row, line += w_.stride[1]) {
            float* const to = target_.at(line, c);
            std::fill(to + covered, to + width, 0.f);
          }
        }
      }
      for (int64_t r = 0; !flat_ && r < taps; ++r) target_.write(line_of_taps(group, i, r));
    }
    for (int64_t row = w_.out[1] * kernel_.depth * w_.stride[1]; last == w_.out[1] && row < w_.in[1]; ++row) {
      const int64_t line = group * w_.in[1] + row;
      for (int64_t c = 0; c < planes_; ++c) std::fill_n(target_.at(line, c), width, 0.f);
      target_.write(line);
    }
  }

  // Rows of the target that cells below reach too wait in one of two sets of sums: what a row of cells reads it does not
  // write, for its last vector computes some cells again.
  void overlapping(int64_t group, int64_t first, int64_t last, BetaSums* sums) {
    const int64_t k = kernel_.k, s = kernel_.s;
    const int64_t pitch = padded(std::max(w_.in[2] / s + 1, w_.out[2])) + 2 * kLanes, waiting = (k - s) * s * pitch;
    row_.pitch = pitch;
    row_.columns = std::max(w_.in[2], beyond_);
    Buffer waits(2 * planes_ * waiting), nowhere(s * row_.columns);
    for (int64_t i = std::max<int64_t>(0, first - (k - 1) / s); i < last; ++i) {
      const int64_t row = group * w_.in[1] + i * s;
      for (int64_t c = 0; c < planes_; ++c) {
        for (int64_t r = 0; r < s; ++r) {
          row_.to[r] = i < first ? nowhere.at(r * row_.columns) : target_.at(row + r, c);
          row_.writes[r] = target_.prefetch_of(row + r, c, 0);
        }
        row_.before = waits.at((2 * c + i % 2) * waiting);
        row_.after = waits.at((2 * c + 1 - i % 2) * waiting);
        gradients(group, c, i, 1, i >= first ? sums : nullptr);
      }
      if (i < first) continue;
      for (int64_t r = 0; r < s; ++r) target_.write(row + r);
    }
    for (int64_t r = last * s; last == w_.out[1] && r < w_.in[1]; ++r) {
      const int64_t row = group * w_.in[1] + r, wait = r - last * s;
      for (int64_t c = 0; c < planes_; ++c) {
        const int64_t at = (2 * c + last % 2) * waiting + wait * s * pitch;
        if (wait < k - s) columns_to_row(target_.at(row, c), waits.at(at), pitch, s, w_.in[2]);
        else std::fill_n(target_.at(row, c), w_.in[2], 0.f);
      }
      target_.write(row);
    }
  }

  const Job& job_;
  const Window& w_;
  const Kernel& kernel_;
  const int computes_;
  const bool forward_;
  const int64_t planes_;
  const bool flat_;
  const Window& slab_;    // the window as it is: of `w_` the rows of all slabs are those of one
  const int64_t held_;    // lines of x that are at hand at once
  const int64_t rows_;    // of cells that are one line
  const int64_t beyond_;  // elements, of a row, that vectors pass its end by where it has few cells
  Rows in_, y_, target_;
  const bool apart_;  // whether rows of the incoming gradient are taken apart like those of x
  Rows grads_;
  const bool weighed_;  // whether vectors of taps stay within the rows of e^a
  SoftRows soft_;
  Buffer columns_, beta_, grad_, by_beta_;
  RowArguments row_{};
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
