// The bodies of model/made_by.hpp that are no templates.
#pragma once

#include <nlohmann/json.hpp>

#include "mpo/io/inline.hpp"
#include "mpo/model/made_by.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE std::string compiler_text() {
#if defined(__clang__)
    return detail::concat("clang ", __clang_major__, ".", __clang_minor__, ".",
                          __clang_patchlevel__);
#else
    return detail::concat("gcc ", __GNUC__, ".", __GNUC_MINOR__, ".", __GNUC_PATCHLEVEL__);
#endif
}

namespace detail {

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const MadeBy& made_by) {
    return {{"mpo", made_by.version},
            {"compiler", made_by.compiler},
            {"command", made_by.command},
            {"seed", made_by.seed},
            {"threads", made_by.threads}};
}

}  // namespace detail

}  // namespace mpo
