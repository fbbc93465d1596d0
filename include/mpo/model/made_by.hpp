// What made a result: the facts that somebody needs to make it again.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
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
[[nodiscard]] inline std::string compiler_text() {
#if defined(__clang__)
    return detail::concat("clang ", __clang_major__, ".", __clang_minor__, ".",
                          __clang_patchlevel__);
#else
    return detail::concat("gcc ", __GNUC__, ".", __GNUC_MINOR__, ".", __GNUC_PATCHLEVEL__);
#endif
}

namespace detail {

[[nodiscard]] inline nlohmann::ordered_json to_json(const MadeBy& made_by) {
    return {{"mpo", made_by.version},
            {"compiler", made_by.compiler},
            {"command", made_by.command},
            {"seed", made_by.seed},
            {"threads", made_by.threads}};
}

}  // namespace detail
}  // namespace mpo
