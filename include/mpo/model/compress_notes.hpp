// What must be said beside the numbers of a compression, in sentences: one source for the command,
// the page and the JSON.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/plot.hpp"
#include "mpo/model/compress_report.hpp"

namespace mpo {

namespace detail {

/// The type that most linears had in the source.
[[nodiscard]] inline std::string frequent_source_type(const CompressReport& report) {
    std::map<std::string, int> counts;
    for (const auto& linear : report.linears) ++counts[linear.source_type];
    if (counts.empty()) return {};
    return std::max_element(counts.begin(), counts.end(),
                            [](const auto& a, const auto& b) { return a.second < b.second; })
        ->first;
}

/// Whether low rank or an MPO had the smaller error, and for how many.
[[nodiscard]] inline std::vector<std::string> form_notes(const CompressReport& report) {
    Index compressed = 0, low_rank = 0, worse = 0;
    for (const auto& linear : report.linears) {
        if (linear.form == LinearForm::dense) continue;
        ++compressed;
        if (linear.form == LinearForm::low_rank) ++low_rank;
        if (linear.low_rank_error < linear.relative_error) ++worse;
    }
    const auto count = static_cast<Index>(report.linears.size());
    std::vector<std::string> notes;
    if (compressed < count)
        notes.push_back(concat(count - compressed, " of ", count, " linears were left dense"));
    if (low_rank == compressed && compressed > 0)
        notes.push_back(concat("all ", compressed, " compressed linears are plain low rank"));
    else if (low_rank > 0)
        notes.push_back(concat("plain low rank was chosen for ", low_rank, " of ", compressed,
                               " linears, an MPO for ", compressed - low_rank));
    if (worse > 0)
        notes.push_back(concat("for ", worse, " of ", compressed,
                               " linears plain low rank of the same size has the smaller error"));
    return notes;
}

/// What rounding cost where the gauge left numbers out, and for how many it cost too much.
[[nodiscard]] inline std::vector<std::string> storage_notes(const CompressReport& report) {
    constexpr double notable = 1.01;
    Index fixed = 0, whole = 0, rounded = 0;
    double most = 1;
    for (const auto& linear : report.linears) {
        if (linear.form == LinearForm::dense) continue;
        const bool is_fixed = linear.stored_as == StoredAs::gauge_fixed;
        ++(is_fixed ? fixed : whole);
        const double factor =
            linear.error_as_cores > 0 ? linear.relative_error / linear.error_as_cores : 1;
        if (factor > notable) ++rounded;
        most = (std::max)(most, factor);
    }
    std::vector<std::string> notes;
    if (fixed > 0 && whole > 0)
        notes.push_back(concat(whole, " of ", fixed + whole,
                               " compressed linears are stored as whole cores: rounded to ",
                               to_string(report.dtype),
                               ", as many gauge-fixed numbers have the larger error"));
    if (rounded > 0)
        notes.push_back(concat("for ", rounded, " of ", fixed, " gauge-fixed linears rounding to ",
                               to_string(report.dtype),
                               " makes the error more than 1 % larger than that of whole cores of "
                               "the same bonds, at most ",
                               short_number(most, 3), " times as large"));
    return notes;
}

/// What the texts say of the result: by how much it is perplexed more than the source.
[[nodiscard]] inline std::vector<std::string> text_notes(const CompressReport& report) {
    if (report.texts.empty()) return {};
    double least = 1e300, most = 0;
    for (const auto& text : report.texts) {
        const double ratio = std::exp(text.compressed.log_ppl_ratio.mean);
        least = (std::min)(least, ratio);
        most = (std::max)(most, ratio);
    }
    constexpr double harmless = 1.1;
    const auto range = report.texts.size() > 1
                           ? short_number(least, 3) + " to " + short_number(most, 3)
                           : short_number(most, 3);
    if (most < harmless) return {"the perplexity is " + range + " times the source's"};
    return {"the perplexity is " + range +
            " times the source's: plain truncation keeps what is large in the weights, not what "
            "the "
            "language needs, and this is the reason that calibration exists"};
}

}  // namespace detail

/// Plain sentences, without a full stop where they are one clause, in the order of their weight.
[[nodiscard]] inline std::vector<std::string> notes(const CompressReport& report) {
    auto notes = detail::form_notes(report);
    for (auto& note : detail::storage_notes(report)) notes.push_back(std::move(note));
    for (auto& note : detail::text_notes(report)) notes.push_back(std::move(note));
    if (report.bytes > report.bytes_before)
        notes.push_back(
            detail::concat("the result takes more bytes than its source: ", report.bytes, " as ",
                           to_string(report.dtype), " against ", report.bytes_before, " (",
                           detail::frequent_source_type(report), ")"));
    notes.emplace_back(
        "a truncation without calibration is not yet a usable model; it minimises the error of "
        "weights, not of what the layers compute. Judge it before you use it: mpo reconstruct "
        "makes "
        "it dense again.");
    return notes;
}

}  // namespace mpo
