// The operators on the CPU: torch's thread pool around the loops of loops.h, for the best instruction set there is.
#include "torch/bind.h"
#include "cpu/instances.h"
#include "cpu/mask_loops.h"

extern "C" {
bool ADAPOOL_LOOPS(double, portable) ADAPOOL_PARAMETERS;
bool ADAPOOL_LOOPS(float, portable) ADAPOOL_PARAMETERS;
#ifdef ADAPOOL_X86
bool ADAPOOL_LOOPS(double, avx2) ADAPOOL_PARAMETERS;
bool ADAPOOL_LOOPS(float, avx2) ADAPOOL_PARAMETERS;
bool ADAPOOL_LOOPS(float, avx512) ADAPOOL_PARAMETERS;
bool ADAPOOL_FAST_LOOPS(avx2) ADAPOOL_PARAMETERS;
bool ADAPOOL_FAST_LOOPS(avx512) ADAPOOL_PARAMETERS;
#endif
}
#define ADAPOOL_TABLE(isa, wide) #isa, {ADAPOOL_LOOPS(double, wide), ADAPOOL_LOOPS(float, isa)}

namespace adapool {
namespace {

struct Table {
  const char* isa;
  Loops loops[2];   // in double, in float
  Loops fast;
  Loops narrow;       // for what lanes of AVX-512 are too many for; or null
};

// ADAPOOL_ISA=portable, avx2 or avx512 asks for at most that set, for tests and comparisons.
Table table() {
  const char* wish = std::getenv("ADAPOOL_ISA");
  const std::string most = wish ? wish : "avx512";
  const char* fast_wish = std::getenv("ADAPOOL_FAST");  // 0: the generic loops alone
  [[maybe_unused]] const bool fast = fast_wish == nullptr || std::string(fast_wish) != "0";
#ifdef ADAPOOL_X86
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  const Loops narrow = fast ? ADAPOOL_FAST_LOOPS(avx2) : nullptr;
  if (avx512 && most == "avx512") return {ADAPOOL_TABLE(avx512, avx2), fast ? ADAPOOL_FAST_LOOPS(avx512) : nullptr, narrow};
  if (avx2 && most != "portable") return {ADAPOOL_TABLE(avx2, avx2), narrow, nullptr};
#endif
  return {ADAPOOL_TABLE(portable, portable), nullptr, nullptr};
}

void in_threads(int64_t n, int64_t grain, void (*body)(int64_t, int64_t, void*), void* context) {
  torch::stable::parallel_for(0, n, grain, [=](int64_t begin, int64_t end) { body(begin, end, context); });
}

const Table& best() {
  static const Table found = table();
  return found;
}

struct Cpu {
  static constexpr bool dense_cells = false;
  static bool run(const Call& call, Direction direction, const Reduction* reduction = nullptr,
                  const Any* result = nullptr) {
    const int32_t method = int32_t(call.traits.method), way = int32_t(direction);
    const Job& job = call.job;
    const Entry& own = method_table().at(call.traits.method);
    if (!own.source.empty()) {
      const Loops its = own.loops[call.type() == Type::float64].load();
      STD_TORCH_CHECK(its != nullptr, "method: ", own.name, " was not made for the CPU");
      return its(method, way, &job, reduction, result, in_threads);
    }
    for (const Loops fast : {best().fast, best().narrow})
      if (fast && fast(method, way, &job, reduction, result, in_threads)) return true;
    const Loops loops = best().loops[call.type() == Type::float64 ? 0 : 1];
    return loops(method, way, &job, reduction, result, in_threads);
  }
  static void masks(const Tensor& y, const MaskJob& job, MaskDirection direction) {
    const bool wide = type_of(y, "y") == Type::float64 || job.window.taps() > kTerms;
    (wide ? mask_loop<double> : mask_loop<float>)(job, direction, in_threads);
  }
};

STABLE_TORCH_LIBRARY_IMPL(adapool, CPU, m) { register_on<Cpu>(m); }

}  // namespace

// Of the loops that run here, for those that are compiled later (own.cpp).
extern "C" __attribute__((visibility("default"))) const char* adapool_isa() { return best().isa; }

}  // namespace adapool
