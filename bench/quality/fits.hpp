// What the programs of qualities share: texts, and fits of a share of a linear's numbers.
#pragma once

#include <string>
#include <vector>

#include "mpo/model.hpp"
#include "mpo/mpo.hpp"

namespace mpo::bench {

/// Texts of which `windows` windows are taken, evenly spread.
[[nodiscard]] inline std::vector<CalibrationText> spread_texts(
    const std::vector<std::string>& paths, Index windows) {
    std::vector<CalibrationText> texts;
    for (const auto& path : paths) {
        texts.emplace_back();
        texts.back().path = path;
        texts.back().spread = windows;
    }
    return texts;
}

/// Options of a fit with the largest bond that keeps this share of the matrix' numbers, stored gauge-fixed.
[[nodiscard]] inline FitOptions keeping(double share, const Layout& layout) {
    const auto numbers = static_cast<double>(rows(layout)) * static_cast<double>(cols(layout));
    FitOptions options;
    options.layout = layout;
    options.max_bond_dim =
        max_uniform_bond(layout, static_cast<Index>(share * numbers), StoredAs::gauge_fixed);
    return options;
}

}  // namespace mpo::bench
