// The searches behind network/optimize_path.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "mpo/core/inline.hpp"
#include "mpo/network/optimize_path.hpp"
#include "mpo/network/path_inl.hpp"

namespace mpo {
namespace detail {

/// The best tree of every subset of tensors, and of all: fewest multiply-adds within the limit. Under a
/// limit several trees of a subset can matter: cheaper ones with a higher peak.
class OptimalOrder {
  public:
    OptimalOrder(const LegCounter& counter, const LegSizes& sizes, std::size_t count, double limit)
        : counter_(counter), sizes_(sizes), count_(count), limit_(limit) {
        const std::size_t subsets = std::size_t{1} << count;
        legs_.resize(subsets);
        sizes_of_.resize(subsets);
        trees_.resize(subsets);
        for (std::size_t set = 1; set < subsets; ++set) {
            legs_[set] = legs_of(set);
            sizes_of_[set] = sizes_.of(legs_[set]);
        }
        for (std::size_t k = 0; k < count; ++k) trees_[std::size_t{1} << k] = {Tree{}};
        for (std::size_t set = 1; set < subsets; ++set) fill(set);
    }

    /// nullopt where no order keeps to the limit.
    [[nodiscard]] std::optional<std::vector<ContractionStep>> steps() const {
        const auto& all = trees_.back();
        if (all.empty()) return std::nullopt;
        std::vector<ContractionStep> steps;
        const auto best = std::min_element(
            all.begin(), all.end(), [](const Tree& a, const Tree& b) { return a.cost < b.cost; });
        (void)unfold(trees_.size() - 1, static_cast<std::size_t>(best - all.begin()), steps);
        return steps;
    }

  private:
    struct Tree {
        double cost = 0, peak = 0;
        std::uint32_t first = 0;                        // the part that is contracted first
        std::uint32_t first_tree = 0, second_tree = 0;  // which of the trees of either part
    };

    [[nodiscard]] static bool is_input(std::size_t set) { return (set & (set - 1)) == 0; }
    /// Elements an intermediate takes; inputs count for nothing.
    [[nodiscard]] double held(std::size_t set) const { return is_input(set) ? 0 : sizes_of_[set]; }

    [[nodiscard]] LegSet legs_of(std::size_t set) const {
        std::vector<Index> inside(static_cast<std::size_t>(counter_.num_legs()));
        LegSet all(sizes_.words());
        for (std::size_t k = 0; k < count_; ++k) {
            if ((set >> k & 1) == 0) continue;
            for (std::size_t w = 0; w < all.size(); ++w) all[w] |= counter_.tensor(k)[w];
            for (std::size_t leg = 0; leg < inside.size(); ++leg)
                if (contains(counter_.tensor(k), static_cast<Index>(leg))) ++inside[leg];
        }
        return counter_.kept(all, [&](Index leg) { return inside[static_cast<std::size_t>(leg)]; });
    }

    void fill(std::size_t set) {
        if (is_input(set)) return;
        const std::size_t lowest = set & (~set + 1);
        for (std::size_t part = (set - 1) & set; part != 0; part = (part - 1) & set) {
            if ((part & lowest) == 0) continue;  // the other one of the pair comes by, too
            const std::size_t other = set ^ part;
            if (trees_[part].empty() || trees_[other].empty()) continue;
            const double step = sizes_.of_union(legs_[part], legs_[other]);
            for (std::size_t p = 0; p < trees_[part].size(); ++p)
                for (std::size_t q = 0; q < trees_[other].size(); ++q) {
                    join(set, part, p, other, q, step);
                    if (limit_ < std::numeric_limits<double>::infinity())
                        join(set, other, q, part, p, step);
                }
        }
    }

    /// The tree that contracts `first`, then `second`, then both, unless another one is as good.
    void join(std::size_t set, std::size_t first, std::size_t first_tree, std::size_t second,
              std::size_t second_tree, double step) {
        const Tree &a = trees_[first][first_tree], &b = trees_[second][second_tree];
        Tree tree{
            a.cost + b.cost + step,
            (std::max)({a.peak, held(first) + b.peak, held(first) + held(second) + sizes_of_[set]}),
            static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(first_tree),
            static_cast<std::uint32_t>(second_tree)};
        if (tree.peak > limit_) return;
        auto& kept = trees_[set];
        const bool limited = limit_ < std::numeric_limits<double>::infinity();
        for (const Tree& known : kept)
            if (known.cost <= tree.cost && (known.peak <= tree.peak || !limited)) return;
        std::erase_if(kept, [&](const Tree& known) {
            return tree.cost <= known.cost && (tree.peak <= known.peak || !limited);
        });
        kept.push_back(tree);
    }

    /// Appends the steps of a tree; returns the number of its result.
    Index unfold(std::size_t set, std::size_t which, std::vector<ContractionStep>& steps) const {
        if (is_input(set)) {
            Index k = 0;
            while ((set >> k & 1) == 0) ++k;
            return k;
        }
        const Tree& tree = trees_[set][which];
        const Index left = unfold(tree.first, tree.first_tree, steps);
        const Index right = unfold(set ^ tree.first, tree.second_tree, steps);
        steps.push_back({left, right});
        return static_cast<Index>(count_ + steps.size()) - 1;
    }

    const LegCounter& counter_;
    const LegSizes& sizes_;
    std::size_t count_;
    double limit_;
    std::vector<LegSet> legs_;  // of every subset, contracted
    std::vector<double> sizes_of_;
    std::vector<std::vector<Tree>> trees_;
};

/// One greedy order: of all pairs that share a leg, the one whose contraction shrinks the network
/// most; noise of temperature T makes others likely, too.
class GreedyOrder {
  public:
    GreedyOrder(const LegNetwork& network, const LegCounter& counter, const LegSizes& sizes)
        : counter_(counter), sizes_(sizes), uses_(static_cast<std::size_t>(counter.num_legs())) {
        for (std::size_t k = 0; k < network.tensors.size(); ++k) add(counter.kept_alone(k));
    }

    [[nodiscard]] std::vector<ContractionStep> run(double temperature, Random& random) {
        std::vector<ContractionStep> steps;
        const std::size_t count = alive_.size();
        for (std::size_t k = 0; k < count; ++k)
            for (std::size_t other = 0; other < k; ++other) consider(other, k, temperature, random);
        while (steps.size() + 1 < count) {
            const auto [left, right] = best_pair();
            LegSet result = joined(left, right);
            remove(left);
            remove(right);
            add(std::move(result));
            steps.push_back({static_cast<Index>(left), static_cast<Index>(right)});
            for (std::size_t other = 0; other + 1 < alive_.size(); ++other)
                if (alive_[other]) consider(other, alive_.size() - 1, temperature, random);
        }
        return steps;
    }

  private:
    struct Candidate {
        double score = 0;
        std::size_t left = 0, right = 0;
        /// Heaps keep the largest first: the best one has the lowest score.
        friend bool operator<(const Candidate& a, const Candidate& b) { return a.score > b.score; }
    };

    void add(LegSet legs) {
        count(legs, 1);
        legs_.push_back(std::move(legs));
        alive_.push_back(true);
    }
    void remove(std::size_t k) {
        count(legs_[k], -1);
        alive_[k] = false;
    }
    void count(const LegSet& legs, Index change) {
        for (Index leg = 0; leg < counter_.num_legs(); ++leg)
            if (contains(legs, leg)) uses_[static_cast<std::size_t>(leg)] += change;
    }
    /// Legs of the contraction of two: those that are open, or that others have, too.
    [[nodiscard]] LegSet joined(std::size_t left, std::size_t right) const {
        LegSet result(legs_[left].size());
        for (Index leg = 0; leg < counter_.num_legs(); ++leg) {
            const Index here = contains(legs_[left], leg) + contains(legs_[right], leg);
            if (here > 0 && (counter_.is_open(leg) || uses_[static_cast<std::size_t>(leg)] > here))
                insert(result, leg);
        }
        return result;
    }
    void consider(std::size_t left, std::size_t right, double temperature, Random& random) {
        bool meet = false;
        for (std::size_t w = 0; w < sizes_.words(); ++w)
            meet = meet || (legs_[left][w] & legs_[right][w]) != 0;
        if (!meet) return;
        const double grown =
            sizes_.of(joined(left, right)) - sizes_.of(legs_[left]) - sizes_.of(legs_[right]);
        double score = std::copysign(std::log1p(std::abs(grown)), grown);
        if (temperature > 0) score += temperature * std::log(-std::log(1 - random.uniform()));
        heap_.push_back({score, left, right});
        std::push_heap(heap_.begin(), heap_.end());
    }
    [[nodiscard]] std::pair<std::size_t, std::size_t> best_pair() {
        while (!heap_.empty()) {
            std::pop_heap(heap_.begin(), heap_.end());
            const Candidate best = heap_.back();
            heap_.pop_back();
            if (alive_[best.left] && alive_[best.right]) return {best.left, best.right};
        }
        return smallest_two();  // parts that share no leg
    }
    [[nodiscard]] std::pair<std::size_t, std::size_t> smallest_two() const {
        std::vector<std::size_t> left;
        for (std::size_t k = 0; k < alive_.size(); ++k)
            if (alive_[k]) left.push_back(k);
        std::partial_sort(left.begin(), left.begin() + 2, left.end(),
                          [&](std::size_t a, std::size_t b) {
                              return sizes_.of(legs_[a]) < sizes_.of(legs_[b]);
                          });
        return {left[0], left[1]};
    }

    const LegCounter& counter_;
    const LegSizes& sizes_;
    std::vector<Index> uses_;  // live tensors that have the leg
    std::vector<LegSet> legs_;
    std::vector<bool> alive_;
    std::vector<Candidate> heap_;
};

/// Fewest multiply-adds of all orders that fit, or the lowest peak where none does.
[[nodiscard]] MPO_DETAIL_INLINE ContractionPath best_greedy(const LegNetwork& network,
                                                            const std::vector<Index>& sliced,
                                                            const PathOptions& options) {
    const LegCounter counter(network);
    const LegSizes sizes(sliced_extents(network, sliced));
    ContractionPath best;
    ContractionCost best_cost;
    Random random(options.seed);
    for (Index trial = 0; trial < options.trials; ++trial) {
        const double temperature = trial == 0 ? 0 : random.uniform();
        const ContractionPath path{GreedyOrder(network, counter, sizes).run(temperature, random),
                                   sliced};
        const auto cost = contraction_cost(network, path);
        const auto excess = [&](const ContractionCost& c) {
            return (std::max)(0.0, c.peak_elements - options.max_peak_elements);
        };
        const bool better = excess(cost) != excess(best_cost)
                                ? excess(cost) < excess(best_cost)
                                : cost.multiply_adds < best_cost.multiply_adds;
        if (trial == 0 || better) {
            best = path;
            best_cost = cost;
        }
    }
    return best;
}

/// A path with exactly these legs sliced; its peak may exceed the limit.
[[nodiscard]] MPO_DETAIL_INLINE ContractionPath path_with_slices(const LegNetwork& network,
                                                                 const std::vector<Index>& sliced,
                                                                 const PathOptions& options) {
    const std::size_t count = network.tensors.size();
    if (static_cast<Index>(count) > options.max_optimal)
        return best_greedy(network, sliced, options);
    const LegCounter counter(network);
    const LegSizes sizes(sliced_extents(network, sliced));
    auto steps = OptimalOrder(counter, sizes, count, options.max_peak_elements).steps();
    if (!steps)
        steps =
            OptimalOrder(counter, sizes, count, std::numeric_limits<double>::infinity()).steps();
    return {std::move(*steps), sliced};
}

/// The summed leg whose slicing brings the peak of a path down at the least cost. nullopt where there
/// is no such leg.
[[nodiscard]] MPO_DETAIL_INLINE std::optional<Index> leg_to_slice(const LegNetwork& network,
                                                                  const ContractionPath& path) {
    const double peak = contraction_cost(network, path).peak_elements;
    const LegCounter counter(network);
    std::optional<Index> best;
    double best_price = std::numeric_limits<double>::infinity();
    for (Index leg = 0; leg < counter.num_legs(); ++leg) {
        const bool sliced =
            std::find(path.sliced.begin(), path.sliced.end(), leg) != path.sliced.end();
        if (sliced || counter.is_open(leg) || network.extents[static_cast<std::size_t>(leg)] == 1)
            continue;
        auto candidate = path;
        candidate.sliced.push_back(leg);
        const auto cost = contraction_cost(network, candidate);
        // multiply-adds paid for a smaller peak, both as factors
        const double price = std::log(cost.multiply_adds) / 4 + std::log(cost.peak_elements);
        if (cost.peak_elements < peak && price < best_price) {
            best = leg;
            best_price = price;
        }
    }
    return best;
}

}  // namespace detail

MPO_DETAIL_INLINE ContractionPath optimize_path(const LegNetwork& network,
                                                const PathOptions& options) {
    detail::validate(network, "optimize_path");
    if (options.trials < 1 || options.max_optimal < 1 || options.max_optimal > 16 ||
        !(options.max_peak_elements > 0))
        detail::raise<ArgumentError>(
            {"optimize_path: need trials >= 1, max_optimal in 1..16, max_peak_elements > 0; got ",
             options.trials, ", ", options.max_optimal, ", ", options.max_peak_elements});
    auto path = detail::path_with_slices(network, {}, options);
    while (contraction_cost(network, path).peak_elements > options.max_peak_elements) {
        const auto leg = detail::leg_to_slice(network, path);
        if (!leg)
            detail::raise<ArgumentError>(
                {"optimize_path: max_peak_elements = ", options.max_peak_elements,
                 " is too small: with all useful legs sliced the peak is still ",
                 contraction_cost(network, path).peak_elements});
        auto sliced = path.sliced;
        sliced.push_back(*leg);
        path = detail::path_with_slices(network, sliced, options);
    }
    return path;
}

}  // namespace mpo
