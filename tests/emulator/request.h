// What the driver is asked over its standard input, field by field as in driver.py. Every number has 8 bytes.
#pragma once
#include <cstdint>

struct Request {
  int64_t engine;  // 0: the CUDA kernels, emulated; 1: the CPU's loops; 2: the fast CUDA kernels, emulated
  int64_t method, type, direction;  // of Method, Type, Direction; 3 + MaskDirection for masks
  int64_t in[3], out[3], kernel[3], stride[3], padding[3];
  int64_t batch, channels, channels_last;
  int64_t xs[5], ys[5], cs[5], ws[5], tap_stride;
  int64_t normalize, unpool, use_weight, use_through, to_logits, want_extra;
  int64_t given[3], operand_strides[3][5];
  double number[3];
  int64_t kept[5], summed[5], entries, terms, chunks, which;
  int64_t misalign, seed;  // elements before every tensor; order of threads
};

// Tensors follow in this order, each as (type, count or -1 for none) and, if read, its bytes. Those that are written
// come back the same way, without the type.
enum Slot { slot_x, slot_logits, slot_spread, slot_operand0, slot_operand1, slot_operand2, slot_coefficient,
            slot_y, slot_extra, slot_target, slot_result, slots };
constexpr int first_written = slot_y;
