// The gradient of an operand that is summed beside the gradient of x: from one number for each part of a group of
// channels, added in order. Host only.
#pragma once
#include <vector>

#include "job.h"

namespace adapool {
inline namespace ADAPOOL_ISA {

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
