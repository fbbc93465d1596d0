// Product: one matrix product cut into panels of rows and columns, and what of it a thread runs; gemm_inl.hpp shares it
// out.
#pragma once

#include <algorithm>
#include <array>

#include "mpo/core/tensor.hpp"
#include "mpo/impl/gemm_kernel_inl.hpp"
#include "mpo/impl/gemm_pack_inl.hpp"
#include "mpo/impl/gemm_scatter_inl.hpp"
#include "mpo/impl/panel_kernel_inl.hpp"
#include "mpo/impl/row_panels_inl.hpp"

namespace mpo::detail {

/// Below this many flops a second thread costs more than it brings (a fork-join takes some 2 us). A byte that is
/// read counts for several: a product of few rows is as slow as its other operand comes from memory.
inline constexpr double parallel_flops = 1e6, flops_per_byte = 8;

/// C (m, n) of `count` items: C_i = alpha A B_i + beta C_i with one shared A. `lower_only` skips
/// tiles above the diagonal (Gram matrices). TC: scalar of C; TA: scalar of A and B.
///
/// Columns of all items are counted through, item by item. Where an item is narrower than a tile,
/// a panel takes columns of several (`flat`), so that a tile is never mostly padding.
template <class TC, class TA>
struct Product {
    using R = Real<TC>;
    static constexpr int parts = is_complex<TC> ? 2 : 1;  // real rows per row, real steps per step
    static constexpr Index depth = 512 / parts;           // of a packed block, in steps of k
    static constexpr Index block_columns = 1024;          // real columns of B packed at a time
    static constexpr Index block_panels = 20;             // row panels of A packed at a time

    TC alpha;
    MatrixView<const TA> A;
    BatchView<const TA> B;
    BatchView<TC> C;
    Index count = 1;
    const KernelSet<R>* kernels = nullptr;
    bool lower_only = false;
    const R* prepared_a = nullptr;  // all panels of A, block of k after block of k
    const R* prepared_b = nullptr;  // the same of B, count = 1

    [[nodiscard]] Index m() const { return A.rows; }
    [[nodiscard]] Index n() const { return B.first.cols; }
    [[nodiscard]] Index k() const { return A.cols; }
    [[nodiscard]] bool flat() const { return count > 1 && n() < kernels->columns(); }
    [[nodiscard]] RowPanels split_rows() const { return {m(), kernels->rows / parts, parts == 1}; }
    [[nodiscard]] Index row_panels() const { return split_rows().count(); }
    [[nodiscard]] Index panels_per_item() const {
        return ((flat() ? count * n() : n()) + kernels->columns() - 1) / kernels->columns();
    }
    [[nodiscard]] Index column_panels() const {
        return flat() ? panels_per_item() : count * panels_per_item();
    }
    /// Flops, and what reading the operands once is worth.
    [[nodiscard]] double work() const {
        const auto number = [](Index x) { return static_cast<double>(x); };
        const double columns = number(n()) * number(count), rows = number(m()),
                     depth_ = number(k());
        return 2 * rows * columns * depth_ +
               flops_per_byte * static_cast<double>(sizeof(TA)) * (rows + columns) * depth_;
    }
    /// First row of a panel.
    [[nodiscard]] Index panel_row(Index panel) const { return split_rows().begin(panel); }
    /// Numbers that a packed panel of rows or columns takes for one block of k.
    [[nodiscard]] Index row_slot(Index steps) const { return kernels->rows * steps * parts; }
    [[nodiscard]] Index column_slot(Index steps) const {
        return kernels->columns() * steps * parts;
    }

    /// Adds alpha A B over all k into the tiles of the given panels; C was scaled before, or is
    /// overwritten by the first block of k where `overwrite` is not 0.
    void run(Index row0, Index row1, Index col0, Index col1, Index k0, Index k1,
             int overwrite) const {
        if (is_narrow()) return run_narrow(row0, row1, k0, k1, overwrite);
        const Index group = std::max<Index>(1, block_columns / kernels->columns());
        for (Index c0 = col0; c0 < col1; c0 += group) {
            const Index c1 = (std::min)(col1, c0 + group);
            for (Index p = k0; p < k1; p += depth) {
                const Index steps = (std::min)(depth, k1 - p);
                const R* packed_b = column_block(c0, c1, p, steps, row1 - row0);
                for (Index r0 = row0; r0 < row1; r0 += block_panels) {
                    const Index r1 = (std::min)(row1, r0 + block_panels);
                    multiply_block(r0, r1, c0, c1, p, steps, packed_b,
                                   overwrite != 0 && p == k0 ? 0 : 1);
                }
            }
        }
    }

    /// Numbers of all panels of A (of B), and the panels as prepared_a (prepared_b) expects them.
    [[nodiscard]] Index prepared_a_size() const {
        const Index beyond =
            kernels->width - kernels->rows;  // what a narrow tile reads of the last column
        return row_panels() * row_slot(k()) + (std::max)(beyond, Index{0});
    }
    [[nodiscard]] Index prepared_b_size() const { return column_panels() * column_slot(k()); }
    void prepare_a(R* out) const {
        for (Index p = 0; p < k(); p += depth)
            for (Index r = 0; r < row_panels(); ++r, out += row_slot((std::min)(depth, k() - p)))
                pack_rows(r, p, (std::min)(depth, k() - p), out);
    }
    void prepare_b(R* out) const {
        for (Index p = 0; p < k(); p += depth)
            for (Index c = 0; c < column_panels();
                 ++c, out += column_slot((std::min)(depth, k() - p)))
                pack_columns(c, p, (std::min)(depth, k() - p), out);
    }

    /// Whether so few columns meet prepared rows that a tile would be mostly padding.
    [[nodiscard]] bool is_narrow() const {
        return std::is_same_v<R, TA> && prepared_a != nullptr &&
               count * n() <= KernelSet<R>::most_narrow && kernels->narrow[0] != nullptr;
    }

  private:
    void run_narrow(Index row0, Index row1, Index k0, Index k1, int overwrite) const {
        if constexpr (std::is_same_v<R, TA>) {
            const Index columns = count * n();
            const auto kernel = kernels->narrow[columns <= 2 ? 0 : 1];
            std::array<const R*, KernelSet<R>::most_narrow> b{};
            alignas(64) R buffer[KernelSet<R>::most_narrow * 64 / sizeof(R)];
            for (Index p = k0; p < k1; p += depth) {
                const Index steps = (std::min)(depth, k1 - p);
                for (std::size_t j = 0; j < b.size(); ++j)  // the last one may come several times
                    b[j] = B.first.data + p * B.first.row_stride +
                           column_offset(B, (std::min)(static_cast<Index>(j), columns - 1));
                for (Index r = row0; r < row1; ++r) {
                    const Index row = panel_row(r), h = panel_row(r + 1) - row;
                    kernel(steps, row_block(r, r + 1, p, steps), h, b.data(), B.first.row_stride,
                           buffer);
                    for (Index j = 0; j < columns; ++j) {
                        R* c = C.first.data + row * C.first.row_stride + column_offset(C, j);
                        const R* from = buffer + j * kernels->width;
                        const bool adds = overwrite == 0 || p > k0;
                        for (Index i = 0; i < h; ++i, c += C.first.row_stride)
                            *c = adds ? *c + from[i] : from[i];
                    }
                }
            }
        }
    }

    /// Columns that a tile may read where they are, for few rows or rows of B that are near. Between those of AVX2's tiles
    /// there may be no line: sets of the cache stay empty, and many rows feel it.
    [[nodiscard]] bool reads_columns_in_place(Index panels) const {
        const Index near = (kernels->long_rows() || panels <= 16 ? 4 : 1) * kernels->columns();
        return std::is_same_v<TA, TC> && parts == 1 && B.first.col_stride == 1 && !flat() &&
               n() % kernels->width == 0 && (panels <= 2 || B.first.row_stride <= near);
    }

    /// Packed panels [c0, c1) of this block of k; nullptr where tiles read B in place.
    [[nodiscard]] const R* column_block(Index c0, Index c1, Index p, Index steps,
                                        Index panels) const {
        if (prepared_b != nullptr)
            return prepared_b + column_panels() * column_slot(p) + c0 * column_slot(steps);
        if (reads_columns_in_place(panels)) return nullptr;
        R* packed = thread_scratch<R, 1>().at_least(column_slot(depth) * (c1 - c0));
        for (Index c = c0; c < c1;) {
            Index plain = 0;
            while (plain < 4 && c + plain < c1 && is_plain(c + plain)) ++plain;
            if (plain == 4) {
                copy_columns(c, p, steps, packed + (c - c0) * column_slot(steps));
                c += 4;
            } else {
                pack_columns(c, p, steps, packed + (c - c0) * column_slot(steps));
                ++c;
            }
        }
        return packed;
    }

    /// Whether a panel of B is full and its rows are contiguous numbers of the product's own type.
    [[nodiscard]] bool is_plain(Index c) const {
        return std::is_same_v<R, TA> && B.first.col_stride == 1 && !flat() &&
               panel_columns(c) == kernels->columns();
    }

    /// Four neighbouring plain panels at once.
    void copy_columns(Index c, Index p, Index steps, R* out) const {
        if constexpr (std::is_same_v<R, TA>) {
            std::array<const R*, 4> from{};
            for (Index panel = 0; panel < 4; ++panel)
                from[static_cast<std::size_t>(panel)] = B.first.data + p * B.first.row_stride +
                                                        column_offset(B, panel_column(c + panel));
            copy_panels(from, B.first.row_stride, kernels->columns(), steps, out,
                        column_slot(steps));
        }
    }

    [[nodiscard]] const R* row_block(Index r0, Index r1, Index p, Index steps) const {
        if (prepared_a != nullptr)
            return prepared_a + row_panels() * row_slot(p) + r0 * row_slot(steps);
        R* packed = thread_scratch<R, 0>().at_least(row_slot(depth) * (r1 - r0));
        for (Index r = r0; r < r1; ++r) pack_rows(r, p, steps, packed + (r - r0) * row_slot(steps));
        return packed;
    }

    /// A panel of columns.
    struct Columns {
        Index first;  // counted through all items
        Index count;
        Index width;  // as packed
    };
    void multiply_block(Index r0, Index r1, Index c0, Index c1, Index p, Index steps,
                        const R* packed_b, int accumulate) const {
        const R* a = nullptr;
        const bool in_place = reads_rows_in_place();
        ColumnRuns<TC> runs;
        std::array<Index, block_panels + 1> row;  // where the panels begin
        for (Index r = r0; r <= r1; ++r) row[static_cast<std::size_t>(r - r0)] = panel_row(r);
        for (Index c = c0; c < c1; ++c) {
            const Columns columns = columns_of(c);
            const R* b = packed_b != nullptr ? packed_b + (c - c0) * column_slot(steps) : nullptr;
            Index ldb = columns.width;
            if (streams(columns)) {
                stream_panel(panel_row(r0), panel_row(r1), columns, p, steps, b, accumulate);
                continue;
            }
            if (a == nullptr && !in_place) a = row_block(r0, r1, p, steps);
            if constexpr (std::is_same_v<R, TA>) {
                if (packed_b == nullptr) {
                    ldb = B.first.row_stride;
                    b = B.first.data + p * ldb + column_offset(B, columns.first);
                }
            }
            Target target{C.first.data + column_offset(C, columns.first), columns.width};
            if (!is_tile_of_c(columns)) {
                runs.point_at(C, n(), columns.first, columns.count);
                target.runs = &runs;
            }
            for (Index r = r0; r < r1; ++r) {
                const Index* begin = row.data() + (r - r0);
                if (lower_only && begin[1] <= columns.first) continue;
                const Rows rows{begin[0], begin[1] - begin[0]};
                tile(rows, a != nullptr ? a + (r - r0) * row_slot(steps) : nullptr, p, steps, b,
                     ldb, target, accumulate);
            }
        }
    }

    /// Whether the kernels of panel_kernel_inl.hpp, which read rows where they are, take this panel of prepared columns:
    /// few rows, or so few columns that packing the rows would cost as much as the product. Their panels are full
    /// ones of AVX-512 tiles.
    [[nodiscard]] bool streams(const Columns& columns) const {
        constexpr Index few_panels = 2;
        return std::is_same_v<TA, float> && std::is_same_v<TC, float> && prepared_b != nullptr &&
               (m() <= panel_rows || column_panels() <= few_panels) && A.col_stride == 1 &&
               alpha == TC{1} && C.first.col_stride == 1 &&
               kernels->columns() == detail::panel_columns &&
               columns.count == detail::panel_columns;
    }
    void stream_panel(Index row0, Index row1, const Columns& columns, Index p, Index steps,
                      const R* panel, int accumulate) const {
        if constexpr (std::is_same_v<TA, float> && std::is_same_v<TC, float>)
            panel_product(
                row1 - row0, steps, A.data + row0 * A.row_stride + p, A.row_stride, panel,
                detail::panel_columns,
                C.first.data + row0 * C.first.row_stride + column_offset(C, columns.first),
                C.first.row_stride, accumulate, Isa::avx512);
    }

    [[nodiscard]] Columns columns_of(Index panel) const {
        return {panel_column(panel), panel_columns(panel), panel_width(panel)};
    }
    /// First column of a panel, counted through all items.
    [[nodiscard]] Index panel_column(Index c) const {
        return c / panels_per_item() * n() + c % panels_per_item() * kernels->columns();
    }
    [[nodiscard]] Index panel_columns(Index c) const {
        const Index within = c % panels_per_item() * kernels->columns();
        return std::min<Index>(kernels->columns(), (flat() ? count * n() : n()) - within);
    }
    /// Packed width: one vector where that is enough, else two.
    [[nodiscard]] Index panel_width(Index c) const {
        return panel_columns(c) <= kernels->width ? kernels->width : kernels->columns();
    }
    /// Where a column, counted through all items, begins.
    template <class V>
    [[nodiscard]] Index column_offset(const BatchView<V>& M, Index column) const {
        return column / n() * M.stride + column % n() * M.first.col_stride;
    }

    /// Whether tiles read rows of A where they are: packing them costs a product of few columns up to a third of its
    /// time, one of many next to nothing. Rows 4 KiB apart share a set of the cache, which has eight places.
    [[nodiscard]] bool reads_rows_in_place() const {
        constexpr Index page = 4096 / sizeof(TA), few_steps = 16;
        return std::is_same_v<R, TA> && prepared_a == nullptr && alpha == TC{1} &&
               A.col_stride == 1 && k() >= few_steps &&
               column_panels() * kernels->columns() <= block_columns &&
               (kernels->rows <= 8 || A.row_stride % page != 0);
    }

    /// Whether a tile may write its columns of C by itself.
    [[nodiscard]] bool is_tile_of_c(const Columns& columns) const {
        return std::is_same_v<TC, R> && columns.count == columns.width && C.first.col_stride == 1 &&
               !flat();
    }

    /// Rows of a tile.
    struct Rows {
        Index first, count;
    };
    /// Columns of a tile in C.
    struct Target {
        TC* top;                               // where the first row has the first of them
        Index width;                           // of the tile
        const ColumnRuns<TC>* runs = nullptr;  // unless they are a tile of C
    };
    /// `a`: the packed rows; nullptr: in place.
    void tile(const Rows& rows, const R* a, Index p, Index steps, const R* b, Index ldb,
              const Target& target, int accumulate) const {
        const auto kernel = kernels->run[target.width == kernels->width ? 0 : 1]
                                        [static_cast<std::size_t>(rows.count * parts)];
        Index a_row = 1, a_step = rows.count * parts;
        if constexpr (std::is_same_v<R, TA>) {
            if (a == nullptr) {
                a = A.data + rows.first * A.row_stride + p;
                a_row = A.row_stride, a_step = 1;
            }
        }
        if constexpr (std::is_same_v<TC, R>) {
            if (target.runs == nullptr) {
                kernel(steps, a, a_row, a_step, b, ldb,
                       target.top + rows.first * C.first.row_stride, C.first.row_stride,
                       accumulate);
                return;
            }
        }
        alignas(64) R buffer[KernelSet<R>::most_rows * 2 * 64 / sizeof(R)];
        kernel(steps * parts, a, a_row, a_step, b, ldb, buffer, target.width, 0);
        target.runs->store(buffer, target.width, rows.first, rows.count, accumulate);
    }

    /// alpha A, rows of one panel: steps columns of h numbers (2 h and 2 columns where complex).
    void pack_rows(Index panel, Index p, Index steps, R* out) const {
        const Index row = panel_row(panel), h = panel_row(panel + 1) - row;
        const auto a = block(A, row, p, h, steps);
        if constexpr (parts == 2) {
            for (Index q = 0; q < steps; ++q, out += 4 * h) {
                for (Index i = 0; i < h; ++i) {
                    const TC x = alpha * value_at<TC>(a, i, q);
                    out[2 * i] = x.real();
                    out[2 * i + 1] = x.imag();
                    out[2 * h + 2 * i] = -x.imag();
                    out[2 * h + 2 * i + 1] = x.real();
                }
            }
        } else {
            pack_transposed(a.data, a.row_stride, a.col_stride, h, steps, out, h);
            if (alpha != R{1})
                for (Index q = 0; q < h * steps; ++q) out[q] *= alpha;
        }
    }

    /// B, columns of one panel: steps rows (2 each where complex) of `width` numbers, zero-padded.
    void pack_columns(Index panel, Index p, Index steps, R* out) const {
        const Index width = panel_width(panel), columns = panel_columns(panel),
                    column = panel_column(panel);
        if (columns < width) std::fill(out, out + steps * parts * width, R{0});
        for (Index j = 0, run = 0; j < columns; j += run) {  // columns of one item lie evenly apart
            run = (std::min)(columns - j, n() - (column + j) % n());
            MatrixView<const TA> b = B.first;
            b.data += column_offset(B, column + j) + p * b.row_stride;
            if constexpr (parts == 2) {
                for (Index q = 0; q < steps; ++q) {
                    for (Index i = 0; i < run; ++i) {
                        const TC x = value_at<TC>(b, q, i);
                        out[2 * q * width + j + i] = x.real();
                        out[(2 * q + 1) * width + j + i] = x.imag();
                    }
                }
            } else {
                pack_transposed(b.data, b.col_stride, b.row_stride, run, steps, out + j, width);
            }
        }
    }
};

}  // namespace mpo::detail
