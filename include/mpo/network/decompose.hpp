// decompose: a weight matrix becomes an MPO by a left-to-right sequence of truncated SVDs (TT-SVD).
//
//   W[(o1..oN), (i1..iN)]  ~=  sum over b1..b(N-1) of  prod_k  C_k[b(k-1), o_k, i_k, b_k]
//
// Oseledets, SIAM J. Sci. Comput. 33 (2011), Alg. 1 and Thm 2.2.
#pragma once

#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/linalg/low_rank.hpp"
#include "mpo/network/layout.hpp"
#include "mpo/network/matrix_product.hpp"

namespace mpo {

/// Whether a reported error is the error, or something the error stays below.
enum class ErrorKind { exact, bound };

/// "exact" for ErrorKind::exact.
[[nodiscard]] inline std::string_view to_string(ErrorKind kind) {
    return kind == ErrorKind::exact ? "exact" : "bound";
}

/// The legs, what may be lost, and how.
struct DecomposeOptions {
    Layout layout = {};          // out legs multiply up to rows of W, in legs to its columns
    Truncation truncation = {};  // tolerance and bond cap; by default nothing is lost
    LowRankMethod method = LowRankMethod::automatic;  // at every bond
    double excess = 2e-3;  // randomized bonds: tolerated distance from the optimal error, relative
    std::uint64_t seed = 1;  // randomized bonds
};

/// What decompose lost and how it went about it.
struct DecomposeReport {
    std::vector<BondSpectrum> bonds;          // N - 1 of them, left to right
    std::vector<LowRankMethod> methods;       // the one used at each
    double norm = 0;                          // norm(W), Frobenius
    double relative_error = 0;                // norm(W - W') / norm(W)
    ErrorKind error_kind = ErrorKind::exact;  // of relative_error; exact up to rounding
};

/// What decompose returns.
template <Scalar T>
struct Decomposition {
    Mpo<T> mpo;              // left-canonical
    DecomposeReport report;  // per bond, and in all
};

namespace detail {

/// Largest absolute value (of real and imaginary parts). Throws NumericalError where W holds NaN or
/// Inf, with its place.
template <Scalar T>
[[nodiscard]] double largest_finite(MatrixView<const T> W) {
    std::vector<double> rows(static_cast<std::size_t>(W.rows));
    const auto at = [&](Index i, Index j) { return W.data[i * W.row_stride + j * W.col_stride]; };
    parallel_for(0, W.rows, std::max<Index>(1, (Index{1} << 16) / W.cols),
                 [&](Index first, Index last) {
                     for (Index i = first; i < last; ++i) {
                         Real<T> largest = 0, poison = 0;  // 0 * x is NaN where x is NaN or Inf
                         for (Index j = 0; j < W.cols; ++j) {
                             const Real<T> re = std::real(at(i, j)), im = std::imag(at(i, j));
                             largest = (std::max)(largest, (std::max)(std::abs(re), std::abs(im)));
                             poison += Real<T>{0} * re + Real<T>{0} * im;
                         }
                         rows[static_cast<std::size_t>(i)] =
                             std::isnan(poison) ? std::nan("") : static_cast<double>(largest);
                     }
                 });
    double largest = 0;
    for (Index i = 0; i < W.rows; ++i) {
        const double value = rows[static_cast<std::size_t>(i)];
        if (!std::isnan(value)) {
            largest = (std::max)(largest, value);
            continue;
        }
        Index j = 0;
        while (std::isfinite(std::real(at(i, j))) && std::isfinite(std::imag(at(i, j)))) ++j;
        raise<NumericalError>({"decompose: W(", i, ", ", j, ") of ", W.rows, " x ", W.cols, " is ",
                               at(i, j), ", need finite values"});
    }
    return largest;
}

/// What the elements were multiplied by, and their norm(W)^2 afterwards.
template <class R>
struct ScaledNorm {
    R scale = 1;
    double norm_squared = 0;
};

/// Scales `rest`, a copy of W, where its norm is so large or small that squares or products would
/// leave the range of T. Throws NumericalError, with the place, where W holds NaN or Inf: then the
/// norm is not finite, so W is searched only where the norm is suspicious.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] ScaledNorm<Real<T>> bring_into_range(BufferOf<B, T>& rest, MatrixView<const T> W,
                                                   const B& backend) {
    ScaledNorm<Real<T>> result{1, squared_norm<T>(rest.data(), W.size(), backend)};
    const double norm = std::sqrt(result.norm_squared);
    if (norm > 0 && std::isfinite(norm) && safe_scale<Real<T>>(norm) == 1) return result;
    result.scale = safe_scale<Real<T>>(largest_finite(W));
    if (result.scale == 1) return result;
    backend.scale(W.size(), T(result.scale), rest.data());
    result.norm_squared = squared_norm<T>(rest.data(), W.size(), backend);
    return result;
}

/// W as a view of legs (o1, i1, o2, i2, .., oN, iN).
template <Scalar T>
[[nodiscard]] TensorView<const T> interleaved(MatrixView<const T> W, const Layout& layout) {
    const auto sites = static_cast<Index>(layout.out.size());
    TensorView<const T> legs(W.data, {W.rows, W.cols}, {W.row_stride, W.col_stride});
    legs = split_axis(split_axis(legs, 1, layout.in), 0, layout.out);
    Shape order;
    for (Index k = 0; k < sites; ++k) {
        order.push_back(k);
        order.push_back(sites + k);
    }
    return permuted(legs, order);
}

/// One bond: `rest` (rows, columns) -> core (rows, r) on the host and rest (r, columns), whose
/// norm^2 replaces options.norm_squared.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Tensor<T> split_off(BufferOf<B, T>& rest, Index rows, Index columns,
                                  LowRankOptions& options, DecomposeReport& report,
                                  double norm_squared, const B& backend) {
    auto factors = low_rank<T>(matrix<const T>(rest.data(), rows, columns), options, backend);
    Tensor<T> core({rows, factors.rank});
    backend.download(factors.left.data(), core.view());
    rest = std::move(factors.right);
    options.norm_squared = factors.kept_squared;
    BondSpectrum bond;
    bond.bond_dim = factors.rank;
    bond.singular_values = std::move(factors.singular_values);
    bond.discarded_weight = norm_squared > 0 ? factors.discarded_squared / norm_squared : 0;
    bond.limit = factors.limit;
    report.bonds.push_back(std::move(bond));
    report.methods.push_back(factors.method);
    return core;
}

/// Turns what was measured on scale W into what holds for W, and adds up the bonds.
inline void finish_report(DecomposeReport& report, double norm_squared, double scale) {
    double lost = 0;
    for (auto& spectrum : report.bonds) {
        lost += spectrum.discarded_weight;
        for (double& sigma : spectrum.singular_values) sigma /= scale;
    }
    report.norm = std::sqrt(norm_squared) / scale;
    report.relative_error = std::sqrt(lost);
}

}  // namespace detail

/// Factors W into an MPO.
///
/// W        (out, in), any strides, finite; not modified
/// options  legs of size 1 are legal; plain low rank is the layout (out, 1), (1, in). The tolerance
///          is guaranteed for the whole MPO and split over the bonds, what one bond leaves unspent
///          goes to the next; then the bond cap. A cap above the useful maximum is lowered to it.
/// returns  left-canonical cores; per bond the spectrum, the discarded weight and the limit felt
/// error    relative_error^2 = sum of discarded_weight, exact up to rounding, because each U is
///          orthonormal and the rest is a projection
/// cost     one truncated SVD per bond of a (D o i, rest) matrix, see linalg/low_rank.hpp;
///          peak 2 size(W) elements of backend memory, 4 where an exact SVD is chosen
/// throws   ShapeError (legs, empty W), ArgumentError (options), NumericalError (NaN or Inf, with
///          its place; SVD not converged)
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Decomposition<T> decompose(const TensorView<const T>& W,
                                         const DecomposeOptions& options, const B& backend) {
    const auto view = as_matrix(W);
    if (view.rows < 1 || view.cols < 1)
        detail::raise<ShapeError>({"decompose: W is empty, ", view.rows, " x ", view.cols});
    validate(options.layout, view.rows, view.cols, "decompose");
    validate(options.truncation, "decompose");
    const Layout& layout = options.layout;
    const auto sites = static_cast<Index>(layout.out.size());

    auto rest = backend.template allocate<T>(view.size());
    backend.template upload<T>(detail::interleaved(view, layout),
                               rest.data());  // (o1 i1, .., oN iN)
    const auto [scale, norm_squared] = detail::bring_into_range<T>(rest, view, backend);
    const double eps = options.truncation.max_relative_error;
    double budget = eps * eps * norm_squared;

    DecomposeReport report;
    std::vector<Tensor<T>> cores;
    const Shape useful = useful_bond_dims(layout);
    LowRankOptions at_bond{options.truncation.max_bond_dim,
                           0,
                           options.method,
                           options.excess,
                           options.seed,
                           norm_squared};
    Index bond = 1, columns = view.size();
    for (Index k = 0; k < sites; ++k) {
        const auto at = static_cast<std::size_t>(k);
        const Index rows = bond * layout.out[at] * layout.in[at];
        columns /= layout.out[at] * layout.in[at];
        Tensor<T> core;
        if (k == sites - 1) {
            core = Tensor<T>({rows, 1});
            backend.download(rest.data(), core.view());
            for (Index j = 0; j < core.size() && scale != 1; ++j) core.data()[j] /= scale;
        } else {
            at_bond.allowed_squared = budget / static_cast<double>(sites - 1 - k);
            at_bond.seed = options.seed + static_cast<std::uint64_t>(k);
            core =
                detail::split_off<T>(rest, rows, columns, at_bond, report, norm_squared, backend);
            report.bonds.back().useful_bond_dim = useful[at + 1];
            budget = (std::max)(0.0, budget - report.bonds.back().discarded_weight * norm_squared);
        }
        const Index next = core.extent(1);
        cores.push_back(std::move(core).reshape({bond, layout.out[at], layout.in[at], next}));
        bond = next;
    }
    detail::finish_report(report, norm_squared, static_cast<double>(scale));
    return {Mpo<T>(std::move(cores), CanonicalForm::left), std::move(report)};
}

/// The same for a tensor.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Decomposition<T> decompose(const Tensor<T>& W, const DecomposeOptions& options,
                                         const B& backend) {
    return decompose<T>(W.view(), options, backend);
}
/// The same for a view that may be written; it is not.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Decomposition<T> decompose(const TensorView<T>& W, const DecomposeOptions& options,
                                         const B& backend) {
    return decompose<T>(TensorView<const T>(W), options, backend);
}

}  // namespace mpo
