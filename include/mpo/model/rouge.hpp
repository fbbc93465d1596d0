// ROUGE [lin2004]: how much of a summary's words are in another, with the rules of Google's rouge-score
// 0.1.2, so that numbers can be compared with published ones:
//
//   1. Words are runs of a-z and 0-9 after lower-casing; with stemming, those of more than three letters
//      lose their suffixes.
//   2. ROUGE-N: n-grams in both, each counted as often as in the one that has fewer; precision = hits /
//      n-grams of the prediction, recall = hits / n-grams of the target.
//   3. ROUGE-L: the length of the longest common subsequence over the words of either.
//   4. ROUGE-Lsum: sentences are lines; per sentence of the target the union of its common subsequences
//      with every sentence of the prediction, no word counted more often than in either text.
//   5. F1 = 2 P R / (P + R), 0 where both are 0.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mpo {

/// Whether words lose their suffixes before they are compared.
enum class Stemming { none, porter };

/// Shares of words, in [0, 1].
struct RougeScore {
    double precision = 0;  // of the prediction's
    double recall = 0;     // of the target's
    double f1 = 0;         // harmonic mean of both
};

/// One prediction against one target.
struct RougeScores {
    RougeScore rouge_1;     // single words
    RougeScore rouge_2;     // pairs of neighbours
    RougeScore rouge_l;     // longest common subsequence
    RougeScore rouge_lsum;  // the same, line by line
};

namespace detail {

using Sentence = std::vector<std::uint32_t>;

[[nodiscard]] RougeScore rouge_lsum(const std::vector<Sentence>& target,
                                    const std::vector<Sentence>& prediction);

}  // namespace detail

/// All four scores of a prediction against the target; O(n m) operations and bytes for texts of n and m words. Bytes that are no
/// UTF-8 end a word. Throws ArgumentError where n m > 2^28.
[[nodiscard]] RougeScores rouge(std::string_view target, std::string_view prediction,
                                Stemming stemming = Stemming::none);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/rouge_inl.hpp"
#endif
