// CUDA C++ to machine code by NVRTC, the compiler that comes as a shared library with every CUDA build of torch.
// Needs no GPU and no driver; knows no kernel and no cache. Nothing is opened before the first call that needs it.
#pragma once
#include <span>
#include <stdexcept>
#include <string>

#include "device_sources.h"

namespace adapool::cuda {

struct Program {
  std::string cubin;  // what the driver loads: machine code, or PTX for an architecture that NVRTC does not know yet
  std::string ptx;    // empty unless wanted
  std::string log;    // the compiler's; with registers and spills if PTX was wanted
};

struct Uncompilable : std::runtime_error {  // a fault in the text, which will not compile the next time either
  using runtime_error::runtime_error;
};

// The major version of torch's CUDA, which NVRTC must have as well; 0, the default: the newest known that is found.
// Has no effect once NVRTC is found.
void set_cuda_major(int major);

// `text` begins with a line `// ...` that names the specification, for errors. `architecture`: 90 for sm_90.
// Throws std::runtime_error with one sentence; for faults in `text` Uncompilable, with the first lines of the log.
Program compile(const std::string& text, std::span<const DeviceSource> headers, int architecture, bool want_ptx);

// What NVRTC is told when `architecture` is wanted, in one line: part of the name of what it makes.
std::string options(int architecture);

std::string version();  // "13.0"
std::string build();    // "13.0 of 106112344 bytes": releases that compile otherwise may share a version
std::string path();     // the library's file

}  // namespace adapool::cuda
