#include "cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <tuple>
#include <utility>
#include <vector>

#include "digest.h"

namespace adapool::cuda {
namespace {

constexpr std::string_view kEnding = ".kernel", kUnfinished = ".writing";
constexpr size_t kName = 32;                    // hexadecimal digits of a file's name, a fingerprint
constexpr std::chrono::minutes kAbandoned(10);  // after which a file that is still being written has no writer

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return number_; }
  bool close() { return number_ < 0 || ::close(std::exchange(number_, -1)) == 0; }

 private:
  int number_;
};

void say_once(const std::string& folder, const std::string& reason) {
  static std::atomic<bool> said = false;
  if (said.exchange(true)) return;
  std::fprintf(stderr,
               "adapool: compiled CUDA kernels are not kept in %s (%s); ADAPOOL_CACHE names another folder, or 0 for "
               "none\n",
               folder.c_str(), reason.c_str());
}

std::string file_name(std::string_view key) { return fingerprint(key) + std::string(kEnding); }

// All of a file before its payload: as long for every payload, so that a reader compares and has nothing to parse.
std::string head(std::string_view key, std::string_view payload) {
  char length[17];
  std::snprintf(length, sizeof length, "%016zx", payload.size());
  return "adapool kernel 2\n" + std::string(key) + "\n" + length + " " + fingerprint(payload) + "\n";
}

// The folder, if nobody but this user can have put files there: the driver runs what is in them. -1 if not.
int open_folder(const std::string& folder, bool create) {
  if (folder.empty()) return -1;
  std::error_code made;
  if (create) {
    std::filesystem::create_directories(std::filesystem::path(folder).parent_path(), made);
    ::mkdir(folder.c_str(), 0700);
  }
  const int number = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (number < 0) {
    const bool other = errno == ENOTDIR || errno == ELOOP;
    if (create || errno != ENOENT)
      say_once(folder, other ? "it is a link or no folder" : made ? made.message() : std::strerror(errno));
    return -1;
  }
  struct stat found;
  const char* fault = ::fstat(number, &found) != 0  ? "it cannot be examined"
                      : found.st_uid != ::geteuid() ? "it belongs to another user"
                      : (found.st_mode & 0022) != 0 ? "others may write to it"
                                                    : nullptr;
  if (fault == nullptr) return number;
  ::close(number);
  say_once(folder, fault);
  return -1;
}

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(file, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    bytes.remove_prefix(size_t(done));
  }
  return true;
}

bool is_ours(std::string_view name) {
  return name.size() >= kName && name.find_first_not_of("0123456789abcdef") == kName &&
         (name.substr(kName) == kEnding || name.ends_with(kUnfinished));
}

// Removes what writers that were killed left, and the files that were not read for longest.
void trim(const std::string& folder, uint64_t bound) {
  using Clock = std::filesystem::file_time_type::clock;
  std::vector<std::tuple<Clock::time_point, uint64_t, std::filesystem::path>> files;
  uint64_t total = 0;
  std::error_code failed;
  for (std::filesystem::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
    std::error_code gone;  // by another process
    const auto used = at->last_write_time(gone);
    const std::string name = at->path().filename();
    if (gone || !is_ours(name)) continue;
    if (name.ends_with(kUnfinished)) {
      if (used + kAbandoned < Clock::now()) std::filesystem::remove(at->path(), gone);
      continue;
    }
    const uint64_t size = at->file_size(gone);
    if (gone) continue;
    files.emplace_back(used, size, at->path());
    total += size;
  }
  std::sort(files.begin(), files.end());
  for (size_t i = 0; i < files.size() && total > bound; ++i) {
    std::filesystem::remove(std::get<2>(files[i]), failed);
    total -= std::get<1>(files[i]);
  }
}

const char* variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

}  // namespace

Cache::Cache(std::string folder, uint64_t bound) : folder_(std::move(folder)), bound_(bound) {
  while (folder_.size() > 1 && folder_.back() == '/') folder_.pop_back();  // behind which a link would be followed
}

std::optional<std::string> Cache::read(std::string_view key) const {
  const Descriptor folder(open_folder(folder_, false));
  if (folder < 0) return {};
  const Descriptor file(::openat(folder, file_name(key).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat found;
  if (file < 0 || ::fstat(file, &found) != 0 || !S_ISREG(found.st_mode) || uint64_t(found.st_size) > bound_) return {};
  std::string bytes(size_t(found.st_size), '\0');
  size_t done = 0;
  for (ssize_t n = 1; n > 0 && done < bytes.size(); done += n > 0 ? size_t(n) : 0)
    n = ::read(file, bytes.data() + done, bytes.size() - done);
  const size_t before = head(key, "").size();
  if (done != bytes.size() || done < before) return {};
  std::string payload = bytes.substr(before);
  if (bytes.compare(0, before, head(key, payload)) != 0) return {};
  ::futimens(file, nullptr);
  return payload;
}

void Cache::write(std::string_view key, std::string_view payload) const {
  const std::string start = head(key, payload);
  if (start.size() + payload.size() > bound_) return;
  const Descriptor folder(open_folder(folder_, true));
  if (folder < 0) return;
  static std::atomic<unsigned> count = 0;
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);  // processes of two machines may have one number and share a folder
  const std::string name = file_name(key);
  const std::string beside = name.substr(0, kName) + "." + std::to_string(::getpid()) + "." + std::to_string(++count) +
                             "." + std::to_string(now.tv_nsec) + std::string(kUnfinished);
  Descriptor file(::openat(folder, beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (file < 0) return say_once(folder_, std::strerror(errno));
  if (!write_all(file, start) || !write_all(file, payload) || !file.close() ||
      ::renameat(folder, beside.c_str(), folder, name.c_str()) != 0) {
    say_once(folder_, std::strerror(errno));
    ::unlinkat(folder, beside.c_str(), 0);
    return;
  }
  trim(folder_, bound_);
}

std::string cache_folder() {
  if (const char* own = variable("ADAPOOL_CACHE")) return own == std::string("0") ? "" : own;
  const char* caches = variable("XDG_CACHE_HOME");
  if (caches != nullptr && *caches == '/') return std::string(caches) + "/adapool";  // a relative one does not count
  const char* home = variable("HOME");
  return home != nullptr ? std::string(home) + "/.cache/adapool" : "";
}

}  // namespace adapool::cuda
