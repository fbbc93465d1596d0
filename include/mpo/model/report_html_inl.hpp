// The bodies of model/report_html.hpp that are no templates.
#pragma once

#include "mpo/core/plot.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/report_html.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE std::string error_text(double error) {
    if (error == 0 || error >= 0.1) return fixed_number(error, 3);
    return short_number(error, 3);
}

MPO_DETAIL_MODEL_INLINE std::string share_text(Index after, Index before) {
    return before == 0 ? "-"
                       : fixed_number(static_cast<double>(after) / static_cast<double>(before), 2);
}

MPO_DETAIL_MODEL_INLINE std::string cell(std::string_view label, std::string_view content,
                                         std::string_view style) {
    return concat("<td data-l=\"", label, '"', style.empty() ? "" : " class=\"", style,
                  style.empty() ? "><span>" : "\"><span>", content, "</span></td>");
}

}  // namespace mpo::detail
