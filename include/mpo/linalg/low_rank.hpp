// Truncated SVD of one matrix, by the cheapest method that its shape, rank, tolerance and scalar
// type allow, with the error it really made.
//
//   A (m, n) ~= U (m, r) C (r, n),   U^H U = I,   C = U^H A,   norm(A - U C)^2 = norm(A)^2 -
//   norm(C)^2
//
// Every method ends in that projection, so the error is known whatever made U:
//   exact       SVD of A (of its triangular factor where one side is longer); about 1 ns s^3
//   gram        eigenvectors of A A^H or A^H A, accumulated in GramScalar: resolves losses down to
//               eps(GramScalar) norm(A)^2; cheap where the short side s is small
//   randomized  range finder with power iterations (Halko, Martinsson, Tropp, SIAM Rev. 53 (2011)),
//               as many as it takes until the loss stops falling; gives up on flat spectra
// `automatic` compares their costs and looks back afterwards: where the loss came out below the
// resolution of the method, an exact one repeats the work.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "mpo/linalg/backend.hpp"
#include "mpo/linalg/range.hpp"
#include "mpo/linalg/truncation.hpp"

namespace mpo {

/// How the orthonormal basis U is found; automatic: the cheapest that suffices.
enum class LowRankMethod { automatic, exact, gram, randomized };

/// "gram" for LowRankMethod::gram.
[[nodiscard]] inline std::string_view to_string(LowRankMethod method) {
    constexpr std::string_view names[] = {"automatic", "exact", "gram", "randomized"};
    return names[static_cast<int>(method)];
}

/// What may be lost, and how to go about it.
struct LowRankOptions {
    Index max_rank = (std::numeric_limits<Index>::max)();  // >= 1
    double allowed_squared = 0;  // absolute: norm(A - U C)^2 may be this large; >= 0
    LowRankMethod method = LowRankMethod::automatic;  // one by name is used whatever it costs
    double excess = 2e-3;  // randomized: stop when the error is within (1 + excess) of the optimum
    std::uint64_t seed = 1;                   // randomized: of the test matrix
    std::optional<double> norm_squared = {};  // norm(A)^2, where the caller knows it already
};

/// U and C lie in backend memory, row-major.
template <Scalar T, class B>
struct LowRank {
    BufferOf<B, T> left;                      // U (m, rank), orthonormal columns
    BufferOf<B, T> right;                     // C (rank, n); the buffer may be longer
    Index rank = 0;                           // columns of U, rows of C
    std::vector<double> singular_values;      // as computed, descending: all, or the leading ones
    double norm_squared = 0;                  // norm(A)^2
    double kept_squared = 0;                  // norm(C)^2
    double discarded_squared = 0;             // norm(A - U C)^2, up to rounding
    BindingLimit limit = BindingLimit::none;  // which limit was felt
    LowRankMethod method = LowRankMethod::exact;  // the one whose result this is
    int power_iterations = 0;                     // randomized: rounds after the first sample
};

namespace detail {

/// Power of two that brings a largest magnitude near 1 where sums of squares might leave the range
/// of R, which a factorisation computes them in; 1 elsewhere.
template <class R>
[[nodiscard]] R safe_scale(double largest) {
    constexpr int most = std::numeric_limits<R>::max_exponent;
    if (largest == 0 || std::abs(std::ilogb(largest)) < most / 4) return 1;
    return std::ldexp(R{1}, (std::min)(-std::ilogb(largest), most - 1));
}

/// The cheaper of the two methods that do not depend on the rank. Seconds on one core with AVX-512,
/// roughly: only their order matters.
struct DirectMethod {
    LowRankMethod method;
    double seconds;
};
[[nodiscard]] inline DirectMethod cheapest_direct_method(Index m, Index n,
                                                         double resolution_squared,
                                                         const RangeRequest& request) {
    const auto s = static_cast<double>((std::min)(m, n)), l = static_cast<double>((std::max)(m, n));
    const double exact = s <= 8 ? 0 : 9.5e-10 * s * s * s + 2e-10 * s * s * (l - s);
    const double gram = 2.8e-11 * s * s * l + 5e-10 * s * s * s;
    const bool resolved = request.allowed_squared <= 0 ||  // what is lost is checked afterwards
                          request.allowed_squared >= resolution_squared;
    if (resolved && gram < exact) return {LowRankMethod::gram, gram};
    return {LowRankMethod::exact, exact};
}

/// The same, or random samples where the rank will be small.
[[nodiscard]] inline LowRankMethod cheapest_method(Index m, Index n, double resolution_squared,
                                                   const RangeRequest& request) {
    const auto s = static_cast<double>((std::min)(m, n)), l = static_cast<double>((std::max)(m, n));
    const auto direct = cheapest_direct_method(m, n, resolution_squared, request);
    const bool tolerance_only = static_cast<double>(request.max_rank) > s / 2;
    if (request.allowed_squared > 0 && request.allowed_squared < resolution_squared)
        return direct.method;
    const double rank = tolerance_only ? s / 8 : static_cast<double>(request.max_rank) * 1.125 + 16;
    const double randomized =
        1e-11 * (12 * s * l * rank + 24 * (s + l) * rank * rank) + 5e-10 * rank * rank * rank;
    const bool lossless = request.allowed_squared <= 0 && tolerance_only;
    const bool sampled = !lossless && rank < s / 2 && randomized < direct.seconds;
    return sampled ? LowRankMethod::randomized : direct.method;
}

/// False where the tolerance decided the rank and the loss still exceeds it.
template <Scalar T, class B>
[[nodiscard]] bool keeps_tolerance(const LowRank<T, B>& result, const RangeRequest& request) {
    return result.limit != BindingLimit::tolerance ||
           result.discarded_squared <= request.allowed_squared;
}

/// Chooses the rank, projects, measures; more columns, up to the cap, where rounding broke the
/// tolerance.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] LowRank<T, B> project(MatrixView<const T> A, Range<T, B> range,
                                    const RangeRequest& request, const B& backend) {
    LowRank<T, B> result;
    std::vector<double> spectrum = range.singular_values;
    const auto choice =
        choose_bond_dim(spectrum, range.tail_squared, request.allowed_squared, request.max_rank);
    result.norm_squared = request.norm_squared;
    result.limit = choice.limit;
    result.power_iterations = range.power_iterations;
    const auto basis = matrix<const T>(range.basis.data(), A.rows, range.columns);
    if (!range.projection) {
        range.projection = backend.template allocate<T>(range.columns * A.cols);
        backend.gemm(T{1}, adjoint(basis), A, T{0},
                     matrix(range.projection->data(), range.columns, A.cols));
    }
    result.right = std::move(*range.projection);
    const Index side = (std::min)(A.rows, A.cols),
                most = (std::min)(range.columns, request.max_rank);
    result.rank = (std::min)(choice.bond_dim, most);
    for (Index more = 1;; more *= 2) {
        const auto C = matrix<const T>(result.right.data(), result.rank, A.cols);
        const bool whole = result.rank == side;
        result.kept_squared =
            whole ? request.norm_squared : squared_norm<T>(C.data, C.size(), backend);
        result.discarded_squared =
            whole ? 0
                  : measured_loss<T>(A, block(basis, 0, 0, A.rows, result.rank), C,
                                     request.norm_squared, result.kept_squared, backend);
        if (keeps_tolerance(result, request) || result.rank >= most) break;
        result.rank = (std::min)(most, result.rank + more);
    }
    if (result.rank == side)
        result.limit = BindingLimit::none;
    else if (result.rank == request.max_rank && !keeps_tolerance(result, request))
        result.limit = BindingLimit::bond_cap;
    result.left = copy_of<T>(block(basis, 0, 0, A.rows, result.rank), backend);
    result.singular_values = std::move(spectrum);
    return result;
}

/// A = 0: U = e_1, C = 0.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] LowRank<T, B> zero_low_rank(MatrixView<const T> A, const B& backend) {
    Tensor<T> unit({A.rows, 1});
    unit(0, 0) = T{1};
    LowRank<T, B> result;
    result.left = send<T>(unit, backend);
    result.right = send<T>(Tensor<T>({1, A.cols}), backend);
    result.rank = 1;
    result.singular_values = {0.0};
    result.limit = (std::min)(A.rows, A.cols) > 1 ? BindingLimit::tolerance : BindingLimit::none;
    return result;
}

/// Throws where low_rank cannot work with its arguments.
template <Scalar T>
void validate(MatrixView<const T> A, const LowRankOptions& options) {
    require_row_major(A, "low_rank", "A");
    if (options.norm_squared && !(*options.norm_squared >= 0))
        raise<ArgumentError>(
            {"low_rank: norm_squared must be at least 0, got ", *options.norm_squared});
    if (options.max_rank < 1 || !(options.allowed_squared >= 0) || !(options.excess > 0))
        raise<ArgumentError>(
            {"low_rank: need max_rank >= 1, allowed_squared >= 0, excess > 0; got ",
             options.max_rank, ", ", options.allowed_squared, ", ", options.excess});
}

}  // namespace detail

/// Best approximation of A by rank r <= max_rank whose loss stays within allowed_squared (the rank
/// cap wins where both cannot hold).
///
/// A        (m, n), row-major without gaps, backend memory, finite; not modified
/// returns  U, C, the spectrum, the loss; `limit` says which of the two bounds was felt
/// error    exact and gram: optimal (gram: while the loss is above 10 s eps(GramScalar) norm(A)^2);
///          randomized: estimated within (1 + excess) of the optimum. The loss itself is measured.
/// cost     see cheapest_method; peak memory A, and for the exact method two copies of it
/// throws   ShapeError (an empty matrix), ArgumentError (options, gaps), NumericalError (NaN or Inf in A,
///          an iteration that does not converge)
template <Scalar T, BackendFor<T> B>
[[nodiscard]] LowRank<T, B> low_rank(std::type_identity_t<MatrixView<const T>> A,
                                     const LowRankOptions& options, const B& backend) {
    detail::validate(A, options);
    const double norm_squared = options.norm_squared
                                    ? *options.norm_squared
                                    : detail::squared_norm<T>(A.data, A.size(), backend);
    if (!std::isfinite(norm_squared))
        detail::raise<NumericalError>(
            {"low_rank: a ", A.rows, " x ", A.cols, " matrix holds NaN or Inf"});
    if (norm_squared == 0) return detail::zero_low_rank<T>(A, backend);

    const detail::RangeRequest request{options.max_rank, options.allowed_squared, norm_squared,
                                       options.excess, options.seed};
    const Index s = (std::min)(A.rows, A.cols);
    const double resolution = detail::gram_resolution<T, B>(s, norm_squared);
    const bool by_name = options.method != LowRankMethod::automatic;
    // a loss that T cannot resolve either is as good as any other method's
    const double eps = std::numeric_limits<Real<T>>::epsilon();
    const double rounding = 100 * static_cast<double>(s) * eps * eps * norm_squared;
    const auto acceptable = [&](const LowRank<T, B>& result) {
        const double loss = result.discarded_squared;
        return detail::keeps_tolerance(result, request) &&
               (by_name || result.rank == s || loss >= resolution || loss <= rounding);
    };
    auto method = options.method;
    if (!by_name) method = detail::cheapest_method(A.rows, A.cols, resolution, request);
    if (method == LowRankMethod::randomized) {
        if (auto range = detail::RangeFinder<T, B>(A, request, backend).run()) {
            auto result = detail::project<T>(A, std::move(*range), request, backend);
            result.method = method;
            if (acceptable(result)) return result;
        }
        method = by_name
                     ? LowRankMethod::exact
                     : detail::cheapest_direct_method(A.rows, A.cols, resolution, request).method;
    }
    if (method == LowRankMethod::gram) {
        auto result =
            detail::project<T>(A, detail::gram_range<T>(A, request, backend), request, backend);
        result.method = method;
        if (acceptable(result)) return result;
    }
    auto result = detail::project<T>(A, detail::exact_range<T>(A, backend), request, backend);
    result.method = LowRankMethod::exact;
    return result;
}

}  // namespace mpo
