// tensorize: the front door. A dense weight goes in; a layer comes out, in the layout that is worth most
// under a budget or a tolerance, with a verdict that says what else was tried and why it lost.
//
//   integers     every layout of search_layouts gets the bonds that its limits allow, or is refused
//   sketches     one random projection per cut of W estimates the error of all layouts that have it
//   decompose    plain low rank, then the most promising ones; their errors are exact
//   judge        smallest error (budget) or fewest parameters (tolerance); of equals the cheapest
//
// "Do not compress this layer" is an answer: the layer that is returned is W itself then.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "mpo/network/algebra.hpp"
#include "mpo/network/contract.hpp"
#include "mpo/network/decompose.hpp"
#include "mpo/network/fit.hpp"
#include "mpo/network/layout_search.hpp"
#include "mpo/network/matrix_product.hpp"
#include "mpo/network/mpo_linear.hpp"
#include "mpo/network/tensorize_verdict.hpp"
#include "mpo/network/unfolding_sketch.hpp"

namespace mpo {

/// How small or how good, how fast, and how hard to search. Exactly one of the first two.
template <Scalar T>
struct TensorizeOptions {
    std::optional<double> budget = {};  // share of W's parameters that the cores may take, (0, 1]
    std::optional<double> tolerance = {};  // norm(W - W') / norm(W) at most, Frobenius, >= 0

    /// Multiply-adds per token relative to out * in, cheaper sweep, above 0: bonds are lowered to it.
    double max_flops_ratio = std::numeric_limits<double>::infinity();
    double slack = 1e-2;       // a relative difference of error or parameters that counts as none
    Index max_sites = 4;       // of the chains, 2 to 12
    Index max_estimates = 64;  // cuts of W that are sketched at most, >= 0
    Index max_decompositions =
        6;  // layouts that are decomposed at most, >= 1; low rank is the first
    std::vector<Layout> layouts = {};  // where given, these compete and no others

    std::optional<Index> batch = {};  // tokens expected in one call; where given, instead of plan's
    PlanOptions plan = {};            // of the layer
    std::optional<TensorView<const T>> bias = {};  // (out), of the layer

    /// (in, in), Hermitian and positive semidefinite: the mean of x x^H over inputs x. Under a budget chains
    /// are then fitted in its metric, and candidates compared by sqrt(trace(E S E^H) / trace(W S W^H)),
    /// E = W - W', which is the relative error of the outputs, computed exactly. Estimates stay
    /// Frobenius, and so does all of it under a tolerance but the comparison.
    std::optional<TensorView<const T>> second_moments = {};
    std::uint64_t seed = 1;  // of sketches and randomized factorisations
};

/// What tensorize returns.
template <Scalar T, BackendFor<T> B>
struct Tensorized {
    MpoLinear<T, B> layer;  // the winner; W itself, a chain of one site, where the advice says so
    TensorizeVerdict verdict;  // what to do, what won, what lost and why
};

namespace detail {

/// trace(E S E^H) of matrices in backend memory: E (m, n), S (n, n), row-major.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] double weighted_square(const T* E, Index m, Index n, const T* S, const B& backend) {
    auto product = backend.template allocate<T>(m * n);
    backend.gemm(T{1}, matrix<const T>(E, m, n), matrix<const T>(S, n, n), T{0},
                 matrix(product.data(), m, n));
    return real_dot<T>(E, product.data(), m * n, backend);
}

/// Errors in the metric of second moments, or none where these were not given.
template <Scalar T, BackendFor<T> B>
class WeightedMetric {
  public:
    WeightedMetric(const TensorView<const T>& W,
                   const std::optional<TensorView<const T>>& second_moments, const B& backend)
        : W_(W), given_(second_moments), backend_(backend) {
        if (!given_) return;
        const Index n = W.extent(1);
        if (given_->rank() != 2 || given_->extent(0) != n || given_->extent(1) != n)
            raise<ShapeError>({"tensorize: second_moments must be (in, in) = ", n, " x ", n,
                               ", got ", to_string(given_->shape)});
        moments_ = backend.template allocate<T>(n * n);
        backend.upload(*given_, moments_.data());
        auto weight = backend.template allocate<T>(W.size());
        backend.upload(W, weight.data());
        total_ = weighted_square<T>(weight.data(), W.extent(0), n, moments_.data(), backend);
        if (!(total_ >= 0) || !std::isfinite(total_))
            raise<ArgumentError>({"tensorize: second_moments must be positive semidefinite, ",
                                  "trace(W S W^H) is ", total_});
    }

    [[nodiscard]] bool is_given() const { return given_.has_value(); }

    /// A chain of the same legs and bonds that is fitted in the metric.
    [[nodiscard]] Mpo<T> fitted(const Mpo<T>& chain, std::uint64_t seed) {
        FitOptions options;
        options.layout = chain.layout();
        const Shape bonds = chain.bond_dims();
        options.max_bond_dim = *std::max_element(bonds.begin(), bonds.end());
        options.seed = seed;
        if (!metric_) {
            weight_ = copied<T>(W_);
            wide_ = copied<GramScalar<B, T>>(*given_);
            metric_.emplace(weight_, wide_, options.ridge, backend_);
        }
        return fit_in_metric(start_of(weight_, wide_, options, backend_), *metric_, options,
                             backend_)
            .mpo;
    }
    /// norm(W - W') / norm(W).
    [[nodiscard]] double frobenius_error(const Mpo<T>& mpo) const {
        auto weight = backend_.template allocate<T>(W_.size());
        backend_.upload(W_, weight.data());
        const double total = squared_norm<T>(weight.data(), W_.size(), backend_);
        const double lost = squared_norm<T>(rest_of(mpo).data(), W_.size(), backend_);
        return total > 0 ? std::sqrt(lost / total) : 0;
    }

    /// sqrt(trace(E S E^H) / trace(W S W^H)), E = W - W'; 0 where rounding makes it negative.
    [[nodiscard]] std::optional<double> error(const Mpo<T>& mpo) const {
        if (!given_) return std::nullopt;
        const Index m = W_.extent(0), n = W_.extent(1);
        const double lost =
            weighted_square<T>(rest_of(mpo).data(), m, n, moments_.data(), backend_);
        if (!(lost > 0)) return 0.0;
        return total_ > 0 ? std::sqrt(lost / total_) : std::numeric_limits<double>::infinity();
    }

  private:
    template <Scalar U>
    [[nodiscard]] static Tensor<U> copied(const TensorView<const T>& view) {
        Tensor<U> copy(view.shape);
        for (Index i = 0; i < view.extent(0); ++i)
            for (Index j = 0; j < view.extent(1); ++j) copy(i, j) = static_cast<U>(view(i, j));
        return copy;
    }
    /// W - W' in backend memory.
    [[nodiscard]] BufferOf<B, T> rest_of(const Mpo<T>& mpo) const {
        auto rest = backend_.template allocate<T>(W_.size());
        backend_.upload(W_, rest.data());
        const auto approximation = send<T>(to_dense(mpo, backend_), backend_);
        backend_.axpy(W_.size(), T{-1}, static_cast<const T*>(approximation.data()), rest.data());
        return rest;
    }

    TensorView<const T> W_;
    std::optional<TensorView<const T>> given_;
    const B& backend_;
    BufferOf<B, T> moments_;
    double total_ = 0;
    Tensor<T> weight_;                       // of W_, for fitted
    Tensor<GramScalar<B, T>> wide_;          // of the second moments, the same
    std::optional<FitMetric<T, B>> metric_;  // of these, made when it is first asked for
};

/// The search behind tensorize: every member function is one of its steps.
template <Scalar T, BackendFor<T> B>
class TensorizeSearch {
  public:
    TensorizeSearch(const TensorView<const T>& W, const TensorizeOptions<T>& options,
                    const B& backend)
        : W_(W),
          options_(options),
          backend_(backend),
          goal_{options.budget,
                options.tolerance,
                options.max_flops_ratio,
                options.slack,
                8 * eps,
                8 * std::sqrt(eps),
                checked_multiply(W.extent(0), W.extent(1))},
          metric_(W, options.second_moments, backend) {}

    /// The chain of the winner and the verdict.
    [[nodiscard]] std::pair<Mpo<T>, TensorizeVerdict> run() {
        const auto layouts = options_.layouts.empty()
                                 ? search_layouts(W_.extent(0), W_.extent(1), options_.max_sites)
                                 : options_.layouts;
        for (const auto& layout : layouts)
            candidates_.push_back(priced_candidate(price_layout(layout, limits_of(goal_)),
                                                   limits_of(goal_), goal_.dense));
        chains_.resize(candidates_.size());
        if (goal_.tolerance) decompose_first();  // its size is what all others have to beat
        const Index sketched = estimate();
        if (goal_.budget) decompose_first();
        for (const Index k : promising(candidates_, goal_, options_.max_decompositions - 1))
            decompose_candidate(static_cast<std::size_t>(k));
        const Index won = winner_of(candidates_, goal_);
        auto verdict = judge(candidates_, goal_, W_.extent(0), W_.extent(1));
        verdict.num_estimates = sketched;
        if (verdict.advice == Advice::keep_dense) return {dense_chain(), std::move(verdict)};
        return {std::move(chains_[static_cast<std::size_t>(won)]), std::move(verdict)};
    }

  private:
    /// The first one that fits the limits: plain low rank wherever it does.
    void decompose_first() {
        for (std::size_t k = 0; k < candidates_.size(); ++k)
            if (candidates_[k].standing == Standing::not_tried) return decompose_candidate(k);
    }

    /// Sketches the cuts of all that are not decomposed yet, as many as allowed. Under a tolerance only
    /// what has no more parameters than the best so far can win: the estimate is made at that size.
    [[nodiscard]] Index estimate() {
        UnfoldingSketches<T, B> sketches(as_matrix(W_), options_.seed, backend_);
        std::vector<std::size_t> announced;
        for (std::size_t k = 0; k < candidates_.size(); ++k) {
            auto& candidate = candidates_[k];
            if (candidate.standing != Standing::not_tried || candidate.relative_error) continue;
            reprice(candidate);
            if (candidate.standing != Standing::not_tried) continue;
            if (sketches.announce(candidate.layout, candidate.bonds, options_.max_estimates))
                announced.push_back(k);
            else
                candidate.why = concat("max_estimates = ", options_.max_estimates,
                                       " cuts were sketched before it");
        }
        for (const std::size_t k : announced) estimate(candidates_[k], sketches);
        return sketches.size();
    }

    /// The smallest bonds whose estimated error suffices, or else those that the limits allow.
    void estimate(TensorizeCandidate& candidate, UnfoldingSketches<T, B>& sketches) const {
        const Layout layout = candidate.layout;
        Index above = *std::max_element(candidate.bonds.begin(), candidate.bonds.end());
        for (Index below = 0; above - below > 1;) {
            const Index cap = below + (above - below) / 2;
            const double error = sketches.error(layout, uniform_bonds(layout, cap));
            (error <= sufficient_error(goal_) ? above : below) = cap;
        }
        const Shape bonds = uniform_bonds(layout, above);
        candidate = priced_candidate({layout, above, bonds, num_parameters(layout, bonds),
                                      multiply_adds_of_best_sweep(layout, bonds)},
                                     {}, goal_.dense);
        candidate.estimated_error = sketches.error(layout, bonds);
    }

    /// The limits that a candidate must keep to win against those decomposed so far.
    [[nodiscard]] LayoutLimits remaining_limits() const {
        auto limits = limits_of(goal_);
        const Index best = goal_.tolerance ? winner_of(candidates_, goal_) : -1;
        if (best < 0) return limits;
        Index fewest = candidates_[static_cast<std::size_t>(best)].parameters;
        for (const auto& candidate : candidates_)
            if (keeps_goal(candidate, goal_)) fewest = (std::min)(fewest, candidate.parameters);
        limits.max_parameters =
            (std::min)(limits.max_parameters,
                       static_cast<Index>(static_cast<double>(fewest) * (1 + goal_.slack)));
        return limits;
    }

    void reprice(TensorizeCandidate& candidate) const {
        const auto limits = remaining_limits();
        candidate = priced_candidate(price_layout(candidate.layout, limits), limits, goal_.dense);
    }

    void decompose_candidate(std::size_t k) {
        auto& candidate = candidates_[k];
        const auto estimate = candidate.estimated_error;
        const auto priced = price_layout(candidate.layout, remaining_limits());
        if (priced.max_bond_dim == 0) {  // what was decomposed since has left it no room
            reprice(candidate);
            candidate.estimated_error = estimate;
            return;
        }
        DecomposeOptions how;
        how.layout = candidate.layout;
        how.truncation.max_bond_dim = priced.max_bond_dim;
        if (goal_.tolerance)
            how.truncation.max_relative_error = *goal_.tolerance;
        else if (!estimate || *estimate <= sufficient_error(goal_))
            how.truncation.max_relative_error = goal_.rounding;  // no bond for what is rounding
        how.seed = options_.seed;
        auto found = decompose<T>(W_, how, backend_);
        if (metric_.is_given() && goal_.budget) {
            found.mpo = metric_.fitted(found.mpo, options_.seed);
            found.report.relative_error = metric_.frobenius_error(found.mpo);
        }
        const Shape bonds = found.mpo.bond_dims();
        candidate = priced_candidate({candidate.layout, 1, bonds, found.mpo.num_parameters(),
                                      multiply_adds_of_best_sweep(candidate.layout, bonds)},
                                     {}, goal_.dense);
        candidate.relative_error = found.report.relative_error;
        candidate.weighted_error = metric_.error(found.mpo);
        candidate.estimated_error = estimate;
        chains_[k] = std::move(found.mpo);
    }

    /// W as one core (1, out, in, 1).
    [[nodiscard]] Mpo<T> dense_chain() const {
        Tensor<T> core({W_.extent(0), W_.extent(1)});
        for (Index o = 0; o < W_.extent(0); ++o)
            for (Index i = 0; i < W_.extent(1); ++i) core(o, i) = W_(o, i);
        std::vector<Tensor<T>> cores;
        cores.push_back(std::move(core).reshape({1, W_.extent(0), W_.extent(1), 1}));
        return Mpo<T>(std::move(cores), CanonicalForm::left);
    }

    static constexpr double eps = std::numeric_limits<Real<T>>::epsilon();

    TensorView<const T> W_;
    const TensorizeOptions<T>& options_;
    const B& backend_;
    TensorizeGoal goal_;
    WeightedMetric<T, B> metric_;
    std::vector<TensorizeCandidate> candidates_;
    std::vector<Mpo<T>> chains_;  // of candidates that were decomposed
};

/// Throws where tensorize cannot work with its arguments.
template <Scalar T>
void validate(const TensorView<const T>& W, const TensorizeOptions<T>& options) {
    const auto view = as_matrix(W);
    if (view.rows < 1 || view.cols < 1)
        raise<ShapeError>({"tensorize: W is empty, ", view.rows, " x ", view.cols});
    validate(
        TensorizeGoal{options.budget, options.tolerance, options.max_flops_ratio, options.slack});
    if (options.max_sites < 2 || options.max_sites > max_num_sites)
        raise<ArgumentError>(
            {"tensorize: max_sites must be 2 to ", max_num_sites, ", got ", options.max_sites});
    const Index batch = options.batch.value_or(options.plan.batch);
    if (batch < 1) raise<ArgumentError>({"tensorize: batch must be at least 1, got ", batch});
    if (options.max_estimates < 0 || options.max_decompositions < 1)
        raise<ArgumentError>(
            {"tensorize: need max_estimates >= 0 and max_decompositions >= ", "1, got ",
             options.max_estimates, " and ", options.max_decompositions});
    for (const auto& layout : options.layouts) validate(layout, view.rows, view.cols, "tensorize");
    if (options.bias && (options.bias->rank() != 1 || options.bias->extent(0) != view.rows))
        raise<ShapeError>({"tensorize: the bias must have ", view.rows, " elements, got shape ",
                           to_string(options.bias->shape)});
    (void)largest_finite(view);
}

}  // namespace detail

/// Turns a dense weight into the layer that is worth most.
///
/// W        (out, in), any strides, finite; not modified
/// options  `budget`: the winner has the smallest error of those with at most budget * out * in
///          parameters. `tolerance`: it has the fewest parameters of those within the tolerance.
///          Candidates that equal it within `slack` compete by multiply-adds per token, then by
///          parameters, then by error. The bonds of a layout are equal but for the useful maximum
/// backend  must outlive the layer
/// returns  the layer and the verdict; the same for the same seed and number of threads
/// error    relative_error of whatever was decomposed is exact: norm(W - W') / norm(W). Estimates
///          come from sketches and choose only what is decomposed
/// cost     one truncated SVD per bond of max_decompositions layouts; 2 out * in * D multiply-adds
///          for each of max_estimates sketches; with second_moments out * in^2 per decomposition.
///          Memory: decompose's, and the cores of all that was decomposed
/// throws   ArgumentError (options), ShapeError (W empty, layouts, bias, second_moments),
///          NumericalError (NaN or Inf, with its place)
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Tensorized<T, B> tensorize(const TensorView<const T>& W,
                                         const TensorizeOptions<T>& options, const B& backend) {
    detail::validate(W, options);
    auto [mpo, verdict] = detail::TensorizeSearch<T, B>(W, options, backend).run();
    Tensor<T> bias;
    if (options.bias) {
        bias = Tensor<T>({W.extent(0)});  // (out)
        for (Index o = 0; o < bias.size(); ++o) bias(o) = (*options.bias)(o);
    }
    PlanOptions plan = options.plan;
    plan.batch = options.batch.value_or(plan.batch);
    return {MpoLinear<T, B>(std::move(mpo), std::move(bias), plan, backend), std::move(verdict)};
}
/// The same for a tensor.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Tensorized<T, B> tensorize(const Tensor<T>& W,
                                         const std::type_identity_t<TensorizeOptions<T>>& options,
                                         const B& backend) {
    return tensorize<T>(W.view(), options, backend);
}
/// The same for a view that may be written; it is not.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Tensorized<T, B> tensorize(const TensorView<T>& W,
                                         const std::type_identity_t<TensorizeOptions<T>>& options,
                                         const B& backend) {
    return tensorize<T>(TensorView<const T>(W), options, backend);
}
/// The layer keeps a pointer to its backend: a temporary one is refused at compile time.
template <Scalar T, BackendFor<T> B>
Tensorized<T, B> tensorize(const Tensor<T>& W,
                           const std::type_identity_t<TensorizeOptions<T>>& options,
                           const B&& backend) = delete;

}  // namespace mpo
