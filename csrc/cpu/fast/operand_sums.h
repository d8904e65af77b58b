// The gradient of beta, of any shape that broadcasts: g dy / dbeta of every cell, summed over the axes that beta lacks.
#pragma once
#include "cpu/fast/channel_walk.h"
#include "cpu/fast/plane_walk.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

constexpr int64_t kUnits = 64;    // parts of the work: a constant, so that sums do not depend on the threads
constexpr int64_t kTogether = 8;  // kept rows that one part walks side by side, to read memory in order

// Adds a row of cells by channels to sums of which `width` cells and `depth` channels are kept, 1 where summed.
inline void add_row(double* sums, const float* row, int64_t cells, int64_t channels, int64_t width, int64_t depth) {
  if (width == 1 && depth == 1) {
    *sums += sum_in_order(row, cells * channels);
  } else if (depth == 1) {
    for (int64_t j = 0; j < cells; ++j) sums[j] += channels == 1 ? row[j] : sum_in_order(row + j * channels, channels);
  } else {
    for (int64_t j = 0; j < cells; ++j)
      for (int64_t c = 0; c < channels; ++c) sums[(width == 1 ? 0 : j * channels) + c] += row[j * channels + c];
  }
}

template <class Walk>
void sum_operand(const Job& job, const Kernel& kernel, const Fallback& fallback, const Reduction& reduction, const Any& result,
                 Threads threads) {
  const Window& w = job.window;
  const int64_t channels = Walk::together(job);
  const int64_t extent[3] = {job.batch, job.channels / channels, w.out[1]};
  const int64_t axis[3] = {0, 1, 3};  // of n, c and the rows among the reduction's five
  int64_t pitch[5], entries = 1, kept = 1, summed = 1;
  bool keeps[3];
  for (int d = 4; d >= 0; --d) {
    pitch[d] = reduction.summed[d] == 1 ? entries : 0;
    entries *= reduction.kept[d];
  }
  for (int d = 0; d < 3; ++d) {
    keeps[d] = extent[d] == 1 || reduction.kept[axis[d]] > 1;
    (keeps[d] ? kept : summed) *= extent[d];
  }
  const int64_t together = keeps[2] ? std::min(kTogether, extent[2]) : 1, rows = keeps[2] ? extent[2] : 1;
  const int64_t blocks = (rows + together - 1) / together, parts = kept / rows * blocks;
  const int64_t span = (summed + kUnits / std::min(parts, kUnits) - 1) / (kUnits / std::min(parts, kUnits));
  const int64_t chunks = (summed + span - 1) / span;
  const int64_t width = pitch[4] ? w.out[2] : 1, depth = pitch[1] ? channels : 1, line = width * depth;
  std::vector<double> partial(chunks > 1 ? chunks * entries : 0);

  in_parallel(threads, parts * chunks, 1, [&](int64_t begin, int64_t end) {
    Walk walk(job, kernel, fallback);
    Buffer row(padded(w.out[2] * channels));
    std::vector<double> sums;
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t chunk = unit / parts, block = unit % parts % blocks * together;
      const int64_t last = std::min(summed, (chunk + 1) * span), block_end = std::min(rows, block + together);
      sums.assign((block_end - block) * line, 0.0);
      int64_t at[3];
      for (int64_t term = chunk * span; term < last; ++term) {
        int64_t k = unit % parts / blocks, s = term;
        for (int d = 2; d >= 0; --d)
          if (!(d == 2 && keeps[2])) at[d] = split(keeps[d] ? k : s, extent[d]);
        for (int64_t i = block; i < block_end; ++i) {
          if (keeps[2]) at[2] = i;
          walk.difference(at[0], at[1], at[2], row.at(0));
          add_row(sums.data() + (i - block) * line, row.at(0), w.out[2], channels, width, depth);
        }
      }
      for (int64_t i = block; i < block_end; ++i)
        for (int64_t e = 0; e < line; ++e) {
          const int64_t entry = at[0] * pitch[0] + at[1] * channels * pitch[1] + (keeps[2] ? i : 0) * pitch[3] + e / depth * pitch[4] +
                                e % depth * pitch[1];
          if (chunks == 1) result.store(entry, sums[(i - block) * line + e]);
          else partial[chunk * entries + entry] = sums[(i - block) * line + e];
        }
    }
  });
  for (int64_t entry = 0; chunks > 1 && entry < entries; ++entry) {
    double sum = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * entries + entry];
    result.store(entry, sum);
  }
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
