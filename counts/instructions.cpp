// Runs the CPU kernels on fixed numbers, so that callgrind can count their instructions: one dump a call, named.
// Arguments: the calls to make, as method/direction/kernel/stride. No torch; calls what cpu/operators.cpp calls.
#include <valgrind/callgrind.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "job.h"
#include "math/cell.h"
#if __has_include("cpu/instances.h")
#include "cpu/instances.h"
#else  // of revisions whose sources lay in one folder
#include "instances.h"
#define ADAPOOL_LOOPS ADAPOOL_LAUNCH
#endif

extern "C" {
bool adapool_fast_avx2 ADAPOOL_PARAMETERS;
bool ADAPOOL_LOOPS(float, avx2) ADAPOOL_PARAMETERS;
}

using namespace adapool;

static void in_place(int64_t n, int64_t, void (*body)(int64_t, int64_t, void*), void* context) { body(0, n, context); }

static void call(Method method, Direction direction, const Job& job) {
  if (adapool_fast_avx2(int32_t(method), int32_t(direction), &job, nullptr, nullptr, in_place))
    return;
  ADAPOOL_LOOPS(float, avx2)(int32_t(method), int32_t(direction), &job, nullptr, nullptr, in_place);
}

int main(int count, char** words) {
  constexpr int64_t kChannels = 8, kHeight = 25, kWidth = 37;
  for (int i = 1; i < count; ++i) {
    char name[32];
    long long direction, k, s;
    if (std::sscanf(words[i], "%31[^/]/%lld/%lld/%lld", name, &direction, &k, &s) != 4) return 2;
    int method = -1;
#define ADAPOOL_NAMED(key, S) \
  if (std::strcmp(name, #key) == 0) method = int(Method::key);
    ADAPOOL_METHODS(ADAPOOL_NAMED)
    if (method < 0) return 3;
    Job job{};
    const int64_t out[2] = {(kHeight - k) / s + 1, (kWidth - k) / s + 1};
    job.window = {{1, kHeight, kWidth}, {1, out[0], out[1]}, {1, k, k}, {1, s, s}, {0, 0, 0}};
    job.batch = 1;
    job.channels = kChannels;
    const int64_t places = kHeight * kWidth, cells = out[0] * out[1];
    std::vector<float> x(kChannels * places), logits(x.size()), target(x.size()), y(kChannels * cells), given(y.size(), 0.5f);
    uint32_t state = 1;
    for (float& v : x) v = float((state = state * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1.0f;
    for (size_t j = 0; j < x.size(); ++j) logits[j] = x[x.size() - 1 - j];
    for (size_t j = 0; j < y.size(); ++j) y[j] = 1.0f + float(j % 7);
    job.x = {x.data(), Type::float32};
    job.xs = {kChannels * places, places, {places, kWidth, 1}};
    job.logits = {logits.data(), Type::float32};
    const Strides of_cells{kChannels * cells, cells, {cells, out[1], 1}};
    for (Operand& operand : job.operand) operand = {{given.data(), Type::float32}, of_cells, 0.5, true};
    job.ys = job.cs = of_cells;
    if (direction == 0) job.y = {y.data(), Type::float32};
    job.coefficient = {y.data(), Type::float32};
    job.target = {target.data(), Type::float32};
    job.use_weight = job.use_through = true;
    call(Method(method), Direction(direction), job);  // whatever a first call sets up
    CALLGRIND_ZERO_STATS;
    call(Method(method), Direction(direction), job);
    CALLGRIND_DUMP_STATS_AT(words[i]);
  }
}
