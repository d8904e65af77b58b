#include "kernels.h"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>

#include "device_sources.h"
#include "digest.h"
#include "nvrtc.h"

namespace adapool::cuda {
namespace {

thread_local int compiled = 0;

struct Slot {
  std::atomic<bool> ready = false;  // the kernel is there and stays
  Kernel kernel{};
  std::mutex making;
  std::string error;  // of a source that does not compile
};

// By device and key; nodes stay where they are. Never destroyed: a thread may still launch while the process ends.
auto& table = *new std::map<int, std::map<std::string, Slot, std::less<>>>;
auto& table_mutex = *new std::shared_mutex;

Slot& slot(int device, std::string_view key) {
  {
    const std::shared_lock lock(table_mutex);
    if (const auto its = table.find(device); its != table.end())
      if (const auto at = its->second.find(key); at != its->second.end()) return at->second;
  }
  const std::unique_lock lock(table_mutex);
  return table[device].try_emplace(std::string(key)).first->second;
}

std::string machine_code(const Source& source, int architecture) {
  const std::string key = cache_key(source, architecture);
  if (auto kept = disk().read(key)) return *kept;
  const Program made = compile(source.text, device_sources(), architecture, false);
  ++compiled;
  disk().write(key, made.cubin);
  return made.cubin;
}

void make(Slot& slot, int device, const std::function<Source()>& source) {
  const std::lock_guard lock(slot.making);
  if (slot.ready) return;
  if (!slot.error.empty()) throw std::runtime_error(slot.error);
  const int wanted = architecture(device);
  std::string code;
  try {
    code = machine_code(source(), wanted);
  } catch (const Uncompilable& error) {
    slot.error = error.what();
    throw;
  }
  slot.kernel = load(device, code);  // all else that fails, as for want of memory, may succeed the next time
  slot.ready = true;
}

}  // namespace

const Kernel& kernel(int device, std::string_view key, const std::function<Source()>& source) {
  refuse_after_fork();
  Slot& found = slot(device, key);
  if (!found.ready.load(std::memory_order_acquire)) make(found, device, source);
  return found.kernel;
}

const Cache& disk() {
  static const Cache cache(cache_folder());
  return cache;
}

std::string cache_key(const Source& source, int architecture) {
  static const std::string headers = [] {
    std::string all;
    for (const auto& [name, text] : device_sources()) all += fingerprint(name) + fingerprint(text);
    return fingerprint(all);
  }();
  return "sources " + headers + " " + fingerprint(source.text) + "\nNVRTC " + build() + "\narchitecture " +
         std::to_string(architecture) + "\noptions " + options(architecture) + "\n" + source.name;
}

int compiled_by_this_thread() { return compiled; }

}  // namespace adapool::cuda
