// The bodies of model/porter_stemmer.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include "mpo/io/inline.hpp"
#include "mpo/model/porter_stemmer.hpp"

namespace mpo {
namespace detail {

/// A word of a-z and 0-9 that loses its suffixes step by step. Conditions are those of the paper: m is
/// the number of times that a consonant follows a vowel in the stem.
class PorterWord {
  public:
    explicit PorterWord(std::string_view word) : word_(word) {}

    [[nodiscard]] std::string stemmed() && {
        plurals();
        past_tenses();
        final_y();
        double_suffixes();
        replace_first({{"icate", "ic"},
                       {"ative", ""},
                       {"alize", "al"},
                       {"iciti", "ic"},
                       {"ical", "ic"},
                       {"ful", ""},
                       {"ness", ""}},
                      1);
        single_suffixes();
        final_e();
        if (ends("ll") && measure(word_.size() - 1) > 1) word_.pop_back();
        return std::move(word_);
    }

  private:
    struct Rule {
        std::string_view suffix, replacement;
    };

    [[nodiscard]] bool ends(std::string_view suffix) const { return word_.ends_with(suffix); }

    void replace(std::size_t suffix, std::string_view replacement) {
        word_.resize(word_.size() - suffix);
        word_ += replacement;
    }

    /// A letter other than a, e, i, o, u, and y where no consonant comes before it.
    [[nodiscard]] bool is_consonant(std::size_t at) const {
        std::size_t run = 0;  // of y, from `at` backwards
        while (run < at && word_[at - run] == 'y') ++run;
        const char c = word_[at - run];
        const bool vowel = c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u';
        return vowel == (run % 2 == 1);
    }

    /// m of the first `size` letters.
    [[nodiscard]] int measure(std::size_t size) const {
        int m = 0;
        bool consonant = true;
        for (std::size_t k = 0; k < size; ++k) {
            const bool before = consonant;
            consonant = word_[k] == 'y' ? (k == 0 || !before) : is_consonant(k);
            if (k > 0 && consonant && !before) ++m;
        }
        return m;
    }

    [[nodiscard]] bool has_vowel(std::size_t size) const {
        bool consonant = true;
        for (std::size_t k = 0; k < size; ++k) {
            consonant = word_[k] == 'y' ? (k == 0 || !consonant) : is_consonant(k);
            if (!consonant) return true;
        }
        return false;
    }

    [[nodiscard]] bool ends_double_consonant() const {
        const std::size_t n = word_.size();
        return n >= 2 && word_[n - 1] == word_[n - 2] && is_consonant(n - 1);
    }

    /// Consonant, vowel, consonant other than w, x, y; or a vowel and a consonant alone.
    [[nodiscard]] bool ends_cvc(std::size_t n) const {
        if (n == 2) return !is_consonant(0) && is_consonant(1);
        if (n < 3 || !is_consonant(n - 3) || is_consonant(n - 2) || !is_consonant(n - 1))
            return false;
        return word_[n - 1] != 'w' && word_[n - 1] != 'x' && word_[n - 1] != 'y';
    }

    /// The first suffix that fits decides; it is replaced where its stem has m >= least.
    void replace_first(std::initializer_list<Rule> rules, int least) {
        for (const auto& [suffix, replacement] : rules)
            if (ends(suffix)) {
                if (measure(word_.size() - suffix.size()) >= least)
                    replace(suffix.size(), replacement);
                return;
            }
    }

    void plurals() {
        if (ends("ies"))
            replace(3, word_.size() == 4 ? "ie" : "i");
        else if (ends("sses"))
            replace(4, "ss");
        else if (ends("s") && !ends("ss"))
            replace(1, "");
    }

    void past_tenses() {
        if (ends("ied")) return replace(3, word_.size() == 4 ? "ie" : "i");
        if (ends("eed")) {
            if (measure(word_.size() - 3) > 0) replace(3, "ee");
            return;
        }
        const std::size_t suffix = ends("ed") ? 2 : ends("ing") ? 3 : 0;
        if (suffix == 0 || !has_vowel(word_.size() - suffix)) return;
        replace(suffix, "");
        const bool lost_e = ends("at") || ends("bl") || ends("iz");
        if (!lost_e && ends_double_consonant()) {
            const char last = word_.back();
            if (last != 'l' && last != 's' && last != 'z') word_.pop_back();
            return;
        }
        if (lost_e || (measure(word_.size()) == 1 && ends_cvc(word_.size()))) word_ += 'e';
    }

    void final_y() {
        if (ends("y") && word_.size() > 2 && is_consonant(word_.size() - 2)) word_.back() = 'i';
    }

    void double_suffixes() {
        while (ends("alli") && measure(word_.size() - 4) > 0) replace(4, "al");
        if (ends("logi")) {
            if (measure(word_.size() - 3) > 0) replace(4, "log");
            return;
        }
        replace_first(
            {{"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"},   {"anci", "ance"},
             {"izer", "ize"},    {"bli", "ble"},     {"alli", "al"},     {"entli", "ent"},
             {"eli", "e"},       {"ousli", "ous"},   {"ization", "ize"}, {"ation", "ate"},
             {"ator", "ate"},    {"alism", "al"},    {"iveness", "ive"}, {"fulness", "ful"},
             {"ousness", "ous"}, {"aliti", "al"},    {"iviti", "ive"},   {"biliti", "ble"},
             {"fulli", "ful"}},
            1);
    }

    void single_suffixes() {
        for (const std::string_view suffix :
             {"al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent",
              "ion", "ou", "ism", "ate", "iti", "ous", "ive", "ize"}) {
            if (!ends(suffix)) continue;
            const std::size_t stem = word_.size() - suffix.size();
            const bool st =
                suffix != "ion" || (stem > 0 && (word_[stem - 1] == 's' || word_[stem - 1] == 't'));
            if (st && measure(stem) > 1) word_.resize(stem);
            return;
        }
    }

    void final_e() {
        if (!ends("e")) return;
        const std::size_t stem = word_.size() - 1;
        const int m = measure(stem);
        if (m > 1 || (m == 1 && !ends_cvc(stem))) word_.pop_back();
    }

    std::string word_;
};

}  // namespace detail

MPO_DETAIL_MODEL_INLINE std::string porter_stem(std::string_view word) {
    struct Form {
        std::string_view word, stem;
    };
    static constexpr Form irregular[] = {
        {"sky", "sky"},        {"skies", "sky"},        {"dying", "die"},
        {"lying", "lie"},      {"tying", "tie"},        {"news", "news"},
        {"innings", "inning"}, {"inning", "inning"},    {"outings", "outing"},
        {"outing", "outing"},  {"cannings", "canning"}, {"canning", "canning"},
        {"howe", "howe"},      {"proceed", "proceed"},  {"exceed", "exceed"},
        {"succeed", "succeed"}};
    for (const auto& form : irregular)
        if (form.word == word) return std::string(form.stem);
    if (word.size() <= 2) return std::string(word);
    return detail::PorterWord(word).stemmed();
}

}  // namespace mpo
