// The gradient of beta that is summed beside the gradient of x, and how the work is cut so that its sums do not depend on
// the threads. Host only.
#pragma once
#include <algorithm>
#include <vector>

#include "cpu/terms.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

inline double sum_in_order(const float* v, int64_t n) {
  double part[8] = {}, sum = 0;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int k = 0; k < 8; ++k) part[k] += v[i + k];
  for (; i < n; ++i) sum += v[i];
  for (int k = 0; k < 8; ++k) sum += part[k];
  return sum;
}

// Groups of channels of all images, `together` channels each, in `chunks` of some that follow each other, none of two
// blocks (images whose sums are kept apart, or all); rows of cells in `parts` of `rows`.
struct WorkSplit {
  int64_t together, block, span, chunks, rows, parts;

  static constexpr int64_t kUnits = 64;  // of work, or so: a constant
  static constexpr int64_t kHalo = 8;    // rows of cells are not cut into fewer, where sums want few chunks

  WorkSplit(const Job& job, int64_t channels, bool by_cell, bool by_image) : together(channels) {
    const int64_t all = job.window.out[1], each_image = (job.channels + channels - 1) / channels, groups = job.batch * each_image;
    const int64_t wanted = by_cell ? std::min(kUnits, all / kHalo) : kUnits / groups;
    rows = std::max<int64_t>(1, all / std::max<int64_t>(1, wanted));
    parts = (all + rows - 1) / rows;
    block = by_image ? each_image : groups;
    const int64_t blocks = groups / block, each = std::max<int64_t>(1, kUnits / (parts * blocks));
    span = by_cell ? (block + each - 1) / each : 1;
    chunks = blocks * chunks_each();
  }
  int64_t chunks_each() const { return (block + span - 1) / span; }
  int64_t begin(int64_t chunk) const { return chunk / chunks_each() * block + chunk % chunks_each() * span; }
  int64_t end(int64_t chunk) const { return std::min(begin(chunk) + span, (chunk / chunks_each() + 1) * block); }
  int64_t chunk(int64_t group) const { return group / block * chunks_each() + group % block / span; }
};

// One number for each channel of a part, or one for each cell of a chunk, or every number: as the result where it has as
// many entries, else until all are there.
class BetaSums {
 public:
  static bool for_cells(const Job& job, const Reduction& r) {
    const Window& w = job.window;
    return r.kept[1] == 1 && r.summed[1] == job.channels && r.summed[3] * r.summed[4] == 1 && r.summed[2] == w.out[0];
  }

  BetaSums(const Job& job, const WorkSplit& work, const Reduction* r, const Any* result)
      : job_(job), work_(work), r_(r), result_(result), by_channel_(r && Terms::serve(job, *r)),
        planes_(job, work.together, by_channel_ ? work.parts : 0, work.rows, work.together),
        cells_(r && !by_channel_ && for_cells(job, *r) ? work.chunks * job.window.cells() : 0),
        every_(r && !by_channel_ && cells_.empty() && r->terms > 1 ? job.cells() : 0) {}

  bool by_channel() const { return by_channel_; }
  int64_t rows() const { return work_.rows; }
  // g dy / dbeta of `cells` cells of one channel, from the first of a row on.
  void add_cells(int64_t group, int64_t row, int64_t channel, const float* v, int64_t cells) {
    if (by_channel_) {
      planes_.at(group, row)[channel] += sum_in_order(v, cells);
    } else if (cells_.empty()) {
      put(group, row, channel, v, 1, cells);
    } else {
      double* to = at(group, row);
      for (int64_t j = 0; j < cells; ++j) to[j] += v[j];
    }
  }
  // Of all channels of a row of cells, `channels` side by side and `live` of them in use: of each cell, or their sums.
  void add_channels(int64_t group, int64_t row, const float* v, int64_t channels, int64_t live) {
    const int64_t width = job_.window.out[2];
    if (by_channel_) {
      double* to = planes_.at(group, row);
      for (int64_t c = 0; c < channels; ++c) to[c] += v[c];
    } else if (cells_.empty()) {
      for (int64_t c = 0; c < live; ++c) put(group, row, c, v + c, channels, width);
    } else {
      double* to = at(group, row);
      for (int64_t j = 0; j < width; ++j) to[j] += sum_in_order(v + j * channels, live);
    }
  }
  void write() const {
    if (by_channel_) return planes_.write(job_, *r_, *result_);
    if (cells_.empty() && !every_.empty()) return sum_up(*r_, every_.data(), *result_);
    if (cells_.empty()) return;
    Reduction of_chunks = *r_;  // of those of an image, or of all, where their channels were
    of_chunks.summed[0] = 1;
    of_chunks.summed[1] = of_chunks.terms = work_.chunks / r_->kept[0];
    sum_up(of_chunks, cells_.data(), *result_);
  }

 private:
  double* at(int64_t group, int64_t row) {
    return cells_.data() + work_.chunk(group) * job_.window.cells() + row * job_.window.out[2];
  }
  void put(int64_t group, int64_t row, int64_t channel, const float* v, int64_t step, int64_t cells) {
    const int64_t groups = (job_.channels + work_.together - 1) / work_.together;
    const int64_t plane = group / groups * job_.channels + group % groups * work_.together + channel;
    const Any to_all = every_.empty() ? *result_ : Any{every_.data(), Type::float32};
    to_all.visit([&](auto* all) {
      auto* to = all + plane * job_.window.cells() + row * job_.window.out[2];
      for (int64_t j = 0; j < cells; ++j) to[j] = narrow<std::remove_reference_t<decltype(*to)>>(v[j * step]);
    });
  }

  const Job& job_;
  const WorkSplit& work_;
  const Reduction* r_;
  const Any* result_;
  const bool by_channel_;
  Terms planes_;
  std::vector<double> cells_;
  std::vector<float> every_;
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
