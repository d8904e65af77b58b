// Fibers: stacks that take turns on one thread, told to AddressSanitizer where the process has it. Knows no CUDA.
#pragma once
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

// Weak, so that one build of the stand-ins serves processes with and without the sanitizer.
extern "C" {
__attribute__((weak)) void __sanitizer_start_switch_fiber(void** keep, const void* bottom, size_t size);
__attribute__((weak)) void __sanitizer_finish_switch_fiber(void* kept, const void** bottom, size_t* size);
}

namespace emulator {

constexpr size_t kPage = 64 << 10, kStack = 256 << 10;

#if defined(__x86_64__)
// A switch keeps the stack and the place and says that all else is lost, where swapcontext asks the kernel for the mask
// of signals. Inline and by a jump, because a return to another stack than the call's is never predicted.
struct Context { void** top; };

inline void prepare(Context& context, char* bottom, size_t size, void (*enter)()) {
  context.top = reinterpret_cast<void**>(bottom + size) - 4;  // [1] is no caller, where the ABI expects one
  *context.top = reinterpret_cast<void*>(enter);
}

inline void change(Context& from, Context& to) {
  void*** keep = &from.top;
  void** top = to.top;
  asm volatile(
      "leaq -128(%%rsp), %%rsp\n"  // the red zone
      "pushq %%rbp\n"
      "leaq 1f(%%rip), %%rax\n"
      "pushq %%rax\n"
      "movq %%rsp, (%0)\n"
      "movq %1, %%rsp\n"
      "popq %%rax\n"
      "jmp *%%rax\n"
      "1: popq %%rbp\n"
      "leaq 128(%%rsp), %%rsp"
      : "+D"(keep), "+S"(top)
      :
      : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2",
        "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
        "cc", "memory");
}
#else
struct Context { ucontext_t state; };

inline void prepare(Context& context, char* bottom, size_t size, void (*enter)()) {
  getcontext(&context.state);
  context.state.uc_stack = {bottom, 0, size};
  context.state.uc_link = nullptr;
  makecontext(&context.state, enter, 0);
}

inline void change(Context& from, Context& to) { swapcontext(&from.state, &to.state); }
#endif

// A fiber runs the work again and again, and rests after each; it may rest in the middle too.
struct Fiber {
  Context context;
  char* bottom;
  size_t size;
  void* fake_stack = nullptr;
};

inline void (*work)();
inline std::vector<std::unique_ptr<Fiber>> fibers;  // all that were ever made
inline std::vector<Fiber*> idle;
inline Context outside;
inline void* outside_fake_stack;
inline const void* outside_bottom;
inline size_t outside_size;
inline Fiber* running;
inline bool finished;

inline void rest() {  // fiber -> outside
  Fiber& me = *running;
  if (__sanitizer_start_switch_fiber) __sanitizer_start_switch_fiber(&me.fake_stack, outside_bottom, outside_size);
  change(me.context, outside);
  if (__sanitizer_finish_switch_fiber)
    __sanitizer_finish_switch_fiber(me.fake_stack, &outside_bottom, &outside_size);
}

inline void enter() {
  if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(nullptr, &outside_bottom, &outside_size);
  for (;;) {
    work();
    finished = true;
    rest();
  }
}

inline Fiber* take_fiber() {
  if (idle.empty()) {
    // The page below stays without rights: a stack that is too small dies there and not in its neighbour.
    void* memory = mmap(nullptr, kPage + kStack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char* bottom = static_cast<char*>(memory) + kPage;
    if (memory == MAP_FAILED || mprotect(bottom, kStack, PROT_READ | PROT_WRITE) != 0) return nullptr;
    auto fiber = std::make_unique<Fiber>();
    // Stacks that all begin at the same place in a page would share the same lines of the cache.
    fiber->bottom = bottom;
    fiber->size = kStack - fibers.size() * 192 % 16384;
    prepare(fiber->context, bottom, fiber->size, enter);
    idle.push_back(fiber.get());
    fibers.push_back(std::move(fiber));
  }
  Fiber* fiber = idle.back();
  idle.pop_back();
  return fiber;
}

// Runs a fiber until it rests; true if it ended its work, and is idle.
inline bool resume(Fiber* fiber) {
  running = fiber;
  finished = false;
  if (__sanitizer_start_switch_fiber) __sanitizer_start_switch_fiber(&outside_fake_stack, fiber->bottom, fiber->size);
  change(outside, fiber->context);
  if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(outside_fake_stack, nullptr, nullptr);
  if (finished) idle.push_back(fiber);
  return finished;
}

}  // namespace emulator
