# Writes the C++ file that holds the device sources as text (device_sources.h), or those that FUNCTION names there.
#   cmake -DOUT=sources.cpp -DROOT=csrc "-DFILES=cuda/a.cuh;math/b.h" [-DFUNCTION=loop_sources] -P embed.cmake
# FILES are paths below ROOT, or absolute ones; their names in the library are those below ROOT. NVRTC has no folders and
# knows a header by its whole name: what a file includes from beside itself is written with the name below ROOT.
cmake_minimum_required(VERSION 3.22)
get_filename_component(ROOT "${ROOT}" ABSOLUTE)
if(NOT FUNCTION)
  set(FUNCTION device_sources)
endif()
set(PIECE 15000)  # bytes: compilers need only accept string literals of some 16 KB

set(paths "")
foreach(file IN LISTS FILES)
  get_filename_component(path "${file}" ABSOLUTE BASE_DIR "${ROOT}")
  list(APPEND paths "${path}")
endforeach()
set(table "")
foreach(path IN LISTS paths)
  file(READ "${path}" text)
  get_filename_component(folder "${path}" DIRECTORY)
  foreach(other IN LISTS paths)
    file(RELATIVE_PATH beside "${folder}" "${other}")
    file(RELATIVE_PATH name "${ROOT}" "${other}")
    string(REPLACE "#include \"${beside}\"" "#include \"${name}\"" text "${text}")
  endforeach()
  string(LENGTH "${text}" length)
  set(literal "")
  foreach(start RANGE 0 ${length} ${PIECE})
    string(SUBSTRING "${text}" ${start} ${PIECE} piece)
    string(APPEND literal "\n     R\"adapool(${piece})adapool\"")
  endforeach()
  file(RELATIVE_PATH name "${ROOT}" "${path}")
  string(APPEND table "    {\"${name}\",${literal}},\n")
endforeach()

file(WRITE "${OUT}" "// Written by embed.cmake.
#include \"cuda/host/device_sources.h\"

namespace adapool::cuda {

std::span<const DeviceSource> ${FUNCTION}() {
  static constexpr DeviceSource sources[] = {
${table}  };
  return sources;
}

}  // namespace adapool::cuda
")
