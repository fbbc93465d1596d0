// The best low rank of a matrix in the metric of its inputs, in closed form: of y = W x with
// S = E[x x^H] it keeps the outputs, not the numbers of W.
//
//   minimise  E norm(W x - A B x)^2  =  tr((W - A B) S (W - A B)^H)     over A (m, r), B (r, n)
//   G = W S W^H = U diag(lambda) U^H,   A = U_r,   B = U_r^H W,   loss(r) = sum of lambda_k, k > r
//
// For any F with S = F F^H the loss is norm(W F - A B F)^2, at least the tail of the spectrum of W F,
// whose left singular vectors U are the eigenvectors of G; the projection U_r U_r^H W reaches it. So
// nothing is inverted, S may be singular, and one decomposition gives every rank (the whitened route,
// W F = U diag(sigma) V^H, B = diag(sigma) V^H F^-1, has the same result where F^-1 exists).
//
//   wide   eigenvectors of G (m, m), which needs no F
//   tall   m > 5/4 n, where G has rank n at most: S = V diag(s) V^H, F = V diag(sqrt s), M = W F,
//          M^H M (n, n) = X diag(lambda) X^H, U = orth(M X diag(1 / sqrt lambda)). F is needed there:
//          the small matrix without it, W^H W S, is not Hermitian, and its eigenvectors are not
//          orthogonal. Divided is by numbers above zero only, and their rounding is repaired by orth.
#pragma once

#include <cmath>
#include <complex>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "mpo/linalg/backend.hpp"
#include "mpo/linalg/orthonormalize.hpp"
#include "mpo/linalg/range.hpp"
#include "mpo/linalg/truncation.hpp"
#include "mpo/linalg/weighted_loss.hpp"

namespace mpo {

/// The optimum of every rank: the spectrum of W S W^H and the directions that go with it.
template <Scalar T, class B>
struct WeightedSpectrum {
    BufferOf<B, T> basis;      // U (m, columns), row-major, orthonormal, strongest first
    Index rows = 0, cols = 0;  // m, n of W
    Index columns = 0;         // positive eigenvalues, at least 1: no higher rank gains anything
    std::vector<double> eigenvalues;  // min(m, n) of them, descending, >= 0; the others are zero
    std::vector<double> losses;       // [r]: tr((W - A B) S (W - A B)^H) at rank r = 0 .. min(m, n)
    double resolution = 0;            // losses below this are rounding
};

/// A and B lie in backend memory, row-major.
template <Scalar T, class B>
struct WeightedLowRank {
    BufferOf<B, T> left;                      // A (m, rank), orthonormal columns
    BufferOf<B, T> right;                     // B = A^H W (rank, n)
    Index rank = 0;                           // columns of A, rows of B
    double loss = 0;                          // tr((W - A B) S (W - A B)^H)
    BindingLimit limit = BindingLimit::none;  // which limit was felt
};

namespace detail {

/// What a second moment (n, n) may deviate by from a Hermitian, positive semidefinite matrix: rounding
/// of its elements in T, and of a factorisation in W, relative to its trace (at least its norm, where
/// no eigenvalue is negative). Throws NumericalError, naming the element, where it deviates by more from
/// Hermitian or is not finite.
template <Scalar T, Scalar W, BackendFor<W> B>
[[nodiscard]] double moment_rounding(MatrixView<const W> S, std::string_view who,
                                     const B& backend) {
    const Index n = S.rows, step = rows_of_panel(n);
    double trace = 0, worst = -1;
    Index row = 0, col = 0;
    for (Index i = 0; i < n; i += step) {
        const Index rows = (std::min)(step, n - i);
        const auto here = fetch<W>(S.data + i * n, rows, n, backend);
        const auto turned =  // columns i .. i + rows - 1 as rows
            copy_of<W>(transpose(block(S, 0, i, n, rows)), backend);
        const auto there = fetch<W>(turned.data(), rows, n, backend);
        for (Index k = 0; k < rows; ++k) {
            trace += static_cast<double>(std::abs(here(k, i + k)));
            for (Index j = 0; j < n; ++j) {
                const auto a = here(k, j), b = there(k, j);
                const double size = static_cast<double>(std::abs(a));
                if (!std::isfinite(size))
                    raise<NumericalError>({who, ": S(", i + k, ", ", j, ") is ", size});
                double defect = 0;
                if constexpr (is_complex<W>)
                    defect = static_cast<double>(std::abs(a - std::conj(b)));
                else
                    defect = static_cast<double>(std::abs(a - b));
                if (defect > worst) worst = defect, row = i + k, col = j;
            }
        }
    }
    const double eps = std::numeric_limits<Real<T>>::epsilon(),
                 wide_eps = std::numeric_limits<Real<W>>::epsilon();
    const double rounding = 10 * (std::max)(eps, static_cast<double>(n) * wide_eps) * trace;
    if (worst > rounding)
        raise<NumericalError>({who, ": S is not ", is_complex<W> ? "Hermitian" : "symmetric",
                               ", S(", row, ", ", col, ") and S(", col, ", ", row, ") differ by ",
                               worst, ", rounding allows ", rounding});
    return rounding;
}

/// Throws where the smallest eigenvalue of S lies below -rounding.
inline void require_semidefinite(double smallest, double rounding, std::string_view who) {
    if (!(smallest >= -rounding))
        raise<NumericalError>({who, ": S is not positive semidefinite, its smallest eigenvalue is ",
                               smallest, ", rounding allows ", -rounding});
}

/// The same, of S: by a Cholesky factorisation of S + rounding I, n^3 / 3; only where it breaks down
/// does the eigenvalue itself, at 30 times the price, have the word.
template <Scalar W, BackendFor<W> B>
void require_semidefinite(MatrixView<const W> S, double rounding, std::string_view who,
                          const B& backend) {
    const Index n = S.rows;
    if (rounding > 0) {
        auto shifted = copy_of<W>(S, backend);
        add_to_diagonal(matrix(shifted.data(), n, n), rounding, backend);
        if (backend.cholesky(matrix(shifted.data(), n, n)) == n) return;
    }
    require_semidefinite(eigenpairs<W>(copy_of<W>(S, backend), n, backend).values.back(), rounding,
                         who);
}

/// Throws where tr(W S W^H) leaves the range of the scalar.
template <Scalar W, class B>
void require_finite(const BufferOf<B, W>& G, Index s, std::string_view who, const B& backend) {
    if (!std::isfinite(squared_norm<W>(G.data(), s * s, backend)))
        raise<NumericalError>({who, ": norm(W S W^H)^2 is beyond ",
                               static_cast<double>((std::numeric_limits<Real<W>>::max)()),
                               "; scale W or S"});
}

/// W S W^H (m, m), a panel of rows of W S at a time.
template <Scalar W, BackendFor<W> B>
[[nodiscard]] BufferOf<B, W> weighted_gram(MatrixView<const W> A, MatrixView<const W> S,
                                           const B& backend) {
    const Index m = A.rows, n = A.cols, step = (std::min)(rows_of_panel(n), m);
    auto G = backend.template allocate<W>(m * m);
    auto panel = backend.template allocate<W>(step * n);
    for (Index i = 0; i < m; i += step) {
        const auto product = matrix(panel.data(), (std::min)(step, m - i), n);
        backend.gemm(W{1}, block(A, i, 0, product.rows, n), S, W{0}, product);
        backend.gemm(W{1}, MatrixView<const W>(product), adjoint(A), W{0},
                     matrix(G.data() + i * m, product.rows, m));
    }
    return G;
}

/// Fills in eigenvalues, losses and columns from the eigenvalues of a Gram matrix, descending.
template <Scalar T, class B>
void set_losses(WeightedSpectrum<T, B>& spectrum, const std::vector<double>& values) {
    const auto s = static_cast<std::size_t>((std::min)(spectrum.rows, spectrum.cols));
    for (std::size_t k = 0; k < s; ++k) {
        spectrum.eigenvalues.push_back((std::max)(0.0, values[k]));  // below 0 by rounding only
        if (spectrum.eigenvalues.back() > 0) spectrum.columns = static_cast<Index>(k) + 1;
    }
    spectrum.columns = std::max<Index>(1, spectrum.columns);
    spectrum.losses.assign(s + 1, 0.0);
    for (std::size_t k = s; k > 0; --k)  // from the small end
        spectrum.losses[k - 1] = spectrum.losses[k] + spectrum.eigenvalues[k - 1];
    spectrum.resolution =
        gram_resolution<T, B>(static_cast<Index>(values.size()), spectrum.losses.front());
}

/// The route over G (m, m).
template <Scalar T, Scalar W, BackendFor<W> B>
void decompose_wide(WeightedSpectrum<T, B>& spectrum, MatrixView<const W> A, MatrixView<const W> S,
                    double rounding, std::string_view who, const B& backend) {
    require_semidefinite<W>(S, rounding, who, backend);
    auto G = weighted_gram<W>(A, S, backend);
    require_finite<W>(G, A.rows, who, backend);
    const auto pairs = eigenpairs<W>(std::move(G), A.rows, backend);
    set_losses(spectrum, pairs.values);
    spectrum.basis = send_columns<T>(pairs.vectors, spectrum.columns, {}, backend);
}

/// The route over M^H M (n, n), M = W F.
template <Scalar T, Scalar W, BackendFor<W> B>
void decompose_tall(WeightedSpectrum<T, B>& spectrum, MatrixView<const W> A, MatrixView<const W> S,
                    double rounding, std::string_view who, const B& backend) {
    const Index m = A.rows, n = A.cols;
    BufferOf<B, W> factor;  // F
    {
        const auto pairs = eigenpairs<W>(copy_of<W>(S, backend), n, backend);
        require_semidefinite(pairs.values.back(), rounding, who);
        std::vector<double> roots;
        for (const double value : pairs.values) roots.push_back(std::sqrt((std::max)(0.0, value)));
        factor = send_columns<W>(pairs.vectors, n, roots, backend);
    }
    auto M = backend.template allocate<W>(m * n);
    backend.gemm(W{1}, A, matrix<const W>(factor.data(), n, n), W{0}, matrix(M.data(), m, n));
    const auto product = matrix<const W>(M.data(), m, n);
    auto gram = std::move(factor);
    backend.syrk(adjoint(product), matrix(gram.data(), n, n));
    require_finite<W>(gram, n, who, backend);
    const auto pairs = eigenpairs<W>(std::move(gram), n, backend);
    set_losses(spectrum, pairs.values);
    const Index columns = spectrum.columns;
    if (spectrum.losses.front() == 0) {  // any direction will do
        Tensor<T> unit({m, 1});
        unit(0, 0) = T{1};
        spectrum.basis = send<T>(unit, backend);
        return;
    }
    std::vector<double> scale;
    for (Index k = 0; k < columns; ++k)
        scale.push_back(1 / std::sqrt(spectrum.eigenvalues[static_cast<std::size_t>(k)]));
    const auto X = send_columns<W>(pairs.vectors, columns, scale, backend);
    auto U = backend.template allocate<W>(m * columns);
    backend.gemm(W{1}, product, matrix<const W>(X.data(), n, columns), W{0},
                 matrix(U.data(), m, columns));
    orthonormalize<W>(U, m, columns, backend);
    spectrum.basis = converted<T, W>(std::move(U), m, columns, backend);
}

}  // namespace detail

/// The loss of every rank in the metric S, and the basis that reaches it.
///
/// W        (m, n), y = W x; row-major without gaps, backend memory, finite; not modified
/// S        (n, n), E[x x^H] or any multiple of it, in GramScalar; the same. Hermitian, no negative
///          eigenvalue, both up to 10 max(eps(T), n eps(GramScalar)) tr(S); may be singular or zero
/// returns  losses[r] for r = 0 (all of tr(W S W^H)) to min(m, n) (nothing); U
/// error    losses are right to `resolution` = 10 s eps(GramScalar) tr(W S W^H), s the side of the Gram
///          matrix; U_r misses the optimum by that at most, and by rounding of U to T, eps(T)^2 of the trace
/// cost     wide: m n (m + n) + n^3 / 6 multiply-adds and an eigenproblem of side m; tall: 3 m n^2 / 2 + m n
///          columns and two of side n. Memory in GramScalar: W (where T is narrower), one or two of
///          S, one of the Gram matrix, for tall W another two of W
/// throws   ShapeError (an empty W, an S that is not (n, n)), ArgumentError (gaps), NumericalError
///          (NaN or Inf; S not Hermitian or not semidefinite; numbers that overflow)
template <Scalar T, BackendFor<T> B>
[[nodiscard]] WeightedSpectrum<T, B> weighted_spectrum(
    std::type_identity_t<MatrixView<const T>> W,
    std::type_identity_t<MatrixView<const GramScalar<B, T>>> S, const B& backend) {
    using Wide = GramScalar<B, T>;
    constexpr std::string_view who = "weighted_spectrum";
    detail::require_row_major(W, who, "W");
    if (S.rows != W.cols || S.cols != W.cols)
        detail::raise<ShapeError>({who, ": W is ", W.rows, " x ", W.cols, ", so S must be ", W.cols,
                                   " x ", W.cols, ", got ", S.rows, " x ", S.cols});
    detail::require_row_major(S, who, "S");
    if (!std::isfinite(detail::squared_norm<T>(W.data, W.size(), backend)))
        detail::raise<NumericalError>({who, ": W, ", W.rows, " x ", W.cols, ", holds NaN or Inf"});
    const double rounding = detail::moment_rounding<T, Wide>(S, who, backend);

    WeightedSpectrum<T, B> spectrum;
    spectrum.rows = W.rows;
    spectrum.cols = W.cols;
    BufferOf<B, Wide> copy;
    auto wide = matrix<const Wide>(nullptr, W.rows, W.cols);
    if constexpr (std::is_same_v<T, Wide>) {
        wide.data = W.data;
    } else {
        copy = detail::widened<Wide, T>(W, backend);
        wide.data = copy.data();
    }
    // two eigenproblems of side n against one of side m
    if (4 * W.rows > 5 * W.cols)
        detail::decompose_tall<T, Wide>(spectrum, wide, S, rounding, who, backend);
    else
        detail::decompose_wide<T, Wide>(spectrum, wide, S, rounding, who, backend);
    return spectrum;
}

/// The optimum of the rank that `truncation` chooses from the curve: the smallest whose loss is at most
/// max_relative_error^2 tr(W S W^H), then the cap; at least 1. With a cap alone it is that rank,
/// or fewer where fewer lose nothing.
///
/// W         the matrix that `spectrum` was made of
/// spectrum  of weighted_spectrum; serves any number of ranks
/// cost      m n rank multiply-adds
/// throws    ShapeError (a W of another shape), ArgumentError (gaps, truncation)
template <Scalar T, BackendFor<T> B>
[[nodiscard]] WeightedLowRank<T, B> weighted_low_rank(std::type_identity_t<MatrixView<const T>> W,
                                                      const WeightedSpectrum<T, B>& spectrum,
                                                      const Truncation& truncation,
                                                      const B& backend) {
    validate(truncation, "weighted_low_rank");
    detail::require_row_major(W, "weighted_low_rank", "W");
    if (W.rows != spectrum.rows || W.cols != spectrum.cols)
        detail::raise<ShapeError>({"weighted_low_rank: W is ", W.rows, " x ", W.cols,
                                   ", the spectrum is of a ", spectrum.rows, " x ", spectrum.cols,
                                   " matrix"});
    std::vector<double> roots;
    for (const double value : spectrum.eigenvalues) roots.push_back(std::sqrt(value));
    const double eps = truncation.max_relative_error;
    const auto choice =
        choose_bond_dim(roots, 0, eps * eps * spectrum.losses.front(), truncation.max_bond_dim);
    WeightedLowRank<T, B> result;
    result.rank = (std::min)(choice.bond_dim, spectrum.columns);
    result.limit = choice.limit;
    result.loss = spectrum.losses[static_cast<std::size_t>(result.rank)];
    const auto U = matrix<const T>(spectrum.basis.data(), W.rows, spectrum.columns);
    result.left = detail::copy_of<T>(block(U, 0, 0, W.rows, result.rank), backend);
    result.right = backend.template allocate<T>(result.rank * W.cols);
    backend.gemm(T{1}, adjoint(matrix<const T>(result.left.data(), W.rows, result.rank)), W, T{0},
                 matrix(result.right.data(), result.rank, W.cols));
    return result;
}

/// Both in one: the best A B of the rank that `truncation` chooses.
///
/// W, S     (m, n) and the second moments (n, n) of its inputs, in backend memory, as weighted_spectrum takes them
/// throws   as the other two
template <Scalar T, BackendFor<T> B>
[[nodiscard]] WeightedLowRank<T, B> weighted_low_rank(
    std::type_identity_t<MatrixView<const T>> W,
    std::type_identity_t<MatrixView<const GramScalar<B, T>>> S, const Truncation& truncation,
    const B& backend) {
    validate(truncation, "weighted_low_rank");
    return weighted_low_rank<T>(W, weighted_spectrum<T>(W, S, backend), truncation, backend);
}

}  // namespace mpo
