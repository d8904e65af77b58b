// A stand-in for libcuda: the driver's C functions for one device, which is this process's CPU and memory. A module is
// a shared object from compiler.cpp, and a launch runs to its end before it returns. Events see a clock of their own:
// a launch takes 2 ms, of a function whose number, as they first started, is in ADAPOOL_EMULATOR_FASTEST=3,5 1 ms.
#include <dlfcn.h>
#include <elf.h>

#include <mutex>
#include <utility>

#include "block.h"
#include "files.h"

using namespace emulator;

namespace {

enum Result {
  success = 0, invalid_value = 1, not_initialized = 3, invalid_device = 101, invalid_image = 200, invalid_context = 201,
  not_found = 500, unsupported = 900
};

struct Error { Result code; const char *name, *meaning; };
constexpr Error kErrors[] = {
    {success, "CUDA_SUCCESS", "no error"},
    {invalid_value, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {not_initialized, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {invalid_device, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {invalid_image, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {invalid_context, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {not_found, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {unsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
};

constexpr unsigned kMostBlocks = 65535;  // of y and z

struct Module {
  void* object;
  void (*thread)(void** parameters);
  std::string name;  // of its code
  char* shared[2];   // begin and end of its shared arrays
  int number = -1;   // in the order in which functions were first started
};

char primary;  // its address is the only context
thread_local void* context = nullptr;
bool initialized = false;
std::mutex launching;
uint64_t launches = 0;
int functions = 0, events = 0;  // that were started; that were recorded
double clock_now = 0;           // ms
std::string started;            // a line for every launch: its function's number and code, grid and threads
thread_local int capture_mode = 0;
Module* launched;
void** launched_parameters;

// Shared memory holds what is no number until a thread writes it. Not memset: the sanitizer's would stop at red zones.
void fill(char* at, char* end) {
  for (; at < end && reinterpret_cast<uintptr_t>(at) % 8; ++at) *at = char(0xff);
  for (; end - at >= 8; at += 8) {
    *reinterpret_cast<uint64_t*>(at) = ~uint64_t(0);
    asm volatile("" ::: "memory");
  }
  for (; at < end; ++at) *at = char(0xff);
}

Module* load(const char* image) {
  Elf64_Ehdr head;  // the image's length is not told, but the linker writes the table of sections last
  std::memcpy(&head, image, sizeof head);
  if (std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return nullptr;
  const std::string_view bytes(image, head.e_shoff + size_t(head.e_shnum) * head.e_shentsize);
  const fs::path path = cache() / "modules" / (digest(bytes) + ".so");  // kept, for lines in the sanitizers' reports
  if (!fs::exists(path)) {
    const fs::path partial = beside(path);
    write_file(partial, bytes);
    fs::rename(partial, path);
  }
  void* object = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!object) return std::fprintf(stderr, "emulator: %s\n", dlerror()), nullptr;
  auto begin = reinterpret_cast<void (*)(Machine*, char**)>(dlsym(object, "emulator_load"));
  auto thread = reinterpret_cast<void (*)(void**)>(dlsym(object, "emulator_thread"));
  if (!begin || !thread) return dlclose(object), nullptr;
  auto module = std::make_unique<Module>(object, thread, digest(bytes));
  begin(&machine, module->shared);
  return module.release();
}

bool captures() { return environment("ADAPOOL_EMULATOR_CAPTURES", "0") == "1"; }

Module* at(void* handle) { return static_cast<Module*>(handle); }

}  // namespace

ADAPOOL_EXPORT int cuInit(unsigned flags) { return initialized = true, flags ? invalid_value : success; }

ADAPOOL_EXPORT int cuDriverGetVersion(int* version) { return *version = 13000, success; }

ADAPOOL_EXPORT int cuDeviceGetCount(int* count) { return *count = 1, initialized ? success : not_initialized; }

ADAPOOL_EXPORT int cuDeviceGet(int* device, int ordinal) {
  if (!initialized) return not_initialized;
  return *device = ordinal, ordinal ? invalid_device : success;
}

ADAPOOL_EXPORT int cuDeviceGetAttribute(int* value, int attribute, int device) {
  if (!initialized) return not_initialized;
  switch (attribute) {
    case 16: *value = std::stoi(environment("ADAPOOL_EMULATOR_MULTIPROCESSORS", "4")); break;
    case 75: *value = 9; break;  // compute capability 9.0
    default: *value = 0;
  }
  return device ? invalid_device : success;
}

ADAPOOL_EXPORT int cuDeviceGetName(char* name, int room, int device) {
  std::snprintf(name, size_t(room), "an emulated device");
  return device ? invalid_device : success;
}

ADAPOOL_EXPORT int cuDevicePrimaryCtxRetain(void** to, int device) {
  if (!initialized) return not_initialized;
  return *to = &primary, device ? invalid_device : success;
}

ADAPOOL_EXPORT int cuCtxGetCurrent(void** to) { return *to = context, initialized ? success : not_initialized; }

ADAPOOL_EXPORT int cuCtxSetCurrent(void* to) { return context = to, initialized ? success : not_initialized; }

ADAPOOL_EXPORT int cuModuleLoadData(void** module, const void* image) try {
  if (!module || !image) return invalid_value;
  if (!context) return invalid_context;
  if (captures() && capture_mode != 2) return unsupported;
  const std::lock_guard one_at_a_time(launching);
  *module = load(static_cast<const char*>(image));
  return *module ? success : invalid_image;
} catch (const std::exception& fault) {
  std::fprintf(stderr, "emulator: %s\n", fault.what());
  return invalid_image;
}

ADAPOOL_EXPORT int cuModuleLoadDataEx(void** module, const void* image, unsigned, int*, void**) {
  return cuModuleLoadData(module, image);
}

ADAPOOL_EXPORT int cuModuleUnload(void* module) {
  if (!module) return invalid_value;
  dlclose(at(module)->object);
  delete at(module);
  return success;
}

// The function is its module's only one, so one handle serves both.
ADAPOOL_EXPORT int cuModuleGetFunction(void** function, void* module, const char* name) {
  return *function = module, std::strcmp(name, "adapool_kernel") ? not_found : success;
}

ADAPOOL_EXPORT int cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned x,
                                  unsigned y, unsigned z, unsigned shared, void*, void** parameters, void** extra) {
  if (!context) return invalid_context;
  if (!function || shared || extra || !grid_x || !grid_y || !grid_z || grid_x > 0x7fffffff || grid_y > kMostBlocks ||
      grid_z > kMostBlocks || !x || !y || !z || x > kMostThreads || y > kMostThreads || z > 64 ||
      x * y * z > kMostThreads)
    return invalid_value;
  const std::lock_guard one_at_a_time(launching);
  if (at(function)->number < 0) at(function)->number = functions++;
  const std::string fastest = "," + environment("ADAPOOL_EMULATOR_FASTEST", "") + ",";
  clock_now += fastest.find("," + std::to_string(at(function)->number) + ",") != std::string::npos ? 1 : 2;
  for (const std::string& word : {std::to_string(at(function)->number), at(function)->name, std::to_string(grid_x),
                                  std::to_string(grid_y), std::to_string(x)})
    started += word + ' ';
  started.back() = '\n';
  random_state = std::stoull(environment("ADAPOOL_EMULATOR_SEED", "1")) * 0x9e3779b97f4a7c15u + launches++;
  launched = at(function);
  launched_parameters = parameters;
  work = [] { launched->thread(launched_parameters); };
  machine.grid_size = {grid_x, grid_y, grid_z};
  machine.meet_block = meet_block;
  machine.meet_warp = meet_warp;
  set_block({x, y, z});
  // Blocks come in a turned order too, forwards or backwards: none may count on another.
  const uint64_t blocks = uint64_t(grid_x) * grid_y * grid_z, turn = random_bits() % blocks;
  const bool backwards = random_bits() & 1;
  for (uint64_t i = 0; i < blocks; ++i) {
    const uint64_t turned = (i + turn) % blocks, block = backwards ? blocks - 1 - turned : turned;
    machine.block = {unsigned(block % grid_x), unsigned(block / grid_x % grid_y), unsigned(block / grid_x / grid_y)};
    fill(launched->shared[0], launched->shared[1]);
    run_block();
  }
  return success;
}

ADAPOOL_EXPORT int cuEventCreate(double** event, unsigned flags) {
  return *event = new double(-1), context && !flags ? success : invalid_context;
}
ADAPOOL_EXPORT int cuEventRecord(double* event, void*) { return *event = clock_now, ++events, success; }
ADAPOOL_EXPORT int cuEventSynchronize(double* event) { return *event < 0 || capture_mode != 2 ? invalid_value : success; }
ADAPOOL_EXPORT int cuEventElapsedTime(float* time, double* from, double* to) {
  return *time = float(*to - *from), *from < 0 || *to < 0 ? invalid_value : success;
}
ADAPOOL_EXPORT int cuEventDestroy_v2(double* event) { return delete event, success; }
ADAPOOL_EXPORT int cuThreadExchangeStreamCaptureMode(int* mode) { return std::swap(*mode, capture_mode), success; }
ADAPOOL_EXPORT int cuStreamIsCapturing(void*, int* status) {
  return *status = captures(), success;
}

// For tests: what was started, and the number of events that were recorded.
ADAPOOL_EXPORT const char* emulator_started() { return started.c_str(); }
ADAPOOL_EXPORT int emulator_events() { return events; }

ADAPOOL_EXPORT int cuGetErrorName(int code, const char** to) {
  for (const Error& error : kErrors)
    if (error.code == code) return *to = error.name, success;
  return *to = nullptr, invalid_value;
}

ADAPOOL_EXPORT int cuGetErrorString(int code, const char** to) {
  for (const Error& error : kErrors)
    if (error.code == code) return *to = error.meaning, success;
  return *to = nullptr, invalid_value;
}
