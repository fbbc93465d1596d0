// Rounding to few bits, in the metric of the inputs: every row of W, in groups of columns, goes to a grid of
// 2^bits levels, one column after another, and what rounding did to a column is made good for in those after it.
//
//   minimise  tr(E S E^T),   E = W - A,   A(i, j) = scale q + minimum,   q = 0 .. 2^bits - 1
//
//   H = S + damping mean(diag S) I = (1 + U) D (1 + U)^T        U strictly upper, D diagonal
//   tr(E H E^T) = sum over k of D_k norm(e_k + sum over j < k of e_j U_jk)^2        e_k: column k of E
//   a_k = the levels nearest to  w_k + sum over j < k of e_j U_jk
//
// so that every column takes its own term as low as its grids allow, whatever the columns before it did. The rule
// is that of OPTQ (frantar2023), which hands errors on through the inverse of H; that the factors of H say the
// same is due to chee2023. Here nothing is inverted: 1 + U is the Cholesky factor of H taken from its last
// column on, each column divided by its pivot. Columns of a block hand their errors on row by row, a block
// hands its own on to all that follow in one product.
//
// Grids are made of W before the first column is rounded, D being the weights: where a group's grid waits for
// the columns before it, as is usual, it widens with the errors that these hand on, and the loss is larger.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/linalg/weighted_loss.hpp"
#include "mpo/linalg/weighted_low_rank.hpp"
#include "mpo/model/quantize_grid.hpp"

namespace mpo {

/// In which order columns are rounded; the later ones make good for the earlier ones.
enum class ColumnOrder {
    natural,     // as they lie
    descending,  // the largest S(j, j) first
};

/// Whether columns make good for those before them.
enum class Feedback {
    none,           // every number goes to the level nearest to it
    later_columns,  // the loss in the metric S decides
};

/// How quantize rounds.
struct QuantizeOptions {
    int bits = 4;           // of a level, 2 to 8
    Index group = 32;       // columns that share a grid, >= 1; the last group may be shorter
    double damping = 0.01;  // share of the mean of diag S that is added to it, >= 0
    ColumnOrder order = ColumnOrder::descending;  // which columns make good for which
    GridChoice grids = GridChoice::fitted;        // where levels lie
    Feedback feedback = Feedback::later_columns;  // whether columns make good at all
};

/// Numbers on grids: values(i, j) = scales(i, g) levels(i, j) + minima(i, g), g = j / group.
struct Quantized {
    Tensor<float> values;         // A (m, n)
    Tensor<std::uint8_t> levels;  // (m, n), below 2^bits
    Tensor<float> scales;         // (m, groups), >= 0, rounded to half precision
    Tensor<float> minima;         // (m, groups), rounded to half precision
    double loss = 0;              // tr((W - A) S (W - A)^T)
    double bits_per_weight = 0;   // bits + 32 groups / n: scale and minimum take 16 each
};

namespace detail {

/// Columns whose errors are handed on row by row.
inline constexpr Index quantize_block_columns = 64;

/// Grids of all groups. weights: of the n columns.
void make_grids(const Tensor<float>& W, const std::vector<double>& weights,
                const QuantizeOptions& options, Quantized& result);

/// The diagonal of S (n, n), row-major.
template <Backend B>
[[nodiscard]] std::vector<double> diagonal_of(MatrixView<const double> S, const B& backend) {
    const auto copy =
        copy_of<double>(MatrixView<const double>{S.data, 1, S.rows, 0, S.cols + 1}, backend);
    const auto host = fetch<double>(copy.data(), 1, S.rows, backend);
    return {host.data(), host.data() + host.size()};
}

/// Columns in the order in which they are rounded.
[[nodiscard]] std::vector<Index> column_sequence(const std::vector<double>& diagonal,
                                                 ColumnOrder order);

/// How errors are handed on.
template <class B>
struct FeedbackFactor {
    BufferOf<B, double> U;        // (n, n) in the order of the columns, above its diagonal
    std::vector<double> weights;  // diag D, of the columns as they lie
};

/// Of S + shift I.
template <Backend B>
[[nodiscard]] FeedbackFactor<B> feedback_factor(MatrixView<const double> S, double shift,
                                                const std::vector<Index>& columns,
                                                const B& backend) {
    const Index n = S.rows;
    const auto column = [&](Index k) { return columns[static_cast<std::size_t>(k)]; };
    auto host = fetch<double>(S.data, n, n, backend);
    {
        Tensor<double> turned({n, n});  // the last column first: its factor is lower
        for (Index j = 0; j < n; ++j) {
            const double* const from = host.data() + column(n - 1 - j) * n;
            for (Index k = 0; k < n; ++k) turned(j, k) = from[column(n - 1 - k)];
            turned(j, j) += shift;
        }
        host = std::move(turned);
    }
    FeedbackFactor<B> factor{backend.template allocate<double>(n * n),
                             std::vector<double>(columns.size())};
    backend.template upload<double>(host.view(), factor.U.data());
    if (const Index k = backend.cholesky(matrix(factor.U.data(), n, n)); k < n)
        raise<NumericalError>({"quantize: S + ", shift, " I is singular at column ",
                               column(n - 1 - k), "; damping must be larger"});
    backend.download(static_cast<const double*>(factor.U.data()), host.view());
    std::reverse(host.data(), host.data() + host.size());  // both indices from the other end
    std::vector<double> pivots;
    for (Index k = 0; k < n; ++k) {
        pivots.push_back(host(k, k));
        factor.weights[static_cast<std::size_t>(column(k))] = pivots.back() * pivots.back();
    }
    for (Index j = 0; j < n; ++j)
        for (Index k = j + 1; k < n; ++k) host(j, k) /= pivots[static_cast<std::size_t>(k)];
    backend.template upload<double>(host.view(), factor.U.data());
    return factor;
}

/// The columns of W in this order, on the host.
[[nodiscard]] Tensor<double> columns_of(const Tensor<float>& W, const std::vector<Index>& columns);

/// Puts number (i, j) on the level nearest to x; the value.
double put_on_grid(Index i, Index j, double x, const QuantizeOptions& options, Quantized& result);

/// A block on the host.
template <Backend B>
[[nodiscard]] Tensor<double> fetch_block(MatrixView<const double> A, Index row, Index col,
                                         Index rows, Index cols, const B& backend) {
    const auto copy = copy_of<double>(block(A, row, col, rows, cols), backend);
    return fetch<double>(copy.data(), rows, cols, backend);
}

/// All columns in this order, so many at a time. U (n, n) of feedback_factor.
template <Backend B>
void round_with_feedback(const Tensor<float>& W, MatrixView<const double> U,
                         const std::vector<Index>& columns, const QuantizeOptions& options,
                         Index block_columns, Quantized& result, const B& backend) {
    const Index m = W.extent(0), n = W.extent(1);
    // w_k + sum of e_j U_jk over the columns j of all blocks that are done
    const auto buffer = send<double>(columns_of(W, columns), backend);
    const auto targets = matrix(buffer.data(), m, n);
    for (Index begin = 0; begin < n; begin += block_columns) {
        const Index width = (std::min)(block_columns, n - begin), end = begin + width;
        auto target = fetch_block<B>(targets, 0, begin, m, width, backend);
        const auto u = fetch_block(U, begin, begin, width, width, backend);
        Tensor<double> errors({m, width});
        parallel_for(0, m, 16, [&](Index first, Index last) {
            for (Index i = first; i < last; ++i)
                for (Index k = 0; k < width; ++k) {
                    const Index j = columns[static_cast<std::size_t>(begin + k)];
                    const double value = put_on_grid(i, j, target(i, k), options, result),
                                 error = static_cast<double>(W(i, j)) - value;
                    errors(i, k) = error;
                    for (Index next = k + 1; next < width; ++next)
                        target(i, next) += error * u(k, next);
                }
        });
        if (end == n) break;
        const auto sent = send<double>(errors, backend);
        backend.gemm(1.0, matrix<const double>(sent.data(), m, width),
                     block(U, begin, end, width, n - end), 1.0, block(targets, 0, end, m, n - end));
    }
}

void validate(const QuantizeOptions& options);

/// Throws unless W and S are what quantize takes. The matrix in backend memory.
template <Backend B>
[[nodiscard]] BufferOf<B, float> require_weighted(const Tensor<float>& W,
                                                  MatrixView<const double> S, const B& backend) {
    constexpr std::string_view who = "quantize";
    require_row_major(as_matrix(W.view()), who, "W");
    const Index m = W.extent(0), n = W.extent(1);
    if (S.rows != n || S.cols != n)
        raise<ShapeError>({who, ": W is ", m, " x ", n, ", so S must be ", n, " x ", n, ", got ",
                           S.rows, " x ", S.cols});
    require_row_major(S, who, "S");
    auto sent = send<float>(W, backend);
    if (!std::isfinite(squared_norm<float>(sent.data(), W.size(), backend)))
        raise<NumericalError>({who, ": W, ", m, " x ", n, ", holds NaN or Inf"});
    require_semidefinite<double>(S, moment_rounding<float, double>(S, who, backend), who, backend);
    return sent;
}

/// quantize, with so many columns in a block.
template <Backend B>
[[nodiscard]] Quantized quantize_in_blocks(const Tensor<float>& W, MatrixView<const double> S,
                                           const QuantizeOptions& options, Index block_columns,
                                           const B& backend) {
    static_assert(std::is_same_v<GramScalar<B, float>, double>);
    validate(options);
    const auto sent = require_weighted(W, S, backend);
    const Index m = W.extent(0), n = W.extent(1), groups = (n - 1) / options.group + 1;
    const auto diagonal = diagonal_of(S, backend);
    const double shift = options.damping * std::accumulate(diagonal.begin(), diagonal.end(), 0.0) /
                         static_cast<double>(n);
    const bool inputs =
        std::any_of(diagonal.begin(), diagonal.end(), [](double s) { return s > 0; });
    Quantized result{Tensor<float>({m, n}), Tensor<std::uint8_t>({m, n}),
                     Tensor<float>({m, groups}), Tensor<float>({m, groups})};
    if (options.feedback == Feedback::none || !inputs) {
        make_grids(W, diagonal, options, result);
        parallel_for(0, m, 16, [&](Index first, Index last) {
            for (Index i = first; i < last; ++i)
                for (Index j = 0; j < n; ++j)
                    (void)put_on_grid(i, j, static_cast<double>(W(i, j)), options, result);
        });
    } else {
        const auto columns = column_sequence(diagonal, options.order);
        const auto factor = feedback_factor(S, shift, columns, backend);
        make_grids(W, factor.weights, options, result);
        round_with_feedback(W, matrix<const double>(factor.U.data(), n, n), columns, options,
                            block_columns, result, backend);
    }
    const auto A = send<float>(result.values, backend);
    result.loss = weighted_loss<float>(matrix<const float>(sent.data(), m, n),
                                       matrix<const float>(A.data(), m, n), S, backend);
    result.bits_per_weight =
        options.bits + 32 * static_cast<double>(groups) / static_cast<double>(n);
    return result;
}

}  // namespace detail

/// W on grids of 2^bits levels, and what that loses in the metric of the inputs.
///
/// W        (m, n), y = W x; on the host, finite
/// S        (n, n), E[x x^T] or any multiple of it; row-major without gaps, backend memory. Symmetric, no
///          negative eigenvalue, both up to 10 max(eps(float), n eps(double)) tr(S); may be singular or
///          zero: columns without inputs go to the nearest levels
/// returns  values, levels, grids, loss and size
/// error    the loss is that of the values returned, to m n rounding errors of double; it is no optimum. The
///          values are those of any other thread count but for ties
/// cost     m n^2 / 2 multiply-adds of feedback, n^3 / 3 of factorisations, m n^2 of the loss, all in
///          double; fitted grids take 27 roundings of every number. Memory in double: three of W, three of S
/// throws   ShapeError (an empty W, an S that is not (n, n)), ArgumentError (options, gaps), NumericalError
///          (NaN or Inf; S not symmetric, not semidefinite, or singular where damping is 0; numbers
///          beyond half precision)
/// source   frantar2023, chee2023
template <Backend B>
[[nodiscard]] Quantized quantize(const Tensor<float>& W, MatrixView<const double> S,
                                 const QuantizeOptions& options, const B& backend) {
    return detail::quantize_in_blocks(W, S, options, detail::quantize_block_columns, backend);
}

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/quantize_inl.hpp"
#endif
