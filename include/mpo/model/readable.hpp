// Large numbers for readers: three digits and a decimal prefix.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>

#include "mpo/core/plot.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo {

/// "53.1 M", "999", "9.95 k": three digits and a decimal prefix, up to tera.
[[nodiscard]] inline std::string readable_count(Index number) {
    constexpr std::array<std::string_view, 5> prefixes{"", " k", " M", " G", " T"};
    auto value = static_cast<double>(number);
    std::size_t at = 0;
    for (; value >= 999.5 && at + 1 < prefixes.size(); ++at) value /= 1000;
    const int digits = at == 0 || value >= 99.95 ? 0 : (value >= 9.995 ? 1 : 2);
    return fixed_number(value, digits) + std::string(prefixes[at]);
}

/// "96.6 MB", "512 B".
[[nodiscard]] inline std::string readable_bytes(Index number) {
    return readable_count(number) + (number < 1000 ? " B" : "B");
}

}  // namespace mpo
