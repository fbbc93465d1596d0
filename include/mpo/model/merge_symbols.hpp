// The loop of byte pair encoding: of all neighbours that may become one, the best pair does, the leftmost
// of equals, until none may. O(n log n) for n symbols, whatever the text.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "mpo/core/tensor.hpp"

namespace mpo::detail {

/// A piece of the text, in a list that is linked both ways.
struct Symbol {
    Index token = -1;                 // its id; -1 where none spells it
    std::size_t begin = 0;            // in the text, as size
    std::size_t size = 0;             // 0: has become part of its left neighbour
    std::size_t left = 0, right = 0;  // neighbours; no_symbol at the ends
};

inline constexpr std::size_t no_symbol = (std::numeric_limits<std::size_t>::max)();

/// What a pair becomes, and how soon: the smallest key first.
struct Merged {
    Index token = -1;
    double key = 0;
};

/// Memory that is used again from word to word.
class SymbolMerger {
  public:
    /// Forgets all symbols.
    void clear() { symbols_.clear(); }

    /// Appends the next piece of the text.
    void add(Index token, std::size_t begin, std::size_t size);

    /// Merges until nothing is left to merge. merge(left, right) -> std::optional<Merged>.
    template <class Merge>
    void merge_all(Merge&& merge) {
        candidates_.clear();
        for (std::size_t k = 1; k < symbols_.size(); ++k) consider(k - 1, k, merge);
        while (!candidates_.empty()) {
            std::pop_heap(candidates_.begin(), candidates_.end(), later);
            const Candidate best = candidates_.back();
            candidates_.pop_back();
            Symbol& left = symbols_[best.left];
            Symbol& right = symbols_[best.right];
            // pieces only grow: of the same size together, they are the pair that was considered
            if (left.size == 0 || right.size == 0 || left.size + right.size != best.size) continue;
            left.token = best.token;
            left.size = best.size;
            right.size = 0;
            left.right = right.right;
            if (right.right != no_symbol) symbols_[right.right].left = best.left;
            if (left.left != no_symbol) consider(left.left, best.left, merge);
            if (left.right != no_symbol) consider(best.left, left.right, merge);
        }
    }

    /// visit(symbol) for what is left, in the order of the text.
    template <class Visit>
    void for_each(Visit&& visit) const {
        for (std::size_t k = symbols_.empty() ? no_symbol : 0; k != no_symbol;
             k = symbols_[k].right)
            visit(symbols_[k]);
    }

  private:
    struct Candidate {
        double key;
        std::size_t left, right, size;
        Index token;
    };
    [[nodiscard]] static bool later(const Candidate& a, const Candidate& b) {
        return a.key != b.key ? a.key > b.key : a.left > b.left;
    }

    template <class Merge>
    void consider(std::size_t left, std::size_t right, Merge& merge) {
        const Symbol &a = symbols_[left], &b = symbols_[right];
        const std::optional<Merged> merged = merge(a, b);
        if (!merged) return;
        candidates_.push_back({merged->key, left, right, a.size + b.size, merged->token});
        std::push_heap(candidates_.begin(), candidates_.end(), later);
    }

    std::vector<Symbol> symbols_;
    std::vector<Candidate> candidates_;
};

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/merge_symbols_inl.hpp"
#endif
