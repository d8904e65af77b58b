#include "cuda/host/tune.h"

#include <algorithm>
#include <cstdlib>
#include <future>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <unordered_map>

#include "cuda/host/digest.h"
#include "cuda/host/launch.h"

namespace adapool::cuda {
namespace {

constexpr size_t kRounds = 5;
constexpr float kClearly = 0.97f;  // of the chosen launch's time: what is not faster than this may be noise

// What alternatives depend on beside the specification: shape, work, and how memory is aligned.
std::vector<int64_t> facts_of(const Launch& launch) {
  const Arguments& a = launch.arguments;
  std::vector<int64_t> facts = {a.batch, a.channels, a.parts};
  for (const auto* axes : {a.in, a.cell, a.kernel, a.stride, a.padding}) facts.insert(facts.end(), axes, axes + 3);
  for (const void* data : {a.x, a.logits, a.spread, a.cells, static_cast<const void*>(a.out)})
    facts.push_back(int64_t(reinterpret_cast<uintptr_t>(data) % 16));
  return facts;
}

std::string disk_key(int device, const Launch& launch) {
  std::ostringstream key;
  key << "fastest launch on " << name(device) << ' ' << multiprocessors(device) << " for";
  for (const int64_t fact : facts_of(launch)) key << ' ' << fact;
  key << '\n' << cache_key(source_of(launch.specification), architecture(device));
  return key.str();
}

std::string digest_of(const Launch& launch) { return fingerprint(source_of(launch.specification).text); }

void run(int device, void* stream, const Launch& launch) {
  start(device, stream, launch, const_cast<Arguments*>(&launch.arguments));
}

// By the medians of turns that all of them take, so that what disturbs one disturbs each.
size_t timed_best(int device, void* stream, const std::vector<Launch>& all) {
  std::vector<std::future<void>> made;
  for (const Launch& one : all)
    made.push_back(std::async(std::launch::async, [&, device] { kernel_of(device, one.specification); }));
  for (auto& each : made) each.get();
  for (const Launch& one : all) run(device, stream, one);  // the first run loads code
  const auto turns = timed(device, stream, kRounds * all.size(),
                           [&](size_t turn) { run(device, stream, all[turn % all.size()]); });
  std::vector<float> medians;
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<float> own;
    for (size_t round = 0; round < kRounds; ++round) own.push_back(turns[round * all.size() + i]);
    std::nth_element(own.begin(), own.begin() + kRounds / 2, own.end());
    medians.push_back(own[kRounds / 2]);
  }
  const size_t best = size_t(std::min_element(medians.begin(), medians.end()) - medians.begin());
  return medians[best] < kClearly * medians[0] ? best : 0;
}

}  // namespace

bool tunes() {
  static const bool wanted = [] {
    const char* value = std::getenv("ADAPOOL_TUNE");
    const std::string word = value != nullptr && *value != '\0' ? value : "0";
    if (word != "0" && word != "1")
      throw std::runtime_error("adapool: ADAPOOL_TUNE: expected 1 (try launches and keep the fastest) or 0, got '" +
                               word + "'");
    return word == "1";
  }();
  return wanted;
}

const Kernel& kernel_of(int device, const Specification& s) {
  return kernel(device, s.key(), [&] { return source_of(s); });
}

void start(int device, void* stream, const Launch& l, void* arguments) {
  launch(kernel_of(device, l.specification), l.grid, unsigned(l.specification.threads), stream, &arguments);
}

Launch fastest(int device, void* stream, const Launch& launch) {
  const Kind kind = launch.specification.kind;
  if (kind == Kind::totals || kind == Kind::masks) return launch;  // whose grids the facts below do not tell apart
  // Never destroyed, as the table of kernels; one at a time, because others would disturb what is timed.
  static auto& known = *new std::unordered_map<std::string, Launch>;
  static auto& mutex = *new std::mutex;
  const std::vector<int64_t> facts = facts_of(launch);
  std::string key(launch.specification.key());
  key.append(reinterpret_cast<const char*>(facts.data()), facts.size() * sizeof(int64_t)).append(std::to_string(device));
  const std::lock_guard lock(mutex);
  if (const auto at = known.find(key); at != known.end()) {
    Launch found = at->second;
    found.arguments = launch.arguments;
    std::copy_n(at->second.arguments.groups, 3, found.arguments.groups);
    found.arguments.lanes = at->second.arguments.lanes;
    return found;
  }
  const std::vector<Launch> all = alternatives(launch);
  size_t best = 0;
  if (all.size() > 1) {
    const std::string kept_as = disk_key(device, launch);
    const auto kept = disk().read(kept_as);
    const auto at = std::find_if(all.begin(), all.end(), [&](const Launch& l) { return kept == digest_of(l); });
    if (at != all.end()) {
      best = size_t(at - all.begin());
    } else if (captures(device, stream)) {
      return launch;
    } else {
      best = timed_best(device, stream, all);
      disk().write(kept_as, digest_of(all[best]));
    }
  }
  return known.emplace(std::move(key), all[best]).first->second;
}

}  // namespace adapool::cuda
