// The device sources that travel inside the library; embed.cmake writes the definition.
#pragma once
#include <span>

namespace adapool::cuda {

struct DeviceSource {
  const char* name;  // as sources include it: its path below csrc
  const char* text;
};

std::span<const DeviceSource> device_sources();
std::span<const DeviceSource> loop_sources();  // the headers of the CPU's general loops, for cpu/own.cpp

}  // namespace adapool::cuda
