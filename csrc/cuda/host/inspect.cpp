// What Python asks of the CUDA half without a tensor and without a GPU, as C functions for ctypes: where NVRTC is, which
// kernels a call needs, and what NVRTC makes of them.
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>

#include "cuda/host/describe.h"
#include "cuda/host/tune.h"
#include "device_sources.h"
#include "kernels.h"
#include "nvrtc.h"

#define ADAPOOL_C extern "C" __attribute__((visibility("default")))

namespace {

char* copy(const std::string& bytes) {  // with a zero at the end; freed by adapool_free
  char* made = static_cast<char*>(std::malloc(bytes.size() + 1));
  if (made != nullptr) std::memcpy(made, bytes.c_str(), bytes.size() + 1);
  return made;
}

}  // namespace

// The major version of torch's CUDA; 0: any. Before the first kernel.
ADAPOOL_C void adapool_set_cuda_major(int major) { adapool::cuda::set_cuda_major(major); }

// Into `out`: NVRTC's path and version, each on a line, and 0; or why there is none, in one sentence, and 1.
ADAPOOL_C int adapool_nvrtc(char* out, size_t room) {
  std::string said;
  int status = 0;
  try {
    said = adapool::cuda::path() + "\n" + adapool::cuda::version();
  } catch (const std::exception& error) {
    said = error.what();
    status = 1;
  }
  if (room > 0) out[said.copy(out, room - 1)] = '\0';
  return status;
}

// Compiles `text` with the embedded device sources, past the cache. 0, the results and the compiler's log; or 1, no
// results, and what compile() throws in `log`. `ptx` is empty unless wanted. Each is freed by adapool_free.
ADAPOOL_C int adapool_compile(const char* text, int architecture, int want_ptx, char** cubin, size_t* cubin_size,
                              char** ptx, char** log) {
  *cubin = *ptx = nullptr;
  *cubin_size = 0;
  try {
    const auto made = adapool::cuda::compile(text, adapool::cuda::device_sources(), architecture, want_ptx != 0);
    *cubin = copy(made.cubin);
    *cubin_size = made.cubin.size();
    *ptx = copy(made.ptx);
    *log = copy(made.log);
    return 0;
  } catch (const std::exception& error) {
    *log = copy(error.what());
    return 1;
  }
}

// What the disk's cache has under a key: 1, and the bytes, freed by adapool_free; or 0.
ADAPOOL_C int adapool_read_cache(const char* key, char** bytes, size_t* size) {
  const auto found = adapool::cuda::disk().read(key);
  if (!found) return 0;
  *bytes = copy(*found);
  *size = found->size();
  return *bytes != nullptr;
}
ADAPOOL_C void adapool_write_cache(const char* key, const char* bytes, size_t size) {
  adapool::cuda::disk().write(key, {bytes, size});
}

ADAPOOL_C void adapool_free(void* made) { std::free(made); }

// The kernels of a call in words (describe.h): for each its name, threads of a block and blocks of a multiprocessor on
// a line, then its source, and a form feed between two. 0; or 1 and why not.
ADAPOOL_C int adapool_sources(const char* words, int multiprocessors, char** sources) {
  try {
    std::string all;
    for (const adapool::cuda::Launch& launch : adapool::cuda::plan_of(words, multiprocessors).launches) {
      const auto& s = launch.specification;
      const adapool::cuda::Source source = adapool::cuda::source_of(s);
      all += (all.empty() ? "" : "\f") + source.name + "\t" + std::to_string(s.threads) + "\t" +
             std::to_string(s.blocks) + "\n" + source.text;
    }
    *sources = copy(all);
    return 0;
  } catch (const std::exception& error) {
    *sources = copy(error.what());
    return 1;
  }
}

// Makes the kernels of a call in words on a device. How many of them NVRTC compiled; or -1 and why not, freed by
// adapool_free.
ADAPOOL_C int adapool_prepare(const char* words, int device, char** why) {
  using namespace adapool::cuda;
  *why = nullptr;
  try {
    const int before = compiled_by_this_thread();
    for (const Launch& launch : plan_of(words, multiprocessors(device)).launches)
      kernel_of(device, launch.specification);
    return compiled_by_this_thread() - before;
  } catch (const std::exception& error) {
    *why = copy(error.what());
    return -1;
  }
}
