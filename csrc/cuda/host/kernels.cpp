#include "kernels.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <unordered_map>

#include "device_sources.h"
#include "digest.h"
#include "nvrtc.h"

namespace adapool::cuda {
namespace {

thread_local int compiled = 0;

struct Name {  // of a kernel in the table; NameView is one that owns nothing
  int device;
  std::string key;
};
struct NameView {
  int device;
  std::string_view key;
};
struct Hash {
  using is_transparent = void;
  size_t operator()(const NameView& v) const { return std::hash<std::string_view>()(v.key) ^ size_t(v.device) << 1; }
  size_t operator()(const Name& n) const { return (*this)(NameView{n.device, n.key}); }
};
struct Equal {
  using is_transparent = void;
  template <class A, class B> bool operator()(const A& a, const B& b) const {
    return a.device == b.device && a.key == b.key;
  }
};

struct Slot {
  std::atomic<bool> ready = false;  // the kernel is there and stays
  Kernel kernel{};
  std::mutex making;
  std::string error;  // of a source that does not compile
};

// Nodes stay where they are. Never destroyed: a thread may still launch while the process ends.
auto& table = *new std::unordered_map<Name, Slot, Hash, Equal>;
auto& table_mutex = *new std::shared_mutex;

Slot& slot(const NameView& view) {
  {
    const std::shared_lock lock(table_mutex);
    const auto at = table.find(view);
    if (at != table.end()) return at->second;
  }
  const std::unique_lock lock(table_mutex);
  return table.try_emplace(Name{view.device, std::string(view.key)}).first->second;
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
  version();  // throws without NVRTC, which may be installed before the next call
  std::string code;
  try {
    code = machine_code(source(), wanted);
  } catch (const std::runtime_error& error) {
    slot.error = error.what();
    throw;
  }
  slot.kernel = load(device, code);  // what fails here, as for want of memory, may succeed the next time
  slot.ready = true;
}

}  // namespace

const Kernel& kernel(int device, std::string_view key, const std::function<Source()>& source) {
  refuse_after_fork();
  Slot& found = slot({device, key});
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
  return "sources " + headers + " " + fingerprint(source.text) + "\nNVRTC " + version() + "\narchitecture " +
         std::to_string(architecture) + "\noptions " + options(architecture) + "\n" + source.name;
}

int compiled_by_this_thread() { return compiled; }

}  // namespace adapool::cuda
