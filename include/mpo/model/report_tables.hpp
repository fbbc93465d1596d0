// The tables of a report: sizes, kinds, the heat map of errors, the slowest linears.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "mpo/model/compress_report.hpp"
#include "mpo/model/report_charts.hpp"
#include "mpo/model/report_html.hpp"

namespace mpo::detail {

[[nodiscard]] std::string size_section(const CompressReport& report);

/// Before, an arrow, after.
[[nodiscard]] inline std::string change(const std::string& before, const std::string& after) {
    return "<span class=\"keep\">" + before + " \u2192 " + after + "</span>";
}

[[nodiscard]] std::string size_cells(const SizeChange& size, const std::string& at);

[[nodiscard]] std::string kind_section(const CompressReport& report);

/// Nine steps of equal width and round bounds over what occurs.
struct HeatScale {
    static constexpr int steps = 9;
    double begin = 0, step = 0.1;
    int decimals = 1;

    HeatScale(double smallest, double largest);
    [[nodiscard]] int class_of(double value) const {
        return std::clamp(static_cast<int>((value - begin) / step + 1e-9), 0, steps - 1);
    }
    [[nodiscard]] std::string legend() const {
        return legend([&](double value) { return fixed_number(value, decimals); });
    }
    /// shown(value): what stands where a step begins.
    template <class Shown>
    [[nodiscard]] std::string legend(Shown&& shown) const {
        std::string text = "<div class=\"scale\" aria-hidden=\"true\">";
        for (int k = 0; k < steps; ++k)
            text += concat("<span class=\"h", k, "\"><i></i>", shown(begin + step * k), "</span>");
        return text + "</div>\n";
    }
};

/// What a heat map shows of a linear. Losses are squares: their colours are steps of equal width of the root.
struct HeatQuantity {
    std::string_view title, what, member;  // of the JSON, below the linear
    double (*value)(const LinearReport&);
    bool is_square = false;

    [[nodiscard]] double on_scale(const LinearReport& linear) const {
        return is_square ? std::sqrt(value(linear)) : value(linear);
    }
    [[nodiscard]] std::string shown(double number) const;
};

/// The loss of the outputs where the report is calibrated, else the error of the weights.
[[nodiscard]] HeatQuantity heat_quantity(const CompressReport& report);

/// Indices of the linears in each block.
using HeatRows = std::map<BlockPlace, std::map<LinearKind, std::size_t>>;

[[nodiscard]] std::string heat_section(const CompressReport& report);

/// A bar that ends at the number.
[[nodiscard]] std::string rank_bar(double share);

[[nodiscard]] inline std::string linear_name(const LinearReport& linear) {
    return "<bdi class=\"name\">" + html_escape(linear.name) + "</bdi>";
}

[[nodiscard]] std::string slowest_to_compress(const CompressReport& report);

[[nodiscard]] std::string slowest_to_apply(const CompressReport& report);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/report_tables_inl.hpp"
#endif
