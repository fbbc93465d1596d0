// One linear: candidate forms of the size asked for, the best of them, rounded to its stored type
// and measured.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/model/compress_options.hpp"
#include "mpo/network/algebra.hpp"
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
[[nodiscard]] inline std::vector<Layout> competing_layouts(LinearKind kind, Index m, Index n,
                                                           const CompressOptions& options) {
    if (const auto given = options.layouts.find(kind); given != options.layouts.end())
        return {given->second};
    std::vector<Layout> layouts;
    if (options.form != CompressForm::mpo) layouts.push_back(low_rank_layout(m, n));
    if (options.form == CompressForm::low_rank) return layouts;
    layouts.push_back(balanced_layout(m, n, options.sites));
    for (const Index f : {2, 4, 8, 16})
        if (const auto opposed = opposed_layout(m, n, f); opposed && options.sites == 2)
            layouts.push_back(*opposed);
    return layouts;
}

/// Those of the layouts that stay below m n parameters under the options, with their bonds.
/// share: of the m n parameters, where the options state a size. Empty: the linear stays dense.
/// Throws ArgumentError where a form exists that is smaller than dense, but none fits the share.
[[nodiscard]] inline std::vector<Candidate> candidates(LinearKind kind, Index m, Index n,
                                                       std::optional<double> share,
                                                       const CompressOptions& options) {
    const Index dense = checked_multiply(m, n);
    std::vector<Candidate> result;
    if (share && *share >= 1) return result;
    const Index limit = share ? static_cast<Index>(*share * static_cast<double>(dense)) : dense - 1;
    Index smallest = (std::numeric_limits<Index>::max)();
    for (const Layout& layout : competing_layouts(kind, m, n, options)) {
        validate(layout, m, n, "compress");
        smallest = (std::min)(smallest, num_parameters(layout, uniform_bonds(layout, 1)));
        Candidate candidate{layout, {}};
        if (options.tolerance)
            candidate.truncation.max_relative_error = *options.tolerance;
        else
            candidate.truncation.max_bond_dim =
                options.max_bond_dim ? *options.max_bond_dim : max_uniform_bond(layout, limit);
        const Index cap = candidate.truncation.max_bond_dim;
        const bool fits = options.tolerance ||
                          (cap >= 1 && num_parameters(layout, uniform_bonds(layout, cap)) <= limit);
        if (fits) result.push_back(std::move(candidate));
    }
    if (result.empty() && share && smallest < dense)
        raise<ArgumentError>({"the budget leaves ", limit, " of ", dense,
                              " parameters, and the smallest form takes ", smallest});
    return result;
}

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
[[nodiscard]] inline std::vector<Candidate> close_to_best(const std::vector<Candidate>& all,
                                                          const std::vector<double>& estimates,
                                                          double factor) {
    constexpr double noise = 1e-3;  // sqrt of the rounding of 1 - kept / total
    const double limit = factor * *std::min_element(estimates.begin(), estimates.end()) + noise;
    std::vector<Candidate> close;
    for (std::size_t k = 0; k < all.size(); ++k)
        if (estimates[k] <= limit) close.push_back(all[k]);
    return close;
}

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
                                                  std::uint64_t seed, const B& backend) {
    constexpr double noise = 1e-6;  // of a relative error in float
    const auto cost = [&](const Decomposition<float>& found) {
        return aim == Aim::fewest_parameters ? static_cast<double>(found.mpo.num_parameters())
                                             : found.report.relative_error;
    };
    std::optional<Decomposition<float>> best;
    for (const auto& candidate :
         aim == Aim::smallest_error ? contenders(W, candidates, seed, backend) : candidates) {
        auto found = decompose_candidate(W, candidate, DecomposeOptions{}.excess, seed, backend);
        if (!best || cost(found) < cost(*best) - noise) best = std::move(found);
    }
    return *std::move(best);
}

/// A core as it will lie on the disk.
struct StoredCore {
    Shape shape;  // (D, out, in, D')
    std::vector<std::byte> bytes;
};

/// Cores rounded to a stored type: the bytes, and the same numbers to calculate with.
struct StoredCores {
    std::vector<StoredCore> cores;
    Mpo<float> rounded;
};

/// Throws NumericalError where a finite number becomes Inf.
[[nodiscard]] inline StoredCores store_cores(const Mpo<float>& mpo, DType dtype) {
    StoredCores result;
    std::vector<Tensor<float>> rounded;
    for (const auto& core : mpo.cores()) {
        const auto width = static_cast<std::size_t>(bits_per_element(dtype) / 8);
        StoredCore stored{core.shape(), {}};
        stored.bytes.resize(static_cast<std::size_t>(core.size()) * width);
        const Index lost = encode(core.data(), dtype, stored.bytes.data(), core.size());
        if (lost != 0)
            raise<NumericalError>({lost, " of ", core.size(), " numbers of core ",
                                   result.cores.size(), " are too large for ", to_string(dtype)});
        Tensor<float> back(core.shape());  // (D, o, i, D')
        decode(dtype, stored.bytes.data(), back.data(), back.size());
        result.cores.push_back(std::move(stored));
        rounded.push_back(std::move(back));
    }
    result.rounded = Mpo<float>(std::move(rounded));
    return result;
}

/// norm(W - A) / norm(W), Frobenius, summed in double; 0 where both are zero.
template <Backend B>
[[nodiscard]] double measured_error(const Tensor<float>& W, const Mpo<float>& A, const B& backend) {
    const auto approximation = to_dense(A, backend);  // (out, in)
    double lost = 0, total = 0;
    for (Index k = 0; k < W.size(); ++k) {
        const double w = W.data()[k], difference = w - static_cast<double>(approximation.data()[k]);
        total += w * w;
        lost += difference * difference;
    }
    return total > 0 ? std::sqrt(lost / total) : std::sqrt(lost);
}

/// One form of a linear as it lies on the disk.
struct StoredForm {
    Layout layout;
    Shape bonds;
    double relative_error = 0;      // of the cores as stored
    std::vector<StoredCore> cores;  // none: the dense weight
};

template <Backend B>
[[nodiscard]] StoredForm stored_form(const Tensor<float>& W, const Mpo<float>& mpo, DType dtype,
                                     const B& backend) {
    auto stored = store_cores(mpo, dtype);
    return {mpo.layout(), mpo.bond_dims(), measured_error(W, stored.rounded, backend),
            std::move(stored.cores)};
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
        candidate.truncation.max_bond_dim = max_uniform_bond(layout, parameters);
        if (candidate.truncation.max_bond_dim > 0) fitting.push_back(std::move(candidate));
    }
    if (fitting.empty()) return std::nullopt;
    const auto best = best_candidate(W, fitting, Aim::smallest_error, options.seed, backend);
    return stored_form(W, best.mpo, options.dtype, backend);
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
