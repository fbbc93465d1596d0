// One linear: candidate forms of the size asked for, the best of them, rounded to its stored type
// and measured.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/model/compress_options.hpp"
#include "mpo/model/stored_linear.hpp"
#include "mpo/network/decompose.hpp"
#include "mpo/network/layout.hpp"
#include "mpo/network/unfolding_sketch.hpp"

namespace mpo::detail {

/// A layout and how far its bonds may go.
struct Candidate {
    Layout layout;
    Truncation truncation;
};

/// The layouts that compete for a linear (out, in) of this kind, low rank first.
[[nodiscard]] std::vector<Layout> competing_layouts(LinearKind kind, Index m, Index n,
                                                    const CompressOptions& options);

/// What a form of a linear may take.
struct StoredLimit {
    Index parameters = 0, bytes = 0;  // numbers; bytes of these and of pivots
};

/// Whether bonds capped at `cap` keep to the limit.
[[nodiscard]] bool fits(const Layout& layout, Index cap, const StoredLimit& limit,
                        const CompressOptions& options);

/// Those of the layouts that stay below m n parameters under the options, with their bonds.
/// share: of the m n parameters, where the options state a size. Empty: the linear stays dense.
/// Throws ArgumentError where a form exists that is smaller than dense, but none fits the share.
[[nodiscard]] std::vector<Candidate> candidates(LinearKind kind, Index m, Index n,
                                                std::optional<double> share,
                                                const CompressOptions& options);

/// Runs decompose on one matrix with the seed and a choice of effort.
template <Backend B>
[[nodiscard]] Decomposition<float> decompose_candidate(const Tensor<float>& W,
                                                       const Candidate& candidate, double excess,
                                                       std::uint64_t seed, const B& backend) {
    DecomposeOptions options;
    options.layout = candidate.layout;
    options.truncation = candidate.truncation;
    options.excess = excess;
    options.seed = seed;
    return decompose(W, options, backend);
}

/// By what candidates are compared: their error at equal parameters, or their parameters at equal
/// tolerance.
enum class Aim { smallest_error, fewest_parameters };

/// The relative error of a two-site candidate after one random projection, see sketched_tails.
template <Backend B>
[[nodiscard]] double sketched_error(const Tensor<float>& W, const Candidate& candidate,
                                    std::uint64_t seed, const B& backend) {
    const Index bond = uniform_bonds(candidate.layout, candidate.truncation.max_bond_dim)[1];
    return std::sqrt(
        sketched_tails<float>(as_matrix(W.view()), candidate.layout, bond, seed, backend).back());
}

/// Those of `all` whose estimate is at most `factor` times the smallest; float noise counts as none.
[[nodiscard]] std::vector<Candidate> close_to_best(const std::vector<Candidate>& all,
                                                   const std::vector<double>& estimates,
                                                   double factor);

/// The candidates that may turn out to have the smallest error, by rounds of growing effort. Each
/// overestimates errors, more so where they are small, but keeps their order: on trained weights a
/// sketch that is 1 % larger means an optimal error that is 1.5 % larger or more.
template <Backend B>
[[nodiscard]] std::vector<Candidate> contenders(const Tensor<float>& W,
                                                std::vector<Candidate> candidates,
                                                std::uint64_t seed, const B& backend) {
    struct Round {
        double excess, factor;
    };
    for (const auto& [excess, factor] : {Round{0.5, 1.01}, Round{0.05, 1.005}}) {
        if (candidates.size() <= 1) break;
        std::vector<double> estimates;
        for (const auto& candidate : candidates) {
            const bool sketch = excess > 0.1 && num_sites(candidate.layout) == 2;
            estimates.push_back(sketch ? sketched_error(W, candidate, seed, backend)
                                       : decompose_candidate(W, candidate, excess, seed, backend)
                                             .report.relative_error);
        }
        candidates = close_to_best(candidates, estimates, factor);
    }
    return candidates;
}

/// The best of the candidates, the earlier one where equal to rounding.
template <Backend B>
[[nodiscard]] Decomposition<float> best_candidate(const Tensor<float>& W,
                                                  const std::vector<Candidate>& candidates, Aim aim,
                                                  const CompressOptions& options,
                                                  const B& backend) {
    constexpr double noise = 1e-6;  // of a relative error in float
    const auto cost = [&](const Decomposition<float>& found) {
        return aim == Aim::fewest_parameters
                   ? static_cast<double>(
                         num_stored(found.mpo.layout(), found.mpo.bond_dims(), options.stored_as))
                   : found.report.relative_error;
    };
    std::optional<Decomposition<float>> best;
    for (const auto& candidate : aim == Aim::smallest_error
                                     ? contenders(W, candidates, options.seed, backend)
                                     : candidates) {
        auto found =
            decompose_candidate(W, candidate, DecomposeOptions{}.excess, options.seed, backend);
        if (!best || cost(found) < cost(*best) - noise) best = std::move(found);
    }
    return *std::move(best);
}

/// The relative error that no chain can go below whose bonds are capped at `cap`, from the singular
/// values of larger bonds: what the worst of them would drop then.
[[nodiscard]] double least_error(const DecomposeReport& report, Index cap);

/// A decomposition and what is stored of it.
struct StoredDecomposition {
    Decomposition<float> found;
    StoredForm form;
};

/// A decomposition as it is stored best. Gauge-fixed numbers buy larger bonds, and rounding them costs
/// more: where that is measured to be worse than whole cores of no more numbers, or breaks a tolerance
/// that whole cores keep, it is whole cores.
template <Backend B>
[[nodiscard]] StoredDecomposition best_storage(const Tensor<float>& W, Decomposition<float> found,
                                               const CompressOptions& options, const B& backend) {
    const auto stored = [&](const Mpo<float>& mpo, StoredAs stored_as) {
        return stored_form(W, mpo, options.dtype, stored_as, backend);
    };
    auto form = stored(found.mpo, options.stored_as);
    const auto keep = [&] { return StoredDecomposition{std::move(found), std::move(form)}; };
    if (options.stored_as == StoredAs::cores || options.max_bond_dim) return keep();
    if (options.tolerance) {
        const bool kept = form.relative_error <= *options.tolerance;
        if (!kept && found.mpo.num_parameters() < W.size())
            if (auto whole = stored(found.mpo, StoredAs::cores);
                whole.relative_error <= *options.tolerance)
                form = std::move(whole);
        return keep();
    }
    const Index cap = max_uniform_bond(form.layout, form.num_parameters());
    if (cap == 0 || form.relative_error <= least_error(found.report, cap)) return keep();
    Candidate smaller{form.layout, {}};
    smaller.truncation.max_bond_dim = cap;
    auto other = decompose_candidate(W, smaller, DecomposeOptions{}.excess, options.seed, backend);
    auto whole = stored(other.mpo, StoredAs::cores);
    if (whole.relative_error >= form.relative_error) return keep();
    return {std::move(other), std::move(whole)};
}

/// The best of these layouts with no more than so many parameters; nothing where none is so small.
template <Backend B>
[[nodiscard]] std::optional<StoredForm> best_stored_form(const Tensor<float>& W,
                                                         const std::vector<Layout>& layouts,
                                                         Index parameters,
                                                         const CompressOptions& options,
                                                         const B& backend) {
    std::vector<Candidate> fitting;
    for (const auto& layout : layouts) {
        Candidate candidate{layout, {}};
        candidate.truncation.max_bond_dim = max_uniform_bond(layout, parameters, options.stored_as);
        if (candidate.truncation.max_bond_dim > 0) fitting.push_back(std::move(candidate));
    }
    if (fitting.empty()) return std::nullopt;
    return best_storage(W, best_candidate(W, fitting, Aim::smallest_error, options, backend),
                        options, backend)
        .form;
}

/// Plain low rank, whatever layouts the options name.
template <Backend B>
[[nodiscard]] std::optional<StoredForm> low_rank_peer(const Tensor<float>& W, Index parameters,
                                                      const CompressOptions& options,
                                                      const B& backend) {
    return best_stored_form(W, {low_rank_layout(W.extent(0), W.extent(1))}, parameters, options,
                            backend);
}

/// The best MPO among those that compete.
template <Backend B>
[[nodiscard]] std::optional<StoredForm> mpo_peer(const Tensor<float>& W, LinearKind kind,
                                                 Index parameters, CompressOptions options,
                                                 const B& backend) {
    options.form = CompressForm::mpo;
    return best_stored_form(W, competing_layouts(kind, W.extent(0), W.extent(1), options),
                            parameters, options, backend);
}

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/compress_linear_inl.hpp"
#endif
