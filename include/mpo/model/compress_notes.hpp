// What must be said beside the numbers of a compression, in sentences: one source for the command,
// the page and the JSON.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "mpo/core/error.hpp"
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

}  // namespace detail

/// Plain sentences, without a full stop where they are one clause, in the order of their weight.
[[nodiscard]] inline std::vector<std::string> notes(const CompressReport& report) {
    auto notes = detail::form_notes(report);
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
