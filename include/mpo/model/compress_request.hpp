// What a calibrated compression was asked for, member by member: a run that was interrupted goes on where it is
// asked for the same, and nowhere else.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "mpo/model/compress_calibration.hpp"
#include "mpo/model/compress_options.hpp"

namespace mpo::detail {

/// The name of an enumerator.
template <std::size_t n, class E>
[[nodiscard]] std::string name_of(E value, const std::string_view (&names)[n]) {
    return std::string(names[static_cast<std::size_t>(value)]);
}

[[nodiscard]] nlohmann::ordered_json requested(const FitOptions& fit);

/// All that the result depends on. The fingerprint of the model reads all of it.
[[nodiscard]] nlohmann::ordered_json requested(const Checkpoint& source,
                                               const CompressOptions& options,
                                               const CompressCalibration& calibration);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/compress_request_inl.hpp"
#endif
