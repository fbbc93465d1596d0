// fit: an MPO that keeps the outputs of y = W x instead of the numbers of W: alternating least squares in
// the metric S = E[x x^H] of the inputs, for any number of sites and any legs.
//
//   minimise  E norm((W - A) x)^2 = tr((W - A) S (W - A)^H)   over the cores of A, one after the other
//
// Linear in each core, so every step is a least squares problem (fit_chain.hpp); the cores
// before and behind are kept orthonormal, which keeps it well conditioned. No step raises the loss.
// Sweeps go forth and back until one gains little. Plain TT-SVD is what S = I asks for; on trained
// weights and their activations the fit ends several times lower.
//
// ALS of tensor trains: Holtz, Rohwedder, Schneider, SIAM J. Sci. Comput. 34 (2012).
#pragma once

#include <utility>
#include <vector>

#include "mpo/network/canonical.hpp"
#include "mpo/network/decompose.hpp"
#include "mpo/network/fit_chain.hpp"
#include "mpo/network/fit_options.hpp"
#include "mpo/network/fit_start.hpp"

namespace mpo {

/// What fit returns.
template <Scalar T>
struct Fitted {
    Mpo<T> mpo;        // right-canonical
    FitReport report;  // losses and what it took
};

namespace detail {

/// Sweeps over a chain for W on the scale of the metric.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Fitted<T> improve(Mpo<T> start, const FitMetric<T, B>& metric,
                                const FitOptions& options, const B& backend) {
    Fitted<T> result{right_canonicalize(std::move(start), backend), {}};
    auto& report = result.report;
    double loss = metric.loss(result.mpo);
    report.losses.push_back(loss);
    ChainFit<T, B> chain(result.mpo, metric, options, backend);
    while (static_cast<Index>(report.losses.size()) <= options.max_sweeps && loss > 0) {
        (void)chain.sweep(loss, report);
        auto swept = chain.chain();
        const double next = metric.loss(swept);
        report.converged = !(loss - next >= options.min_gain * loss);
        if (!(next < loss)) break;  // rounding is all that is left
        result.mpo = std::move(swept);
        loss = next;
        report.losses.push_back(loss);
        if (report.converged) break;
    }
    report.loss = loss;
    return result;
}

template <Scalar T, class G>
void require_moments(const Tensor<T>& W, const Tensor<G>& S) {
    if (W.rank() != 2 || W.size() == 0)
        raise<ShapeError>({"fit: W must be a matrix, got ", to_string(W.shape())});
    if (S.shape() != Shape{W.extent(1), W.extent(1)})
        raise<ShapeError>({"fit: W is ", W.extent(0), " x ", W.extent(1), ", so S must be ",
                           W.extent(1), " x ", W.extent(1), ", got ", to_string(S.shape())});
}

/// The chain that the options name.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Mpo<T> start_of(const Tensor<T>& W, const Tensor<GramScalar<B, T>>& S,
                              const FitOptions& options, const B& backend) {
    DecomposeOptions decomposition;
    decomposition.layout = options.layout;
    decomposition.truncation.max_bond_dim = options.max_bond_dim;
    decomposition.seed = options.seed;
    if (options.start == FitStart::plain) return decompose(W, decomposition, backend).mpo;
    return whitened_decomposition(W, S, decomposition, backend);
}

/// What `improve` makes of a chain on the scale of the caller; back on that scale.
template <Scalar T, BackendFor<T> B, class Improve>
[[nodiscard]] Fitted<T> on_scale(Mpo<T> start, const FitMetric<T, B>& metric, Improve&& improve) {
    const auto factor = [](double x) { return static_cast<T>(static_cast<Real<T>>(x)); };
    Fitted<T> fitted = improve(scale(std::move(start), factor(metric.weight_scale())));
    const double unit = metric.unit();
    auto& report = fitted.report;
    for (double& loss : report.losses) loss *= unit;
    report.loss *= unit;
    report.total = metric.total() * unit;
    fitted.mpo = scale(std::move(fitted.mpo), factor(1 / metric.weight_scale()));
    return fitted;
}

/// Sweeps from a chain on the scale of the caller; back on that scale.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Fitted<T> fit_in_metric(Mpo<T> start, const FitMetric<T, B>& metric,
                                      const FitOptions& options, const B& backend) {
    return on_scale(std::move(start), metric, [&](Mpo<T> scaled) {
        return improve(std::move(scaled), metric, options, backend);
    });
}

template <Scalar T>
void require_start(const Tensor<T>& W, const Mpo<T>& start) {
    const bool none = start.num_sites() == 0;
    if (none || start.rows() != W.extent(0) || start.cols() != W.extent(1))
        raise<ShapeError>({"fit: the start must be ", W.extent(0), " x ", W.extent(1), ", got ",
                           none ? 0 : start.rows(), " x ", none ? 0 : start.cols()});
}

}  // namespace detail

/// The chain A with the smallest tr((W - A) S (W - A)^H) that sweeps from a given one find.
///
/// W        (out, in), finite
/// S        (in, in), E[x x^H] or any multiple of it: Hermitian, no negative eigenvalue, both up to
///          rounding; may be singular
/// start    any chain of these legs; its bonds are kept, or fewer where fewer say the same
/// returns  the chain, right-canonical, and its loss, measured at the end
/// error    losses never rise; a minimum that is only local is possible, as for any ALS
/// cost     of a sweep and core, n = in: direct about n^2 b^2 + (a i b)^3 / 2 multiply-adds, iterative
///          max_iterations (m' n^2 + 2 m' n b), m' = min(out of the left block, nL a) o (the same right)
/// throws   ShapeError, ArgumentError (options), NumericalError (NaN or Inf; S not Hermitian or not
///          semidefinite)
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Fitted<T> fit(const Tensor<T>& W, const Tensor<GramScalar<B, T>>& S, Mpo<T> start,
                            const FitOptions& options, const B& backend) {
    detail::validate(options);
    detail::require_moments(W, S);
    detail::require_start(W, start);
    const detail::FitMetric<T, B> metric(W, S, options.ridge, backend);
    return detail::fit_in_metric(std::move(start), metric, options, backend);
}

/// The same from a start of its own, in the layout and with the bonds that the options name.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Fitted<T> fit(const Tensor<T>& W, const Tensor<GramScalar<B, T>>& S,
                            const FitOptions& options, const B& backend) {
    detail::validate(options);
    detail::require_moments(W, S);
    validate(options.layout, W.extent(0), W.extent(1), "fit");
    const detail::FitMetric<T, B> metric(W, S, options.ridge, backend);
    auto start = detail::start_of(W, S, options, backend);
    return detail::fit_in_metric(std::move(start), metric, options, backend);
}

}  // namespace mpo
