// A library that this process opens by name while it runs, as CUDA's are: they are not there when this one is built.
// Knows no library's functions.
#pragma once
#include <dlfcn.h>
#include <link.h>

#include <string>

namespace adapool::cuda {

// A handle, copied freely. Never closed: CUDA's libraries do not survive being unloaded.
class SharedLibrary {
 public:
  SharedLibrary() = default;

  // `name` is a path, or a soname that the loader looks for.
  static SharedLibrary open(const std::string& name) { return SharedLibrary(dlopen(name.c_str(), RTLD_LAZY)); }

  // Only if the process has it already, whoever opened it.
  static SharedLibrary loaded(const std::string& name) {
    return SharedLibrary(dlopen(name.c_str(), RTLD_LAZY | RTLD_NOLOAD));
  }

  explicit operator bool() const { return handle_ != nullptr; }

  // False, and `function` null, if the library has no such symbol.
  template <class Function> bool find(Function*& function, const char* name) const {
    function = reinterpret_cast<Function*>(dlsym(handle_, name));
    return function != nullptr;
  }

  std::string path() const {
    link_map* map = nullptr;
    return handle_ != nullptr && dlinfo(handle_, RTLD_DI_LINKMAP, &map) == 0 ? map->l_name : "";
  }

 private:
  explicit SharedLibrary(void* handle) : handle_(handle) {}
  void* handle_ = nullptr;
};

}  // namespace adapool::cuda
