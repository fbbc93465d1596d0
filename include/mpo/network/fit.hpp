// fit: an MPO that keeps the outputs of y = W x instead of the numbers of W: alternating least squares in
// the metric S = E[x x^H] of the inputs, for any number of sites and any legs.
//
//   minimise  E norm((W - A) x)^2 = tr((W - A) S (W - A)^H)   over the cores of A, one after the other
//
// Linear in each core, so every step is a least squares problem (fit_site.hpp, fit_solve.hpp); the cores
// before and behind are kept orthonormal, which keeps it well conditioned. No step raises the loss.
// Sweeps go forth and back until one gains little. Plain TT-SVD is what S = I asks for; on trained
// weights and their activations the fit ends several times lower.
//
// ALS of tensor trains: Holtz, Rohwedder, Schneider, SIAM J. Sci. Comput. 34 (2012).
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "mpo/linalg/weighted_loss.hpp"
#include "mpo/linalg/weighted_low_rank.hpp"
#include "mpo/network/algebra.hpp"
#include "mpo/network/canonical.hpp"
#include "mpo/network/decompose.hpp"
#include "mpo/network/fit_solve.hpp"
#include "mpo/network/fit_start.hpp"

namespace mpo {

/// The chain that a fit begins with.
enum class FitStart {
    plain,     // TT-SVD of W
    whitened,  // TT-SVD in a product metric near S, see fit_start.hpp
};

/// Legs, bonds, and how long to go on.
struct FitOptions {
    Layout layout = {};  // out legs multiply up to rows of W, in legs to its columns
    Index max_bond_dim = (std::numeric_limits<Index>::max)();  // clipped to the useful maximum
    FitStart start = FitStart::whitened;                       // where no chain is given
    /// Added to the diagonal of S, relative to its mean: what keeps A near W in directions that S does not
    /// know. 0: nothing does, and A may grow there.
    double ridge = 1e-6;
    Index max_sweeps = 8;    // forth and back; 0: the start as it is
    double min_gain = 2e-3;  // sweeps end where one lowers the loss by less, relative to it
    FitSolver solver = FitSolver::automatic;  // of every core
    Index max_direct = 4096;                  // unknowns of a system that is factorised
    Index max_iterations = 40;                // of one system that is not
    std::uint64_t seed = 1;                   // of randomized factorisations in the start
};

/// What a fit reached, and how.
struct FitReport {
    double loss = 0;   // tr((W - A) S (W - A)^H), with the ridge, measured on the cores returned
    double total = 0;  // tr(W S W^H), with the ridge: the loss of A = 0
    std::vector<double> losses = {};      // of the start and after every sweep; never rising
    std::vector<FitSolver> solvers = {};  // of every site, in the last sweep
    Index iterations = 0;                 // of conjugate gradients, all sites and sweeps
    bool converged = false;               // the last sweep gained less than min_gain

    /// loss / total; 0 where both are.
    [[nodiscard]] double relative_loss() const { return total > 0 ? loss / total : 0; }
};

/// What fit returns.
template <Scalar T>
struct Fitted {
    Mpo<T> mpo;        // right-canonical
    FitReport report;  // losses and what it took
};

namespace detail {

/// W and S on scale 1 in backend memory: rounding and thresholds then mean the same for every layer.
template <Scalar T, BackendFor<T> B>
class FitMetric {
  public:
    using G = GramScalar<B, T>;

    FitMetric(const Tensor<T>& W, const Tensor<G>& S, double ridge, const B& backend)
        : m_(W.extent(0)), n_(W.extent(1)), backend_(backend) {
        weight_ = send<T>(W, backend);
        const double norm = std::sqrt(squared_norm<T>(weight_.data(), m_ * n_, backend));
        if (!std::isfinite(norm))
            raise<NumericalError>({"fit: W, ", m_, " x ", n_, ", holds NaN or Inf, or overflows"});
        wide_ = send<G>(S, backend);
        const double rounding =
            moment_rounding<T, G>(matrix<const G>(wide_.data(), n_, n_), "fit", backend);
        require_semidefinite<G>(matrix<const G>(wide_.data(), n_, n_), rounding, "fit", backend);
        double trace = 0;
        for (Index k = 0; k < n_; ++k) trace += static_cast<double>(std::real(S(k, k)));
        if (norm > 0) weight_scale_ = std::sqrt(static_cast<double>(m_ * n_)) / norm;
        if (trace > 0) moment_scale_ = static_cast<double>(n_) / trace;
        backend.scale(m_ * n_, static_cast<T>(static_cast<Real<T>>(weight_scale_)), weight_.data());
        backend.scale(n_ * n_, static_cast<G>(static_cast<Real<G>>(moment_scale_)), wide_.data());
        if (trace > 0 && ridge > 0) add_to_diagonal(matrix(wide_.data(), n_, n_), ridge, backend);
        narrow_ = converted<T, G>(copy_of<G>(matrix<const G>(wide_.data(), n_, n_), backend), n_,
                                  n_, backend);
        target_ = backend.template allocate<T>(m_ * n_);
        backend.gemm(T{1}, weight(), matrix<const T>(narrow_.data(), n_, n_), T{0},
                     matrix(target_.data(), m_, n_));
        total_ = weighted_loss<T>(weight(), matrix<const G>(wide_.data(), n_, n_), backend);
    }

    [[nodiscard]] const T* moment() const { return narrow_.data(); }
    [[nodiscard]] const T* target() const { return target_.data(); }
    [[nodiscard]] double total() const { return total_; }
    [[nodiscard]] double weight_scale() const { return weight_scale_; }
    /// What losses here are in the units of the caller.
    [[nodiscard]] double unit() const {
        return 1 / (weight_scale_ * weight_scale_ * moment_scale_);
    }
    /// tr((W - A) S (W - A)^H).
    [[nodiscard]] double loss(const Mpo<T>& A) const {
        const auto dense = send<T>(to_dense(A, backend_), backend_);
        return weighted_loss<T>(weight(), matrix<const T>(dense.data(), m_, n_),
                                matrix<const G>(wide_.data(), n_, n_), backend_);
    }

  private:
    [[nodiscard]] MatrixView<const T> weight() const {
        return matrix<const T>(weight_.data(), m_, n_);
    }

    Index m_, n_;
    const B& backend_;
    BufferOf<B, T> weight_, narrow_, target_;
    BufferOf<B, G> wide_;
    double weight_scale_ = 1, moment_scale_ = 1, total_ = 0;
};

/// A chain under repair: cores in backend memory, the centre at the first one between sweeps, and all of
/// the chain left and right of every core as one block.
template <Scalar T, BackendFor<T> B>
class ChainFit {
  public:
    ChainFit(const Mpo<T>& start, const FitMetric<T, B>& metric, const FitOptions& options,
             const B& backend)
        : metric_(metric), options_(options), backend_(backend), sites_(start.num_sites()) {
        for (const auto& core : start.cores()) cores_.push_back(load(core, backend));
        left_.resize(cores_.size() + 1);
        right_.resize(cores_.size() + 1);
        for (Index k = sites_ - 1; k > 0; --k) set_right(k);
    }

    /// Every core once on the way to the last site, those between the ends once more on the way back.
    /// loss: that of the chain as it is. Returns the loss that the steps add up to.
    [[nodiscard]] double sweep(double loss, FitReport& report) {
        report.solvers.assign(cores_.size(), FitSolver::automatic);
        for (Index k = 0; k < sites_; ++k) {
            loss = update(k, loss, report);
            if (k + 1 == sites_) break;
            cross(k, Sweep::to_right);
            set_left(k + 1);
        }
        for (Index k = sites_ - 1; k > 0; --k) {
            cross(k, Sweep::to_left);
            set_right(k);
            if (k > 1) loss = update(k - 1, loss, report);
        }
        return loss;
    }

    [[nodiscard]] Mpo<T> chain() const {
        std::vector<Tensor<T>> cores;
        for (const auto& core : cores_) cores.push_back(store(core, backend_));
        return Mpo<T>(std::move(cores), CanonicalForm::right);
    }

  private:
    [[nodiscard]] static std::size_t at(Index k) { return static_cast<std::size_t>(k); }

    [[nodiscard]] double update(Index k, double loss, FitReport& report) {
        constexpr double negligible = 2e-4;  // of the loss: what an iteration must gain to go on
        auto& core = cores_[at(k)];
        const SiteProblem<T, B> site(left_[at(k)], right_[at(k + 1)], core.shape[1], core.shape[2],
                                     metric_.moment(), metric_.target(), backend_);
        const bool direct = options_.solver == FitSolver::direct ||
                            (options_.solver == FitSolver::automatic &&
                             direct_is_faster(site, options_.max_direct, options_.max_iterations));
        const SiteSolver<T, B> solver(site, backend_);
        const auto done =
            direct ? solver.solve(core.elements)
                   : solver.iterate(core.elements, {options_.max_iterations, negligible * loss});
        report.solvers[at(k)] = direct ? FitSolver::direct : FitSolver::iterative;
        if (!direct) report.iterations += done.iterations;
        return (std::max)(0.0, loss - done.gain);
    }

    /// Moves the centre from core k to its neighbour.
    void cross(Index k, Sweep sweep) {
        const Index next = sweep == Sweep::to_right ? k + 1 : k - 1;
        const auto carry = factor_qr(cores_[at(k)], sweep, backend_);
        cores_[at(next)] = absorb(carry, cores_[at(next)], sweep, backend_);
    }

    /// The cores before k, from those before k - 1 and core k - 1.
    void set_left(Index k) {
        const auto& core = cores_[at(k - 1)];
        const LegView<T> view{core.elements.data(), {leg_a, leg_o, leg_i, leg_b}, core.shape};
        auto block = contracted(left_[at(k - 1)].whole.view(), view, backend_,
                                {leg_ml, leg_o, leg_nl, leg_i, leg_b});
        const Shape s = block.shape;
        block.legs = {leg_ml, leg_nl, leg_a};
        block.shape = {s[0] * s[1], s[2] * s[3], s[4]};
        left_[at(k)] = FitBlock<T, B>(std::move(block), leg_ml, leg_nl, leg_a, backend_);
    }
    /// The cores from k on, from those behind it and core k.
    void set_right(Index k) {
        const auto& core = cores_[at(k)];
        const LegView<T> view{core.elements.data(), {leg_a, leg_o, leg_i, leg_b}, core.shape};
        auto block = contracted(view, right_[at(k + 1)].whole.view(), backend_,
                                {leg_a, leg_o, leg_mr, leg_i, leg_nr});
        const Shape s = block.shape;
        block.legs = {leg_b, leg_mr, leg_nr};
        block.shape = {s[0], s[1] * s[2], s[3] * s[4]};
        right_[at(k)] = FitBlock<T, B>(std::move(block), leg_mr, leg_nr, leg_b, backend_);
    }

    const FitMetric<T, B>& metric_;
    const FitOptions& options_;
    const B& backend_;
    Index sites_;
    std::vector<LoadedCore<T, B>> cores_;
    std::vector<FitBlock<T, B>> left_, right_;  // [k]: of the cores before k; of those from k on
};

inline void validate(const FitOptions& options) {
    if (options.max_bond_dim < 1)
        raise<ArgumentError>({"fit: max_bond_dim must be at least 1, got ", options.max_bond_dim});
    if (options.max_sweeps < 0 || options.max_iterations < 1 || options.max_direct < 0)
        raise<ArgumentError>(
            {"fit: need max_sweeps >= 0, max_iterations >= 1 and max_direct >= 0, got ",
             options.max_sweeps, ", ", options.max_iterations, " and ", options.max_direct});
    if (!(options.ridge >= 0) || !std::isfinite(options.ridge))
        raise<ArgumentError>({"fit: ridge must be finite and at least 0, got ", options.ridge});
    if (!(options.min_gain >= 0))
        raise<ArgumentError>({"fit: min_gain must be at least 0, got ", options.min_gain});
}

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

/// Sweeps from a chain on the scale of the caller; back on that scale.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Fitted<T> fit_in_metric(Mpo<T> start, const FitMetric<T, B>& metric,
                                      const FitOptions& options, const B& backend) {
    const auto factor = [](double x) { return static_cast<T>(static_cast<Real<T>>(x)); };
    auto fitted =
        improve(scale(std::move(start), factor(metric.weight_scale())), metric, options, backend);
    const double unit = metric.unit();
    auto& report = fitted.report;
    for (double& loss : report.losses) loss *= unit;
    report.loss *= unit;
    report.total = metric.total() * unit;
    fitted.mpo = scale(std::move(fitted.mpo), factor(1 / metric.weight_scale()));
    return fitted;
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
    if (start.num_sites() == 0 || start.rows() != W.extent(0) || start.cols() != W.extent(1))
        detail::raise<ShapeError>({"fit: the start must be ", W.extent(0), " x ", W.extent(1),
                                   ", got ", start.num_sites() == 0 ? 0 : start.rows(), " x ",
                                   start.num_sites() == 0 ? 0 : start.cols()});
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
