// FNV-1a of 128 bits (RFC 9923): names the files of the cache and tells whether one is what was written. No defence
// against who may write there: the folder is its user's alone (cache.cpp).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace adapool::cuda {

inline std::string fingerprint(std::string_view bytes) {  // 32 digits
  using Word = unsigned __int128;
  constexpr Word prime = Word(1) << 88 | 0x13b;
  Word hash = Word(0x6c62272e07bb0142) << 64 | 0x62b821756295c58d;
  for (const char byte : bytes) hash = (hash ^ uint8_t(byte)) * prime;
  std::string digits;
  for (int shift = 124; shift >= 0; shift -= 4) digits += "0123456789abcdef"[int(hash >> shift & 15)];
  return digits;
}

}  // namespace adapool::cuda
