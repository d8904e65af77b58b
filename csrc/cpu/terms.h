// The gradient of an operand: from one number for each cell, or, summed beside the gradient of x, for each part of a group
// of channels; added in order. Host only.
#pragma once
#include <algorithm>
#include <vector>

#include "job.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

// From a term of every cell.
template <class S> void sum_up(const Reduction& r, const S* term, const Any& result) {
  int64_t extent[5], pitch[5], at[5] = {}, entries = 1;
  for (int d = 4; d >= 0; --d) {
    extent[d] = r.kept[d] * r.summed[d];
    pitch[d] = r.kept[d] > 1 ? entries : 0;
    entries *= r.kept[d];
  }
  std::vector<double> sums(entries);
  for (int64_t rows = r.entries * r.terms / std::max<int64_t>(extent[4], 1); rows > 0; --rows) {
    double* to = sums.data();
    for (int d = 0; d < 4; ++d) to += at[d] * pitch[d];
    for (int64_t j = 0; j < extent[4]; ++j) to[j * pitch[4]] += *term++;
    for (int d = 3; d >= 0 && ++at[d] == extent[d]; --d) at[d] = 0;
  }
  for (int64_t entry = 0; entry < entries; ++entry) result.store(entry, sums[entry]);
}

// terms[(group * parts + part) * pitch + channel within the group], groups of all images in order; a part has `rows`
struct Terms {
  int64_t group, parts, rows, pitch;
  std::vector<double> sums;

  Terms(const Job& job, int64_t g, int64_t n, int64_t r, int64_t p)
      : group(g), parts(n), rows(r), pitch(p), sums(job.batch * ((job.channels + g - 1) / g) * parts * pitch) {}
  double* at(int64_t all_groups, int64_t row) { return sums.data() + (all_groups * parts + row / rows) * pitch; }

  // Whether the operand has no entries within a plane.
  static bool serve(const Job& job, const Reduction& r) {
    const Window& w = job.window;
    return r.summed[2] == w.out[0] && r.summed[3] == w.out[1] && r.summed[4] == w.out[2];
  }
  void write(const Job& job, const Reduction& r, const Any& result) const {
    const int64_t groups = (job.channels + group - 1) / group;
    const bool by_channel = r.kept[1] > 1, by_image = r.kept[0] > 1;
    std::vector<double> totals(r.entries, 0.0);
    for (int64_t n = 0; n < job.batch; ++n)
      for (int64_t c = 0; c < job.channels; ++c) {
        const double* first = sums.data() + (n * groups + c / group) * parts * pitch + c % group;
        double sum = 0;
        for (int64_t i = 0; i < parts; ++i) sum += first[i * pitch];
        totals[(by_image ? n * (by_channel ? job.channels : 1) : 0) + (by_channel ? c : 0)] += sum;
      }
    for (int64_t entry = 0; entry < r.entries; ++entry) result.store(entry, totals[entry]);
  }
};

}  // namespace ADAPOOL_ISA
}  // namespace adapool
