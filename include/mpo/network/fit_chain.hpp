// A chain under repair: the metric of the inputs, and sweeps that lower the loss core by core, or pair of cores by
// pair of cores (fit_pair.hpp), with all others fixed.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "mpo/linalg/weighted_loss.hpp"
#include "mpo/linalg/weighted_low_rank.hpp"
#include "mpo/network/algebra.hpp"
#include "mpo/network/canonical.hpp"
#include "mpo/network/fit_options.hpp"
#include "mpo/network/fit_pair.hpp"
#include "mpo/network/fit_solve.hpp"

namespace mpo::detail {

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
        return go_back(loss, report);
    }

    /// Two neighbouring cores at a time on the way to the last site, each pair cut to its bond of `bonds`
    /// (D[0] .. D[N], clipped to what there is); then the cores between the ends on the way back. Returns what
    /// every direction of every bond is worth, descending, in units of the loss.
    [[nodiscard]] std::vector<std::vector<double>> sweep_pairs(const Shape& bonds, double loss,
                                                               FitReport& report) {
        report.solvers.assign(cores_.size(), FitSolver::automatic);
        std::vector<std::vector<double>> weights;
        for (Index k = 0; k + 1 < sites_; ++k) {
            auto pair = merge(cores_[at(k)], cores_[at(k + 1)], backend_);
            const Shape& s = pair.shape;  // (a, o, p, i, j, b)
            const SiteProblem<T, B> site(left_[at(k)], right_[at(k + 2)], s[1] * s[2], s[3] * s[4],
                                         metric_.moment(), metric_.target(), backend_);
            loss = (std::max)(0.0, loss - lower(site, pair.elements, loss, report).gain);
            auto split = split_pair(pair, site.pair_traces(s[3]), bonds[at(k + 1)], backend_);
            for (std::size_t d = static_cast<std::size_t>(split.bond); d < split.weights.size();
                 ++d)
                loss += split.weights[d];
            weights.push_back(std::move(split.weights));
            cores_[at(k)] = std::move(split.first);
            cores_[at(k + 1)] = std::move(split.second);
            cross(k, Sweep::to_right);
            set_left(k + 1);
        }
        (void)go_back(loss, report);
        return weights;
    }

    [[nodiscard]] Mpo<T> chain() const {
        std::vector<Tensor<T>> cores;
        for (const auto& core : cores_) cores.push_back(store(core, backend_));
        return Mpo<T>(std::move(cores), CanonicalForm::right);
    }

  private:
    [[nodiscard]] static std::size_t at(Index k) { return static_cast<std::size_t>(k); }

    /// From the last site to the first: the cores between them, and all that is right of every core.
    [[nodiscard]] double go_back(double loss, FitReport& report) {
        for (Index k = sites_ - 1; k > 0; --k) {
            cross(k, Sweep::to_left);
            set_right(k);
            if (k > 1) loss = update(k - 1, loss, report);
        }
        return loss;
    }

    [[nodiscard]] double update(Index k, double loss, FitReport& report) {
        auto& core = cores_[at(k)];
        const SiteProblem<T, B> site(left_[at(k)], right_[at(k + 1)], core.shape[1], core.shape[2],
                                     metric_.moment(), metric_.target(), backend_);
        const auto done = lower(site, core.elements, loss, report);
        report.solvers[at(k)] = done.solver;
        return (std::max)(0.0, loss - done.gain);
    }

    struct Lowered {
        double gain = 0;
        FitSolver solver = FitSolver::automatic;
    };
    /// Lowers the loss of one core, or of a pair of them.
    [[nodiscard]] Lowered lower(const SiteProblem<T, B>& site, BufferOf<B, T>& core, double loss,
                                FitReport& report) const {
        constexpr double negligible = 2e-4;  // of the loss: what an iteration must gain to go on
        const bool direct = options_.solver == FitSolver::direct ||
                            (options_.solver == FitSolver::automatic &&
                             direct_is_faster(site, options_.max_direct, options_.max_iterations));
        const SiteSolver<T, B> solver(site, backend_);
        if (direct) return {solver.solve(core).gain, FitSolver::direct};
        const auto done = solver.iterate(core, {options_.max_iterations, negligible * loss});
        report.iterations += done.iterations;
        return {done.gain, FitSolver::iterative};
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

}  // namespace mpo::detail
