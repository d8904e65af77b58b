// Writes the source of a kernel: a struct of constants, and the entry that hands it to a device function.
#include "cuda/host/specification.h"

#include <sstream>

namespace adapool::cuda {
namespace {

const char* name_of(Method method) {
  switch (method) {
#define ADAPOOL_WORD(name, Struct) \
  case Method::name:               \
    return #name;
    ADAPOOL_METHODS(ADAPOOL_WORD)
#undef ADAPOOL_WORD
  }
  return "";
}
const char* struct_of(Method method) {
  switch (method) {
#define ADAPOOL_WORD(name, Struct) \
  case Method::name:               \
    return #Struct;
    ADAPOOL_METHODS(ADAPOOL_WORD)
#undef ADAPOOL_WORD
  }
  return "";
}
const char* word_of(Type type) {
  constexpr const char* words[] = {"double", "float", "Half", "BFloat16"};
  return words[int(type)];
}
struct Entry {
  const char *name, *file, *function;
};
Entry entry_of(Kind kind) {
  constexpr Entry entries[] = {{"forward", "forward", "forward"},
                               {"backward", "backward_apart", "backward_apart"},
                               {"backward", "backward_overlap", "backward_overlap"},
                               {"forward", "large_window", "large_forward"},
                               {"backward", "large_window", "large_backward"},
                               {"backward", "large_window", "large_gather"},
                               {"totals", "totals", "totals"},
                               {"masks", "masks", "masks"}};
  return entries[int(kind)];
}
std::string axes(const int32_t* n) {
  return std::to_string(n[0]) + "x" + std::to_string(n[1]) + "x" + std::to_string(n[2]);
}

struct Writer {
  std::ostringstream text;

  void type(const char* name, Type type) { text << "  using " << name << " = " << word_of(type) << ";\n"; }
  void number(const char* name, int64_t n) { text << "  static constexpr int " << name << " = " << n << ";\n"; }
  void truth(const char* name, bool b) {
    text << "  static constexpr bool " << name << " = " << (b ? "true" : "false") << ";\n";
  }
  void list(const char* name, const int32_t* n) {
    text << "  ADAPOOL_HD static constexpr int " << name << "(int i) { return i == 0 ? " << n[0] << " : i == 1 ? "
         << n[1] << " : " << n[2] << "; }\n";
  }
};

}  // namespace

Shape shape_of(Method method, bool wide) {
  Shape shape{};
  const auto fill = [&](auto number, auto choice) {
    using V = decltype(number);
    using C = decltype(choice);
    using M = typename C::template Struct<V>;
    shape = {M::weighted, M::ordered,  M::logits,
             M::scales,   M::operands, int(sizeof(Sharing<C::template Struct, V>) / 4)};
  };
  with_method(method, [&](auto choice) { wide ? fill(double(), choice) : fill(float(), choice); });
  return shape;
}

std::string name_of(const Specification& s) {
  const Entry entry = entry_of(s.kind);
  std::ostringstream name;
  name << (s.kind == Kind::totals || s.kind == Kind::masks ? "" : name_of(s.method)) << ' ' << entry.function << ' '
       << word_of(s.x) << (s.channels_last ? " channels_last" : "");
  if (s.kernel[0] > 0) name << ' ' << axes(s.kernel) << " stride " << axes(s.stride) << " padding " << axes(s.padding);
  if (s.unpool) name << " unpool";
  if (s.spreads) name << " gradient";
  if (s.to_logits) name << " of logits";
  if (s.term >= 0) name << " of operand " << s.term;
  if (s.extra) name << " with extra";
  return name.str();
}

Source source_of(const Specification& s) {
  Writer w;
  const Entry entry = entry_of(s.kind);
  const std::string name = name_of(s);
  w.text << "// " << name << "\n#include \"cuda/" << entry.file << ".cuh\"\n\nusing namespace adapool;\n\n";
  const std::string entry_line = "extern \"C\" __global__ void __launch_bounds__(" + std::to_string(s.threads) + ", " +
                                 std::to_string(s.blocks) + ") adapool_kernel(const ";
  if (s.kind == Kind::masks) {
    w.text << entry_line << "MaskJob job) { masks<" << word_of(s.x) << ", MaskDirection(" << s.direction
           << ")>(job); }\n";
    return {name, w.text.str()};
  }
  w.text << "struct S {\n  template <class V> using Method = adapool::" << struct_of(s.method) << "<V>;\n";
  w.type("X", s.x);
  w.type("Cells", s.cells);
  w.type("Out", s.out);
  w.type("Spread", s.spread);
  w.type("Logits", s.logits);
  w.type("Operand0", s.operands[0]);
  w.type("Operand1", s.operands[1]);
  w.type("Operand2", s.operands[2]);
  w.text << "  template <int k> using Operand = Chosen<k, Operand0, Operand1, Operand2>;\n"
         << "  using Index = " << (s.wide ? "int64_t" : "int32_t") << ";\n";
  const int32_t given[3] = {int32_t(s.given[0]), int32_t(s.given[1]), int32_t(s.given[2])};
  w.list("operand", given);
  w.list("kernel", s.kernel);
  w.list("stride", s.stride);
  w.list("padding", s.padding);
  w.list("before", s.before);
  w.list("beyond", s.beyond);
  w.list("box", s.box);
  w.number("windows", s.windows);
  w.number("width", s.width);
  w.number("together", s.together);
  w.number("together_in", s.together_in);
  w.number("together_out", s.together_out);
  w.number("together_cells", s.together_cells);
  w.number("gathered", s.gathered);
  w.number("lanes", s.lanes);
  w.number("threads", s.threads);
  w.number("in_warp", s.in_warp);
  w.number("warps", s.warps);
  w.number("across", s.across);
  w.number("term", s.term);
  w.number("which", s.which);
  w.truth("channels_last", s.channels_last);
  w.truth("flat", s.flat);
  w.truth("spreads", s.spreads);
  w.truth("weighs", s.weighs);
  w.truth("through", s.through);
  w.truth("to_logits", s.to_logits);
  w.truth("unpool", s.unpool);
  w.truth("normalize", s.normalize);
  w.truth("averages", s.averages);
  w.truth("extra", s.extra);
  w.truth("sums", s.sums);
  w.truth("operands_move", s.operands_move);
  w.truth("keeps", s.keeps);
  w.truth("states", s.states);
  w.text
      << "  static constexpr bool has_logits = Method<float>::logits, method_ordered = Method<float>::ordered;\n};\n\n"
      << entry_line << "Arguments a) { " << entry.function << "<S>(a); }\n";
  return {name, w.text.str()};
}

}  // namespace adapool::cuda
