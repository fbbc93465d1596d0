// From a tile's buffer to C, where a panel's columns are no full tile of contiguous ones.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "mpo/core/tensor.hpp"

namespace mpo::detail {

/// The columns of a panel as runs of one item each, whose columns lie evenly apart. Divisions are made once for a
/// panel: for each tile, of columns that are two to an item, they took as long as the tile.
template <class TC>
class ColumnRuns {
  public:
    using R = Real<TC>;
    static constexpr int parts = is_complex<TC> ? 2 : 1;  // real rows per row
    static constexpr int most_columns = 2 * 64 / static_cast<int>(sizeof(R));

    /// Columns [first, first + count), counted through items of n columns; count <= most_columns.
    void point_at(const BatchView<TC>& C, Index n, Index first, Index count) {
        matrix_ = C.first;
        num_runs_ = 0;
        Index item = first / n, column = first % n;
        for (Index j = 0, length = 0; j < count; j += length, ++item, column = 0) {
            length = (std::min)(count - j, n - column);
            runs_[num_runs_++] = {j, length, item * C.stride + column * matrix_.col_stride};
        }
    }

    /// Rows [row, row + rows) of C from a tile whose rows lie `width` apart.
    void store(const R* tile, Index width, Index row, Index rows, int accumulate) const {
        TC* const left = matrix_.data + row * matrix_.row_stride;
        for (std::size_t k = 0; k < num_runs_; ++k)
            store_run(tile + runs_[k].first, width, rows, runs_[k].length, left + runs_[k].offset,
                      accumulate);
    }

  private:
    struct Run {
        Index first, length, offset;  // column of the tile; columns; where the first lies in C
    };

    /// Pairs and fours, as short legs of a layout bring them, move as one: with a depth of some hundred, number by
    /// number they take a fifth of the product's time.
    void store_run(const R* from, Index width, Index rows, Index columns, TC* to,
                   int accumulate) const {
        if constexpr (parts == 1) {
            if (matrix_.col_stride == 1) {
                if (columns == 2) return store_numbers<2>(from, width, rows, to, accumulate);
                if (columns == 4) return store_numbers<4>(from, width, rows, to, accumulate);
                for (Index i = 0; i < rows; ++i, from += width, to += matrix_.row_stride)
                    for (Index j = 0; j < columns; ++j)
                        to[j] = accumulate != 0 ? to[j] + from[j] : from[j];
                return;
            }
        }
        for (Index i = 0; i < rows; ++i) {
            TC* target = to + i * matrix_.row_stride;
            for (Index j = 0; j < columns; ++j, target += matrix_.col_stride) {
                TC value;
                if constexpr (parts == 2)
                    value = TC(from[2 * i * width + j], from[(2 * i + 1) * width + j]);
                else
                    value = from[i * width + j];
                *target = accumulate != 0 ? *target + value : value;
            }
        }
    }
    template <int N>
    void store_numbers(const R* from, Index width, Index rows, R* to, int accumulate) const {
        for (Index i = 0; i < rows; ++i, from += width, to += matrix_.row_stride) {
            R sum[N];
            std::memcpy(sum, from, sizeof sum);
            if (accumulate != 0)
                for (int j = 0; j < N; ++j) sum[j] += to[j];
            std::memcpy(to, sum, sizeof sum);
        }
    }

    MatrixView<TC> matrix_{};
    std::array<Run, most_columns> runs_;  // the first num_runs_
    std::size_t num_runs_ = 0;
};

}  // namespace mpo::detail
