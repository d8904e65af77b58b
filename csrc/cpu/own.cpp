// What Python needs to compile a person's struct for this processor, as C functions for ctypes: headers and flags.
#include <cstring>

#include "cuda/host/device_sources.h"

#define ADAPOOL_C extern "C" __attribute__((visibility("default")))

extern "C" const char* adapool_isa();  // of the loops that run here

// The path below csrc of the i-th header, and its text; null when there are no more.
ADAPOOL_C const char* adapool_header(int i, const char** text) {
  const auto all = adapool::cuda::loop_sources();
  if (size_t(i) >= all.size()) return nullptr;
  *text = all[size_t(i)].text;
  return all[size_t(i)].name;
}

// What the compiler is told, in one line: as the library's own loops were compiled.
ADAPOOL_C const char* adapool_loop_flags() {
  constexpr const char* all[][2] = {
      {"portable", ADAPOOL_FLAGS_portable},
#ifdef ADAPOOL_X86
      {"avx2", ADAPOOL_FLAGS_avx2},
      {"avx512", ADAPOOL_FLAGS_avx512},
#endif
  };
  for (const auto& [isa, flags] : all)
    if (std::strcmp(isa, adapool_isa()) == 0) return flags;
  return nullptr;
}
