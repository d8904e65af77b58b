// Runs the fast CPU kernels on many small tensors, each in an allocation of its exact size, so that the sanitizers see
// the first byte beyond one; outputs begin as NaN, so that what is never written shows. Prints how many jobs ran.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "cpu/instances.h"
#include "job.h"
#include "math/methods.h"

extern "C" bool ADAPOOL_FAST_LOOPS(ADAPOOL_ISA) ADAPOOL_PARAMETERS;

using namespace adapool;

namespace {

void in_turn(int64_t n, int64_t, void (*body)(int64_t, int64_t, void*), void* context) {
  const int64_t cut = n / 3;  // two parts, as if two threads
  if (cut > 0) body(0, cut, context);
  body(cut, n, context);
}

uint32_t state = 1;
uint32_t draw(uint32_t n) { return ((state = state * 1664525u + 1013904223u) >> 8) % n; }

struct Tensor {
  Type type;
  int64_t count;
  char* memory;

  Tensor(Type t, int64_t n, bool filled) : type(t), count(n), memory(static_cast<char*>(std::malloc(n * width()))) {
    for (int64_t i = 0; i < count; ++i) any().store(i, filled ? float(draw(4000)) / 1000 - 2 : NAN);
    if (filled && count > 5 && draw(3) == 0) any().store(int64_t(draw(uint32_t(count))), draw(2) ? 1e38f : NAN);
  }
  ~Tensor() { std::free(memory); }
  int64_t width() const { return type == Type::float32 ? 4 : 2; }
  Any any() const { return {memory, type}; }
  int64_t unwritten(int64_t allowed) const {
    int64_t nan = 0;
    for (int64_t i = 0; i < count; ++i) nan += std::isnan(any().load<float>(i));
    return nan > allowed ? nan : 0;
  }
};

Strides strides(bool last, int64_t c, int64_t d, int64_t h, int64_t w) {
  return last ? Strides{d * h * w * c, 1, {h * w * c, w * c, c}} : Strides{d * h * w * c, d * h * w, {h * w, w, 1}};
}

struct Taps {  // those of a window that is not square abut
  int64_t depth, height, k, s;
  bool square() const { return depth == 1 && height == k; }
};

// 1 where it ran; counts places that were never written.
int run(Method method, Type type, const Taps& t, bool last, int64_t* holes) {
  const int64_t k = t.k, s = t.s, down = t.square() ? s : t.height, taps = t.depth * t.height * k;
  const int64_t n = 1 + draw(3), d = t.depth * (draw(3) ? 1 : 2 + draw(2));
  const int64_t h = t.depth > 1 ? t.height * (1 + draw(6)) : t.height + draw(17);
  const int64_t w = t.square() ? k + draw(draw(2) ? 90 : 16) : k * 16 + draw(90);  // whose lanes are cells
  int64_t c = 1 + draw(t.square() || !last ? 40 : 7);
  if (ADAPOOL_VECTOR == 64 && last && c >= 8 && c < 16) c += 8;  // AVX2 does those
  const bool logits = method == Method::lip;
  if (logits) c = 16 + 16 * draw(2);  // whose lanes are channels
  Job job{};
  const uint32_t cut = t.square() && k <= 3 && (!last || c >= 16) ? 2 : 1;  // regions that the padding cuts off
  const int64_t pad[2] = {draw(cut) * draw(k / 2 + 1), draw(cut) * draw(k / 2 + 1)};
  const int64_t over[2] = {draw(cut) * (s - 1), draw(cut) * (s - 1)};
  const auto cells = [&](int d, int64_t size, int64_t k, int64_t s) {  // as many as ceil_mode allows, where `over`
    int64_t out = (size + 2 * pad[d] - k + over[d]) / s + 1;
    return (out - 1) * s < size + pad[d] ? out : out - 1;
  };
  const int64_t od = d / t.depth, oh = cells(0, h, t.height, down), ow = cells(1, w, k, s);
  job.window = {{d, h, w}, {od, oh, ow}, {t.depth, t.height, k}, {t.depth, down, s}, {0, pad[0], pad[1]}};
  job.batch = n;
  job.channels = c;
  job.channels_last = last;
  const int64_t images = draw(2) ? n : 1;  // whose entries of beta are apart
  const bool scalar = draw(2) || (last && d > 1);  // of slabs of channels_last other operands are the general loops'
  const Tensor x(type, n * c * d * h * w, true), g(type, n * c * od * oh * ow, true);
  const Tensor beta(Type::float32, scalar ? 1 : images * c * od * oh * ow, true);
  for (int64_t i = 0; (method == Method::power || method == Method::lp_abs) && i < beta.count; ++i)  // exponents are 1 at least
    beta.any().store(i, 1 + std::fabs(beta.any().load<float>(i)));
  const Tensor scores(type, x.count, true);
  const Tensor y(type, g.count, false), target(type, x.count, false), sum(Type::float32, beta.count, false);
  job.x = x.any();
  job.xs = strides(last, c, d, h, w);
  if (logits) job.logits = scores.any();
  job.ys = job.cs = strides(last, c, od, oh, ow);
  const Strides of_beta{images == n ? c * od * oh * ow : 0, od * oh * ow, {oh * ow, ow, 1}};
  job.operand[0] = {beta.any(), scalar ? Strides{} : of_beta, 0.5, true};
  const auto call = [&](Direction direction, const Reduction* reduction, const Any* result) {
    return ADAPOOL_FAST_LOOPS(ADAPOOL_ISA)(int32_t(method), int32_t(direction), &job, reduction, result, in_turn);
  };
  job.y = y.any();
  if (!call(Direction::forward, nullptr, nullptr)) return 0;
  const int64_t touched = taps * (logits ? 2 : 1) + 4;  // windows that one such tap, gradient and beta reach
  *holes += y.unwritten(touched);
  job.coefficient = g.any();
  job.target = target.any();
  job.use_weight = true;
  // With the weights held fixed, regions that are large, overlap or are cut off are the general loops'.
  job.use_through = logits || k > s || k > 3 || pad[0] + pad[1] + over[0] + over[1] > 0 || draw(2);
  const Reduction reduction = scalar ? Reduction{{1, 1, 1, 1, 1}, {n, c, od, oh, ow}, 1, n * c * od * oh * ow, 0}
                                     : Reduction{{images, c, od, oh, ow}, {n / images, 1, 1, 1, 1}, beta.count, n / images, 0};
  const Any result = sum.any();
  const bool learns = method == Method::ada || method == Method::power || method == Method::lp_abs ||
                      method == Method::mixed;
  if (!call(Direction::gather, learns ? &reduction : nullptr, &result)) return 0;
  *holes += target.unwritten(touched * taps);
  const Tensor to_logits(type, x.count, false);
  if (logits) {
    job.to_logits = true;
    job.target = to_logits.any();
    if (!call(Direction::gather, nullptr, nullptr)) return 0;
    *holes += to_logits.unwritten(touched * taps);
  }
  if (learns && !scalar) *holes += sum.unwritten(touched);
  return !learns || call(Direction::operand, &reduction, &result);
}

}  // namespace

int main(int, char** words) {
  const Taps windows[] = {{1, 2, 2, 2}, {1, 3, 3, 3}, {1, 3, 3, 2}, {1, 4, 4, 4}, {1, 5, 5, 5}, {1, 7, 7, 7},
                          {1, 3, 3, 1}, {1, 1, 2, 2}, {1, 1, 3, 3}, {1, 2, 1, 1}, {2, 2, 2, 2}};
  const int rounds = std::atoi(words[1]);
  int64_t holes = 0;
  int ran = 0;
  for (int i = 0; i < rounds; ++i)
    for (const auto& w : windows)
      for (const Type type : {Type::float32, Type::float16, Type::bfloat16})
        for (const bool last : {false, true})
          for (const Method method : {Method::ada, Method::edscw, Method::softpool, Method::power, Method::max, Method::avg,
                                      Method::sum, Method::idw, Method::mixed, Method::lp_abs, Method::lip})
            ran += run(method, type, w, last, &holes);
  std::printf("%d %ld\n", ran, long(holes));
}
