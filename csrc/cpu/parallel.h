// Loops whose parts run in threads. No torch: the loop over threads is handed in.
#pragma once
#include <algorithm>
#include <cstdint>

namespace adapool {
inline namespace ADAPOOL_ISA {

// Calls body(begin, end, context) on parts of 0 .. n, each of `grain` at least.
using Parallel = void (*)(int64_t n, int64_t grain, void (*body)(int64_t, int64_t, void*), void* context);

template <class F> void parallel(Parallel run, int64_t n, int64_t grain, const F& f) {
  const auto body = [](int64_t begin, int64_t end, void* c) { (*static_cast<const F*>(c))(begin, end); };
  if (n > 0) run(n, std::max<int64_t>(grain, 1), body, const_cast<void*>(static_cast<const void*>(&f)));
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
