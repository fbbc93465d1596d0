// What a calibrated compression keeps while it runs, so that one that was interrupted goes on behind the last layer
// that it finished:
//
//   run.json               what was asked for, with fingerprints of model and tokens
//   layer_K.safetensors    cores and pivots of the linears of layer K as they will be stored; "linears" in its
//                          metadata is what the report says of them
//
// Each file appears completely or not at all. Layers count up to the first that is missing.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "mpo/io/json_tree.hpp"
#include "mpo/io/safetensors.hpp"
#include "mpo/model/calibrated_linear.hpp"
#include "mpo/model/json_object.hpp"

namespace mpo::detail {

// -- what the report says of a linear, as JSON ------------------------------------------------------

[[nodiscard]] CalibrationReport calibration_in(const JsonObject& from);

// -- what is stored of a linear -------------------------------------------------------------------

/// The form that a file has of a linear (m, n), and the same numbers to calculate with. Throws FormatError,
/// ShapeError, ArgumentError where they are not what `from` says.
[[nodiscard]] RoundedForm rounded_form_in(const SafetensorsFile& file, const JsonObject& from,
                                          const std::string& module, const Shape& shape,
                                          DType dtype);

// -- the folder -----------------------------------------------------------------------------------

/// The folder of one run.
class CompressState {
  public:
    /// Begins a run, or goes on with the one that the folder holds.
    ///
    /// folder   does not exist, is empty, or holds a run
    /// run      what is asked for, member by member
    /// throws   ArgumentError where another run is in the folder, naming what differs; FormatError, FileError
    CompressState(std::filesystem::path folder, const nlohmann::ordered_json& run);

    /// Whether a layer was finished.
    [[nodiscard]] bool has(Index layer) const { return std::filesystem::exists(path_of(layer)); }

    /// Keeps a finished layer.
    void save(Index layer, const std::vector<const CalibratedLinear*>& linears) const;

    /// A linear of a finished layer.
    ///
    /// report   of the dense weight
    /// returns  what was kept, the matrix expanded; no matrix where it stays dense
    /// throws   FormatError, naming the file, where it is not there or not whole
    template <Backend B>
    [[nodiscard]] CalibratedLinear load(Index layer, LinearReport report, DType dtype,
                                        const B& backend) const {
        const auto path = path_of(layer);
        const SafetensorsFile file(path);
        const auto text = file.metadata().find("linears");
        if (text == file.metadata().end())
            raise<FormatError>({path.string(), ": is no layer of a run"});
        const auto json = parse_json_tree(text->second, path.string());
        if (!json.is_array()) raise<FormatError>({path.string(), ": is no layer of a run"});
        for (const auto& one : json) {
            const JsonObject from(one, concat(path.string(), ": linear ", in_quotes(report.name)));
            if (from.text("name") != report.name) continue;
            try {
                return read(file, from, std::move(report), dtype, backend);
            } catch (const ShapeError& error) {
                from.fail(error.what());
            } catch (const ArgumentError& error) {
                from.fail(error.what());
            }
        }
        raise<FormatError>({path.string(), ": has no linear ", in_quotes(report.name)});
    }

  private:
    [[nodiscard]] std::filesystem::path path_of(Index layer) const {
        return folder_ / concat("layer_", layer, ".safetensors");
    }

    static void require_same(const std::filesystem::path& path, const nlohmann::ordered_json& run);

    template <Backend B>
    [[nodiscard]] static CalibratedLinear read(const SafetensorsFile& file, const JsonObject& from,
                                               LinearReport report, DType dtype, const B& backend) {
        report.seconds = from.number("seconds");
        report.calibration = calibration_in(from.object("calibration"));
        if (!from.has("form")) return {{}, {}, std::move(report)};
        const auto stored = from.object("form");
        auto [form, rounded] = rounded_form_in(file, stored, report.name, report.shape, dtype);
        describe_stored(form, report);
        report.truncation_error = stored.number("truncation_error");
        report.norm = stored.number("norm");
        return {std::move(form), to_dense(rounded, backend), std::move(report)};
    }

    std::filesystem::path folder_;
};

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/compress_state_inl.hpp"
#endif
