// Bodies of network/mpo_linear.hpp that are no templates.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "mpo/core/inline.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/network/mpo_linear.hpp"

namespace mpo::detail {

MPO_DETAIL_INLINE Index checked_mpo_linear_metadata(const std::map<std::string, std::string>& pairs,
                                                    std::string_view scalar,
                                                    const std::string& path) {
    const auto value = [&](const std::string& key) -> const std::string& {
        const auto found = pairs.find(key);
        if (found == pairs.end())
            raise<FormatError>({path, ": holds no layer of mpo, the metadata lack '", key, "'"});
        return found->second;
    };
    const auto require = [&](const std::string& key, std::string_view expected) {
        if (value(key) != expected)
            raise<FormatError>({path, ": metadata '", key, "' must be '", expected, "', got ",
                                in_quotes(value(key))});
    };
    require("kind", mpo_linear_kind);
    require("format_version", mpo_linear_version);
    require("scalar", scalar);
    const std::string& sites = value("num_sites");
    for (Index k = 1; k <= max_num_sites; ++k)
        if (sites == concat(k)) return k;
    raise<FormatError>(
        {path, ": metadata 'num_sites' must be 1 to ", max_num_sites, ", got ", in_quotes(sites)});
}

MPO_DETAIL_INLINE void require_countable(const Layout& layout, const Shape& bonds) {
    (void)checked_multiply(rows(layout), cols(layout));
    (void)num_parameters(layout, bonds);
    (void)multiply_adds_right_to_left(layout, bonds);
    (void)multiply_adds_left_to_right(layout, bonds);
}

}  // namespace mpo::detail
