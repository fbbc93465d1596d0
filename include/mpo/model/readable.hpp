// Large numbers for readers: three digits and a decimal prefix.
#pragma once

#include <string>
#include <string_view>

#include "mpo/core/tensor.hpp"

namespace mpo {

/// "53.1 M", "999", "9.95 k": three digits and a decimal prefix, up to tera.
[[nodiscard]] std::string readable_count(Index number);

/// "96.6 MB", "512 B".
[[nodiscard]] inline std::string readable_bytes(Index number) {
    return readable_count(number) + (number < 1000 ? " B" : "B");
}

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/readable_inl.hpp"
#endif
