// The charts of a report: small multiples, one panel per kind, all with the same upward axis.
#pragma once

#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "mpo/core/plot.hpp"
#include "mpo/model/compress_report.hpp"

namespace mpo::detail {

/// The decoder layer that a linear belongs to.
struct BlockPlace {
    std::string prefix;  // "model.layers."
    Index number = -1;   // 3; -1 where the name has none

    friend bool operator<(const BlockPlace& a, const BlockPlace& b) {
        return std::tie(a.prefix, a.number) < std::tie(b.prefix, b.number);
    }
};

/// "model.layers.3.mlp.up_proj" is in block 3 of "model.layers.".
[[nodiscard]] BlockPlace block_of(const LinearReport& linear);

/// The linears of one kind, as the charts need them.
struct ChartKind {
    KindReport kind;
    std::vector<const LinearReport*> linears;  // not left dense

    /// Right end of the axis of bonds: the useful maximum, nearer where little of it was computed.
    [[nodiscard]] double largest_bond() const;
};

[[nodiscard]] std::vector<ChartKind> chart_kinds(const CompressReport& report);

[[nodiscard]] inline std::string form_colour(LinearForm form) {
    return form == LinearForm::low_rank ? "var(--a)" : "var(--b)";
}

/// Linear from 0 to 1; logarithmic where errors are too small to be seen there.
[[nodiscard]] Axis error_axis(const std::vector<ChartKind>& kinds);

/// sigma / sigma_1, down to the smallest one that is above the noise of float.
[[nodiscard]] Axis spectrum_axis(const std::vector<ChartKind>& kinds);

[[nodiscard]] PlotOptions panel(const ChartKind& chart, const Axis& y, std::string title);

/// Error against bond dimension: a line per linear and bond, a dot where it was cut.
[[nodiscard]] std::string error_panel(const ChartKind& chart, const Axis& y);

/// Singular values: what was kept drawn stronger than what was dropped.
[[nodiscard]] std::string spectrum_panel(const ChartKind& chart, const Axis& y);

/// "576 x 576: 18 low rank, 12 MPO, bond 72", the forms in the colours of their lines.
[[nodiscard]] std::string panel_caption(const ChartKind& chart);

/// One figure per kind; draw(chart, axis) makes its picture.
template <class Draw>
[[nodiscard]] std::string panels(const std::vector<ChartKind>& kinds, const Axis& y, Draw&& draw) {
    std::string text = "<div class=\"panels\">\n";
    for (const auto& chart : kinds)
        text += "<figure><figcaption>" + panel_caption(chart) + "</figcaption>\n" +
                (chart.linears.empty() ? "<p class=\"soft\">nothing was truncated</p>\n"
                                       : draw(chart, y)) +
                "</figure>\n";
    return text + "</div>\n";
}

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/report_charts_inl.hpp"
#endif
