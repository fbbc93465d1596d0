// The bodies of model/compress_state.hpp that are no templates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "mpo/io/atomic_file.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/safetensors_writer.hpp"
#include "mpo/io/text_file.hpp"
#include "mpo/model/calibration_json.hpp"
#include "mpo/model/compress_state.hpp"
#include "mpo/model/compressed_writer.hpp"

namespace mpo::detail {

[[nodiscard]] inline Layout layout_in(const JsonObject& from) {
    return {from.integers("out"), from.integers("in")};
}

[[nodiscard]] inline nlohmann::ordered_json state_json(const FitCandidate& candidate) {
    nlohmann::ordered_json json{{"layout", layout_json(candidate.layout)},
                                {"bonds", candidate.bonds},
                                {"parameters", candidate.parameters},
                                {"multiply_adds", candidate.multiply_adds},
                                {"why", candidate.why}};
    if (candidate.start_loss) json["start_loss"] = *candidate.start_loss;
    if (candidate.first_loss) json["first_loss"] = *candidate.first_loss;
    if (candidate.loss) json["loss"] = *candidate.loss;
    return json;
}

[[nodiscard]] inline FitCandidate candidate_in(const JsonObject& from) {
    const auto loss = [&](const char* key) {
        return from.has(key) ? std::optional(from.number(key)) : std::nullopt;
    };
    return {layout_in(from.object("layout")),
            from.integers("bonds"),
            from.integer("parameters"),
            from.integer("multiply_adds"),
            loss("start_loss"),
            loss("first_loss"),
            loss("loss"),
            from.text("why")};
}

[[nodiscard]] inline nlohmann::ordered_json state_json(const CalibrationReport& report) {
    nlohmann::ordered_json json{{"share", report.share},
                                {"loss", report.loss},
                                {"fitted_loss", report.fitted_loss},
                                {"low_rank_loss", report.low_rank_loss},
                                {"sweeps", report.sweeps},
                                {"verdict", report.verdict}};
    json["rivals"] = nlohmann::ordered_json::array();
    for (const auto& rival : report.rivals)
        json["rivals"].push_back({{"form", rival.form},
                                  {"bits_per_weight", rival.bits_per_weight},
                                  {"loss", rival.loss}});
    json["candidates"] = nlohmann::ordered_json::array();
    for (const auto& candidate : report.candidates)
        json["candidates"].push_back(state_json(candidate));
    return json;
}

MPO_DETAIL_MODEL_INLINE CalibrationReport calibration_in(const JsonObject& from) {
    CalibrationReport report;
    report.share = from.number("share");
    report.loss = from.number("loss");
    report.fitted_loss = from.number("fitted_loss");
    report.low_rank_loss = from.number("low_rank_loss");
    report.sweeps = from.integer("sweeps");
    report.verdict = from.text("verdict");
    for (const auto& one : from.list("rivals")) {
        const JsonObject rival(one, from.where() + ", a rival");
        report.rivals.push_back(
            {rival.text("form"), rival.number("bits_per_weight"), rival.number("loss")});
    }
    for (const auto& one : from.list("candidates"))
        report.candidates.push_back(candidate_in({one, from.where() + ", a candidate"}));
    return report;
}

[[nodiscard]] inline nlohmann::ordered_json state_json(const CalibratedLinear& linear) {
    const auto& [form, stands_in, report] = linear;
    nlohmann::ordered_json json{{"name", report.name},
                                {"seconds", report.seconds},
                                {"calibration", state_json(*report.calibration)}};
    if (form.cores.empty()) return json;
    json["form"] = {{"layout", layout_json(form.layout)},
                    {"bonds", form.bonds},
                    {"stored_as", to_string(form.stored_as)},
                    {"center", form.center},
                    {"relative_error", form.relative_error},
                    {"truncation_error", report.truncation_error},
                    {"norm", report.norm}};
    return json;
}

[[nodiscard]] inline StoredTensor stored_tensor(const SafetensorsFile& file,
                                                const std::string& name) {
    const auto& entry = file.info(name);
    const auto bytes = file.bytes(name);
    return {entry.shape, entry.dtype, {bytes.data(), bytes.data() + bytes.size()}};
}

template <class Stored>
[[nodiscard]] Shape unpacked_integers(const std::vector<std::byte>& bytes) {
    Shape values(bytes.size() / sizeof(Stored));
    for (std::size_t k = 0; k < values.size(); ++k) {
        Stored value;
        std::memcpy(&value, bytes.data() + k * sizeof value, sizeof value);
        values[k] = static_cast<Index>(value);
    }
    return values;
}

[[nodiscard]] inline Shape unpacked_pivots(const StoredTensor& pivots) {
    if (pivots.dtype == DType::u16) return unpacked_integers<std::uint16_t>(pivots.bytes);
    if (pivots.dtype == DType::i32) return unpacked_integers<std::int32_t>(pivots.bytes);
    return unpacked_integers<std::int64_t>(pivots.bytes);
}

MPO_DETAIL_MODEL_INLINE RoundedForm rounded_form_in(const SafetensorsFile& file,
                                                    const JsonObject& from,
                                                    const std::string& module, const Shape& shape,
                                                    DType dtype) {
    StoredForm form;
    form.layout = layout_in(from.object("layout"));
    form.bonds = from.integers("bonds");
    const bool whole = from.text("stored_as") == to_string(StoredAs::cores);
    form.stored_as = whole ? StoredAs::cores : StoredAs::gauge_fixed;
    form.center = from.integer("center");
    form.relative_error = from.number("relative_error");
    mpo::validate(form.layout, shape[0], shape[1], module);
    require_bonds(form.layout, form.bonds, module);
    std::vector<Tensor<float>> cores;
    std::vector<Shape> pivots;
    for (Index k = 0; k < num_sites(form.layout); ++k) {
        form.cores.push_back(stored_tensor(file, core_name(module, k)));
        if (form.cores.back().dtype != dtype)
            from.fail(concat("core ", k, " is stored as ", to_string(form.cores.back().dtype)));
        cores.push_back(file.read<float>(core_name(module, k)));
    }
    for (Index k = 1; !whole && k < num_sites(form.layout); ++k) {
        form.pivots.push_back(stored_tensor(file, pivots_name(module, k)));
        if (form.pivots.back().dtype !=
            pivots_dtype(pivot_rows(form.layout, form.bonds, form.center, k)))
            from.fail(concat("pivots of bond ", k, " are stored as ",
                             to_string(form.pivots.back().dtype)));
        pivots.push_back(unpacked_pivots(form.pivots.back()));
    }
    auto rounded = whole ? Mpo<float>(std::move(cores))
                         : GaugeFixedMpo<float>(form.layout, form.bonds, form.center,
                                                std::move(cores), std::move(pivots))
                               .expand();
    if (rounded.layout() != form.layout || rounded.bond_dims() != form.bonds)
        from.fail("its cores have other legs or bonds");
    return {std::move(form), std::move(rounded)};
}

MPO_DETAIL_MODEL_INLINE CompressState::CompressState(std::filesystem::path folder,
                                                     const nlohmann::ordered_json& run)
    : folder_(std::move(folder)) {
    const auto path = folder_ / "run.json";
    if (std::filesystem::exists(path)) {
        require_same(path, run);
        return;
    }
    if (!can_begin(folder_, "run.json"))
        raise<ArgumentError>(
            {"compress: ", folder_.string(), " holds something else than a run to resume"});
    std::error_code error;
    std::filesystem::create_directory(folder_, error);
    if (error) throw file_error("create", folder_, error.value());
    write_text_file(path, run.dump(1) + "\n");
}

MPO_DETAIL_MODEL_INLINE void CompressState::save(
    Index layer, const std::vector<const CalibratedLinear*>& linears) const {
    SafetensorsWriter writer(path_of(layer));
    auto json = nlohmann::ordered_json::array();
    for (const auto* linear : linears) {
        append_form(linear->report.name, linear->form, writer);
        json.push_back(state_json(*linear));
    }
    writer.set_metadata("linears", json.dump());
    writer.finish();
}

MPO_DETAIL_MODEL_INLINE void CompressState::require_same(const std::filesystem::path& path,
                                                         const nlohmann::ordered_json& run) {
    constexpr Index max_bytes = Index{64} << 20;
    const auto kept = parse_json_tree(read_text_file(path, max_bytes), path.string());
    const JsonObject from(kept, path.string());
    for (const auto& [key, value] : run.items()) {
        const auto& was = from.member(key.c_str());
        if (was.dump() != nlohmann::json(value).dump())
            raise<ArgumentError>({"compress: the run in ", path.string(), " has ", key, ' ',
                                  printable(was.dump(), 80), ", asked for is ",
                                  printable(value.dump(), 80),
                                  "; without that folder it begins anew"});
    }
}

}  // namespace mpo::detail
