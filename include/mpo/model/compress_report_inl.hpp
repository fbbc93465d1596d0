// The bodies of model/compress_report.hpp that are no templates.
#pragma once

#include <algorithm>
#include <map>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/compress_report.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE std::string to_string(LinearForm form) {
    constexpr std::string_view names[] = {"dense", "low_rank", "mpo"};
    return std::string(names[static_cast<int>(form)]);
}

MPO_DETAIL_MODEL_INLINE SizeChange& SizeChange::operator+=(const SizeChange& other) {
    parameters_before += other.parameters_before;
    parameters += other.parameters;
    bytes_before += other.bytes_before;
    bytes += other.bytes;
    multiply_adds_before += other.multiply_adds_before;
    multiply_adds += other.multiply_adds;
    return *this;
}

MPO_DETAIL_MODEL_INLINE std::string to_string(ComparedForm form) {
    constexpr std::string_view names[] = {"compressed", "mpo", "low_rank", "uniform_low_rank"};
    return std::string(names[static_cast<int>(form)]);
}

MPO_DETAIL_MODEL_INLINE std::string_view title_of(ComparedForm form) {
    constexpr std::string_view titles[] = {"as compressed", "all MPO", "all low rank",
                                           "uniform low rank"};
    return titles[static_cast<int>(form)];
}

MPO_DETAIL_MODEL_INLINE const Comparison& TextReport::of(ComparedForm form) const {
    for (const auto& one : forms)
        if (one.form == form) return one.result;
    throw ArgumentError("TextReport: " + text + " was not read by the form " + to_string(form));
}

MPO_DETAIL_MODEL_INLINE SizeChange CompressReport::size() const {
    SizeChange sum;
    for (const auto& linear : linears) sum += linear.size;
    return sum;
}

MPO_DETAIL_MODEL_INLINE bool CompressReport::is_all(LinearForm form) const {
    return std::all_of(linears.begin(), linears.end(), [form](const LinearReport& linear) {
        return linear.form == form || linear.form == LinearForm::dense;
    });
}

MPO_DETAIL_MODEL_INLINE bool CompressReport::is_written_as(ComparedForm form) const {
    return form == ComparedForm::compressed ||
           (form == ComparedForm::mpo && is_all(LinearForm::mpo)) ||
           (form == ComparedForm::low_rank && is_all(LinearForm::low_rank));
}

MPO_DETAIL_MODEL_INLINE std::vector<KindReport> CompressReport::kinds() const {
    std::map<LinearKind, KindReport> found;
    for (const auto& linear : linears) {
        auto& kind = found[linear.kind];
        kind.kind = linear.kind;
        ++kind.count;
        kind.dense_count += linear.form == LinearForm::dense ? 1 : 0;
        kind.size += linear.size;
        kind.mean_relative_error += linear.relative_error;
        kind.max_relative_error = (std::max)(kind.max_relative_error, linear.relative_error);
        kind.mean_low_rank_error += linear.low_rank_error;
        const Index alike = count_like(linear);
        if (alike > kind.typical_count) {
            kind.typical = linear;
            kind.typical_count = alike;
        }
    }
    std::vector<KindReport> result;
    for (auto& [name, kind] : found) {
        kind.mean_relative_error /= static_cast<double>(kind.count);
        kind.mean_low_rank_error /= static_cast<double>(kind.count);
        result.push_back(std::move(kind));
    }
    return result;
}

MPO_DETAIL_MODEL_INLINE Index CompressReport::count_like(const LinearReport& one) const {
    return std::count_if(linears.begin(), linears.end(), [&](const LinearReport& other) {
        return other.kind == one.kind && other.form == one.form && other.shape == one.shape &&
               other.layout == one.layout;
    });
}

}  // namespace mpo
