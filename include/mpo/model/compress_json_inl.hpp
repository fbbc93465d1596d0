// The bodies of model/compress_json.hpp that are no templates.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>

#include "mpo/core/plot.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/compress_json.hpp"
#include "mpo/model/compress_notes.hpp"
#include "mpo/model/json_lines.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const SizeChange& size) {
    return {{"parameters_before", size.parameters_before},
            {"parameters", size.parameters},
            {"bytes_before", size.bytes_before},
            {"bytes", size.bytes},
            {"multiply_adds_before", size.multiply_adds_before},
            {"multiply_adds", size.multiply_adds}};
}

MPO_DETAIL_MODEL_INLINE double six_digits(double value) {
    if (!std::isfinite(value)) return value;
    return nlohmann::json::parse(short_number(value, 6)).get<double>();
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const SpectrumReport& spectrum) {
    auto ranks = nlohmann::ordered_json::array(), values = ranks, errors = ranks;
    for (const auto& point : spectrum.points) {
        ranks.push_back(point.rank);
        values.push_back(six_digits(point.singular_value));
        errors.push_back(six_digits(point.relative_error));
    }
    return {{"bond_dim", spectrum.bond_dim},
            {"useful_bond_dim", spectrum.useful_bond_dim},
            {"num_computed", spectrum.num_computed},
            {"limit", to_string(spectrum.limit)},
            {"discarded_weight", spectrum.discarded_weight},
            {"rank", std::move(ranks)},
            {"singular_value", std::move(values)},
            {"relative_error", std::move(errors)}};
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const LinearReport& linear) {
    nlohmann::ordered_json json{{"name", linear.name},
                                {"kind", to_string(linear.kind)},
                                {"shape", linear.shape},
                                {"form", to_string(linear.form)},
                                {"layout", layout_json(linear.layout)},
                                {"bonds", linear.bonds},
                                {"source_type", linear.source_type},
                                {"truncation_error", linear.truncation_error},
                                {"relative_error", linear.relative_error},
                                {"error_kind", to_string(linear.error_kind)},
                                {"low_rank_error", linear.low_rank_error}};
    json["stored_as"] =
        linear.form == LinearForm::dense ? "dense" : std::string(to_string(linear.stored_as));
    json["error_as_cores"] = linear.error_as_cores;
    json.update(to_json(linear.size));
    json["seconds"] = linear.seconds;
    json["norm"] = linear.norm;
    json["spectra"] = nlohmann::ordered_json::array();
    for (const auto& spectrum : linear.spectra) json["spectra"].push_back(to_json(spectrum));
    if (linear.calibration) json["calibration"] = to_json(*linear.calibration, linear.source_type);
    return json;
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const KindReport& kind) {
    nlohmann::ordered_json json{{"kind", to_string(kind.kind)},
                                {"count", kind.count},
                                {"left_dense", kind.dense_count},
                                {"mean_relative_error", kind.mean_relative_error},
                                {"max_relative_error", kind.max_relative_error},
                                {"mean_low_rank_error", kind.mean_low_rank_error}};
    json.update(to_json(kind.size));
    return json;
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const TextReport& text) {
    nlohmann::ordered_json json{{"text", text.text},
                                {"dense", detail::to_json(text.compressed().reference)}};
    json["dense"]["cost"] = detail::to_json(text.source_cost);
    for (const auto& form : text.forms) {
        auto& member = json[to_string(form.form)] = detail::to_json(form.result);
        member["cost"] = detail::to_json(form.cost);
    }
    return json;
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json describe(const CompressReport& report) {
    nlohmann::ordered_json json{{"schema_version", 1},
                                {"source", report.source},
                                {"made_by", to_json(report.made_by)},
                                {"dtype", to_string(report.dtype)},
                                {"tensors", report.num_tensors},
                                {"model_parameters_before", report.parameters_before},
                                {"model_parameters", report.parameters},
                                {"model_bytes_before", report.bytes_before},
                                {"model_bytes", report.bytes},
                                {"seconds", report.seconds}};
    json.update(to_json(report.size()));
    json["notes"] = notes(report);
    if (report.calibration) json["calibration"] = calibration_json(report);
    json["kinds"] = nlohmann::ordered_json::array();
    for (const auto& kind : report.kinds()) json["kinds"].push_back(to_json(kind));
    json["texts"] = nlohmann::ordered_json::array();
    for (const auto& text : report.texts) json["texts"].push_back(to_json(text));
    json["linears"] = nlohmann::ordered_json::array();
    for (const auto& linear : report.linears) json["linears"].push_back(to_json(linear));
    return json;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE std::string to_json(const CompressReport& report) {
    return detail::json_lines(detail::describe(report));
}

}  // namespace mpo
