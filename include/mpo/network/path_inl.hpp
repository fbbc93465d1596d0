// Legs as sets, and the walk along a path, for network/path.hpp and optimize_path.hpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "mpo/core/inline.hpp"
#include "mpo/network/path.hpp"

namespace mpo {
namespace detail {

/// A set of legs, 64 in a word.
using LegSet = std::vector<std::uint64_t>;

/// A network's legs as sets, and products of extents over them.
class LegSizes {
  public:
    explicit LegSizes(const Shape& extents) : words_((extents.size() + 63) / 64) {
        tables_.resize(8 * words_);
        for (auto& table : tables_) table.fill(1.0);
        for (std::size_t leg = 0; leg < extents.size(); ++leg) set_extent(leg, extents[leg]);
    }
    /// Makes `leg` of extent `extent`; it was 1.
    void set_extent(std::size_t leg, Index extent) {
        auto& table = tables_[leg / 8];
        for (std::size_t byte = 0; byte < 256; ++byte)
            if ((byte >> leg % 8 & 1) != 0) table[byte] *= static_cast<double>(extent);
    }
    [[nodiscard]] std::size_t words() const { return words_; }
    /// Product over the legs of a and b, each counted once.
    [[nodiscard]] double of_union(const LegSet& a, const LegSet& b) const {
        double product = 1;
        for (std::size_t w = 0; w < words_; ++w) {
            std::uint64_t word = a[w] | b[w];
            for (std::size_t byte = 8 * w; word != 0; ++byte, word >>= 8)
                product *= tables_[byte][word & 255];
        }
        return product;
    }
    [[nodiscard]] double of(const LegSet& a) const { return of_union(a, a); }

  private:
    std::size_t words_;
    std::vector<std::array<double, 256>> tables_;  // a byte of legs -> product of their extents
};

[[nodiscard]] MPO_DETAIL_INLINE bool contains(const LegSet& legs, Index leg) {
    const auto at = static_cast<std::size_t>(leg);
    return (legs[at / 64] >> at % 64 & 1) != 0;
}

MPO_DETAIL_INLINE void insert(LegSet& legs, Index leg) {
    const auto at = static_cast<std::size_t>(leg);
    legs[at / 64] |= std::uint64_t{1} << at % 64;
}

/// The network as orders see it: what a tensor or an intermediate still needs of its legs.
class LegCounter {
  public:
    explicit LegCounter(const LegNetwork& network)
        : uses_(network.extents.size()), open_((network.extents.size() + 63) / 64) {
        for (const Index leg : network.open) insert(open_, leg);
        for (const auto& tensor : network.tensors) {
            tensors_.emplace_back(open_.size());
            for (const Index leg : tensor) {
                if (!contains(tensors_.back(), leg)) ++uses_[static_cast<std::size_t>(leg)];
                insert(tensors_.back(), leg);
            }
        }
    }
    /// All legs of input k, each once.
    [[nodiscard]] const LegSet& tensor(std::size_t k) const { return tensors_[k]; }
    /// Legs of `legs` that are open or belong to a tensor outside, where `inside[l]` tensors of the
    /// `uses_[l]` with leg l were contracted.
    template <class Inside>
    [[nodiscard]] LegSet kept(const LegSet& legs, const Inside& inside) const {
        LegSet result(legs.size());
        for (Index leg = 0; leg < static_cast<Index>(uses_.size()); ++leg)
            if (contains(legs, leg) &&
                (contains(open_, leg) || inside(leg) < uses_[static_cast<std::size_t>(leg)]))
                insert(result, leg);
        return result;
    }
    /// Legs of input k as it meets others: without traces and legs that only it has.
    [[nodiscard]] LegSet kept_alone(std::size_t k) const {
        return kept(tensors_[k], [](Index) { return Index{1}; });
    }
    [[nodiscard]] bool is_open(Index leg) const { return contains(open_, leg); }
    [[nodiscard]] Index num_legs() const { return static_cast<Index>(uses_.size()); }

  private:
    std::vector<Index> uses_;  // tensors that have the leg
    LegSet open_;
    std::vector<LegSet> tensors_;
};

/// Whether legs of input k are summed before it meets any other: traces, and legs that only it has.
[[nodiscard]] MPO_DETAIL_INLINE bool is_reduced(const std::vector<Index>& tensor,
                                                const LegCounter& counter, std::size_t k) {
    std::vector<Index> sorted = tensor;
    std::sort(sorted.begin(), sorted.end());
    const bool traced = std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
    return traced || counter.kept_alone(k) != counter.tensor(k);
}

/// Walks a path: for every step the legs of both sides, all together, and of the result.
template <class Visit>
void walk(const LegCounter& counter, std::size_t count, const std::vector<ContractionStep>& steps,
          const Visit& visit) {
    std::vector<LegSet> legs;
    std::vector<std::vector<Index>>
        inside;  // per tensor or intermediate: contracted uses of each leg
    for (std::size_t k = 0; k < count; ++k) {
        inside.emplace_back(static_cast<std::size_t>(counter.num_legs()));
        for (Index leg = 0; leg < counter.num_legs(); ++leg)
            if (contains(counter.tensor(k), leg)) inside.back()[static_cast<std::size_t>(leg)] = 1;
        legs.push_back(counter.kept(counter.tensor(k), [&](Index leg) {
            return inside[k][static_cast<std::size_t>(leg)];
        }));
    }
    for (const auto& step : steps) {
        const auto l = static_cast<std::size_t>(step.left),
                   r = static_cast<std::size_t>(step.right);
        auto both = inside[l];
        for (std::size_t leg = 0; leg < both.size(); ++leg) both[leg] += inside[r][leg];
        LegSet all(legs[l]);
        for (std::size_t w = 0; w < all.size(); ++w) all[w] |= legs[r][w];
        legs.push_back(
            counter.kept(all, [&](Index leg) { return both[static_cast<std::size_t>(leg)]; }));
        inside.push_back(std::move(both));
        visit(step, legs[l], legs[r], legs.back());
    }
}

[[nodiscard]] MPO_DETAIL_INLINE Shape sliced_extents(const LegNetwork& network,
                                                     const std::vector<Index>& sliced) {
    Shape extents = network.extents;
    for (const Index leg : sliced) extents[static_cast<std::size_t>(leg)] = 1;
    return extents;
}

MPO_DETAIL_INLINE void validate(const LegNetwork& network, const char* who) {
    const auto legs = static_cast<Index>(network.extents.size());
    for (const Index extent : network.extents)
        if (extent < 1)
            raise<ArgumentError>(
                {who, ": every extent must be at least 1, got ", to_string(network.extents)});
    if (network.tensors.empty()) raise<ArgumentError>({who, ": there are no tensors"});
    std::vector<char> used(static_cast<std::size_t>(legs));
    for (const auto& tensor : network.tensors)
        for (const Index leg : tensor) {
            if (leg < 0 || leg >= legs)
                raise<ArgumentError>({who, ": leg ", leg, " does not exist, there are ", legs});
            used[static_cast<std::size_t>(leg)] = 1;
        }
    std::vector<char> seen(used.size());
    for (const Index leg : network.open) {
        if (leg < 0 || leg >= legs || !used[static_cast<std::size_t>(leg)])
            raise<ArgumentError>({who, ": open leg ", leg, " belongs to no tensor"});
        if (std::exchange(seen[static_cast<std::size_t>(leg)], 1))
            raise<ArgumentError>({who, ": leg ", leg, " is open twice"});
    }
}

}  // namespace detail

MPO_DETAIL_INLINE ContractionCost contraction_cost(const LegNetwork& network,
                                                   const ContractionPath& path) {
    detail::validate(network, "contraction_cost");
    const std::size_t count = network.tensors.size();
    if (path.steps.size() + 1 != count)
        detail::raise<ArgumentError>({"contraction_cost: ", count, " tensors need ", count - 1,
                                      " steps, got ", path.steps.size()});
    std::vector<char> consumed(2 * count - 1);
    for (std::size_t k = 0; k < path.steps.size(); ++k)
        for (const Index id : {path.steps[k].left, path.steps[k].right})
            if (id < 0 || id >= static_cast<Index>(count + k) ||
                std::exchange(consumed[static_cast<std::size_t>(id)], 1))
                detail::raise<ArgumentError>({"contraction_cost: step ", k, " of ",
                                              path.steps.size(), " for ", count,
                                              " tensors cannot consume ", id});
    for (const Index leg : path.sliced)
        if (leg < 0 || leg >= static_cast<Index>(network.extents.size()))
            detail::raise<ArgumentError>({"contraction_cost: sliced leg ", leg,
                                          " does not exist, there are ", network.extents.size()});
    const detail::LegCounter counter(network);
    const detail::LegSizes sizes(detail::sliced_extents(network, path.sliced));
    ContractionCost cost;
    for (const Index leg : path.sliced)
        cost.num_slices *= static_cast<double>(network.extents[static_cast<std::size_t>(leg)]);
    double alive = 0;
    detail::walk(counter, count, path.steps,
                 [&](const ContractionStep& step, const detail::LegSet& left,
                     const detail::LegSet& right, const detail::LegSet& result) {
                     const double made = sizes.of(result);
                     cost.multiply_adds += sizes.of_union(left, right);
                     cost.elements_moved += sizes.of(left) + sizes.of(right) + made;
                     alive += made;
                     cost.peak_elements = (std::max)(cost.peak_elements, alive);
                     if (step.left >= static_cast<Index>(count)) alive -= sizes.of(left);
                     if (step.right >= static_cast<Index>(count)) alive -= sizes.of(right);
                 });
    for (std::size_t k = 0; k < count; ++k)
        if (detail::is_reduced(network.tensors[k], counter, k))
            cost.multiply_adds += sizes.of(counter.tensor(k));
    cost.multiply_adds *= cost.num_slices;
    cost.elements_moved *= cost.num_slices;
    return cost;
}

}  // namespace mpo
