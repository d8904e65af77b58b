// The fast kernels of one method, ADAPOOL_METHOD. Compiled for each method and instruction set, ADAPOOL_ISA.
#include "cpu/fast/blend.h"
#include "cpu/fast/by_struct.h"
#include "cpu/fast/edges.h"
#include "cpu/fast/kernel.h"
#include "cpu/fast/logits.h"
#include "cpu/fast/methods.h"
#include "cpu/fast/overlapping_channels.h"
#include "cpu/fast/overlapping_rows.h"
#include "cpu/fast/power.h"
#include "cpu/region.h"

namespace adapool {
inline namespace ADAPOOL_ISA {
namespace {

template <template <class> class S> struct PolicyOf { using Type = ByStruct<S>; };
template <> struct PolicyOf<SoftPool> { using Type = Blend<false, true>; };
template <> struct PolicyOf<Edscw> { using Type = Blend<true, false>; };
template <> struct PolicyOf<Ada> { using Type = Blend<true, true>; };
template <> struct PolicyOf<Power> { using Type = Powers<Of::positive>; };
template <> struct PolicyOf<Lip> { using Type = Logits; };
template <> struct PolicyOf<Lp> { using Type = Powers<Of::signs>; };

template <template <class> class M>
void fallback_cell(const Job& job, Direction direction, const Point& p, float* out, int64_t pitch) {
  const Region<float> r(job, p, Lanes{false, 1});
  Prepared<M, float> cell;
  cell.prepare(r, operands_at<float>(job, p, r.lanes, M<float>::operands), direction != Direction::forward);
  if (direction == Direction::forward) {
    *out = cell.m.pooled();
    return;
  }
  const float c = coefficient_at<float>(job, p, r.lanes, r.count);
  if (direction == Direction::operand) {
    *out = c * cell.operand(0, r);
    return;
  }
  const auto sharing = cell.times(c);
  r.each([&](const Tap<float>& t) { out[t.index * pitch] = sharing.share(r, t); });
}

template <template <class> class S> struct MethodOf {
  using Policy = PolicyOf<S>::Type;
  static constexpr auto fallback = fallback_cell<S>;
};
namespace named {
#define ADAPOOL_NAMED(name, S) using name = MethodOf<S>;
ADAPOOL_METHODS(ADAPOOL_NAMED)
#undef ADAPOOL_NAMED
}  // namespace named
using Own = named::ADAPOOL_METHOD;
using Policy = Own::Policy;

// The fallback of the method's twin, or null.
template <Method method> constexpr auto fallback_of_twin() {
#define ADAPOOL_TWIN(twin, of) if constexpr (method == Method::of) return named::twin::fallback; else
  ADAPOOL_FAST_TWINS(ADAPOOL_TWIN) return nullptr;
#undef ADAPOOL_TWIN
}

constexpr bool logits = std::is_same_v<Policy, Logits>;

// The kernels that compute `computes`, which are those for `as`, too.
template <int R, int K, int S, Computes computes, Computes as = computes> constexpr void add(Kernel& kernel) {
  if constexpr (written_out<R, K> && !logits)  // others read channels, or columns that lie as channels do
    kernel.rows[int(as)] = run_row<Policy, R, K, S, computes>;
  if constexpr (R == K)
    kernel.channels[int(as)] = run_channels<Policy, K, S, computes>;
  if constexpr (R == K && written_out<K> && (logits || computes != Computes::detached))  // larger windows are hardly ever cut off
    kernel.edges[int(as)] = run_edges<Policy, K, computes>;
}

template <int K, int S, int height = K, int depth = 1> constexpr Kernel kernel_for() {
  constexpr int R = depth * height;
  Kernel kernel{};
  kernel.depth = depth;
  kernel.height = height;
  kernel.k = K;
  kernel.s = S;
  kernel.logits = logits;
  kernel.weighed = Policy::weighed(K, S) == Weighed::where_near;
  add<R, K, S, Computes::value>(kernel);
  add<R, K, S, Computes::exact>(kernel);
  if constexpr (!Policy::detaches) add<R, K, S, Computes::exact, Computes::detached>(kernel);
  // Of others than logits, restoring from a guide; what overlaps or is larger: the general loops.
  else if constexpr (logits || (K == S && written_out<R, K>)) add<R, K, S, Computes::detached>(kernel);
  kernel.fallback[0] = Own::fallback;
  kernel.fallback[1] = fallback_of_twin<Method::ADAPOOL_METHOD>();
  return kernel;
}

}  // namespace

template <> const Kernel* find_kernel<Method::ADAPOOL_METHOD>(const Window& w) {
  static constexpr Kernel kernels[] = {kernel_for<2, 2>(), kernel_for<3, 3>(), kernel_for<3, 2>(), kernel_for<4, 4>(),
                                       kernel_for<5, 5>(), kernel_for<7, 7>(), kernel_for<3, 1>(),
                                       kernel_for<2, 2, 1>(), kernel_for<3, 3, 1>(), kernel_for<1, 1, 2>(), kernel_for<2, 2, 2, 2>()};
  for (const Kernel& kernel : kernels)
    if (w.kernel[0] == kernel.depth && w.kernel[1] == kernel.height && w.kernel[2] == kernel.k && w.stride[2] == kernel.s &&
        w.stride[1] == (kernel.square() ? kernel.s : kernel.height) && (kernel.depth == 1 || w.stride[0] == kernel.depth))
      return &kernel;
  return nullptr;
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
