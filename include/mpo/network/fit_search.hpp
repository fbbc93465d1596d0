// Which chain keeps the outputs of a linear best under a limit on stored numbers and one on multiply-adds:
// layouts are priced, then fitted for one sweep each, then the most promising ones to the end. Plain low rank
// competes in its closed form.
//
//   integers   every layout gets the largest bonds that its limits allow, or is refused
//   starts     of each, see fit_start.hpp; those far behind the best, or behind low rank, are left alone
//   one sweep  of the others: the first takes most of the way, so the order of losses is nearly final
//   the rest   for those whose first sweep comes close to the best first sweep
//   choose     the smallest loss; after healing, an MPO close enough to low rank wins, because it learns better
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mpo/linalg/weighted_low_rank.hpp"
#include "mpo/network/fit.hpp"
#include "mpo/network/layout_search.hpp"

namespace mpo {

/// What a chain will be used for.
enum class FitObjective {
    before_healing,  // as it is: the smallest loss wins
    after_healing,   // trained on: an MPO wins up to `healing_margin` times the loss of low rank
};

/// Limits, and how hard to search.
template <Scalar T>
struct FitSearchOptions {
    Index max_parameters = 0;                    // stored numbers, >= 1
    StoredAs stored_as = StoredAs::gauge_fixed;  // what counts as a stored number
    /// Multiply-adds per token relative to out * in, above 0: bonds are lowered to it.
    double max_flops_ratio = std::numeric_limits<double>::infinity();
    FitObjective objective = FitObjective::before_healing;  // what the chain is for
    double healing_margin = 1.15;                           // measured: see docs/compression.md
    Index max_sites = 3;                                    // 2 to 12
    double start_margin = 1.4;                              // of starts, over the best one; >= 1
    double margin = 1.1;                                    // of first sweeps, the same
    Index max_finalists = 2;                                // at least 1
    /// What sweeps gain at most: a start that loses more than this times low rank cannot win, nor can a first
    /// sweep that loses more than the root of it times low rank. Measured: see docs/compression.md.
    double hope = 2.2;
    std::vector<Layout> layouts = {};  // where given, these compete and no others
    FitOptions fit = {};               // of the finalists; layout and bonds are not read
};

/// A layout that competed.
struct FitCandidate {
    Layout layout;                          // the legs
    Shape bonds;                            // the largest within the limits
    Index parameters = 0;                   // stored numbers
    Index multiply_adds = 0;                // per token
    std::optional<double> start_loss = {};  // relative, before any sweep
    std::optional<double> first_loss = {};  // relative, after one sweep
    std::optional<double> loss = {};        // of those fitted to the end, and of low rank
    std::string why = {};                   // it lost; empty for the winner
};

/// What search_fit found.
template <Scalar T>
struct FitSearch {
    Fitted<T> best;                        // the winner
    Index winner = 0;                      // its place among the candidates
    std::vector<FitCandidate> candidates;  // low rank first, where it fits the limits
};

namespace detail {

/// Legs of one side cut once, all of the other on one site: out (1, m), in (n / f, f). The bond joins a
/// matrix (n / f, m f), nearer to a square than W where n > m, at chi (n + f m) multiply-adds.
[[nodiscard]] inline std::optional<Layout> split_layout(Index m, Index n, Index f) {
    if (n % f != 0) return std::nullopt;
    return Layout{{1, m}, {n / f, f}};
}

}  // namespace detail

/// The layouts that search_fit tries, none twice: low rank; the in legs cut in two beside one out leg,
/// f = 2, 3, 4; opposed legs, f = 2, 3, 4, 8, 16; balanced legs on 2 to max_sites sites; each of
/// these with its mirror image.
///
/// m, n        sides of W, at least 1
/// max_sites   2 to 12
/// throws      ArgumentError outside of these
[[nodiscard]] inline std::vector<Layout> fit_layouts(Index m, Index n, Index max_sites) {
    if (max_sites < 2 || max_sites > max_num_sites)
        detail::raise<ArgumentError>(
            {"fit_layouts: need 2 to ", max_num_sites, " sites, got ", max_sites});
    std::vector<Layout> layouts{low_rank_layout(m, n)};
    const auto add = [&](const Layout& layout) {
        for (const auto& candidate : {layout, mirrored(layout)}) {
            const bool empty_site = [&] {
                for (std::size_t k = 0; k < candidate.out.size(); ++k)
                    if (candidate.out[k] == 1 && candidate.in[k] == 1) return true;
                return false;
            }();
            const bool low_rank_again = candidate == mirrored(low_rank_layout(m, n));
            if (!empty_site && !low_rank_again &&
                std::find(layouts.begin(), layouts.end(), candidate) == layouts.end())
                layouts.push_back(candidate);
        }
    };
    for (const Index f : {2, 3, 4})
        if (const auto split = detail::split_layout(m, n, f)) add(*split);
    for (const Index f : {2, 3, 4, 8, 16})
        if (const auto opposed = opposed_layout(m, n, f)) add(*opposed);
    for (Index sites = 2; sites <= max_sites; ++sites) add(balanced_layout(m, n, sites));
    return layouts;
}

namespace detail {

template <Scalar T>
void validate(const FitSearchOptions<T>& options) {
    validate(options.fit);
    if (options.max_parameters < 1)
        raise<ArgumentError>(
            {"search_fit: max_parameters must be at least 1, got ", options.max_parameters});
    if (!(options.max_flops_ratio > 0))
        raise<ArgumentError>(
            {"search_fit: max_flops_ratio must be above 0, got ", options.max_flops_ratio});
    if (!(options.margin >= 1) || !(options.start_margin >= 1) || !(options.healing_margin >= 1) ||
        !(options.hope >= 1) || options.max_finalists < 1)
        raise<ArgumentError>({"search_fit: need margins and hope >= 1 and max_finalists >= 1, got ",
                              options.margin, ", ", options.start_margin, ", ",
                              options.healing_margin, ", ", options.hope, " and ",
                              options.max_finalists});
}

/// The layouts that compete for a matrix (m, n) and their prices, low rank first. Integers only. Throws
/// ArgumentError where none fits the limits, ShapeError where a given one is none of the matrix.
template <Scalar T>
[[nodiscard]] std::vector<FitCandidate> priced_candidates(Index m, Index n,
                                                          const FitSearchOptions<T>& options) {
    LayoutLimits limits;
    limits.max_parameters = options.max_parameters;
    limits.stored_as = options.stored_as;
    const double most = options.max_flops_ratio * static_cast<double>(checked_multiply(m, n));
    if (most < 9e18) limits.max_multiply_adds = static_cast<Index>(most);
    Index smallest = (std::numeric_limits<Index>::max)();
    std::vector<FitCandidate> candidates;
    for (const auto& layout :
         options.layouts.empty() ? fit_layouts(m, n, options.max_sites) : options.layouts) {
        mpo::validate(layout, m, n, "search_fit");
        auto priced = price_layout(layout, limits);
        smallest = (std::min)(smallest, priced.parameters);
        if (priced.max_bond_dim < 1) continue;
        const auto place = layout == low_rank_layout(m, n) ? candidates.begin() : candidates.end();
        candidates.insert(place, {std::move(priced.layout), std::move(priced.bonds),
                                  priced.parameters, priced.multiply_adds});
    }
    if (candidates.empty())
        raise<ArgumentError>({"search_fit: no layout of a ", m, " x ", n, " matrix fits ",
                              options.max_parameters, " numbers and ", options.max_flops_ratio,
                              " of its multiply-adds; the smallest has ", smallest, " numbers"});
    return candidates;
}

/// The search behind search_fit: every member function is one of its steps.
template <Scalar T, BackendFor<T> B>
class FitSearcher {
  public:
    using G = GramScalar<B, T>;

    FitSearcher(const Tensor<T>& W, const Tensor<G>& S, const FitSearchOptions<T>& options,
                const B& backend)
        : W_(W),
          S_(S),
          options_(options),
          backend_(backend),
          metric_(W, S, options.fit.ridge, backend),
          low_rank_(low_rank_layout(W.extent(0), W.extent(1))),
          candidates_(priced_candidates(W.extent(0), W.extent(1), options)) {}

    [[nodiscard]] FitSearch<T> run() {
        fitted_.resize(candidates_.size());
        for (std::size_t k = 0; k < candidates_.size(); ++k) start(k);
        for (const std::size_t k : close_ones(&FitCandidate::start_loss, options_.start_margin,
                                              options_.hope, candidates_.size()))
            sweep(k, &FitCandidate::first_loss, 1);
        for (const std::size_t k :
             close_ones(&FitCandidate::first_loss, options_.margin, std::sqrt(options_.hope),
                        static_cast<std::size_t>(options_.max_finalists)))
            sweep(k, &FitCandidate::loss, options_.fit.max_sweeps);
        const auto won = choose();
        for (std::size_t k = 0; k < candidates_.size(); ++k)
            if (k != won) explain(candidates_[k], candidates_[won]);
        return {std::move(fitted_[won]), static_cast<Index>(won), std::move(candidates_)};
    }

  private:
    [[nodiscard]] bool is_low_rank(std::size_t k) const {
        return candidates_[k].layout == low_rank_;
    }

    void start(std::size_t k) {
        auto& candidate = candidates_[k];
        auto options = options_.fit;
        options.max_sweeps = 0;
        if (is_low_rank(k)) {
            fitted_[k] = closed_form(candidate.bonds[1]);
            candidate.loss = fitted_[k].report.relative_loss();
        } else {
            options.layout = candidate.layout;
            options.max_bond_dim =
                *std::max_element(candidate.bonds.begin(), candidate.bonds.end());
            fitted_[k] =
                fit_in_metric(start_of(W_, S_, options, backend_), metric_, options, backend_);
        }
        candidate.start_loss = fitted_[k].report.relative_loss();
    }

    /// The best of low rank, whose loss is measured like the others'.
    [[nodiscard]] Fitted<T> closed_form(Index rank) const {
        const Index m = W_.extent(0), n = W_.extent(1);
        const auto w = send<T>(W_, backend_);
        const auto s = send<G>(S_, backend_);
        const auto found =
            weighted_low_rank<T>(matrix<const T>(w.data(), m, n), matrix<const G>(s.data(), n, n),
                                 Truncation{.max_bond_dim = rank}, backend_);
        std::vector<Tensor<T>> cores;
        cores.push_back(
            fetch<T>(found.left.data(), m, found.rank, backend_).reshape({1, m, 1, found.rank}));
        cores.push_back(
            fetch<T>(found.right.data(), found.rank, n, backend_).reshape({found.rank, 1, n, 1}));
        auto none = options_.fit;
        none.max_sweeps = 0;
        return fit_in_metric(Mpo<T>(std::move(cores), CanonicalForm::left), metric_, none,
                             backend_);
    }

    using Loss = std::optional<double> FitCandidate::*;

    /// MPOs that have this loss and are near the best of them, and not hopelessly behind low rank; at most so
    /// many, best first. The best of all is one of them where low rank does not compete.
    [[nodiscard]] std::vector<std::size_t> close_ones(Loss loss, double margin, double hope,
                                                      std::size_t most) const {
        std::vector<std::size_t> order;
        for (std::size_t k = 0; k < candidates_.size(); ++k)
            if (!is_low_rank(k) && candidates_[k].*loss) order.push_back(k);
        std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
            return *(candidates_[a].*loss) < *(candidates_[b].*loss);
        });
        if (order.empty()) return order;
        double limit = margin * *(candidates_[order.front()].*loss);
        if (is_low_rank(0)) {
            const bool heals = options_.objective == FitObjective::after_healing;
            limit = (std::min)(limit,
                               hope * (heals ? options_.healing_margin : 1) * *candidates_[0].loss);
        }
        while (!order.empty() &&
               (order.size() > most || !(*(candidates_[order.back()].*loss) <= limit)))
            order.pop_back();
        return order;
    }

    /// On from where the candidate is, up to so many sweeps in all.
    void sweep(std::size_t k, Loss result, Index sweeps) {
        auto options = options_.fit;
        auto earlier = std::move(fitted_[k].report);
        options.max_sweeps =
            (std::max)(Index{0}, sweeps - static_cast<Index>(earlier.losses.size()) + 1);
        fitted_[k] = fit_in_metric(std::move(fitted_[k].mpo), metric_, options, backend_);
        auto& report = fitted_[k].report;
        report.losses.insert(report.losses.begin(), earlier.losses.begin(),
                             earlier.losses.end() - 1);
        report.iterations += earlier.iterations;
        candidates_[k].*result = report.relative_loss();
    }

    [[nodiscard]] std::size_t choose() const {
        std::optional<std::size_t> best, best_mpo;
        for (std::size_t k = 0; k < candidates_.size(); ++k) {
            if (!candidates_[k].loss) continue;
            const auto better = [&](const std::optional<std::size_t>& than) {
                return !than || *candidates_[k].loss < *candidates_[*than].loss;
            };
            if (better(best)) best = k;
            if (!is_low_rank(k) && better(best_mpo)) best_mpo = k;
        }
        const bool heals = options_.objective == FitObjective::after_healing && best_mpo;
        if (heals &&
            *candidates_[*best_mpo].loss <= options_.healing_margin * *candidates_[*best].loss)
            return *best_mpo;
        return *best;
    }

    void explain(FitCandidate& candidate, const FitCandidate& winner) const {
        if (!candidate.first_loss && !candidate.loss)
            candidate.why = concat("it starts at ", *candidate.start_loss, ", too far behind");
        else if (!candidate.loss)
            candidate.why =
                concat("its first sweep ended at ", *candidate.first_loss, ", too far behind");
        else if (*candidate.loss >= *winner.loss && !(*winner.loss > 0))
            candidate.why = "nothing is lost by the winner either";
        else if (*candidate.loss >= *winner.loss)
            candidate.why =
                concat("its loss is ", *candidate.loss / *winner.loss, " times the winner's");
        else
            candidate.why =
                concat("an MPO within ", options_.healing_margin, " times its loss heals better");
    }

    const Tensor<T>& W_;
    const Tensor<G>& S_;
    const FitSearchOptions<T>& options_;
    const B& backend_;
    FitMetric<T, B> metric_;
    Layout low_rank_;
    std::vector<FitCandidate> candidates_;
    std::vector<Fitted<T>> fitted_;
};

}  // namespace detail

/// The chain that loses least of the outputs of W within the limits.
///
/// W         (out, in), finite
/// S         (in, in), as fit takes it
/// returns   the winner with its report; all candidates with their prices, losses and why they lost
/// error     as fit's; layouts whose first sweep was far behind were not fitted to the end
/// cost      one TT-SVD for each of about 20 layouts, a sweep for some of them, all sweeps for
///           `max_finalists`, one closed form of low rank
/// throws    as fit; ArgumentError (options; no layout fits the limits)
template <Scalar T, BackendFor<T> B>
[[nodiscard]] FitSearch<T> search_fit(const Tensor<T>& W, const Tensor<GramScalar<B, T>>& S,
                                      const FitSearchOptions<T>& options, const B& backend) {
    detail::validate(options);
    detail::require_moments(W, S);
    return detail::FitSearcher<T, B>(W, S, options, backend).run();
}

}  // namespace mpo
