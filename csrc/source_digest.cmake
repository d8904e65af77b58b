# Writes the C++ file that tells which sources the library was built from: the digest of `sha256sum` over all of them.
#   cmake -DOUT=digest.cpp -DROOT=csrc -P source_digest.cmake
# suites/provenance.py reckons the same of a folder and compares.
cmake_minimum_required(VERSION 3.22)
file(GLOB_RECURSE names RELATIVE "${ROOT}" "${ROOT}/*.cpp" "${ROOT}/*.h" "${ROOT}/*.cuh" "${ROOT}/*.cmake"
  "${ROOT}/CMakeLists.txt")
list(SORT names)
set(sums "")
foreach(name IN LISTS names)
  file(SHA256 "${ROOT}/${name}" sum)
  string(APPEND sums "${sum}  ${name}\n")
endforeach()
string(SHA256 digest "${sums}")
file(WRITE "${OUT}" "// Written by source_digest.cmake.
extern \"C\" __attribute__((visibility(\"default\"))) const char* adapool_source_digest() { return \"${digest}\"; }
")
