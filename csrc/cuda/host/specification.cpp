// Writes the source of a kernel: a struct of constants, and the entry that hands it to a device function.
#include "cuda/host/specification.h"

#include <sstream>
#include <stdexcept>

namespace adapool::cuda {
namespace {

const Entry& entry_of(Method method) { return method_table().at(method); }
const char* word_of(Type type) {
  constexpr const char* words[] = {"double", "float", "Half", "BFloat16"};
  return words[int(type)];
}
std::string function_of(Kind kind) {
  constexpr const char* names[] = {"forward",        "backward_apart", "backward_overlap", "large_forward",
                                   "large_backward", "large_gather",   "totals",           "masks"};
  return names[int(kind)];
}
std::string axes(const int32_t* n) {
  return std::to_string(n[0]) + "x" + std::to_string(n[1]) + "x" + std::to_string(n[2]);
}

}  // namespace

Shape shape_of(Method method, bool wide) {
  Shape shape{};
  if (const Entry& entry = entry_of(method); !entry.source.empty()) {
    const Shape* known = entry.shapes[wide].load();
    if (known == nullptr) throw std::runtime_error("adapool: method " + entry.name + " was not made for CUDA");
    return *known;
  }
  const auto fill = [&](auto number, auto choice) {
    using V = decltype(number);
    using C = decltype(choice);
    using M = typename C::template Struct<V>;
    shape = {M::ordered, M::logits, M::scales, M::operands, int(sizeof(Sharing<C::template Struct, V>) / 4)};
  };
  with_method(method, [&](auto choice) { wide ? fill(double(), choice) : fill(float(), choice); });
  return shape;
}

std::string name_of(const Specification& s) {
  std::ostringstream name;
  name << (s.kind == Kind::totals || s.kind == Kind::masks ? "" : entry_of(s.method).name) << ' ' << function_of(s.kind)
       << ' ' << word_of(s.x) << (s.channels_last ? " channels_last" : "");
  if (s.kernel[0] > 0) name << ' ' << axes(s.kernel) << " stride " << axes(s.stride) << " padding " << axes(s.padding);
  if (s.unpool) name << " unpool";
  if (s.spreads) name << " gradient";
  if (s.to_logits) name << " of logits";
  const bool alone = s.kind == Kind::forward || s.kind == Kind::large_forward;  // beside no gradient of x
  if (s.term >= 0 && alone) name << " of operand " << s.term;
  if (s.extra) name << " with extra";
  if (s.kind == Kind::totals && s.out != s.x) name << " to " << word_of(s.out);
  return name.str();
}

Source source_of(const Specification& s) {
  const std::string name = name_of(s), function = function_of(s.kind);
  const std::string file = function.starts_with("large_") ? "large_window" : function;
  std::ostringstream text;
  text << "// " << name << "\n#include \"cuda/" << file << ".cuh\"\n\nusing namespace adapool;\n\n";
  const std::string entry_line = "extern \"C\" __global__ void __launch_bounds__(" + std::to_string(s.threads) + ", " +
                                 std::to_string(s.blocks) + ") adapool_kernel(const ";
  if (s.kind == Kind::masks) {
    text << entry_line << "MaskJob job) { masks<" << word_of(s.x) << ", MaskDirection(" << s.direction
         << ")>(job); }\n";
    return {name, text.str()};
  }
  const auto type = [&](const char* its, Type t) { text << "  using " << its << " = " << word_of(t) << ";\n"; };
  const auto list = [&](const char* its, const auto* n) {
    text << "  ADAPOOL_HD static constexpr int " << its << "(int i) { return i == 0 ? " << int(n[0]) << " : i == 1 ? "
         << int(n[1]) << " : " << int(n[2]) << "; }\n";
  };
  if (s.kind != Kind::totals) text << entry_of(s.method).source;
  text << "struct S {\n  template <class V> using Method = adapool::" << entry_of(s.method).its_struct << "<V>;\n";
  type("X", s.x);
  type("Cells", s.cells);
  type("Out", s.out);
  type("Spread", s.spread);
  type("Logits", s.logits);
  type("Operand0", s.operands[0]);
  type("Operand1", s.operands[1]);
  type("Operand2", s.operands[2]);
  text << "  using Index = " << (s.wide ? "int64_t" : "int32_t") << ";\n";
  list("operand", s.given);
#define ADAPOOL_NUMBER(its, value) text << "  static constexpr int " #its " = " << s.its << ";\n";
#define ADAPOOL_TRUTH(its) text << "  static constexpr bool " #its " = " << (s.its ? "true" : "false") << ";\n";
#define ADAPOOL_AXES(its) list(#its, s.its);
  ADAPOOL_CONSTANTS(ADAPOOL_NUMBER, ADAPOOL_TRUTH, ADAPOOL_AXES)
#undef ADAPOOL_NUMBER
#undef ADAPOOL_TRUTH
#undef ADAPOOL_AXES
  text << "  static constexpr bool has_logits = Method<float>::logits, method_ordered = Method<float>::ordered;\n};\n\n"
       << entry_line << "Arguments a) { " << function << "<S>(a); }\n";
  return {name, text.str()};
}

}  // namespace adapool::cuda
