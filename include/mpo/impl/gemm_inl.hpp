// Matrix products: pack two operands into panels that fit the caches, run register tiles over them
// (Goto and van de Geijn, ACM TOMS 34 (2008)). One routine serves real and complex scalars, shared
// operands of a batch, and Gram matrices that accumulate in a wider type than their input.
//
// Complex products run on the real tiles. With a = ar + i ai, row i of A becomes two real rows and
// column p two real columns:
//   [ cr ]   [ ar  -ai ] [ br ]
//   [ ci ] = [ ai   ar ] [ bi ]
// 4 real multiplications for one complex: no more than the textbook, and the tile stays busy.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/impl/gemm_kernel_inl.hpp"

namespace mpo::detail {

/// Grows, never shrinks, 64-byte aligned; one per thread and purpose, so products do not allocate.
template <class R>
class Scratch {
  public:
    [[nodiscard]] R* at_least(Index n) {
        if (n > size_) {
            data_.reset();
            size_ = 0;
            data_.reset(static_cast<R*>(
                ::operator new (static_cast<std::size_t>(n) * sizeof(R), std::align_val_t{64})));
            size_ = n;
        }
        return data_.get();
    }

  private:
    struct Release {
        void operator()(R* p) const noexcept { ::operator delete (p, std::align_val_t{64}); }
    };
    std::unique_ptr<R, Release> data_;
    Index size_ = 0;
};

template <class R, int purpose>
[[nodiscard]] Scratch<R>& thread_scratch() {
    thread_local Scratch<R> scratch;
    return scratch;
}

/// Element of a view with its conjugation, in the type that the product computes in.
template <class TC, class T>
[[nodiscard]] TC value_at(const MatrixView<const T>& A, Index i, Index j) {
    const T x = A.data[i * A.row_stride + j * A.col_stride];
    if constexpr (is_complex<T>) {
        const auto im = static_cast<Real<TC>>(x.imag());
        return TC(static_cast<Real<TC>>(x.real()), A.conjugation == Conjugation::none ? im : -im);
    } else {
        return static_cast<TC>(x);
    }
}

/// C (m, n) of `count` items: C_i = alpha A B_i + beta C_i with one shared A. `lower_only` skips
/// tiles above the diagonal (Gram matrices). TC: scalar of C; TA: scalar of A and B.
template <class TC, class TA>
struct Product {
    using R = Real<TC>;
    static constexpr int parts = is_complex<TC> ? 2 : 1;  // real rows per row, real steps per step
    static constexpr Index depth = 256 / parts;           // of a packed block, in steps of k
    static constexpr Index block_columns = 2048;          // real columns of B packed at a time
    static constexpr Index block_panels = 20;             // row panels of A packed at a time

    TC alpha;
    MatrixView<const TA> A;
    BatchView<const TA> B;
    BatchView<TC> C;
    Index count = 1;
    bool lower_only = false;
    const KernelSet<R>* kernels = nullptr;

    [[nodiscard]] Index m() const { return A.rows; }
    [[nodiscard]] Index n() const { return B.first.cols; }
    [[nodiscard]] Index k() const { return A.cols; }
    [[nodiscard]] Index row_panels() const {
        const Index most = kernels->rows / parts;
        return (m() + most - 1) / most;
    }
    [[nodiscard]] Index panels_per_item() const {
        return (n() + kernels->columns() - 1) / kernels->columns();
    }
    [[nodiscard]] Index column_panels() const { return count * panels_per_item(); }
    /// First row of a panel: heights differ by at most one, so no panel is nearly empty.
    [[nodiscard]] Index panel_row(Index panel) const { return m() * panel / row_panels(); }

    /// Adds alpha A B over steps [k0, k1) into the tiles of the given panels; C was scaled before,
    /// or is overwritten by the first block where `overwrite` is not 0.
    void run(Index row0, Index row1, Index col0, Index col1, Index k0, Index k1,
             int overwrite) const {
        const Index slot = depth * parts * kernels->columns();
        const Index group = std::max<Index>(1, block_columns / kernels->columns());
        for (Index c0 = col0; c0 < col1; c0 += group) {
            const Index c1 = std::min(col1, c0 + group);
            for (Index p = k0; p < k1; p += depth) {
                const Index steps = std::min(depth, k1 - p);
                const int accumulate = overwrite != 0 && p == k0 ? 0 : 1;
                const bool direct = reads_in_place(row1 - row0);
                R* packed_b = nullptr;
                if (!direct) {
                    packed_b = thread_scratch<R, 1>().at_least(slot * (c1 - c0));
                    for (Index c = c0; c < c1; ++c)
                        pack_columns(c, p, steps, packed_b + (c - c0) * slot);
                }
                for (Index r0 = row0; r0 < row1; r0 += block_panels) {
                    const Index r1 = std::min(row1, r0 + block_panels);
                    multiply_block(r0, r1, c0, c1, p, steps, packed_b, slot, accumulate);
                }
            }
        }
    }

  private:
    /// With few rows, packing B costs more than it saves.
    [[nodiscard]] bool reads_in_place(Index panels) const {
        return std::is_same_v<TA, TC> && parts == 1 && panels <= 2 && B.first.col_stride == 1 &&
               n() % kernels->width == 0;
    }

    void multiply_block(Index r0, Index r1, Index c0, Index c1, Index p, Index steps,
                        const R* packed_b, Index slot, int accumulate) const {
        const Index height = kernels->rows * steps * parts;
        R* packed_a = thread_scratch<R, 0>().at_least(height * (r1 - r0));
        for (Index r = r0; r < r1; ++r) pack_rows(r, p, steps, packed_a + (r - r0) * height);
        for (Index c = c0; c < c1; ++c) {
            const R* b = packed_b + (c - c0) * slot;
            Index ldb = panel_width(c);
            if constexpr (std::is_same_v<R, TA>) {
                if (packed_b == nullptr) {
                    ldb = B.first.row_stride;
                    b = B[c / panels_per_item()].data + p * ldb + panel_column(c);
                }
            }
            for (Index r = r0; r < r1; ++r) {
                if (lower_only && panel_row(r + 1) <= panel_column(c)) continue;
                tile(r, c, steps, packed_a + (r - r0) * height, b, ldb, accumulate);
            }
        }
    }

    [[nodiscard]] Index panel_column(Index c) const {
        return c % panels_per_item() * kernels->columns();
    }
    [[nodiscard]] Index panel_columns(Index c) const {
        return std::min<Index>(kernels->columns(), n() - panel_column(c));
    }
    /// Packed width: one vector where that is enough, else two.
    [[nodiscard]] Index panel_width(Index c) const {
        return panel_columns(c) <= kernels->width ? kernels->width : kernels->columns();
    }

    void tile(Index r, Index c, Index steps, const R* a, const R* b, Index ldb,
              int accumulate) const {
        const Index row = panel_row(r), rows = panel_row(r + 1) - row;
        const Index width = panel_width(c), columns = panel_columns(c);
        const auto run =
            kernels->run[width == kernels->width ? 0 : 1][static_cast<std::size_t>(rows * parts)];
        const auto out = block(C[c / panels_per_item()], row, panel_column(c), rows, columns);
        if constexpr (std::is_same_v<TC, R>) {
            if (columns == width && out.col_stride == 1) {
                run(steps, a, b, ldb, out.data, out.row_stride, accumulate);
                return;
            }
        }
        alignas(64) R buffer[KernelSet<R>::most_rows * 2 * 64 / sizeof(R)];
        run(steps * parts, a, b, ldb, buffer, width, 0);
        for (Index i = 0; i < rows; ++i) {
            for (Index j = 0; j < columns; ++j) {
                TC& target = out.data[i * out.row_stride + j * out.col_stride];
                TC value;
                if constexpr (parts == 2)
                    value = TC(buffer[2 * i * width + j], buffer[(2 * i + 1) * width + j]);
                else
                    value = buffer[i * width + j];
                target = accumulate != 0 ? target + value : value;
            }
        }
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
        } else if (a.col_stride == 1) {  // walk along rows: the source is contiguous there
            for (Index i = 0; i < h; ++i) {
                const TA* source = a.data + i * a.row_stride;
                for (Index q = 0; q < steps; ++q)
                    out[q * h + i] = alpha * static_cast<R>(source[q]);
            }
        } else {
            for (Index q = 0; q < steps; ++q)
                for (Index i = 0; i < h; ++i)
                    out[q * h + i] =
                        alpha * static_cast<R>(a.data[i * a.row_stride + q * a.col_stride]);
        }
    }

    /// B, columns of one panel: steps rows (2 each where complex) of `width` numbers, zero-padded.
    void pack_columns(Index panel, Index p, Index steps, R* out) const {
        const Index width = panel_width(panel), columns = panel_columns(panel);
        const auto b = block(B[panel / panels_per_item()], p, panel_column(panel), steps, columns);
        if (columns < width) std::fill(out, out + steps * parts * width, R{0});
        if constexpr (parts == 2) {
            for (Index q = 0; q < steps; ++q, out += 2 * width) {
                for (Index j = 0; j < columns; ++j) {
                    const TC x = value_at<TC>(b, q, j);
                    out[j] = x.real();
                    out[width + j] = x.imag();
                }
            }
        } else if (b.col_stride == 1) {
            for (Index q = 0; q < steps; ++q, out += width) {
                const TA* source = b.data + q * b.row_stride;
                for (Index j = 0; j < columns; ++j) out[j] = static_cast<R>(source[j]);
            }
        } else {
            for (Index j = 0; j < columns; ++j) {
                const TA* source = b.data + j * b.col_stride;
                for (Index q = 0; q < steps; ++q)
                    out[q * width + j] = static_cast<R>(source[q * b.row_stride]);
            }
        }
    }
};

/// C = beta C; beta = 0 overwrites, even NaN.
template <class T>
void scale_matrix(T beta, const MatrixView<T>& C) {
    if (beta == T{1}) return;
    for (Index i = 0; i < C.rows; ++i) {
        for (Index j = 0; j < C.cols; ++j) {
            T& x = C.data[i * C.row_stride + j * C.col_stride];
            x = beta == T{0} ? T{0} : beta * x;
        }
    }
}

/// Below this many flops a second thread costs more than it brings (a fork-join takes some 2 us).
inline constexpr double parallel_flops = 1e6;

template <class TC, class TA>
void run_product(const Product<TC, TA>& product, int overwrite) {
    const Index rows = product.row_panels(), cols = product.column_panels();
    const double flops = 2.0 * static_cast<double>(product.m()) * static_cast<double>(product.n()) *
                         static_cast<double>(product.k()) * static_cast<double>(product.count);
    if (flops < parallel_flops) {
        product.run(0, rows, 0, cols, 0, product.k(), overwrite);
    } else if (rows * product.kernels->rows > cols * product.kernels->columns()) {
        parallel_for(0, rows, 1, [&](Index first, Index last) {
            product.run(first, last, 0, cols, 0, product.k(), overwrite);
        });
    } else {
        parallel_for(0, cols, 1, [&](Index first, Index last) {
            product.run(0, rows, first, last, 0, product.k(), overwrite);
        });
    }
}

/// C_i = alpha A B_i + beta C_i, i < count, for one A.
template <class T>
void gemm_shared(T alpha, MatrixView<const T> A, BatchView<const T> B, T beta, BatchView<T> C,
                 Index count, Isa isa = best_isa()) {
    const auto& c = C.first;
    if (count == 0 || c.rows == 0 || c.cols == 0) return;
    if (count == 1 && c.col_stride != 1 && c.row_stride == 1) {  // tiles are written along rows
        gemm_shared(alpha, transpose(B.first), BatchView<const T>{transpose(A), 0}, beta,
                    BatchView<T>{transpose(c), 0}, 1, isa);
        return;
    }
    if (A.cols == 0 || alpha == T{0} || beta != T{0})
        for (Index i = 0; i < count; ++i) scale_matrix(beta, C[i]);
    if (A.cols == 0 || alpha == T{0}) return;
    const Product<T, T> product{alpha, A, B, C, count, false, &kernel_set<Real<T>>(isa)};
    run_product(product, beta == T{0} ? 1 : 0);
}

/// G (m, m) = A A^H accumulated in W, both triangles. K is split over the threads where A is wide.
template <class W, class T>
void gram(MatrixView<const T> A, MatrixView<W> G, Isa isa = best_isa()) {
    const Index m = A.rows, k = A.cols;
    scale_matrix(W{0}, G);
    if (m == 0 || k == 0) return;
    Product<W, T> product{W{1}, A, {adjoint(A), 0}, {G, 0}, 1, true, &kernel_set<Real<W>>(isa)};
    const Index rows = product.row_panels(), cols = product.column_panels();
    const Index pieces = std::min<Index>(num_threads(), k / (4 * product.depth));
    if (pieces <= 1 || m * m * k < Index{1} << 20) {
        product.run(0, rows, 0, cols, 0, k, 0);
    } else {  // partial sums, added in order: the same bits for the same thread count
        std::vector<W> partial(static_cast<std::size_t>((pieces - 1) * m * m));
        parallel_for(0, pieces, 1, [&](Index first, Index last) {
            for (Index piece = first; piece < last; ++piece) {
                auto mine = product;
                if (piece > 0) mine.C = {matrix(partial.data() + (piece - 1) * m * m, m, m), 0};
                mine.run(0, rows, 0, cols, k * piece / pieces, k * (piece + 1) / pieces, 0);
            }
        });
        for (Index piece = 1; piece < pieces; ++piece)
            for (Index i = 0; i < m; ++i)
                for (Index j = 0; j <= i; ++j)
                    G.data[i * G.row_stride + j * G.col_stride] +=
                        partial[static_cast<std::size_t>(((piece - 1) * m + i) * m + j)];
    }
    for (Index i = 0; i < m; ++i) {
        for (Index j = 0; j < i; ++j) {
            const W x = G.data[i * G.row_stride + j * G.col_stride];
            if constexpr (is_complex<W>)
                G.data[j * G.row_stride + i * G.col_stride] = std::conj(x);
            else
                G.data[j * G.row_stride + i * G.col_stride] = x;
        }
    }
}

}  // namespace mpo::detail
