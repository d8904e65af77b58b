// Does to csrc/cuda/host what the library does, as its first argument says, and prints what came of it; with the
// stand-ins for NVRTC and the driver, or with NVRTC itself.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "cuda/host/cache.h"
#include "cuda/host/digest.h"
#include "cuda/host/kernels.h"
#include "cuda/host/shared_library.h"

using namespace adapool::cuda;
using Words = std::vector<std::string>;

std::atomic<long> allocations = 0;
void* operator new(size_t size) {
  ++allocations;
  if (void* made = std::malloc(size)) return made;
  throw std::bad_alloc();
}
void operator delete(void* made) noexcept { std::free(made); }
void operator delete(void* made, size_t) noexcept { std::free(made); }

namespace {

std::atomic<int> made = 0;

Source source(const std::string& text) {
  ++made;
  const std::string name = "kernel " + text.substr(0, text.find('\n'));
  return {name, "// " + name + "\n" + text + "\n"};
}
Kernel get(int device, const std::string& text) {
  return kernel(device, text, [&] { return source(text); });
}
void start(const Kernel& kernel, unsigned threads = 128) {
  const unsigned grid[3] = {7, 2, 1};
  int count = 42;
  double scale = 0.5;
  void* arguments[] = {&count, &scale};
  launch(kernel, grid, threads, reinterpret_cast<void*>(0x50), arguments);
}
void say(const std::function<void()>& work) {
  try {
    work();
    std::puts("done");
  } catch (const std::exception& error) {
    std::puts(error.what());
  }
  std::fflush(stdout);
}
std::string payload(const std::string& key, size_t size) {
  std::string bytes;
  while (bytes.size() < size) bytes += key + '\0';
  bytes.resize(size);
  return bytes;
}

void devices(const Words&) {
  for (int i = 0; i < 3; ++i) {
    start(get(i, "a"));
    std::printf("%d %d\n", architecture(i), multiprocessors(i));
  }
  say([] { get(3, "a"); });
}

// Launches from a thread without a context, and from one that has another device's.
void contexts(const Words&) {
  const Kernel first = get(0, "a");
  std::thread([&] { start(first); }).join();
  std::thread([&] {
    int (*set)(void*) = nullptr;
    int (*current)(void**) = nullptr;
    int (*retain)(void**, int) = nullptr;
    const SharedLibrary driver = SharedLibrary::loaded("libcuda.so.1");
    driver.find(set, "cuCtxSetCurrent");
    driver.find(current, "cuCtxGetCurrent");
    driver.find(retain, "cuDevicePrimaryCtxRetain");
    void *other = nullptr, *after = nullptr;
    retain(&other, 11);
    set(other);
    start(first);
    current(&after);
    std::puts(after == other ? "put back" : "lost");
  }).join();
}

void faults(const Words&) {
  for (int i = 0; i < 2; ++i) say([] { get(0, "broken"); });
  for (int i = 0; i < 3; ++i) say([] { get(0, "a"); });
  say([] { start(get(0, "a"), 2048); });
  std::printf("%d\n", made.load());
}

void forks(const Words& words) {
  if (words[0] == "after") start(get(0, "a"));
  const pid_t child = fork();
  if (child == 0) {
    say([] { get(0, "a"); });
    say([] { architecture(0); });
    _exit(0);
  }
  waitpid(child, nullptr, 0);
}

// Eight threads that want one kernel, then four that want one each.
void threads(const Words&) {
  const auto run = [](int count, const std::function<std::string(int)>& text) {
    std::vector<std::thread> all;
    const auto began = std::chrono::steady_clock::now();
    for (int i = 0; i < count; ++i) all.emplace_back([&, i] { start(get(0, text(i))); });
    for (auto& thread : all) thread.join();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    std::printf("%d %.3f\n", made.exchange(0), took.count());
  };
  run(8, [](int) { return "same"; });
  run(4, [](int i) { return std::to_string(i); });
}

// Nanoseconds and allocations of finding a kernel that is there, among a hundred.
void lookup(const Words&) {
  const std::string long_text(60, 'x');
  for (int i = 0; i < 100; ++i) get(0, long_text + std::to_string(i));
  const std::string key = long_text + "50";
  const std::function<Source()> never = [] { return Source{}; };
  double best = 1e9;
  const long before = allocations;
  for (int round = 0; round < 20; ++round) {
    const auto began = std::chrono::steady_clock::now();
    for (int i = 0; i < 10000; ++i) kernel(0, key, never);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count() / 10000);
  }
  std::printf("%.1f %ld\n", best * 1e9, allocations - before);
}

void make(const Words& words) {  // device, text
  say([&] { get(std::stoi(words[0]), words[1]); });
}
void digest(const Words&) {
  std::string bytes;
  for (int c = std::getchar(); c != EOF; c = std::getchar()) bytes += char(c);
  std::puts(fingerprint(bytes).c_str());
}
void folder(const Words&) { std::puts(cache_folder().c_str()); }
void write(const Words& words) {  // folder, bound, size, keys
  const Cache cache(words[0], std::stoull(words[1]));
  for (size_t i = 3; i < words.size(); ++i) cache.write(words[i], payload(words[i], std::stoull(words[2])));
}
void read(const Words& words) {  // folder, bound, size, keys
  const Cache cache(words[0], std::stoull(words[1]));
  for (size_t i = 3; i < words.size(); ++i) {
    const auto found = cache.read(words[i]);
    std::puts(!found ? "none" : *found == payload(words[i], std::stoull(words[2])) ? "right" : "wrong");
  }
}
// Writes and reads keys that others write and read as well, and some of its own; the bound makes all remove files.
void storm(const Words& words) {  // folder, bound, its own name
  const Cache cache(words[0], std::stoull(words[1]));
  int found = 0, wrong = 0;
  for (int i = 0; i < 400; ++i) {
    const std::string key = (i % 3 == 0 ? words[2] : "shared") + std::to_string(i % 10);
    cache.write(key, payload(key, 20000));
    const auto kept = cache.read("shared" + std::to_string((i + 5) % 10));
    if (!kept) continue;
    ++found;
    wrong += *kept != payload("shared" + std::to_string((i + 5) % 10), 20000);
  }
  std::printf("%d %d\n", found, wrong);
}
}  // namespace

int main(int count, char** words) {
  const std::map<std::string, void (*)(const Words&)> known = {
      {"devices", devices}, {"contexts", contexts}, {"faults", faults}, {"forks", forks}, {"threads", threads},
      {"lookup", lookup},   {"make", make},         {"digest", digest}, {"folder", folder}, {"write", write},
      {"read", read},       {"storm", storm}};
  known.at(words[1])(Words(words + 2, words + count));
}
