// The kernels of this process: made when first asked for (from the disk's cache or by NVRTC), then found in a table.
// Knows no specification: the caller has its bytes and writes its source.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "cache.h"
#include "driver.h"

namespace adapool::cuda {

struct Source {
  std::string name;  // one line that names the specification
  // The translation unit. Begins with a line `// ` and the name, includes device sources by their names below csrc,
  // defines extern "C" __global__ void adapool_kernel(...).
  std::string text;
};

// The kernel of a specification on a device; the reference stays good. `key` is the bytes that tell specifications
// apart; `make` is called if this process has not compiled it before. Other threads that want the same kernel wait,
// those that want another do not. A source that does not compile throws the same sentence every time.
const Kernel& kernel(int device, std::string_view key, const std::function<Source()>& make);

// The disk's cache, and the key of a source's machine code in it: all that the code depends on.
const Cache& disk();
std::string cache_key(const Source& source, int architecture);

int compiled_by_this_thread();  // kernels that NVRTC had to compile, and the disk's cache did not have

}  // namespace adapool::cuda
