#include "driver.h"

#include <pthread.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <stdexcept>

#include "shared_library.h"

namespace adapool::cuda {
namespace {

// The driver's functions without their prefix. A status of 0 is success.
#define ADAPOOL_DRIVER(F)                                                                                        \
  F(Init, (unsigned))                                                                                            \
  F(DeviceGetCount, (int*))                                                                                      \
  F(DeviceGet, (int*, int))                                                                                      \
  F(DeviceGetAttribute, (int*, int, int))                                                                        \
  F(DeviceGetName, (char*, int, int))                                                                            \
  F(DevicePrimaryCtxRetain, (void**, int))                                                                       \
  F(CtxGetCurrent, (void**))                                                                                     \
  F(CtxSetCurrent, (void*))                                                                                      \
  F(ModuleLoadData, (void**, const void*))                                                                       \
  F(ModuleGetFunction, (void**, void*, const char*))                                                             \
  F(LaunchKernel, (void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**,   \
                   void**))                                                                                      \
  F(EventCreate, (void**, unsigned))                                                                             \
  F(EventRecord, (void*, void*))                                                                                 \
  F(EventSynchronize, (void*))                                                                                   \
  F(EventElapsedTime, (float*, void*, void*))                                                                    \
  F(EventDestroy_v2, (void*))                                                                                    \
  F(StreamIsCapturing, (void*, int*))                                                                            \
  F(ThreadExchangeStreamCaptureMode, (int*))                                                                     \
  F(GetErrorName, (int, const char**))                                                                           \
  F(GetErrorString, (int, const char**))

// Numbers of cuda.h, which never change.
constexpr int kMultiprocessors = 16, kMajor = 75, kMinor = 76;  // of a device
constexpr int kRelaxed = 2;                                     // of what captures forbid

struct Device {
  int handle = 0, architecture = 0, multiprocessors = 0;
  std::string name;
  std::once_flag retained;
  void* context = nullptr;  // the primary one
};

std::atomic<bool> forked = false;

struct Driver {
#define ADAPOOL_MEMBER(name, arguments) int(*name) arguments = nullptr;
  ADAPOOL_DRIVER(ADAPOOL_MEMBER)
#undef ADAPOOL_MEMBER
  mutable std::deque<Device> devices;  // a deque, because a once_flag stays where it is

  Driver() {
    const char* soname = "libcuda.so.1";
    SharedLibrary library = SharedLibrary::loaded(soname);
    if (!library) library = SharedLibrary::open(soname);
    if (!library) throw std::runtime_error("adapool: no CUDA driver: the loader finds no libcuda.so.1");
#define ADAPOOL_FIND(name, arguments) \
  if (!library.find(name, "cu" #name)) throw std::runtime_error("adapool: " + library.path() + " has no cu" #name);
    ADAPOOL_DRIVER(ADAPOOL_FIND)
#undef ADAPOOL_FIND
    check(Init(0), "start");
    int count = 0;
    check(DeviceGetCount(&count), "count devices");
    for (int i = 0; i < count; ++i) {
      Device& device = devices.emplace_back();
      check(DeviceGet(&device.handle, i), "open a device");
      const auto ask = [&](int attribute) {
        int value = 0;
        check(DeviceGetAttribute(&value, attribute, device.handle), "describe a device");
        return value;
      };
      device.architecture = 10 * ask(kMajor) + ask(kMinor);
      device.multiprocessors = ask(kMultiprocessors);
      char name[256] = "";
      check(DeviceGetName(name, sizeof name, device.handle), "name a device");
      device.name = name;
    }
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
  }

  void check(int status, const std::string& what) const {
    if (status == 0) return;
    const char *name = nullptr, *meaning = nullptr;
    GetErrorName(status, &name);
    GetErrorString(status, &meaning);
    throw std::runtime_error("adapool: CUDA could not " + what + ": " +
                             (name != nullptr ? name : "error " + std::to_string(status)) +
                             (meaning != nullptr ? std::string(" (") + meaning + ")" : ""));
  }

  Device& device(int index) const {
    if (index < 0 || size_t(index) >= devices.size())
      throw std::runtime_error("adapool: CUDA has no device " + std::to_string(index) + " among its " +
                               std::to_string(devices.size()));
    return devices[size_t(index)];
  }
};

const Driver& driver() {  // a start that fails is made again by the next call
  refuse_after_fork();
  static const Driver found;
  return found;
}

// While it lives, the device's primary context is the thread's. One that the thread had before is put back.
class Context {
 public:
  Context(const Driver& d, int index) : driver_(d) {
    Device& device = d.device(index);
    std::call_once(device.retained, [&] {
      d.check(d.DevicePrimaryCtxRetain(&device.context, device.handle), "use device " + std::to_string(index));
    });
    d.check(d.CtxGetCurrent(&before_), "ask for the context");
    if (before_ == device.context) before_ = nullptr;
    else d.check(d.CtxSetCurrent(device.context), "use device " + std::to_string(index));
  }
  ~Context() {
    if (before_ != nullptr) driver_.CtxSetCurrent(before_);
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

 private:
  const Driver& driver_;
  void* before_ = nullptr;
};

// While it lives, the thread says that it knows of captures of graphs, its own and those of other threads: they forbid
// all else to load a module or to ask an event.
class BesideCaptures {
 public:
  explicit BesideCaptures(const Driver& d) : driver_(d) {
    d.check(d.ThreadExchangeStreamCaptureMode(&mode_), "leave the captures of graphs alone");
  }
  ~BesideCaptures() { driver_.ThreadExchangeStreamCaptureMode(&mode_); }
  BesideCaptures(const BesideCaptures&) = delete;
  BesideCaptures& operator=(const BesideCaptures&) = delete;

 private:
  const Driver& driver_;
  int mode_ = kRelaxed;
};

}  // namespace

void refuse_after_fork() {
  if (forked.load(std::memory_order_relaxed))
    throw std::runtime_error("adapool: CUDA was used before fork(): use multiprocessing's spawn start method");
}

int architecture(int device) { return driver().device(device).architecture; }
int multiprocessors(int device) { return driver().device(device).multiprocessors; }
std::string name(int device) { return driver().device(device).name; }

Kernel load(int device, const std::string& image) {
  const Driver& d = driver();
  const Context context(d, device);
  const BesideCaptures beside(d);
  void *module = nullptr, *function = nullptr;
  d.check(d.ModuleLoadData(&module, image.c_str()), "load a kernel on device " + std::to_string(device));
  d.check(d.ModuleGetFunction(&function, module, "adapool_kernel"), "find the function adapool_kernel");
  return {function, device};
}

void launch(const Kernel& kernel, const unsigned grid[3], unsigned threads, void* stream, void** arguments) {
  const Driver& d = driver();
  const Context context(d, kernel.device);
  const int status =
      d.LaunchKernel(kernel.function, grid[0], grid[1], grid[2], threads, 1, 1, 0, stream, arguments, nullptr);
  if (status == 0) return;
  const auto text = [](unsigned n) { return std::to_string(n); };
  d.check(status, "launch " + text(grid[0]) + " x " + text(grid[1]) + " x " + text(grid[2]) + " blocks of " +
                      text(threads) + " threads");
}

std::vector<float> timed(int device, void* stream, size_t count, const std::function<void(size_t)>& work) {
  const Driver& d = driver();
  const Context context(d, device);
  const BesideCaptures beside(d);
  std::vector<std::shared_ptr<void>> events;
  const auto mark = [&] {
    void* event = nullptr;
    d.check(d.EventCreate(&event, 0), "make an event");
    events.emplace_back(event, [&](void* e) { d.EventDestroy_v2(e); });
    d.check(d.EventRecord(event, stream), "record an event");
  };
  mark();
  for (size_t i = 0; i < count; ++i) work(i), mark();
  d.check(d.EventSynchronize(events.back().get()), "wait for an event");
  std::vector<float> milliseconds(count);
  for (size_t i = 0; i < count; ++i)
    d.check(d.EventElapsedTime(&milliseconds[i], events[i].get(), events[i + 1].get()), "compare two events");
  return milliseconds;
}

bool captures(int device, void* stream) {
  const Driver& d = driver();
  const Context context(d, device);
  int status = 0;
  return d.StreamIsCapturing(stream, &status) != 0 || status != 0;
}

}  // namespace adapool::cuda
