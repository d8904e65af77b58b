// Reads requests from standard input, runs them, writes what they wrote to standard output. Every tensor lies in an
// allocation of its exact size, so that the address sanitizer sees the first byte beyond it.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "engine.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)
#endif

using namespace adapool;

// What a driver was built without.
#define ADAPOOL_ABSENT(T)                                                                                             \
  template <> __attribute__((weak)) void run_engine<T>(const Request&, const Job&, const Reduction&, double*, const Any&) { \
    std::exit(5);                                                                                                     \
  }                                                                                                                   \
  template <> __attribute__((weak)) void run_fast_engine<T>(const Request&, const Job&, const Reduction*, const Any&) { \
    std::exit(5);                                                                                                     \
  }
ADAPOOL_ABSENT(double)
ADAPOOL_ABSENT(float)
ADAPOOL_ABSENT(Half)
ADAPOOL_ABSENT(BFloat16)
__attribute__((weak)) void run_mask_engine(const Request&, const MaskJob&, MaskDirection) { std::exit(5); }

namespace {

bool read_all(void* to, size_t size) { return std::fread(to, 1, size, stdin) == size; }

struct Tensor {
  char* memory = nullptr;
  char* data = nullptr;
  int64_t type = 1, count = -1, bytes = 0;

  void read(bool filled, int64_t misalign) {
    if (!read_all(&type, 8) || !read_all(&count, 8)) std::exit(3);
    if (count < 0) return;
    const int64_t width = type == 0 || type == 4 ? 8 : type == 1 ? 4 : 2;  // 4: int64
    bytes = width * count;
    memory = static_cast<char*>(std::malloc(size_t(bytes + misalign * width)));
    data = memory + misalign * width;
    ASAN_POISON_MEMORY_REGION(memory, size_t(misalign * width));
    if (filled) { if (!read_all(data, size_t(bytes))) std::exit(3); }
    else std::memset(data, 0xff, size_t(bytes));  // NaN: what is never written shows
  }
  Any any() const { return {count < 0 ? nullptr : data, Type(type)}; }
  ~Tensor() { std::free(memory); }
};

Strides strides(const int64_t* s) { return {s[0], s[1], {s[2], s[3], s[4]}}; }

void run(const Request& q, Tensor* t) {
  Window w;
  for (int d = 0; d < 3; ++d) {
    w.in[d] = q.in[d]; w.out[d] = q.out[d]; w.kernel[d] = q.kernel[d];
    w.stride[d] = q.stride[d]; w.padding[d] = q.padding[d];
  }
  if (q.direction >= 3) {
    MaskJob job{};
    job.window = w; job.batch = q.batch; job.channels = q.channels; job.channels_last = q.channels_last != 0;
    job.normalize = q.normalize != 0;
    job.y = t[slot_coefficient].any(); job.ys = strides(q.cs);
    job.weights = t[slot_logits].any(); job.ws = strides(q.ws); job.tap_stride = q.tap_stride;
    job.out = q.direction == 3 ? t[slot_target].any() : t[slot_spread].any(); job.os = strides(q.xs);
    job.grad = q.direction == 4 ? t[slot_y].any() : t[slot_extra].any(); job.gs = strides(q.ys);
    return run_mask_engine(q, job, MaskDirection(q.direction - 3));
  }
  Job job{};
  job.window = w; job.batch = q.batch; job.channels = q.channels; job.channels_last = q.channels_last != 0;
  job.x = t[slot_x].any(); job.xs = strides(q.xs);
  job.logits = t[slot_logits].any(); job.spread = t[slot_spread].any();
  for (int k = 0; k < 3; ++k)
    job.operand[k] = {t[slot_operand0 + k].any(), strides(q.operand_strides[k]), q.number[k], q.given[k] != 0};
  job.normalize = q.normalize != 0; job.unpool = q.unpool != 0;
  job.y = t[slot_y].any(); job.ys = strides(q.ys); job.extra = q.want_extra ? t[slot_extra].data : nullptr;
  job.coefficient = t[slot_coefficient].any(); job.cs = strides(q.cs); job.target = t[slot_target].any();
  job.use_weight = q.use_weight != 0; job.use_through = q.use_through != 0; job.to_logits = q.to_logits != 0;
  Reduction reduction{};
  std::memcpy(reduction.kept, q.kept, sizeof(q.kept));
  std::memcpy(reduction.summed, q.summed, sizeof(q.summed));
  reduction.entries = q.entries; reduction.terms = q.terms; reduction.chunks = q.chunks; reduction.which = int(q.which);
  std::vector<double> partial(size_t(q.chunks > 1 ? q.chunks * q.entries : 0));
  const Any result = t[slot_result].any();
  if (q.engine == 2) {
    const Reduction* wanted = result.given() ? &reduction : nullptr;
    switch (Type(q.type)) {
      case Type::float64: return run_fast_engine<double>(q, job, wanted, result);
      case Type::float32: return run_fast_engine<float>(q, job, wanted, result);
      case Type::float16: return run_fast_engine<Half>(q, job, wanted, result);
      default: return run_fast_engine<BFloat16>(q, job, wanted, result);
    }
  }
  switch (Type(q.type)) {
    case Type::float64: return run_engine<double>(q, job, reduction, partial.data(), result);
    case Type::float32: return run_engine<float>(q, job, reduction, partial.data(), result);
    case Type::float16: return run_engine<Half>(q, job, reduction, partial.data(), result);
    default: return run_engine<BFloat16>(q, job, reduction, partial.data(), result);
  }
}

}  // namespace

int main() {
  Request q;
  while (read_all(&q, sizeof(q))) {
    Tensor tensors[slots];
    for (int i = 0; i < slots; ++i) tensors[i].read(i < first_written, q.misalign);
    run(q, tensors);
    for (int i = first_written; i < slots; ++i)
      if (tensors[i].count >= 0) std::fwrite(tensors[i].data, 1, size_t(tensors[i].bytes), stdout);
    std::fflush(stdout);
  }
}
