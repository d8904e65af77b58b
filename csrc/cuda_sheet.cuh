// What a launch of a fast kernel is told, and what is known of a kernel when it is compiled. Knows no formula.
#pragma once
#include "cuda_row.cuh"
#include "cuda_window.cuh"

namespace adapool {
inline namespace ADAPOOL_ISA {

enum class Want { value, given, exact, detached };  // given: the mean of other numbers by the weights

// What a launch is told. Numbers of elements, unless said otherwise.
struct Sheet {
  const void *x, *other;   // other: what is weighed, or the gradient of each cell
  void* out;               // a number for each cell, or for each place
  int32_t images, channels, height, width, out_height, out_width;
  int32_t image, cells;    // from one image of x, and of cells, to the next
  int32_t row, column, out_row, out_column;
  int32_t groups, strips, rows;  // groups of windows in a row; rows of windows in a strip
  int32_t side;            // images side by side in a block
  int32_t lanes;           // neighbouring threads along the channels
  bool together;           // cells may be read and written 16 bytes at a time
  float factor;            // of each cell's number
  float one;               // 1
  bool averages;           // over the windows that hold a place
  Any beta;
  float number;            // instead of it
  int32_t beta_channel, beta_row, beta_column;
  int32_t image_channels;  // channels that follow one another as images
  float* partial;          // sums for the gradient of beta, or null
  int32_t partial_group, partial_channels;
  bool spatial, by_channel;  // what the sums are kept apart by
};

template <template <class> class M> constexpr bool has_dice = false;  // which weights a method has
template <> constexpr bool has_dice<Ada> = true;
template <> constexpr bool has_dice<Edscw> = true;
template <template <class> class M> constexpr bool has_soft = false;
template <> constexpr bool has_soft<Ada> = true;
template <> constexpr bool has_soft<SoftPool> = true;

// The arithmetic of a method: for ada, edscw and softpool what cuda_window.cuh has, for others their own.
template <template <class> class M> constexpr bool is_special = has_dice<M> || has_soft<M>;
template <template <class> class M, class Tile>
using WeigherOf = std::conditional_t<
    is_special<M>, Weigher<typename Tile::T, has_dice<M>, has_soft<M>, Tile::K, (Tile::extra > 0), Tile::line>,
    Row<M, Tile::K * Tile::K>>;

constexpr bool is_backward(Want want) { return want == Want::exact || want == Want::detached; }

// Threads of a block and blocks that a multiprocessor must have room for (0: as many as come about): the largest
// numbers that leave every instance its registers.
template <class Tile, Want want>
constexpr int kBlock =
    is_backward(want) && (Tile::K > 2 || Tile::extra > 0 || sizeof(typename Tile::T) == 2) ? 128 : 256;
template <class Tile, Want want>
constexpr int kRoom =
    !is_backward(want) ? (want == Want::given && Tile::K >= 5 ? 1 : 0)
                       : kBlock<Tile, want> == 256 || Tile::K >= (Tile::line ? 4 : 6) || (Tile::K == 3 && Tile::S != 2) ||
                                 (Tile::windows == 8 && Tile::extra > 0 &&
                                  (Tile::line ? degree_for<float>() > 0 : want != Want::exact || Tile::K == 2))
                             ? 2 : 3;

}  // namespace ADAPOOL_ISA
}  // namespace adapool
