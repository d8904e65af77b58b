// The table of methods: those that the library was compiled with, and behind them those that a person adds while the
// process runs (own.cpp), whose struct is text. No torch, no CUDA. Nothing is ever taken out, and entries stay in place.
#pragma once
#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "math/methods.h"

namespace adapool {

// How the CPU's loops are called that are compiled apart (cpu/instances.h).
using Loops = bool (*)(int32_t method, int32_t direction, const void* job, const void* reduction, const void* result,
                       void (*parallel)(int64_t, int64_t, void (*)(int64_t, int64_t, void*), void*));

inline namespace ADAPOOL_ISA {

struct Traits {  // what a binding must know of a method
  Method method;
  bool weighted, indices, logits;
  int operands;
};

// What the host must know of a method's struct to launch it on CUDA.
struct Shape {
  bool ordered, logits, scales;
  int operands, words;  // words: of what is left of a region for its gradient
};

struct Entry {
  std::string name, its_struct;  // as sources name it, in namespace adapool
  Traits traits;
  // Of a person's own alone: the text that defines the struct; then what was made of it, in float and in double.
  std::string source;
  std::atomic<Loops> loops[2] = {nullptr, nullptr};
  std::atomic<const Shape*> shapes[2] = {nullptr, nullptr};
};

struct MethodTable {
  std::deque<Entry> entries;
  std::shared_mutex mutex;

  MethodTable() {
#define ADAPOOL_ENTRY(name, S)                                                                         \
  add(#name, #S, "", {Method::name, S<float>::weighted, S<float>::indices, S<float>::logits, S<float>::operands});
    ADAPOOL_METHODS(ADAPOOL_ENTRY)
#undef ADAPOOL_ENTRY
  }
  // The last of that name; null for a name that is none.
  Entry* find(std::string_view name) {
    const std::shared_lock lock(mutex);
    const auto at = std::find_if(entries.rbegin(), entries.rend(), [&](const Entry& entry) { return entry.name == name; });
    return at == entries.rend() ? nullptr : &*at;
  }
  Entry& at(Method method) {
    const std::shared_lock lock(mutex);
    return entries[size_t(method)];
  }
  Entry& add(std::string name, std::string its_struct, std::string source, Traits traits) {
    const std::unique_lock lock(mutex);
    Entry& entry = entries.emplace_back();
    traits.method = Method(entries.size() - 1);
    entry.name = std::move(name);
    entry.its_struct = std::move(its_struct);
    entry.source = std::move(source);
    entry.traits = traits;
    return entry;
  }
};

inline MethodTable& method_table() {  // never destroyed: a thread may still call while the process ends
  static MethodTable& table = *new MethodTable;
  return table;
}

}  // namespace ADAPOOL_ISA
}  // namespace adapool
