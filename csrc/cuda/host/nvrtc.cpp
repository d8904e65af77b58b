#include "nvrtc.h"

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "shared_library.h"

namespace adapool::cuda {
namespace {

constexpr int kNewest = 13, kOldest = 12;  // majors of CUDA
constexpr int kLinesOfLog = 12;
constexpr int kCompilation = 6;  // the status of a source that is wrong

std::atomic<int> wanted_major = 0;

// NVRTC's functions (nvrtc.h of CUDA) without their prefix. A status of 0 is success.
#define ADAPOOL_NVRTC(F)                                                                                  \
  F(int, Version, (int*, int*))                                                                           \
  F(int, GetNumSupportedArchs, (int*))                                                                    \
  F(int, GetSupportedArchs, (int*))                                                                       \
  F(int, CreateProgram, (void**, const char*, const char*, int, const char* const*, const char* const*))  \
  F(int, DestroyProgram, (void**))                                                                        \
  F(int, CompileProgram, (void*, int, const char* const*))                                                \
  F(int, GetCUBINSize, (void*, size_t*))                                                                  \
  F(int, GetCUBIN, (void*, char*))                                                                        \
  F(int, GetPTXSize, (void*, size_t*))                                                                    \
  F(int, GetPTX, (void*, char*))                                                                          \
  F(int, GetProgramLogSize, (void*, size_t*))                                                             \
  F(int, GetProgramLog, (void*, char*))                                                                   \
  F(const char*, GetErrorString, (int))

struct Nvrtc {
  SharedLibrary library;
  std::string version;
  std::vector<int> architectures;  // ascending
#define ADAPOOL_MEMBER(type, name, arguments) type(*name) arguments = nullptr;
  ADAPOOL_NVRTC(ADAPOOL_MEMBER)
#undef ADAPOOL_MEMBER
};

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

// The functions of a library; none if it is another major version or lacks one of them.
std::optional<Nvrtc> bind(SharedLibrary library, int major) {
  if (!library) return {};
  Nvrtc n;
  n.library = library;
#define ADAPOOL_FIND(type, name, arguments) \
  if (!library.find(n.name, "nvrtc" #name)) return {};
  ADAPOOL_NVRTC(ADAPOOL_FIND)
#undef ADAPOOL_FIND
  int its_major = 0, minor = 0, count = 0;
  if (n.Version(&its_major, &minor) != 0 || its_major != major) return {};
  if (n.GetNumSupportedArchs(&count) != 0 || count < 1) return {};
  n.architectures.resize(size_t(count));
  if (n.GetSupportedArchs(n.architectures.data()) != 0) return {};
  n.version = std::to_string(major) + "." + std::to_string(minor);
  // NVRTC opens this one by its name alone when it compiles, and a wheel has no path in which the loader finds it.
  SharedLibrary::open(folder_of(library.path()) + "/libnvrtc-builtins.so." + n.version);
  return n;
}

int note_torch(dl_phdr_info* object, size_t, void* folder) {
  const std::string name = object->dlpi_name;
  if (!name.ends_with("/libtorch_cpu.so")) return 0;
  *static_cast<std::string*>(folder) = folder_of(name);
  return 1;
}

// Folders in the order in which they are tried. An empty one: where the loader looks.
std::vector<std::string> places(int major) {
  std::vector<std::string> found;
  std::string torch;
  dl_iterate_phdr(note_torch, &torch);
  if (!torch.empty()) {
    const std::string nvidia = folder_of(folder_of(torch)) + "/nvidia/";
    found = {nvidia + "cu" + std::to_string(major) + "/lib", nvidia + "cuda_nvrtc/lib", torch};
  }
  const auto add = [&](const char* variable, const char* below) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value != '\0') found.push_back(std::string(value) + below);
  };
  add("CONDA_PREFIX", "/lib");
  found.emplace_back();
  add("CUDA_HOME", "/lib64");
  add("CUDA_PATH", "/lib64");
  if (std::getenv("CUDA_HOME") == nullptr) found.emplace_back("/usr/local/cuda/lib64");
  return found;
}

Nvrtc search() {
  const int major = wanted_major;
  const int first = major != 0 ? major : kNewest, last = major != 0 ? major : kOldest;
  const auto soname = [](int m) { return "libnvrtc.so." + std::to_string(m); };
  for (int m = first; m >= last; --m)
    if (const auto found = bind(SharedLibrary::loaded(soname(m)), m)) return *found;
  std::string looked;
  for (int m = first; m >= last; --m) {
    looked += (m == first ? "no " : "; no ") + soname(m) + " loaded or in ";
    for (const std::string& place : places(m)) {
      const std::string file = place.empty() ? soname(m) : place + "/" + soname(m);
      if (const auto found = bind(SharedLibrary::open(file), m)) return *found;
      looked += (place.empty() ? "the loader's path" : place) + ", ";
    }
    looked.resize(looked.size() - 2);
  }
  const std::string package =
      first == 12 ? "nvidia-cuda-nvrtc-cu12" : "nvidia-cuda-nvrtc==" + std::to_string(first) + ".*";
  throw std::runtime_error("adapool: NVRTC, which compiles CUDA kernels, was not found (" + looked +
                           "); install it with `pip install " + package + "`");
}

const Nvrtc& nvrtc() {  // a search that fails is made again by the next call
  static const Nvrtc found = search();
  return found;
}

// The newest architecture that NVRTC knows and a device of `architecture` runs.
int known(int architecture) {
  int best = 0;
  for (const int a : nvrtc().architectures)
    if (a <= architecture && a > best) best = a;
  if (best == 0)
    throw std::runtime_error("adapool: NVRTC " + nvrtc().version + " compiles for sm_" +
                             std::to_string(nvrtc().architectures.front()) + " and newer, and this GPU is sm_" +
                             std::to_string(architecture) + ": use a torch built with an older CUDA");
  return best;
}

std::vector<std::string> option_list(int architecture) {
  const int best = known(architecture);
  return {"--std=c++17", (best == architecture ? "-arch=sm_" : "-arch=compute_") + std::to_string(best),
          "-default-device", "--fmad=true"};
}

std::string result(void* program, int (*size_of)(void*, size_t*), int (*get)(void*, char*)) {
  size_t size = 0;
  if (size_of(program, &size) != 0) return {};
  std::string bytes(size, '\0');
  if (get(program, bytes.data()) != 0) return {};
  return bytes;
}

std::string text_of(std::string bytes) {  // without the zero at the end
  while (!bytes.empty() && bytes.back() == '\0') bytes.pop_back();
  return bytes;
}

// One sentence with the first line of `text`, then the beginning of `log`.
std::string complaint(const std::string& text, const std::string& error, const std::string& log) {
  const std::string line = text.substr(0, text.find('\n'));
  std::string said = "adapool: the CUDA kernel `" + line.substr(line.starts_with("// ") ? 3 : 0) +
                     "` does not compile with NVRTC " + nvrtc().version + ": " + error;
  std::istringstream lines(log);
  std::string next;
  for (int i = 0; i < kLinesOfLog && std::getline(lines, next); ++i) said += "\n" + next;
  return said;
}

}  // namespace

void set_cuda_major(int major) { wanted_major = major; }

Program compile(const std::string& text, std::span<const DeviceSource> headers, int architecture, bool want_ptx) {
  const Nvrtc& n = nvrtc();
  std::vector<std::string> words = option_list(architecture);
  if (want_ptx) words.emplace_back("--ptxas-options=-v");
  std::vector<const char*> given, names, texts;
  for (const auto& word : words) given.push_back(word.c_str());
  for (const auto& [name, body] : headers) {
    names.push_back(name);
    texts.push_back(body);
  }
  void* made = nullptr;
  int status = n.CreateProgram(&made, text.c_str(), "adapool.cu", int(headers.size()), texts.data(), names.data());
  if (status != 0) throw std::runtime_error(complaint(text, n.GetErrorString(status), ""));
  const std::unique_ptr<void, void (*)(void*)> program(made, [](void* p) { nvrtc().DestroyProgram(&p); });
  status = n.CompileProgram(made, int(given.size()), given.data());
  Program out;
  out.log = text_of(result(made, n.GetProgramLogSize, n.GetProgramLog));
  if (status == kCompilation) throw Uncompilable(complaint(text, n.GetErrorString(status), out.log));
  if (status != 0) throw std::runtime_error(complaint(text, n.GetErrorString(status), out.log));
  const bool exact = known(architecture) == architecture;
  if (want_ptx || !exact) out.ptx = text_of(result(made, n.GetPTXSize, n.GetPTX));
  out.cubin = exact ? result(made, n.GetCUBINSize, n.GetCUBIN) : out.ptx;
  if (out.cubin.empty()) throw std::runtime_error(complaint(text, "no code was made", out.log));
  return out;
}

std::string options(int architecture) {
  std::string line;
  for (const std::string& word : option_list(architecture)) line += (line.empty() ? "" : " ") + word;
  return line;
}

std::string version() { return nvrtc().version; }
std::string path() { return nvrtc().library.path(); }
std::string build() {
  static const std::string said = [] {
    std::error_code failed;  // then it has no size that tells it apart
    return version() + " of " + std::to_string(std::filesystem::file_size(path(), failed)) + " bytes";
  }();
  return said;
}

}  // namespace adapool::cuda
