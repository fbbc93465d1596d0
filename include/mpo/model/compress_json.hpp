// A CompressReport as JSON; docs/schema/compress.json says what every member means.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "mpo/model/calibration_json.hpp"
#include "mpo/model/compress_report.hpp"

namespace mpo {

namespace detail {

[[nodiscard]] nlohmann::ordered_json to_json(const SizeChange& size);

/// The number rounded to six significant digits: plots need no more, and files stay small.
[[nodiscard]] double six_digits(double value);

[[nodiscard]] nlohmann::ordered_json to_json(const SpectrumReport& spectrum);

[[nodiscard]] nlohmann::ordered_json to_json(const LinearReport& linear);

[[nodiscard]] nlohmann::ordered_json to_json(const KindReport& kind);

/// Every form with what it costs: no row of quality stands without it.
[[nodiscard]] nlohmann::ordered_json to_json(const TextReport& text);

[[nodiscard]] nlohmann::ordered_json describe(const CompressReport& report);

}  // namespace detail

/// The whole report as a JSON object: one line per member, kind and linear.
[[nodiscard]] std::string to_json(const CompressReport& report);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/compress_json_inl.hpp"
#endif
