// What an emulated program and the stand-in driver say to each other. No standard header: every program reads this.
#pragma once

namespace emulator {

struct Index { unsigned x, y, z; };

enum class Meeting { syncthreads, syncwarp, shfl, shfl_up, shfl_down, shfl_xor, all, any, ballot };

struct Place { const char* file; int line; };  // where the program calls a meeting, for the sentences about faults

// One for the whole process: one thread of one block runs at a time.
struct Machine {
  Index thread, block, block_size, grid_size;
  unsigned lane;
  void (*meet_block)(Place);
  // Waits for the lanes of `mask`. Returns the value that lane `source` brought; of a vote, the ballot.
  unsigned long long (*meet_warp)(Meeting, unsigned mask, unsigned source, unsigned long long value, Place);
};

}  // namespace emulator
