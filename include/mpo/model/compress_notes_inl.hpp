// The bodies of model/compress_notes.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/plot.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/calibrated_kinds.hpp"
#include "mpo/model/compress_notes.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE std::string frequent_source_type(const CompressReport& report) {
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
        const double ratio = std::exp(text.compressed().log_ppl_ratio.mean);
        least = (std::min)(least, ratio);
        most = (std::max)(most, ratio);
    }
    constexpr double harmless = 1.1;
    const auto range = report.texts.size() > 1
                           ? short_number(least, 3) + " to " + short_number(most, 3)
                           : short_number(most, 3);
    std::string note = "the perplexity is " + range + " times the source's";
    if (most >= harmless && !report.calibration)
        note +=
            ": plain truncation keeps what is large in the weights, not what the language needs, "
            "and this is the reason that calibration exists";
    return {std::move(note)};
}

/// Against what a sceptic would store of as many numbers, text by text.
[[nodiscard]] inline std::vector<std::string> sceptic_notes(const CompressReport& report) {
    std::vector<std::string> notes;
    for (const auto& text : report.texts)
        for (const auto& form : text.forms)
            if (form.form == ComparedForm::uniform_low_rank && form.result.kld.mean > 0)
                notes.push_back(concat(
                    "on ", printable(text.text, 120), " the divergence is ",
                    short_number(text.compressed().kld.mean / form.result.kld.mean, 3),
                    " times that of closed-form low rank, uniform and without compensation, of no "
                    "more numbers"));
    return notes;
}

/// "rounded to 3 bits for 10, plain MPO for 2".
[[nodiscard]] inline std::string better_text(const std::vector<BetterStorage>& better) {
    std::string text;
    for (const auto& one : better)
        text += concat(text.empty() ? "" : ", ", one.form, " for ", one.count);
    return text;
}

/// For how many linears chains are not the best thing to store.
[[nodiscard]] inline std::vector<std::string> verdict_notes(const CompressReport& report) {
    Index compressed = 0, judged = 0, beaten = 0;
    for (const auto& linear : report.linears) {
        if (!has_loss(linear)) continue;
        ++compressed;
        if (!linear.calibration->rivals.empty()) ++judged;
        if (better_rival(linear)) ++beaten;
    }
    if (judged == 0) return {};
    if (beaten == 0)
        return {
            concat("nothing that was measured loses less than the stored chain at no more "
                   "bytes, for any of the ",
                   judged, " linears")};
    return {concat("do not compress by chains alone: for ", beaten, " of ", compressed,
                   " linears something else loses less at no more bytes (",
                   better_text(better_storage(report)),
                   "); roundings are measured as values, mpo does not write them yet")};
}

/// Which roundings were not counted, because the source came from such a grid.
[[nodiscard]] inline std::vector<std::string> grid_notes(const CompressReport& report) {
    Index counted_out = 0;
    for (const auto& linear : report.linears)
        if (has_loss(linear))
            for (const auto& rival : linear.calibration->rivals)
                if (!is_comparable(rival, linear.source_type)) ++counted_out;
    if (counted_out == 0) return {};
    const auto type = frequent_source_type(report);
    return {concat("rounding to ", grid_bits(type), " bits is not counted for ", counted_out,
                   " linears: the source came from ", type,
                   ", and rounding to as many bits finds its grid again")};
}

/// What the calibration read, and where it went wrong.
[[nodiscard]] inline std::vector<std::string> calibration_notes(const CompressReport& report) {
    const auto& run = *report.calibration;
    std::vector<std::string> notes;
    for (const auto& sink : run.sinks)
        notes.push_back(concat("attention sinks: ", sink.module, " makes states of norm ",
                               short_number(sink.norm, 3), " at ", sink.positions, " positions in ",
                               sink.windows, " of ", run.windows, " windows, the median there is ",
                               short_number(sink.median, 3), "; their error was bounded apart"));
    if (!run.deviations.empty()) {
        const auto& last = run.deviations.back();
        auto note =
            concat("behind the last layer the states are off by ", short_number(last.ordinary, 3),
                   " of their norm on the calibration "
                   "texts");
        if (last.sinks > 0)
            note += concat(", those of sinks by at most ", short_number(last.worst_sink, 3));
        notes.push_back(std::move(note));
    }
    if (run.has_few_tokens())
        notes.push_back(concat("calibrated on ", run.tokens, " tokens, fewer than the ",
                               run.most_inputs,
                               " inputs of the widest linear: of the directions that they do not "
                               "span nothing was heard, and losses on other texts are larger"));
    notes.push_back(concat("calibrated on ", run.tokens, " tokens in ", run.windows,
                           " windows: losses are of these texts, judge the result on others"));
    return notes;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE std::vector<std::string> notes(const CompressReport& report) {
    auto notes = detail::form_notes(report);
    for (auto& note : detail::storage_notes(report)) notes.push_back(std::move(note));
    for (auto& note : detail::text_notes(report)) notes.push_back(std::move(note));
    if (report.bytes > report.bytes_before)
        notes.push_back(
            detail::concat("the result takes more bytes than its source: ", report.bytes, " as ",
                           to_string(report.dtype), " against ", report.bytes_before, " (",
                           detail::frequent_source_type(report), ")"));
    if (report.calibration) {
        for (auto more : {detail::sceptic_notes(report), detail::calibration_notes(report),
                          detail::grid_notes(report), detail::verdict_notes(report)})
            for (auto& note : more) notes.push_back(std::move(note));
        return notes;
    }
    notes.emplace_back(
        "a truncation without calibration is not yet a usable model; it minimises the error of "
        "weights, not of what the layers compute. Judge it before you use it: mpo reconstruct "
        "makes "
        "it dense again.");
    return notes;
}

}  // namespace mpo
