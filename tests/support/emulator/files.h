// Files of the stand-ins: the cache folder, names made of contents, and writing that nobody sees half done.
#pragma once
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>

#define ADAPOOL_EXPORT extern "C" __attribute__((visibility("default")))

namespace emulator {

namespace fs = std::filesystem;

inline std::string environment(const char* name, const std::string& otherwise) {
  const char* found = std::getenv(name);
  return found && *found ? found : otherwise;
}

inline fs::path cache() {
  return environment("ADAPOOL_EMULATOR_CACHE", (fs::temp_directory_path() / "adapool-emulator").string());
}

inline std::string digest(std::string_view text) {  // FNV-1a: names, not secrets
  uint64_t hash = 14695981039346656037u;
  for (unsigned char byte : text) hash = (hash ^ byte) * 1099511628211u;
  char name[17];
  std::snprintf(name, sizeof name, "%016llx", static_cast<unsigned long long>(hash));
  return name;
}

// A name beside `path` that no other process or thread uses; renamed to `path` when complete.
inline fs::path beside(const fs::path& path) {
  static std::atomic<int> count = 0;
  return path.string() + "." + std::to_string(getpid()) + "." + std::to_string(count++);
}

inline std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_file(const fs::path& path, std::string_view bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  if (!file.write(bytes.data(), bytes.size()).flush()) throw std::runtime_error("cannot write " + path.string());
}

}  // namespace emulator
