#include "cuda/host/describe.h"

#include <algorithm>
#include <initializer_list>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace adapool::cuda {
namespace {

[[noreturn]] void refuse(const char* what, const std::string& word) {
  throw std::runtime_error(std::string("specification: unexpected ") + what + " '" + word + "'");
}

std::vector<int64_t> numbers_of(const std::string& word) {
  std::vector<int64_t> numbers;
  std::istringstream text(word);
  for (std::string part; std::getline(text, part, 'x');) {
    if (part.empty() || part.find_first_not_of("0123456789") != std::string::npos) refuse("numbers", word);
    numbers.push_back(std::stoll(part));
  }
  return numbers;
}

Method method_of(const std::string& word) {
  if (const Entry* entry = method_table().find(word)) return entry->traits.method;
  refuse("method", word);
}

Type type_of(const std::string& word) {
  constexpr const char* names[] = {"float64", "float32", "float16", "bfloat16"};
  for (int i = 0; i < 4; ++i)
    if (word == names[i]) return Type(i);
  refuse("type", word);
}

struct Words {
  std::string method, direction, type, layout, window, shape, operand = "number";

  explicit Words(const std::string& words) {
    std::istringstream text(words);
    text >> method >> direction >> type >> layout >> window >> shape;
    if (shape.empty()) refuse("end", words);
    if (!(text >> operand)) operand = "number";
    if (layout != "nchw" && layout != "channels_last") refuse("layout", layout);
  }
  bool by_image() const { return operand == "cell"; }
  bool by_channel() const { return operand == "channel" || operand == "both" || by_image(); }
  bool by_place() const { return operand == "place" || operand == "both" || by_image(); }
};

Window window_of(const Words& words, int64_t& batch, int64_t& channels) {
  std::string text = words.window;
  const bool up = text.ends_with('^');
  if (up) text.pop_back();
  const size_t slash = text.find('/'), plus = text.find('+');
  if (slash == std::string::npos || plus == std::string::npos || plus < slash) refuse("window", text);
  const auto kernel = numbers_of(text.substr(0, slash)), padding = numbers_of(text.substr(plus + 1));
  const auto stride = numbers_of(text.substr(slash + 1, plus - slash - 1)), sizes = numbers_of(words.shape);
  const size_t rank = kernel.size();
  if (rank < 1 || rank > 3 || stride.size() != rank || padding.size() != rank) refuse("window", text);
  if (sizes.size() != rank + 2) refuse("shape", words.shape);
  batch = sizes[0];
  channels = sizes[1];
  Window w{{1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}};
  for (size_t i = 0; i < rank; ++i) {
    const size_t d = 3 - rank + i;
    w.in[d] = sizes[2 + i];
    w.kernel[d] = kernel[i];
    w.stride[d] = stride[i];
    w.padding[d] = padding[i];
    const int64_t span = sizes[2 + i] + 2 * padding[i] - kernel[i];
    if (stride[i] < 1 || span < (up ? 1 - stride[i] : 0)) refuse("window", words.window);
    w.out[d] = span < 0 ? 1 : span / stride[i] + 1;
    if (up && span > 0 && span % stride[i] != 0 && w.out[d] <= (w.in[d] + w.padding[d] - 1) / stride[i]) ++w.out[d];
  }
  return w;
}

void* const kSomewhere = reinterpret_cast<void*>(uintptr_t(256));  // aligned as allocations are; never read

Job job_of(const Words& words, const Shape& traits) {
  Job job{};
  job.window = window_of(words, job.batch, job.channels);
  job.channels_last = words.layout == "channels_last";
  job.x = {kSomewhere, type_of(words.type)};
  if (traits.logits) job.logits = job.x;
  const Window& w = job.window;
  for (int k = 0; k < traits.operands; ++k) {
    Operand& o = job.operand[k];
    o = {{nullptr, Type::float32}, {0, 0, {0, 0, 0}}, 0.5, true};
    if (words.operand == "number") continue;
    o.tensor = {kSomewhere, Type::float32};
    if (words.by_image()) o.strides.n = job.channels * w.cells();
    if (words.by_channel()) o.strides.c = words.by_place() ? w.cells() : 1;
    if (words.by_place()) o.strides = {o.strides.n, o.strides.c, {w.out[1] * w.out[2], w.out[2], 1}};
  }
  return job;
}

Reduction reduction_of(const Words& words, const Job& job) {
  Reduction reduction{{1, 1, 1, 1, 1}, {1, 1, 1, 1, 1}, 1, 1, 0};
  const int64_t extent[5] = {job.batch, job.channels, job.window.out[0], job.window.out[1], job.window.out[2]};
  for (int d = 0; d < 5; ++d) {
    const bool kept = d == 0 ? words.by_image() : d == 1 ? words.by_channel() : words.by_place();
    (kept ? reduction.kept : reduction.summed)[d] = extent[d];
    (kept ? reduction.entries : reduction.terms) *= extent[d];
  }
  return reduction;
}

}  // namespace

Plan plan_of(const std::string& text, int multiprocessors) {
  const Words words(text);
  const std::string& direction = words.direction;
  const auto is = [&](std::initializer_list<const char*> names) {
    return std::any_of(names.begin(), names.end(), [&](const char* name) { return direction == name; });
  };
  if (words.method == "weights") {
    MaskJob job{};
    job.window = window_of(words, job.batch, job.channels);
    const std::string to[] = {"unpool", "unpool_y", "unpool_guide"};  // the guide's place is the weights'
    const auto at = std::find(std::begin(to), std::end(to), direction);
    if (at == std::end(to)) refuse("direction", direction);
    return {{plan_masks(type_of(words.type) == Type::float64, job, MaskDirection(at - std::begin(to)))}, 0};
  }
  const Method method = method_of(words.method);
  const Shape traits = shape_of(method, type_of(words.type) == Type::float64);
  Job job = job_of(words, traits);
  Reduction reduction = reduction_of(words, job);
  const Any result{kSomewhere, Type::float32};
  job.unpool = job.normalize = is({"unpool", "unpool_y", "unpool_guide"});
  if (is({"unpool_y", "unpool_guide"})) job.spread = job.x;
  if (is({"forward", "extra", "unpool_y"})) {
    job.y = job.x;
    if (direction == "extra") job.extra = kSomewhere;
    return plan(method, Direction::forward, job, nullptr, nullptr, multiprocessors);
  }
  if (!is({"backward", "detached", "unpool", "unpool_guide"})) refuse("direction", direction);
  job.coefficient = job.target = job.x;
  job.use_weight = direction != "unpool_guide";
  job.use_through = is({"backward", "unpool_guide"});
  const bool drawn = method == Method::stochastic;  // its operand is, and has no gradient
  const bool tensors = traits.operands > 0 && words.operand != "number" && is({"backward"}) && !drawn;
  if (tensors && traits.operands == 1)
    return plan(method, Direction::gather, job, &reduction, &result, multiprocessors);
  Plan all;
  const auto add = [&](const Plan& more) {
    all.launches.insert(all.launches.end(), more.launches.begin(), more.launches.end());
  };
  add(plan(method, Direction::gather, job, nullptr, nullptr, multiprocessors));
  for (int k = 0; tensors && k < traits.operands; ++k) {
    reduction.which = k;
    add(plan(method, Direction::operand, job, &reduction, &result, multiprocessors));
  }
  job.to_logits = traits.logits;
  if (traits.logits && job.use_through) add(plan(method, Direction::gather, job, nullptr, nullptr, multiprocessors));
  return all;
}

}  // namespace adapool::cuda
