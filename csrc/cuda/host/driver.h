// The CUDA driver, found while the program runs: devices, modules, launches. Needs neither CUDA's headers nor its runtime.
// Errors are std::runtime_error of one sentence with CUDA's name of the error. Knows no kernel and no tensor.
#pragma once
#include <functional>
#include <string>
#include <vector>

namespace adapool::cuda {

struct Kernel {
  void* function;
  int device;
};

int architecture(int device);     // 90 for sm_90
int multiprocessors(int device);
std::string name(int device);     // "NVIDIA H200"

// The function adapool_kernel of a cubin or PTX, on a device.
Kernel load(int device, const std::string& image);

// On `stream`, a stream of the kernel's device; null is its default stream. A thread without a context gets the
// device's primary one, which is torch's; a thread that has another context has it again afterwards.
void launch(const Kernel& kernel, const unsigned grid[3], unsigned threads, void* stream, void** arguments);

// Milliseconds of each of `count` pieces of work that `work` starts one after another on a stream of the device. Waits
// for the last.
std::vector<float> timed(int device, void* stream, size_t count, const std::function<void(size_t)>& work);

// Whether what is started on a stream goes into a CUDA graph in place of running; also where the driver does not say.
bool captures(int device, void* stream);

// Throws in the child of a process that had used the driver before it forked: nothing of CUDA works there, and locks
// that other threads held stay locked.
void refuse_after_fork();

}  // namespace adapool::cuda
