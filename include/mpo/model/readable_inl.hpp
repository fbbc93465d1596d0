// The bodies of model/readable.hpp that are no templates.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>

#include "mpo/core/plot.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/readable.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE std::string readable_count(Index number) {
    constexpr std::array<std::string_view, 5> prefixes{"", " k", " M", " G", " T"};
    auto value = static_cast<double>(number);
    std::size_t at = 0;
    for (; value >= 999.5 && at + 1 < prefixes.size(); ++at) value /= 1000;
    const int digits = at == 0 || value >= 99.95 ? 0 : (value >= 9.995 ? 1 : 2);
    return fixed_number(value, digits) + std::string(prefixes[at]);
}

}  // namespace mpo
