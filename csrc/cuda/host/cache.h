// Compiled kernels on disk, for the next process. Knows no CUDA: it keeps bytes under a key.
// Nothing here fails a call: what cannot be kept is said once on stderr, and compiled again.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace adapool::cuda {

// A folder of one user: one file per key, written beside and renamed, checked whole when read. Processes share it.
class Cache {
 public:
  // An empty `folder`: nothing is kept. `bound`: bytes of all files, beyond which the longest unread ones go.
  explicit Cache(std::string folder, uint64_t bound = uint64_t(256) << 20);

  std::optional<std::string> read(std::string_view key) const;
  void write(std::string_view key, std::string_view payload) const;
  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
  uint64_t bound_;
};

// What the environment asks for: $ADAPOOL_CACHE ("0": none), else adapool in $XDG_CACHE_HOME or in $HOME/.cache.
std::string cache_folder();

}  // namespace adapool::cuda
