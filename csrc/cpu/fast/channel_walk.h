// Jobs whose lanes are channels: channels_last, and NCHW, whose planes are laid side by side as many at a time as a
// vector has lanes. Each row of cells is computed alike wherever threads begin and end.
#pragma once
#include "cpu/fast/bands.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// The cells whose regions are whole: rows and columns `first` to `end`.
struct Rim {
  int64_t first[2], end[2], out[2];

  explicit Rim(const Window& w) {
    for (int d = 0; d < 2; ++d) {
      const int64_t s = w.stride[d + 1], p = w.padding[d + 1], room = w.in[d + 1] + p - w.kernel[d + 1];
      out[d] = w.out[d + 1];
      first[d] = std::min((p + s - 1) / s, out[d]);
      end[d] = std::max(std::min(room < 0 ? 0 : room / s + 1, out[d]), first[d]);
    }
  }
  bool there() const { return first[0] > 0 || first[1] > 0 || end[0] < out[0] || end[1] < out[1]; }
};

constexpr int64_t kBand = 16384;  // numbers of x that are laid side by side at once

class ChannelWalk {
 public:
  ChannelWalk(const Job& job, const Kernel& kernel, const Fallback& fallback)
      : job_(job), w_(job.window), kernel_(kernel), computes_(kernel.computes(job, fallback.direction)), groups_(job),
        rim_(job.window), rim_there_(rim_.there()), lines_(makes_lines()),
        rows_(job.channels_last ? 1 : std::clamp<int64_t>(kBand / (kernel.s * w_.in[2] * groups_.size), 1, w_.out[1])),
        in_(job, groups_, job.x, job.xs, w_.in, (rows_ - 1) * kernel.s + kernel.k),
        logits_(job, groups_, job.logits, job.xs, w_.in, kernel.logits ? (rows_ - 1) * kernel.s + kernel.k : 0),
        y_(job, groups_, job.y, job.ys, w_.out, fallback.direction == Direction::forward ? rows_ : 0),
        grad_(job, groups_, job.coefficient, job.cs, w_.out, fallback.direction == Direction::forward ? 0 : rows_),
        target_(job, groups_, job.target, job.xs, w_.in, fallback.direction == Direction::gather ? rows_ * kernel.s + kernel.k : 0),
        soft_(kernel.weighed ? kernel.k : 0, w_.in[2] * groups_.size), beta_(padded(w_.out[2] * groups_.size)),
        by_beta_(fallback.direction == Direction::gather ? padded(rows_ * w_.out[2] * groups_.size) : 0),
        kept_(kernel.k * (kernel.k - kernel.s) * (groups_.size + kLanes)),
        nowhere_(fallback.direction == Direction::gather ? w_.in[2] * groups_.size : 0) {
    row_.channels = groups_.size;
    row_.kept = kept_.at(0);
    row_.width = w_.in[2];
    row_.step = kernel.s * groups_.size;
    row_.jump = kernel.k * (w_.in[2] - w_.out[2]) * groups_.size;
    row_.gain = job.unpool && job.normalize ? float(kernel.k * kernel.k) : 1;
    row_.fallback = fallback;
  }

  static int64_t together(const Job& job) { return ChannelGroups(job).size; }

  void forward(int64_t group, int64_t first, int64_t last) {
    open(group);
    y_.open(group);
    for (int64_t i = first; i < last; i += rows_) {
      const int64_t next = std::min(i + rows_, last);
      read(i, next);
      y_.slide(i, next);
      look_ahead(next, last, y_);
      const int64_t step = lines_ ? next - i : 1;
      for (int64_t r = i; r < next; r += step) run(r, y_.at(r), step);
      ask_rest();
      y_.write(i, next);
    }
  }

  // `sums`, where given, take g dy / dbeta of every cell.
  // A part begins with the rows of cells before it whose regions reach into its own rows of the target.
  void backward(int64_t group, int64_t first, int64_t last, BetaSums* sums) {
    const int64_t k = kernel_.k, s = kernel_.s, size = groups_.size, width = w_.in[2] * size;
    const bool adds = k > s && rim_there_;
    const int64_t covered = adds ? 0 : std::min(s * (w_.out[2] - 1) + k - w_.padding[2], w_.in[2]) * size;
    row_.by_beta = sums ? by_beta_.at(0) : nullptr;
    row_.by_cell = sums && !sums->by_channel() ? size : 0;
    open(group);
    grad_.open(group);
    target_.open(group);
    const int64_t own = top(first), own_end = last < w_.out[1] ? top(last) : w_.in[1];
    const int64_t start = std::max<int64_t>(0, first - (k - 1) / s);
    const int64_t part = lines_ && sums ? sums->rows() : w_.out[1];
    for (int64_t i = start, next; i < last; i = next) {
      next = std::min({i + rows_, last, (i / part + 1) * part});
      const int64_t step = lines_ ? next - i : 1, done = next < last ? top(next) : own_end;
      const int64_t reached = std::max(bottom(next - 1), done);
      read(i, next);
      grad_.read(i, next);
      for (int64_t r = std::max(target_.slide(top(i), reached), own); r < std::min(own_end, reached); ++r)
        std::fill(target_.at(r) + (r >= bottom(next - 1) ? 0 : covered), target_.at(r) + width, 0.f);
      look_ahead(next, last, grad_);
      for (int64_t r = i; r < next; r += step) {
        for (int64_t t = 0; t < k; ++t) {
          const int64_t row = r * s - w_.padding[1] + t;
          const bool here = row >= own && row < own_end;
          row_.to[t] = here ? target_.at(row) : nowhere_.at(0);
          row_.writes[t] = here ? target_.prefetch_of(row, 0, false) : Prefetch{};
        }
        row_.grad = grad_.at(r);
        row_.begun = adds ? k : r == start ? 0 : k - s;
        if (sums && row_.by_cell == 0) std::fill_n(row_.by_beta, size, 0.f);
        run(r, nullptr, step);
        for (int64_t n = 0; sums && r >= first && n < (row_.by_cell ? step : 1); ++n)
          sums->add_channels(group, r + n, row_.by_beta + n * w_.out[2] * size, size, row_.live);
      }
      ask_rest();
      target_.write(std::max(top(i), own), done);
    }
  }

 private:
  // Whether a band's rows of cells are one line for the kernel: it is begun less often.
  bool makes_lines() const {
    const Strides& of_beta = job_.operand[0].strides;
    return of_beta.d[1] == 0 && of_beta.d[2] == 0 && kernel_.k == kernel_.s && !job_.channels_last && !rim_there_;
  }
  void open(int64_t group) {
    in_.open(group);
    logits_.open(group);
    soft_.open();
    row_.live = in_.live();
    row_.first = groups_.first(group);
  }
  void read(int64_t i, int64_t next) {
    in_.read(top(i), bottom(next - 1));
    if (kernel_.logits) logits_.read(top(i), bottom(next - 1));
  }
  // While a band is computed, what the next one will use: from row `next` of the cells on, or the next group's first.
  void look_ahead(int64_t next, int64_t last, const Band& cells) {
    const auto place = [&](int64_t i) { return i < w_.out[1] ? i * kernel_.s + kernel_.k - kernel_.s : w_.in[1]; };
    const bool here = next < last;
    const int64_t then = std::min(next + rows_, last);
    const int64_t lo = here ? place(next) : w_.in[1], hi = here ? place(then) : w_.in[1] + place(rows_);
    row_.ahead[0] = in_.ahead(lo, hi);
    row_.ahead[1] = here ? cells.ahead(next, then) : cells.ahead(w_.out[1], w_.out[1] + rows_);
    if (row_.fallback.direction == Direction::gather) row_.ahead[2] = target_.ahead(lo, hi);
    row_.before = 0;
  }
  void ask_rest() const {
    const int64_t places = row_.before * kernel_.s * kernel_.s, asked[] = {places, row_.before, places};
    for (int i = 0; i < 3; ++i)
      for (int64_t n = asked[i]; n < row_.ahead[i].lines; ++n) row_.ahead[i].ask<1>(n);
  }
  // The rows of x that the regions of row i of the cells reach from and to.
  int64_t top(int64_t i) const { return std::max<int64_t>(0, i * kernel_.s - w_.padding[1]); }
  int64_t bottom(int64_t i) const { return std::min(i * kernel_.s - w_.padding[1] + kernel_.k, w_.in[1]); }

  // Of row i of the cells, or of so many rows from it on.
  void run(int64_t i, float* out, int64_t rows) {
    const int64_t first = i * kernel_.s - w_.padding[1], k = kernel_.k;
    for (int64_t r = 0; r < k; ++r) {
      const bool there = first + r >= 0 && first + r < w_.in[1];
      row_.rows[r] = there ? in_.at(first + r) : nullptr;
      row_.reads[r] = there ? in_.prefetch_of(first + r, kernel_.s, kernel_.weighed) : Prefetch{};
    }
    row_.first.at[1] = i;
    const auto& [beta, s, number, given] = job_.operand[0];
    const int64_t at = s.plane(row_.first.n, row_.first.c) + s.in_plane(row_.first.at);
    row_.beta = line_of(beta, at, s.d[2], s.c, w_.out[2], row_.live, groups_.size, beta_.at(0));
    row_.out = out;
    const bool whole = i >= rim_.first[0] && i < rim_.end[0];
    const int64_t from = whole ? rim_.first[1] : 0, to = whole ? rim_.end[1] : 0;
    bool near = kernel_.weighed && to > from;
    for (int64_t r = 0; near && r < k; ++r) near = (row_.soft[r] = soft_.of(first + r, row_.rows[r])) != nullptr;
    if (!near) row_.soft[0] = nullptr;
    for (int64_t r = 0; kernel_.logits && r < k; ++r) row_.soft[r] = row_.rows[r] ? logits_.at(first + r) : nullptr;
    if (from > 0) run_from(kernel_.edges[computes_], 0, from, 0);
    if (to > from) run_from(kernel_.channels[computes_], from, to, (from * kernel_.s - w_.padding[2]) * groups_.size, rows);
    if (to < w_.out[2]) run_from(kernel_.edges[computes_], to, w_.out[2], 0);
    row_.before += rows * w_.out[2];
  }
  // Cells j to end of the rows; rows of taps are handed on from element `skip` on.
  void run_from(void (*kernel)(const ChannelArguments&), int64_t j, int64_t end, int64_t skip, int64_t rows = 1) const {
    ChannelArguments part = row_;
    for (int64_t r = 0; r < kernel_.k; ++r) {
      part.rows[r] += skip;
      part.to[r] += skip;
      part.reads[r] = row_.reads[r].from(skip);
      part.writes[r] = row_.writes[r].from(skip);
      if (part.soft[0]) part.soft[r] += skip;
    }
    part.across = end - j;
    part.cells = rows * part.across;
    part.before += j;
    part.column = j * kernel_.s - w_.padding[2];
    part.first.at[2] = j;
    part.beta.p += j * part.beta.cell;
    part.grad += j * groups_.size;
    if (part.out) part.out += j * groups_.size;
    if (part.by_beta) part.by_beta += j * part.by_cell;
    kernel(part);
  }

  const Job& job_;
  const Window& w_;
  const Kernel& kernel_;
  const int computes_;
  const ChannelGroups groups_;
  const Rim rim_;
  const bool rim_there_, lines_;
  const int64_t rows_;  // of cells that are walked at once
  Band in_, logits_, y_, grad_, target_;
  SoftRows soft_;
  Buffer beta_, by_beta_, kept_, nowhere_;
  ChannelArguments row_{};
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
