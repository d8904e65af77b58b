// A stand-in for libnvrtc: the same C functions, but g++ compiles the text, and the "cubin" is a shared object for
// driver.cpp. ADAPOOL_EMULATOR_FLAGS are further flags of g++, ADAPOOL_EMULATOR_SOURCES a folder whose headers take the
// place of those that are handed in; what was compiled once stays in the cache.
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cstring>
#include <sstream>
#include <vector>

#include "files.h"

using namespace emulator;

namespace {

enum Result { success = 0, invalid_input = 3, invalid_program = 4, compilation = 6, internal_error = 11 };

struct Header { std::string name, text; };

struct Program {
  std::string name, text, cubin, log;
  std::vector<Header> headers;
};

constexpr int kArchitectures[] = {75, 80, 90, 100, 120};
constexpr char kPtx[] = "// emulated: no PTX\n";

// The whole program: else g++ gives statics of templates and inline functions no red zones, for a linker might merge
// them, and programs that are loaded together would share them. No start files: they keep a variable in .bss. No
// libraries: the process has the C library's and the sanitizers', and to link them anew takes a sixth of the time.
constexpr char kFlags[] =
    "-x c++ -std=c++17 -O1 -g1 -fPIC -fvisibility=hidden -fwhole-program -Wno-unknown-pragmas -shared -nostdlib "
    "-iquote . -idirafter .";

void append_words(std::vector<std::string>& list, const std::string& words) {
  std::istringstream stream(words);
  for (std::string word; stream >> word;) list.push_back(word);
}

// Runs a command in a folder, its messages into a file there. Without the preloaded sanitizer, which is for Python.
bool run(const std::vector<std::string>& command, const fs::path& folder, const char* log) {
  std::vector<char*> words, variables;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  for (char** variable = environ; *variable; ++variable)
    if (std::strncmp(*variable, "LD_PRELOAD=", 11) != 0) variables.push_back(*variable);
  words.push_back(nullptr), variables.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t child;
  const int failed = posix_spawnp(&child, words[0], &actions, nullptr, words.data(), variables.data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed) throw std::runtime_error("cannot run " + command[0] + ": " + std::strerror(failed));
  int status;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return false;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Result compile(Program& program, const std::vector<std::string>& options) {
  Dl_info self;
  dladdr(reinterpret_cast<void*>(&compile), &self);
  const fs::path here = fs::path(self.dli_fname).parent_path();  // prelude.h and machine.h lie beside
  std::vector<std::string> command;
  append_words(command, environment("CXX", "g++"));
  append_words(command, kFlags);
  append_words(command, environment("ADAPOOL_EMULATOR_FLAGS", ""));
  for (const std::string& option : options)  // the others speak of devices
    if (option.starts_with("-D")) command.push_back(option);
  std::string key = __VERSION__ + program.name + '\0' + program.text;
  for (const std::string& word : command) key += '\0' + word;
  for (const Header& header : program.headers) key += '\0' + header.name + '\0' + header.text;
  for (const char* name : {"prelude.h", "machine.h"}) key += '\0' + read_file(here / name);
  const fs::path kept = cache() / "programs" / digest(key);
  program.log.clear();
  program.cubin = read_file(kept / "program.so");
  if (!program.cubin.empty()) return success;

  const fs::path folder = beside(kept);
  for (const Header& header : program.headers) write_file(folder / header.name, header.text);
  const std::string first = "#line 1 \"" + program.name + "\"\n";
  write_file(folder / "program.cu", first + program.text + "\nADAPOOL_EMULATED_ENTRY\n");
  for (const fs::path& word : {fs::path("-include"), here / "prelude.h"}) command.push_back(word.string());
  command.push_back("-ffile-prefix-map=" + folder.string() + "=.");  // so that the object does not depend on its folder
  append_words(command, "program.cu -o program.so");
  const bool compiled = run(command, folder, "log");
  program.log = read_file(folder / "log");
  program.cubin = read_file(folder / "program.so");
  std::error_code taken;  // another process may have compiled the same
  if (compiled) fs::rename(folder, kept, taken);
  if (!compiled || taken) fs::remove_all(folder);
  return compiled ? success : compilation;
}

Program* at(void* handle) { return static_cast<Program*>(handle); }

int give(const std::string& from, char* to) {
  std::memcpy(to, from.data(), from.size());
  return success;
}

}  // namespace

ADAPOOL_EXPORT int nvrtcVersion(int* major, int* minor) { return *major = 13, *minor = 0, success; }

ADAPOOL_EXPORT int nvrtcGetNumSupportedArchs(int* count) { return *count = std::size(kArchitectures), success; }

ADAPOOL_EXPORT int nvrtcGetSupportedArchs(int* list) {
  std::memcpy(list, kArchitectures, sizeof kArchitectures);
  return success;
}

ADAPOOL_EXPORT int nvrtcCreateProgram(void** handle, const char* text, const char* name, int count,
                                      const char* const* headers, const char* const* names) {
  if (!handle || !text || count < 0) return invalid_input;
  auto program = std::make_unique<Program>();
  program->name = name ? name : "default_program";
  program->text = text;
  const fs::path other = environment("ADAPOOL_EMULATOR_SOURCES", "");
  for (int i = 0; i < count; ++i)
    program->headers.push_back({names[i], other.empty() ? headers[i] : read_file(other / names[i])});
  *handle = program.release();
  return success;
}

ADAPOOL_EXPORT int nvrtcDestroyProgram(void** handle) {
  if (!handle || !*handle) return invalid_program;
  delete at(*handle);
  *handle = nullptr;
  return success;
}

ADAPOOL_EXPORT int nvrtcCompileProgram(void* handle, int count, const char* const* options) try {
  if (!handle) return invalid_program;
  return compile(*at(handle), {options, options + count});
} catch (const std::exception& fault) {
  at(handle)->log = fault.what();
  return internal_error;
}

// NVRTC counts a text's closing zero.
ADAPOOL_EXPORT int nvrtcGetCUBINSize(void* handle, size_t* size) { return *size = at(handle)->cubin.size(), success; }
ADAPOOL_EXPORT int nvrtcGetCUBIN(void* handle, char* to) { return give(at(handle)->cubin, to); }
ADAPOOL_EXPORT int nvrtcGetPTXSize(void*, size_t* size) { return *size = sizeof kPtx, success; }
ADAPOOL_EXPORT int nvrtcGetPTX(void*, char* to) { return give({kPtx, sizeof kPtx}, to); }
ADAPOOL_EXPORT int nvrtcGetProgramLogSize(void* handle, size_t* size) {
  return *size = at(handle)->log.size() + 1, success;
}
ADAPOOL_EXPORT int nvrtcGetProgramLog(void* handle, char* to) {
  return to[at(handle)->log.size()] = 0, give(at(handle)->log, to);
}

ADAPOOL_EXPORT const char* nvrtcGetErrorString(int result) {
  switch (result) {
    case success: return "NVRTC_SUCCESS";
    case invalid_input: return "NVRTC_ERROR_INVALID_INPUT";
    case invalid_program: return "NVRTC_ERROR_INVALID_PROGRAM";
    case compilation: return "NVRTC_ERROR_COMPILATION";
    case internal_error: return "NVRTC_ERROR_INTERNAL_ERROR";
    default: return "NVRTC_ERROR unknown";
  }
}
