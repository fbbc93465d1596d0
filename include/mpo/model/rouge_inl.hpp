// The bodies of model/rouge.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/porter_stemmer.hpp"
#include "mpo/model/rouge.hpp"

namespace mpo {
namespace detail {

/// Words in lower case, stemmed where asked. Of characters beyond ASCII, two become ASCII letters when
/// lower-cased: the Kelvin sign a k, the dotted capital I an i and a dot that ends the word.
[[nodiscard]] inline std::vector<std::string> rouge_words(std::string_view text,
                                                          Stemming stemming) {
    std::vector<std::string> words;
    std::string word;
    const auto end_word = [&] {
        if (word.size() > 3 && stemming == Stemming::porter) word = porter_stem(word);
        if (!word.empty()) words.push_back(std::move(word));
        word.clear();
    };
    for (std::size_t at = 0; at < text.size(); ++at) {
        const char c = text[at];
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
            word += c;
        } else if (c >= 'A' && c <= 'Z') {
            word += static_cast<char>(c - 'A' + 'a');
        } else if (text.substr(at).starts_with("\xe2\x84\xaa")) {
            word += 'k';
            at += 2;
        } else {
            if (text.substr(at).starts_with("\xc4\xb0")) word += 'i';
            end_word();
        }
    }
    end_word();
    return words;
}

/// Words as numbers, the same word the same number.
class WordNumbers {
  public:
    [[nodiscard]] std::vector<std::uint32_t> operator()(const std::vector<std::string>& words) {
        std::vector<std::uint32_t> numbers;
        numbers.reserve(words.size());
        for (const auto& word : words)
            numbers.push_back(
                numbers_.emplace(word, static_cast<std::uint32_t>(numbers_.size())).first->second);
        return numbers;
    }

  private:
    std::unordered_map<std::string, std::uint32_t> numbers_;
};

[[nodiscard]] inline RougeScore rouge_of_hits(double hits, std::size_t target,
                                              std::size_t prediction) {
    RougeScore score;
    if (prediction > 0) score.precision = hits / static_cast<double>(prediction);
    if (target > 0) score.recall = hits / static_cast<double>(target);
    const double sum = score.precision + score.recall;
    if (sum > 0) score.f1 = 2 * score.precision * score.recall / sum;
    return score;
}

[[nodiscard]] inline RougeScore rouge_n(const Sentence& target, const Sentence& prediction,
                                        std::size_t n) {
    const auto grams = [n](const Sentence& words) {
        std::map<Sentence, std::size_t> counts;
        for (std::size_t k = 0; k + n <= words.size(); ++k) {
            const auto first = words.begin() + static_cast<std::ptrdiff_t>(k);
            ++counts[Sentence(first, first + static_cast<std::ptrdiff_t>(n))];
        }
        return counts;
    };
    const auto number = [n](const Sentence& words) {
        return words.size() < n ? 0 : words.size() - n + 1;
    };
    const auto wanted = grams(target), got = grams(prediction);
    std::size_t hits = 0;
    for (const auto& [gram, count] : wanted)
        if (const auto found = got.find(gram); found != got.end())
            hits += (std::min)(count, found->second);
    return rouge_of_hits(static_cast<double>(hits), number(target), number(prediction));
}

/// Lengths of the longest common subsequences of all beginnings: row i, column j, (n + 1) x (m + 1).
[[nodiscard]] inline std::vector<std::uint32_t> common_lengths(const Sentence& a,
                                                               const Sentence& b) {
    const std::size_t width = b.size() + 1;
    std::vector<std::uint32_t> table((a.size() + 1) * width, 0);
    for (std::size_t i = 1; i <= a.size(); ++i)
        for (std::size_t j = 1; j <= b.size(); ++j)
            table[i * width + j] = a[i - 1] == b[j - 1] ? table[(i - 1) * width + j - 1] + 1
                                                        : (std::max)(table[(i - 1) * width + j],
                                                                     table[i * width + j - 1]);
    return table;
}

/// Marks the words of `target` in one longest common subsequence; of several, the one that the
/// reference program finds by walking back and preferring the target's earlier words.
inline void mark_common(const Sentence& target, const Sentence& prediction,
                        std::vector<bool>& marked) {
    const auto table = common_lengths(target, prediction);
    const std::size_t width = prediction.size() + 1;
    std::size_t i = target.size(), j = prediction.size();
    while (i > 0 && j > 0) {
        if (target[i - 1] == prediction[j - 1]) {
            marked[i - 1] = true;
            --i, --j;
        } else if (table[i * width + j - 1] > table[(i - 1) * width + j]) {
            --j;
        } else {
            --i;
        }
    }
}

MPO_DETAIL_MODEL_INLINE RougeScore rouge_lsum(const std::vector<Sentence>& target,
                                              const std::vector<Sentence>& prediction) {
    std::unordered_map<std::uint32_t, std::size_t> in_target, in_prediction;
    std::size_t target_size = 0, prediction_size = 0, hits = 0;
    for (const auto& sentence : target)
        for (const auto word : sentence) ++in_target[word], ++target_size;
    for (const auto& sentence : prediction)
        for (const auto word : sentence) ++in_prediction[word], ++prediction_size;
    for (const auto& sentence : target) {
        std::vector<bool> marked(sentence.size());
        for (const auto& other : prediction) mark_common(sentence, other, marked);
        for (std::size_t k = 0; k < sentence.size(); ++k) {
            if (!marked[k]) continue;
            auto &wanted = in_target[sentence[k]], &got = in_prediction[sentence[k]];
            if (wanted == 0 || got == 0) continue;
            --wanted, --got, ++hits;
        }
    }
    return rouge_of_hits(static_cast<double>(hits), target_size, prediction_size);
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE RougeScores rouge(std::string_view target, std::string_view prediction,
                                          Stemming stemming) {
    detail::WordNumbers numbers;
    const auto lines = [&](std::string_view text) {
        std::vector<detail::Sentence> sentences;
        for (std::size_t begin = 0; begin <= text.size();) {
            const std::size_t end = (std::min)(text.find('\n', begin), text.size());
            auto words = numbers(detail::rouge_words(text.substr(begin, end - begin), stemming));
            if (!words.empty()) sentences.push_back(std::move(words));
            begin = end + 1;
        }
        return sentences;
    };
    const auto joined = [](const std::vector<detail::Sentence>& sentences) {
        detail::Sentence all;
        for (const auto& sentence : sentences)
            all.insert(all.end(), sentence.begin(), sentence.end());
        return all;
    };
    const auto target_lines = lines(target), prediction_lines = lines(prediction);
    const auto wanted = joined(target_lines), got = joined(prediction_lines);
    constexpr std::size_t max_pairs = std::size_t{1} << 28;
    if (!got.empty() && wanted.size() > max_pairs / got.size())
        detail::raise<ArgumentError>({"rouge: texts of ", wanted.size(), " and ", got.size(),
                                      " words make more than ", max_pairs, " pairs"});
    RougeScores scores;
    scores.rouge_1 = detail::rouge_n(wanted, got, 1);
    scores.rouge_2 = detail::rouge_n(wanted, got, 2);
    const double common = detail::common_lengths(wanted, got).back();
    scores.rouge_l = detail::rouge_of_hits(common, wanted.size(), got.size());
    scores.rouge_lsum = detail::rouge_lsum(target_lines, prediction_lines);
    return scores;
}

}  // namespace mpo
