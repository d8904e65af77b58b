// CUDA's execution model on one CPU thread: blocks one after another, the threads of a block as fibers that meet at
// __syncthreads(). Include before a .cuh file. Knows nothing of pooling.
#pragma once
#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define __global__
#define __device__
#define __launch_bounds__(...)
#define __shared__ static  // one block runs at a time

namespace emulator {

struct Index { unsigned x = 0, y = 0, z = 0; };
inline Index thread, block, block_size, grid_size;

constexpr size_t kStack = 256 << 10;

struct Fiber {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(kStack);
  bool done = false;
  void* fake_stack = nullptr;
};

inline std::vector<Fiber> fibers;
inline ucontext_t scheduler;
inline void* scheduler_fake_stack = nullptr;
inline const void* scheduler_bottom = nullptr;
inline size_t scheduler_size = 0;
inline unsigned current = 0;
inline const std::function<void()>* body = nullptr;
inline std::mt19937 shuffle;

inline void leave(bool finished) {  // fiber -> scheduler
  Fiber& me = fibers[current];
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(finished ? nullptr : &me.fake_stack, scheduler_bottom, scheduler_size);
#endif
  swapcontext(&me.context, &scheduler);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(me.fake_stack, &scheduler_bottom, &scheduler_size);
#endif
}

inline void enter() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_bottom, &scheduler_size);
#endif
  (*body)();
  fibers[current].done = true;
  leave(true);
}

inline void resume(unsigned i) {  // scheduler -> fiber, until its next barrier or its end
  current = i;
  thread.x = i;
  Fiber& fiber = fibers[i];
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&scheduler_fake_stack, fiber.stack.data(), fiber.stack.size());
#endif
  swapcontext(&scheduler, &fiber.context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(scheduler_fake_stack, nullptr, nullptr);
#endif
}

// Runs a kernel whose threads meet at barriers. Between two barriers the threads run one after another, in an order
// that changes every time: a missing barrier shows as a wrong result.
inline void run_block(unsigned threads) {
  if (fibers.size() < threads) fibers.resize(threads);
  std::vector<unsigned> order(threads);
  for (unsigned i = 0; i < threads; ++i) {
    Fiber& fiber = fibers[i];
    fiber.done = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
    order[i] = i;
  }
  for (unsigned left = threads; left > 0;) {
    const unsigned turn = shuffle() % threads, mirrored = shuffle() % 2;
    unsigned finished = 0;
    for (unsigned i = 0; i < threads; ++i) {
      const unsigned at = (i + turn) % threads, next = mirrored ? threads - 1 - at : at;
      resume(next);
      finished += fibers[next].done;
    }
    if (finished != 0 && finished != threads) {
      std::fprintf(stderr, "emulator: %u of %u threads ended while the others wait at a barrier\n", finished, threads);
      std::abort();
    }
    left -= finished;
  }
}

inline void launch(Index grid, unsigned threads, bool meets, const std::function<void()>& kernel) {
  body = &kernel;
  grid_size = grid;
  block_size.x = threads;
  for (block.z = 0; block.z < grid.z; ++block.z)
    for (block.y = 0; block.y < grid.y; ++block.y)
      for (block.x = 0; block.x < grid.x; ++block.x) {
        if (meets) run_block(threads);
        else
          for (thread.x = 0; thread.x < threads; ++thread.x) kernel();
      }
}

inline void barrier() { leave(false); }

}  // namespace emulator

#define threadIdx emulator::thread
#define blockIdx emulator::block
#define blockDim emulator::block_size
#define gridDim emulator::grid_size
#define __syncthreads emulator::barrier
