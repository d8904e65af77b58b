// A block of threads on one CPU thread: who may run, who waits for whom, and what is said of those who wait in vain.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "fibers.h"
#include "machine.h"

namespace emulator {

constexpr unsigned kWarp = 32, kMostThreads = 1024;
constexpr const char* kNames[] = {"__syncthreads", "__syncwarp", "__shfl_sync", "__shfl_up_sync", "__shfl_down_sync",
                                  "__shfl_xor_sync", "__all_sync", "__any_sync", "__ballot_sync"};

struct Thread {
  Index index;
  Fiber* fiber = nullptr;  // none before it runs first: threads that never meet take turns on one
  Meeting meeting;
  unsigned mask, source;
  unsigned long long value, result;
  Place place;
};

struct Warp { unsigned ready, meeting, barred, ended; };  // sets of lanes; lanes beyond the block count as ended

inline Machine machine;
inline Thread threads[kMostThreads];
inline Warp warps[kMostThreads / kWarp];
inline unsigned thread_count, warp_count, barred_count, ended_count, current;
inline uint64_t random_state;

inline unsigned random_bits() {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return random_state >> 33;
}

// The numbers below 32 in one of 512 orders.
struct Order {
  unsigned start = random_bits(), step = 2 * random_bits() + 1;
  unsigned at(unsigned i) const { return (start + i * step) % 32; }
};

inline std::string described(unsigned thread) {
  const std::string name = "thread " + std::to_string(thread);
  if (thread >= thread_count) return name + " is beyond the block";
  const Thread& one = threads[thread];
  if (warps[thread / kWarp].ended >> thread % kWarp & 1) return name + " has ended";
  const std::string place = std::string(one.place.file) + ":" + std::to_string(one.place.line);
  return name + " waits at " + kNames[int(one.meeting)] + " (" + place + ")";
}

[[noreturn]] inline void fail(const std::string& sentence) {
  const Index& at = machine.block;
  std::fprintf(stderr, "emulator: block (%u, %u, %u): %s\n", at.x, at.y, at.z, sentence.c_str());
  std::abort();
}

inline std::string named(unsigned mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return std::string("its mask ") + text;
}

// No lane of the warp can run, and some wait for lanes of their warp that will not come.
[[noreturn]] inline void fail_warp(unsigned first) {
  const unsigned waiting = first + __builtin_ctz(warps[first / kWarp].meeting);
  const Thread& one = threads[waiting];
  for (unsigned lane = 0, other = first; lane < kWarp; ++lane, ++other) {
    if (!(one.mask >> lane & 1)) continue;
    const bool meets = warps[first / kWarp].meeting >> lane & 1;
    if (!meets || threads[other].mask != one.mask || threads[other].meeting != one.meeting)
      fail(described(waiting) + " for the lanes of " + named(one.mask) + ", but " + described(other) +
           (meets ? " with " + named(threads[other].mask) : ""));
  }
  std::abort();  // a meeting with all its lanes was not let go: a fault of the emulator
}

// No thread of the block can run, and none waits for its warp: some wait for others that have ended.
[[noreturn]] inline void fail_block() {
  unsigned barred = 0, ended = 0;
  while (!(warps[barred / kWarp].barred >> barred % kWarp & 1)) ++barred;
  while (!(warps[ended / kWarp].ended >> ended % kWarp & 1)) ++ended;
  fail(described(barred) + ", but " + described(ended));
}

inline void meet_block(Place place) {
  Thread& me = threads[current];
  me.meeting = Meeting::syncthreads;
  me.place = place;
  warps[current / kWarp].barred |= 1u << current % kWarp;
  if (++barred_count == thread_count) {
    for (unsigned other = 0; other < thread_count; ++other)
      if (const Place& there = threads[other].place; there.line != place.line || std::strcmp(there.file, place.file))
        fail(described(current) + ", but " + described(other));
    for (unsigned i = 0; i < warp_count; ++i) warps[i].ready = std::exchange(warps[i].barred, 0u);
    barred_count = 0;
  }
  rest();
}

inline unsigned long long meet_warp(Meeting meeting, unsigned mask, unsigned source, unsigned long long value,
                                    Place place) {
  Warp& warp = warps[current / kWarp];
  Thread& me = threads[current];
  Thread* const lanes = threads + current / kWarp * kWarp;
  me.meeting = meeting, me.mask = mask, me.source = source, me.value = value, me.place = place;
  warp.meeting |= 1u << current % kWarp;
  if (!(mask >> current % kWarp & 1)) fail(described(current) + ", but " + named(mask) + " does not name its lane");
  if (!(mask >> source % kWarp & 1))
    fail(described(current) + ", but " + named(mask) + " does not name lane " + std::to_string(source) +
         ", which it reads");
  unsigned ballot = 0, same = 0;
  if ((warp.meeting & mask) == mask)
    for (unsigned lane = 0; lane < kWarp; ++lane)
      if (mask >> lane & 1 && lanes[lane].mask == mask && lanes[lane].meeting == meeting)
        same |= 1u << lane, ballot |= unsigned(lanes[lane].value & 1) << lane;
  if (same == mask) {
    for (unsigned lane = 0; lane < kWarp; ++lane)
      if (mask >> lane & 1)
        lanes[lane].result = meeting >= Meeting::all ? ballot : lanes[lanes[lane].source].value;
    warp.meeting &= ~mask;
    warp.ready |= mask;
  }
  rest();
  return me.result;
}

inline void run_thread(unsigned thread) {
  Thread& me = threads[thread];
  Warp& warp = warps[thread / kWarp];
  if (!me.fiber && !(me.fiber = take_fiber())) fail("no memory for a thread's stack");
  current = thread;
  machine.thread = me.index;
  machine.lane = thread % kWarp;
  warp.ready &= ~(1u << thread % kWarp);
  if (resume(me.fiber)) {
    me.fiber = nullptr;
    warp.ended |= 1u << thread % kWarp;
    ++ended_count;
  }
}

// Every lane that can run goes to its next meeting or its end.
inline void step(unsigned first) {
  Warp& warp = warps[first / kWarp];
  const unsigned ready = warp.ready;
  const Order order;
  for (unsigned i = 0; i < kWarp; ++i)
    if (ready >> order.at(i) & 1) run_thread(first + order.at(i));
  if (!warp.ready && warp.meeting) fail_warp(first);
}

// Between two meetings threads run one after another, in an order that always changes, and a warp may run ahead of the
// others by as many meetings of its own as chance will: what needs a barrier shows as a wrong result without it.
inline void run_block() {
  ended_count = barred_count = 0;
  for (unsigned i = 0; i < warp_count; ++i) {
    const unsigned lanes = thread_count - i * kWarp;
    const unsigned all = lanes < kWarp ? (1u << lanes) - 1 : ~0u;
    warps[i] = {.ready = all, .meeting = 0, .barred = 0, .ended = ~all};
  }
  while (ended_count < thread_count) {
    bool moved = false;
    const Order order;
    for (unsigned i = 0; i < 32; ++i) {
      const unsigned next = order.at(i);
      if (next >= warp_count || !warps[next].ready) continue;
      moved = true;
      do step(next * kWarp);
      while (warps[next].ready && random_bits() % 4);
    }
    if (!moved) fail_block();
  }
}

inline void set_block(Index size) {
  machine.block_size = size;
  thread_count = size.x * size.y * size.z;
  warp_count = (thread_count + kWarp - 1) / kWarp;
  unsigned thread = 0;
  for (unsigned z = 0; z < size.z; ++z)
    for (unsigned y = 0; y < size.y; ++y)
      for (unsigned x = 0; x < size.x; ++x) threads[thread++].index = {x, y, z};
}

}  // namespace emulator
