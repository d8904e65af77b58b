// From a call to its launches. The numbers of a launch (windows, pieces, boxes, threads) are chosen in launch.h.
#include "cuda/host/plan.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "cuda/host/cut.h"
#include "cuda/host/launch.h"

namespace adapool::cuda {
namespace {

// A launch that sums terms for a block's entries side by side.
Launch totals_of(const Totals& totals, bool wide, Type result, void* out) {
  Launch launch;
  Specification& s = launch.specification;
  s.kind = Kind::totals;
  s.x = s.cells = s.spread = s.logits = s.operands[0] = s.operands[1] = s.operands[2] =
      wide ? Type::float64 : Type::float32;
  s.out = result;
  while (s.across < 32 && s.across < totals.entries) s.across *= 2;
  launch.arguments.totals = totals;
  launch.arguments.out = out;
  launch.grid[0] = unsigned((totals.entries + s.across - 1) / s.across);
  return launch;
}

// Some hundred blocks, each with terms enough.
int64_t splits_of(int64_t columns, int64_t terms, const Specification& s) {
  return std::clamp<int64_t>(std::min((512 + columns - 1) / columns, terms / (4 * (s.threads / s.across))), 1, 65535);
}

bool fits(int64_t n) { return n < (int64_t(1) << 31) - (1 << 16); }  // a step of a block beyond it too

Given given_of(const Operand& o) { return o.tensor.given() ? Given::tensor : o.given ? Given::number : Given::no; }

// What does not depend on the kernel that is chosen.
Launch begun(Method method, Direction direction, const Job& job, const Shape& shape) {
  Launch launch;
  Specification& s = launch.specification;
  Arguments& a = launch.arguments;
  s.method = method;
  s.x = job.x.type;
  s.spread = job.spread.given() ? job.spread.type : job.x.type;
  s.logits = job.logits.given() ? job.logits.type : job.x.type;
  s.cells = job.coefficient.given() ? job.coefficient.type : job.x.type;
  s.out = direction == Direction::gather ? job.target.type : direction == Direction::forward ? job.y.type : job.x.type;
  s.channels_last = job.channels_last;
  s.spreads = job.spread.given();
  s.weighs = job.use_weight;
  s.through = job.use_through;
  s.to_logits = job.to_logits;
  s.unpool = job.unpool;
  s.normalize = job.unpool && job.normalize;
  const Window& w = job.window;
  int64_t places = job.channels_last ? job.channels : 1, overlaps = 0;
  for (int d = 0; d < 3; ++d) {
    if (w.in[d] + w.kernel[d] >= int64_t(1) << 30)  // coordinates are counted in 32 bits, beyond the last one too
      throw std::runtime_error("adapool: on CUDA expected fewer than 2^30 places of a spatial axis and of its window "
                               "together, got " + std::to_string(w.in[d]) + " and " + std::to_string(w.kernel[d]));
    a.in[d] = int32_t(w.in[d]);
    a.cell[d] = int32_t(w.out[d]);
    a.kernel[d] = int32_t(w.kernel[d]);
    a.stride[d] =
        int32_t(w.stride[d] < w.in[d] + w.kernel[d] ? w.stride[d] : w.in[d] + w.kernel[d]);  // one cell has no next
    a.padding[d] = int32_t(w.padding[d]);
    s.box[d] = 1;
    a.groups[d] = 1;
    places *= w.in[d];
    overlaps += w.kernel[d] > w.stride[d] && w.out[d] > 1;
  }
  s.wide = !fits(places) || !fits(w.cells() * (job.channels_last ? job.channels : 1));
  s.flat = w.in[0] == 1 && w.padding[0] == 0;
  s.averages = s.normalize && overlaps > 0;
  a.x = job.x.data;
  a.logits = job.logits.data;
  a.spread = job.spread.data;
  a.cells = job.coefficient.data;
  a.out = direction == Direction::gather ? job.target.data : job.y.data;
  a.extra = direction == Direction::forward ? job.extra : nullptr;
  s.extra = a.extra != nullptr;
  s.picks = direction != Direction::forward || s.extra;
  const bool chooses = method == Method::mixed || (s.picks && method_table().at(method).traits.indices);
  if (chooses && w.taps() >= int64_t(1) << 31)  // the tap that is chosen is a number of 32 bits
    throw std::runtime_error("adapool: on CUDA expected fewer than 2^31 taps of a window that one is chosen of, got " +
                             std::to_string(w.taps()));
  a.batch = job.batch;
  a.channels = job.channels;
  a.images = job.channels_last ? job.batch : job.batch * job.channels;
  a.parts = a.images;
  a.lanes = 1;
  a.units = job.batch * job.channels * w.cells();
  for (int k = 0; k < 3; ++k) {
    const Operand& o = job.operand[k];
    s.given[k] = k < shape.operands ? given_of(o) : Given::no;
    s.operands[k] = s.given[k] == Given::tensor ? o.tensor.type : Type::float32;
    a.operand[k] = {o.tensor.data, o.number,    float(o.number),
                    o.strides.n,   o.strides.c, {o.strides.d[0], o.strides.d[1], o.strides.d[2]}};
  }
  return launch;
}

// The sums of terms that lie as [images' parts, (channel,) cells, (channel)].
void add_totals(Plan& plan, const Launch& from, const Job& job, const Reduction& reduction, const Any& result,
                int64_t parts) {
  const Window& w = job.window;
  const int64_t across = job.channels_last ? job.channels : 1, cells = w.cells() * across;
  const bool by_channel = !job.channels_last && parts % job.channels == 0;
  const int64_t channels = job.channels_last || by_channel ? job.channels : 1;
  const int64_t images = by_channel ? parts / job.channels : parts;
  const int64_t extent[5] = {images, channels, w.out[0], w.out[1], w.out[2]};
  const int64_t step[5] = {by_channel ? job.channels * cells : cells, job.channels_last ? 1 : cells,
                           w.out[1] * w.out[2] * across, w.out[2] * across, across};
  Totals t{{1, 1, 1}, {0, 0, 0}, {1, 1, 1}, {0, 0, 0}, 1, 1};
  int kept = 2, summed = 2;
  const auto merge = [](int64_t* extents, int64_t* steps, int& at, int64_t n, int64_t pitch) {
    if (at < 2 && pitch == extents[at + 1] * steps[at + 1]) {
      extents[at + 1] *= n;
      return;
    }
    extents[at] = n;
    steps[at--] = pitch;
  };
  for (int d = 4; d >= 0; --d) {
    if (extent[d] == 1) continue;
    if (reduction.kept[d] > 1) merge(t.kept, t.kept_step, kept, extent[d], step[d]);
    else merge(t.summed, t.summed_step, summed, extent[d], step[d]);
    (reduction.kept[d] > 1 ? t.entries : t.terms) *= extent[d];
  }
  const bool wide = from.specification.x == Type::float64;
  Launch last = totals_of(t, wide, result.type, result.data);
  last.terms = from.terms;
  const int64_t splits = splits_of(last.grid[0], t.terms, last.specification);
  if (splits > 1) {
    Launch first = last;
    first.specification.out = first.specification.x;
    first.grid[1] = unsigned(splits);
    first.out = last.terms = plan.scratch;
    plan.scratch += splits * t.entries * computing_size(from.specification);
    plan.launches.push_back(first);
    last.arguments.totals = {{1, 1, t.entries}, {0, 0, 1}, {1, 1, splits}, {0, 0, t.entries}, t.entries, splits};
  }
  plan.launches.push_back(last);
}

// Room for terms, at the end of the scratch memory.
void place_terms(Plan& plan, Launch& launch, const Job& job, int64_t parts) {
  launch.terms = plan.scratch;
  const int64_t numbers = parts * job.window.cells() * (job.channels_last ? job.channels : 1);
  plan.scratch += (numbers * computing_size(launch.specification) + 15) / 16 * 16;
}

}  // namespace

Plan plan(Method method, Direction direction, const Job& job, const Reduction* reduction, const Any* result,
          int multiprocessors) {
  Plan plan;
  const bool wide = job.x.type == Type::float64;
  if (job.batch * job.channels == 0) {
    if (reduction == nullptr) return plan;
    const int64_t n = reduction->entries;  // of a gradient to which no cell adds
    plan.launches.push_back(
        totals_of({{1, 1, n}, {0, 0, 0}, {1, 1, 1}, {0, 0, 0}, n, 0}, wide, result->type, result->data));
    return plan;
  }
  const Shape shape = shape_of(method, wide);
  Launch launch = begun(method, direction, job, shape);
  const bool terms = reduction != nullptr;
  if (terms) launch.specification.term = reduction->which;
  if (!choose(launch, direction, reduction, multiprocessors)) {  // windows first, then places
    Launch first = launch;
    Specification& s = first.specification;
    s.kind = Kind::large_forward;
    s.states = true;
    launch.states = first.states = plan.scratch;
    plan.scratch += (launch.arguments.units * state_size(shape) + 15) / 16 * 16;
    if (terms) place_terms(plan, first, job, first.arguments.images);
    launch.specification.term = -1;
    cut_gather(launch, multiprocessors);
    launch.terms = first.terms;
    plan.launches.push_back(first);
  } else if (terms) {
    place_terms(plan, launch, job, launch.arguments.parts);
  }
  plan.launches.push_back(launch);
  if (terms) add_totals(plan, launch, job, *reduction, *result, launch.arguments.parts);
  return plan;
}

Launch plan_masks(bool wide, const MaskJob& job, MaskDirection direction) {
  Launch launch;
  Specification& s = launch.specification;
  s.kind = Kind::masks;
  s.x = wide ? Type::float64 : Type::float32;
  s.direction = int32_t(direction);
  s.blocks = 4;
  const bool places = direction == MaskDirection::forward;
  const int64_t all = job.batch * job.channels * (places ? job.window.places() : job.window.cells());
  launch.grid[0] = unsigned(std::min<int64_t>((all + kThreads - 1) / kThreads, int64_t(1) << 20));
  return launch;
}

}  // namespace adapool::cuda
