// What made a result: the facts that somebody needs to make it again.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "mpo/core/error.hpp"
#include "mpo/version.hpp"

namespace mpo {

/// Program, build and settings of a job.
struct MadeBy {
    std::string version;     // of mpo: "1.2.3"
    std::string compiler;    // "gcc 12.2.0"
    std::string command;     // the command line; empty where there was none
    std::uint64_t seed = 1;  // of randomized factorisations
    int threads = 1;         // of the pool
};

/// The version of mpo: "1.2.3".
[[nodiscard]] inline std::string version_text() {
    return detail::concat(MPO_VERSION_MAJOR, ".", MPO_VERSION_MINOR, ".", MPO_VERSION_PATCH);
}

/// The compiler of this translation unit: "gcc 12.2.0", "clang 14.0.6".
[[nodiscard]] std::string compiler_text();

namespace detail {

[[nodiscard]] nlohmann::ordered_json to_json(const MadeBy& made_by);

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/made_by_inl.hpp"
#endif
