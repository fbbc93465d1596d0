// Orthonormal bases of the dominant column space of a matrix A (m, n), three ways: from its SVD,
// from a Gram matrix, from random samples. linalg/low_rank.hpp chooses between them and projects.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "mpo/core/random.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/linalg/orthonormalize.hpp"
#include "mpo/linalg/truncation.hpp"

namespace mpo::detail {

/// An orthonormal basis, strongest directions first, and what is known of the spectrum.
template <Scalar T, class B>
struct Range {
    BufferOf<B, T> basis;                      // U (m, columns), row-major
    Index columns = 0;                         // orthonormal columns at hand
    std::vector<double> singular_values;       // descending; at least `columns` of them
    double tail_squared = 0;                   // sum of squares of the singular values not listed
    double resolution_squared = 0;             // a loss below this is not to be trusted
    std::optional<BufferOf<B, T>> projection;  // U^H A (columns, n), where it came for free
    int power_iterations = 0;
};

/// What is asked of a range: the limits of LowRankOptions and norm(A)^2.
struct RangeRequest {
    Index max_rank;
    double allowed_squared;
    double norm_squared;
    double excess;
    std::uint64_t seed;
};

/// Columns worth computing: the rank that the limits choose, and a few more for a rank that has to
/// grow because rounding took the last bit of the tolerance.
[[nodiscard]] inline Index columns_wanted(const std::vector<double>& singular_values,
                                          double tail_squared, const RangeRequest& request) {
    const Index rank =
        choose_bond_dim(singular_values, tail_squared, request.allowed_squared, request.max_rank)
            .bond_dim;
    return (std::min)(
        {static_cast<Index>(singular_values.size()), request.max_rank, rank + 1 + rank / 16});
}

/// The loss below which eigenvalues of a Gram matrix of side s say nothing: their error is about
/// eps norm(A)^2 each, and all of them may be dropped.
template <Scalar T, class B>
[[nodiscard]] double gram_resolution(Index s, double norm_squared) {
    const double eps = std::numeric_limits<Real<GramScalar<B, T>>>::epsilon();
    return 10 * static_cast<double>(s) * eps * norm_squared;
}

/// Throws unless A has elements and lies row-major without gaps.
template <class T>
void require_row_major(MatrixView<T> A, std::string_view who, std::string_view name) {
    if (A.rows < 1 || A.cols < 1)
        raise<ShapeError>({who, ": ", name, " is empty, ", A.rows, " x ", A.cols});
    if ((A.rows > 1 && A.row_stride != A.cols) || (A.cols > 1 && A.col_stride != 1) ||
        A.conjugation != Conjugation::none)
        raise<ArgumentError>({who, ": ", name, " must be row-major without gaps, got ", A.rows,
                              " x ", A.cols, " with strides ", A.row_stride, ", ", A.col_stride,
                              A.conjugation == Conjugation::none ? "" : ", conjugated"});
}

/// Rows of a matrix that a panel of 2^20 elements holds.
[[nodiscard]] inline Index rows_of_panel(Index cols) {
    return std::max<Index>(1, (Index{1} << 20) / cols);
}

/// A contiguous copy of a matrix view without conjugation.
template <Scalar T, class B>
[[nodiscard]] BufferOf<B, T> copy_of(MatrixView<const T> A, const B& backend) {
    auto copy = backend.template allocate<T>(A.size());
    backend.template permute<T>(
        TensorView<const T>(A.data, {A.rows, A.cols}, {A.row_stride, A.col_stride}), copy.data());
    return copy;
}

enum class KeepGram { no, yes };

/// A Gram matrix, its eigenvectors on the host and the square roots of its eigenvalues.
template <Scalar W, class B>
struct GramSpectrum {
    BufferOf<B, W> gram;                  // (s, s), where it was asked for
    Tensor<W> vectors;                    // (s, s), in columns, strongest first
    std::vector<double> singular_values;  // descending
};

/// Spectrum of A A^H (s, s) for A (s, n). s^2 n multiply-adds and an eigenproblem, about 10 s^3.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] GramSpectrum<GramScalar<B, T>, B> gram_spectrum(MatrixView<const T> A, KeepGram keep,
                                                              const B& backend) {
    using W = GramScalar<B, T>;
    const Index s = A.rows;
    auto G = backend.template allocate<W>(s * s);
    backend.syrk(A, matrix(G.data(), s, s));
    GramSpectrum<W, B> spectrum;
    if (keep == KeepGram::yes) spectrum.gram = copy_of<W>(matrix<const W>(G.data(), s, s), backend);
    auto pairs = eigenpairs<W>(std::move(G), s, backend);
    spectrum.vectors = std::move(pairs.vectors);
    for (const double value : pairs.values)
        spectrum.singular_values.push_back(std::sqrt((std::max)(0.0, value)));
    return spectrum;
}

/// The first `columns` columns of a host matrix, each times scale[k] where given, in backend
/// memory.
template <Scalar T, Scalar W, class B>
[[nodiscard]] BufferOf<B, T> send_columns(const Tensor<W>& M, Index columns,
                                          const std::vector<double>& scale, const B& backend) {
    Tensor<W> part({M.extent(0), columns});
    for (Index i = 0; i < M.extent(0); ++i)
        for (Index k = 0; k < columns; ++k)
            part(i, k) =
                M(i, k) *
                (scale.empty() ? W{1} : static_cast<W>(scale[static_cast<std::size_t>(k)]));
    return send<T>(part, backend);
}

/// Whether U^H A = X^H (A^H A) may replace the product with A itself: rounding in U = A X, some
/// eps sigma_1 / sigma_k in column k, then adds less than a hundredth of the error that is there.
template <Scalar T, class B>
[[nodiscard]] bool projection_by_gram_is_exact(const Range<T, B>& range) {
    const auto kept = static_cast<std::size_t>(range.columns);
    double tail = 0;
    for (std::size_t k = kept; k < range.singular_values.size(); ++k)
        tail += range.singular_values[k] * range.singular_values[k];
    const double first = range.singular_values.front(), last = range.singular_values[kept - 1];
    const double eps = std::numeric_limits<Real<T>>::epsilon();
    const double rounding = 4 * eps * first * first / last;
    return tail > range.resolution_squared &&
           static_cast<double>(kept) * rounding * rounding < 1e-4 * tail;
}

/// X^H G for G = A^H A (n, n) and X (n, columns), rounded to T at the end.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] BufferOf<B, T> gram_projection(const Companion<T, B>& companion,
                                             const BufferOf<B, GramScalar<B, T>>& gram,
                                             Index columns, const B& backend) {
    using W = GramScalar<B, T>;
    const Index n = companion.rows;
    auto product = backend.template allocate<W>(columns * n);
    backend.gemm(W{1}, adjoint(matrix<const W>(companion.X.data(), n, columns)),
                 matrix<const W>(gram.data(), n, n), W{0}, matrix(product.data(), columns, n));
    return converted<T, W>(std::move(product), columns, n, backend);
}

/// From the smaller Gram matrix. Wide: eigenvectors of A A^H. Thin: U = A V diag(1/sigma), made
/// orthonormal again because division by a small sigma magnifies rounding.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Range<T, B> gram_range(MatrixView<const T> A, const RangeRequest& request,
                                     const B& backend) {
    const bool wide = A.rows <= A.cols;
    const Index s = (std::min)(A.rows, A.cols);
    auto spectrum =
        gram_spectrum<T>(wide ? A : adjoint(A), wide ? KeepGram::no : KeepGram::yes, backend);
    Range<T, B> range;
    range.singular_values = std::move(spectrum.singular_values);
    range.columns = columns_wanted(range.singular_values, 0, request);
    range.resolution_squared = gram_resolution<T, B>(s, request.norm_squared);
    if (wide) {
        range.basis = send_columns<T>(spectrum.vectors, range.columns, {}, backend);
        return range;
    }
    std::vector<double> scale;
    for (const double sigma : range.singular_values)
        scale.push_back(1 / (std::max)(sigma, 1e-16 * range.singular_values.front()));
    const auto X =
        send_columns<T>(spectrum.vectors, range.columns, scale, backend);  // (n, columns)
    Companion<T, B> companion{
        send_columns<GramScalar<B, T>>(spectrum.vectors, range.columns, scale, backend), A.cols};
    range.basis = backend.template allocate<T>(A.rows * range.columns);
    backend.gemm(T{1}, A, matrix<const T>(X.data(), A.cols, range.columns), T{0},
                 matrix(range.basis.data(), A.rows, range.columns));
    orthonormalize<T>(range.basis, A.rows, range.columns, backend, &companion);
    if (companion.followed && projection_by_gram_is_exact<T>(range))
        range.projection = gram_projection<T>(companion, spectrum.gram, range.columns, backend);
    return range;
}

/// norm(A - U C)^2 for C = U^H A, whose norm(C)^2 is `kept_squared`: the difference of the norms
/// where that is accurate, else the residual itself, a block of rows at a time.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] double measured_loss(MatrixView<const T> A, MatrixView<const T> U,
                                   MatrixView<const T> C, double norm_squared, double kept_squared,
                                   const B& backend) {
    const double difference = norm_squared - kept_squared;
    if (difference > 1e4 * std::numeric_limits<Real<T>>::epsilon() * norm_squared)
        return difference;
    const Index step = rows_of_panel(A.cols);
    double sum = 0;
    for (Index i = 0; i < A.rows; i += step) {
        const Index rows = (std::min)(step, A.rows - i);
        auto rest = copy_of<T>(block(A, i, 0, rows, A.cols), backend);
        backend.gemm(T{-1}, block(U, i, 0, rows, U.cols), C, T{1},
                     matrix(rest.data(), rows, A.cols));
        sum += squared_norm<T>(rest.data(), rest.size(), backend);
    }
    return sum;
}

/// From the SVD, after a QR factorisation where one side is much longer.
/// Wide: A^T = Q R, so A = R^T Q^T has the left singular vectors of R^T. Thin: A = Q R, U = Q U_R.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Range<T, B> exact_range(MatrixView<const T> A, const B& backend) {
    const Index m = A.rows, n = A.cols, s = (std::min)(m, n);
    const bool much_longer = 2 * (std::max)(m, n) > 3 * s;
    BufferOf<B, T> Q, R;
    MatrixView<const T> core = A;  // same left singular vectors (times Q where thin)
    if (much_longer) {
        Q = copy_of<T>(m < n ? transpose(A) : A, backend);
        R = backend.template allocate<T>(s * s);
        backend.qr(matrix(Q.data(), (std::max)(m, n), s), matrix(R.data(), s, s));
        core = matrix<const T>(R.data(), s, s);
        if (m < n) core = transpose(core);
    }
    auto U = backend.template allocate<T>(core.rows * s);
    auto Vt = backend.template allocate<T>(s * core.cols);
    auto sigma = backend.template allocate<Real<T>>(s);
    backend.svd(core, matrix(U.data(), core.rows, s), sigma.data(),
                matrix(Vt.data(), s, core.cols));
    Range<T, B> range;
    const auto values = fetch<Real<T>>(sigma.data(), s, 1, backend);
    for (Index k = 0; k < s; ++k)
        range.singular_values.push_back(static_cast<double>(values(k, 0)));
    range.columns = s;
    if (much_longer && m > n) {
        range.basis = backend.template allocate<T>(m * s);
        backend.gemm(T{1}, matrix<const T>(Q.data(), m, s), matrix<const T>(U.data(), s, s), T{0},
                     matrix(range.basis.data(), m, s));
    } else {
        range.basis = std::move(U);
    }
    return range;
}

/// Subspace iteration from a random start. Z (n, l) samples rows, Q (m, l) spans the range:
///   Q = orth(A Z),  Z = A^H Q,  loss of the subspace = norm(A)^2 - norm(Z)^2
/// and Z, made orthonormal, starts the next round (a power iteration).
template <Scalar T, BackendFor<T> B>
class RangeFinder {
  public:
    RangeFinder(MatrixView<const T> A, const RangeRequest& request, const B& backend)
        : A_(A), request_(request), backend_(backend), random_(request.seed) {}

    /// nullopt where the spectrum is so flat that an exact method is cheaper: the columns still
    /// needed are at least (loss - allowed) / sigma_l^2, because no later sigma is larger. A cap
    /// on the rank bounds the work by itself.
    [[nodiscard]] std::optional<Range<T, B>> run() {
        const Index s = (std::min)(A_.rows, A_.cols);
        const Index most = (std::min)(s, oversampled((std::min)(request_.max_rank, s)));
        columns_ = request_.allowed_squared > 0 ? std::min<Index>(most, 64) : most;
        append_random(columns_);
        double previous_gain = 0;
        for (iterations_ = 0;; ++iterations_) {
            const double before = loss_;
            sample();
            if (request_.allowed_squared > 0 && columns_ < most &&
                loss_ > request_.allowed_squared) {
                const Index more = columns_missing();
                const bool many = most > s / 2 && columns_ + more > s / 2;
                if (many && (more > s || iterations_ > 0)) return std::nullopt;
                if (!many) {
                    grow((std::min)(most, (std::max)(columns_ + more, 2 * columns_)));
                    previous_gain = 0;
                    continue;
                }  // a first sample shows too small a sigma_l: look again before growing so far
            }
            const double gain = before - loss_;
            if (iterations_ > 0 && has_converged(gain, previous_gain)) break;
            previous_gain = gain;
            orthonormalize<T>(Z_, A_.cols, columns_, backend_);
        }
        return finish();
    }

  private:
    static constexpr int most_iterations = 12;

    /// An eighth more columns than asked for, and at least 10, rounded up to a multiple of 16.
    [[nodiscard]] static Index oversampled(Index rank) {
        return (rank + std::max<Index>(10, rank / 8) + 15) / 16 * 16;
    }

    /// Widens Z to `columns` by random ones.
    void append_random(Index columns) {
        const Index n = A_.cols, old = Z_.size() / n;
        Tensor<T> fresh({n, columns - old});
        random_.fill_normal(fresh.data(), fresh.size());
        auto wider = backend_.template allocate<T>(n * columns);
        if (old == 0) {
            backend_.template upload<T>(TensorView<const T>(fresh.view()), wider.data());
        } else {  // (n, old) and (n, columns - old), side by side
            Tensor<T> all({n, columns});
            backend_.download(Z_.data(), TensorView<T>(all.data(), {n, old}, {columns, 1}));
            for (Index i = 0; i < n; ++i)
                for (Index k = old; k < columns; ++k) all(i, k) = fresh(i, k - old);
            backend_.template upload<T>(TensorView<const T>(all.view()), wider.data());
        }
        Z_ = std::move(wider);
        columns_ = columns;
    }

    void grow(Index columns) {
        orthonormalize<T>(Z_, A_.cols, columns_, backend_);
        append_random(columns);
        loss_ = request_.norm_squared;
    }

    void sample() {
        const Index m = A_.rows, n = A_.cols, l = columns_;
        Q_ = backend_.template allocate<T>(m * l);
        backend_.gemm(T{1}, A_, matrix<const T>(Z_.data(), n, l), T{0}, matrix(Q_.data(), m, l));
        orthonormalize<T>(Q_, m, l, backend_);
        if (Z_.size() != n * l) Z_ = backend_.template allocate<T>(n * l);
        backend_.gemm(T{1}, adjoint(A_), matrix<const T>(Q_.data(), m, l), T{0},
                      matrix(Z_.data(), n, l));
        loss_ =
            l == (std::min)(m, n)  // the whole range
                ? 0
                : measured_loss<T>(A_, matrix<const T>(Q_.data(), m, l),
                                   adjoint(matrix<const T>(Z_.data(), n, l)), request_.norm_squared,
                                   squared_norm<T>(Z_.data(), n * l, backend_), backend_);
    }

    [[nodiscard]] Index columns_missing() const {
        const auto spectrum = gram_spectrum<T>(
            adjoint(matrix<const T>(Z_.data(), A_.cols, columns_)), KeepGram::no, backend_);
        const double last = spectrum.singular_values.back();
        const double count = (loss_ - request_.allowed_squared) / (std::max)(last * last, 1e-300);
        return static_cast<Index>((std::min)(1 + count, 1e15));
    }

    /// The loss falls geometrically; what the rounds to come could still gain is extrapolated.
    [[nodiscard]] bool has_converged(double gain, double previous_gain) const {
        if (iterations_ >= most_iterations) return true;
        const double eps = std::numeric_limits<Real<T>>::epsilon();
        const double noise =
            100 * eps * eps * static_cast<double>(columns_) * request_.norm_squared;
        if (loss_ < noise) return iterations_ >= 2;
        const double ratio = iterations_ > 1 && previous_gain > 0
                                 ? (std::min)(0.9, (std::max)(0.1, gain / previous_gain))
                                 : 0.5;
        return gain * ratio / (1 - ratio) <= 2 * request_.excess * loss_;
    }

    /// Rotates the basis to singular directions: Z^H Z = V diag(sigma^2) V^H, U = Q V, U^H A = (Z
    /// V)^H.
    [[nodiscard]] Range<T, B> finish() const {
        const Index m = A_.rows, n = A_.cols, l = columns_;
        const auto z = matrix<const T>(Z_.data(), n, l);
        auto spectrum = gram_spectrum<T>(adjoint(z), KeepGram::no, backend_);
        Range<T, B> range;
        range.singular_values = std::move(spectrum.singular_values);
        range.tail_squared = loss_;
        range.columns = columns_wanted(range.singular_values, range.tail_squared, request_);
        range.resolution_squared = gram_resolution<T, B>(l, request_.norm_squared);
        range.power_iterations = iterations_;
        const auto V = send_columns<T>(spectrum.vectors, range.columns, {}, backend_);
        const auto v = matrix<const T>(V.data(), l, range.columns);
        range.basis = backend_.template allocate<T>(m * range.columns);
        backend_.gemm(T{1}, matrix<const T>(Q_.data(), m, l), v, T{0},
                      matrix(range.basis.data(), m, range.columns));
        range.projection = backend_.template allocate<T>(range.columns * n);
        backend_.gemm(T{1}, adjoint(v), adjoint(z), T{0},
                      matrix(range.projection->data(), range.columns, n));
        return range;
    }

    MatrixView<const T> A_;
    RangeRequest request_;
    const B& backend_;
    Random random_;
    BufferOf<B, T> Z_, Q_;
    Index columns_ = 0;
    int iterations_ = 0;
    double loss_ = request_.norm_squared;
};

}  // namespace mpo::detail
