// The bodies of model/report_calibration.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "mpo/core/plot.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/calibrated_kinds.hpp"
#include "mpo/model/report_calibration.hpp"
#include "mpo/model/report_charts.hpp"
#include "mpo/model/report_html.hpp"

namespace mpo::detail {

[[nodiscard]] inline std::string loss_datum(double value, std::string_view pointer) {
    return datum(value, short_number(value, 3), pointer);
}

/// "MPO 24x24 : 24x24, 20; low rank 576x1 : 1x576, 10".
[[nodiscard]] inline std::string winner_text(const CalibratedKind& kind, const std::string& at) {
    std::string text;
    for (std::size_t k = 0; k < kind.winners.size(); ++k) {
        const auto& winner = kind.winners[k];
        const bool low_rank = winner.form == LinearForm::low_rank;
        text += concat(
            k == 0 ? "" : "<br>", "<span class=\"", low_rank ? "low\">low rank" : "chain\">MPO",
            "</span> ", to_string(winner.layout), ", <span class=\"keep\">",
            datum(winner.count, std::to_string(winner.count), concat(at, "winners/", k, "/count")),
            "</span>");
    }
    return text;
}

[[nodiscard]] inline std::string winner_row(const CalibratedKind& kind, std::size_t k) {
    const std::string at = concat("/calibration/kinds/", k, "/");
    return concat(
        "<tr><th scope=\"row\">", to_string(kind.kind), "</th>",
        cell("linears", datum(kind.count, std::to_string(kind.count), at + "count")),
        cell("layouts that won", winner_text(kind, at), "left"),
        cell("mean loss", loss_datum(kind.mean_loss, at + "mean_loss")),
        cell("worst", loss_datum(kind.max_loss, at + "max_loss")),
        cell("low rank's mean", loss_datum(kind.mean_low_rank_loss, at + "mean_low_rank_loss")),
        cell("plain MPO's mean", kind.mean_plain_loss
                                     ? loss_datum(*kind.mean_plain_loss, at + "mean_plain_mpo_loss")
                                     : std::string("-")),
        cell("better stored otherwise",
             datum(kind.beaten_count, std::to_string(kind.beaten_count), at + "beaten")),
        "</tr>\n");
}

MPO_DETAIL_MODEL_INLINE std::string winner_section(const CompressReport& report) {
    std::string text =
        "<section><h2>Losses and winners by kind</h2>\n<p class=\"how\">Loss: E norm(y \u2212 "
        "W\u2032x)\u00b2 / E norm(y)\u00b2 on the calibration texts, x the inputs behind the "
        "compressed layers, y what the linear should answer; as stored. Beside it the best low "
        "rank "
        "within the same limits, the same layouts and bonds without calibration, and for how many "
        "linears something that was measured loses less at no more bytes.</p>\n<table "
        "class=\"cards\"><thead><tr><th>Kind</th><th>Linears</th><th class=\"left\">Layouts that "
        "won,<br>legs out : in</th><th>Mean<br>loss</th><th>Worst</th><th>Low rank\u2019s<br>mean"
        "</th><th>Plain MPO\u2019s<br>mean</th><th>Better stored<br>otherwise</th></tr></thead>"
        "<tbody>\n";
    const auto kinds = calibrated_kinds(report);
    for (std::size_t k = 0; k < kinds.size(); ++k) text += winner_row(kinds[k], k);
    return text + "</tbody></table></section>\n";
}

/// Axes that hold all linears and rivals of a report.
struct LossAxes {
    Axis bits{"bits per weight", 0, 9}, loss{"loss", 1e-3, 1, AxisScale::logarithmic};

    explicit LossAxes(const CompressReport& report) {
        double smallest = 1, most = 8;
        const auto take = [&](double b, double l) {
            most = (std::max)(most, b);
            if (l > 0) smallest = (std::min)(smallest, l);
        };
        for (const auto& linear : report.linears) {
            if (!has_loss(linear)) continue;
            take(bits_per_weight(linear), linear.calibration->loss);
            for (const auto& rival : linear.calibration->rivals)
                if (is_comparable(rival, linear.source_type))
                    take(rival.bits_per_weight, rival.loss);
        }
        bits.max = std::ceil(most + 0.5);
        loss.min = std::pow(10.0, std::clamp(std::floor(std::log10(smallest)), -4.0, -1.0));
    }
    [[nodiscard]] SvgPoint at(double bits_stored, double lost) const {
        return {bits_stored, (std::max)(lost, loss.min)};
    }
};

[[nodiscard]] inline std::string rival_colour(std::string_view form) {
    if (form == "low rank") return "var(--a)";
    return form == "plain MPO" ? "var(--gone)" : "var(--soft)";
}

/// Every linear of a kind as a dot in the colour of its form, its rivals as smaller ones; roundings of one linear are
/// joined.
[[nodiscard]] inline std::string loss_panel(const CompressReport& report, LinearKind kind,
                                            const LossAxes& axes) {
    std::vector<Series> lines;
    std::vector<PlotMark> rivals, stored;
    for (const auto& linear : report.linears) {
        if (linear.kind != kind || !has_loss(linear)) continue;
        Series rounded{.colour = "var(--soft)", .width = 1, .opacity = 0.25};
        for (const auto& rival : linear.calibration->rivals) {
            if (!is_comparable(rival, linear.source_type)) continue;
            const auto at = axes.at(rival.bits_per_weight, rival.loss);
            if (rival.form.starts_with("rounded")) rounded.points.push_back(at);
            rivals.push_back({.at = at, .colour = rival_colour(rival.form), .radius = 1.5});
        }
        if (rounded.points.size() > 1) lines.push_back(std::move(rounded));
        stored.push_back({.at = axes.at(bits_per_weight(linear), linear.calibration->loss),
                          .colour = form_colour(linear.form),
                          .radius = 2.5});
    }
    rivals.insert(rivals.end(), stored.begin(), stored.end());
    PlotOptions options;
    options.title = "Loss against stored bits, " + to_string(kind);
    options.x = axes.bits;
    options.y = axes.loss;
    options.width = 262;
    options.height = 200;
    options.most_ticks = 6;
    return line_plot(lines, options, rivals);
}

MPO_DETAIL_MODEL_INLINE std::string loss_section(const CompressReport& report) {
    const LossAxes axes(report);
    std::string text =
        "<section><h2>Loss against stored bits</h2>\n<p class=\"how\">Large dots: what was stored, "
        "<span class=\"low\">low rank</span> or <span class=\"chain\">MPO</span>. Small dots, what "
        "else could be: the best low rank in its colour, plain MPOs pale, and joined by a line "
        "rounding to 2, 3, 4 and 8 bits, where the source did not come from as many. Bits stored "
        "for every number of the dense weight; further "
        "down and to the left is better, and what would lie below the frame stands on its "
        "edge.</p>\n<div class=\"panels\">\n";
    for (const auto& kind : calibrated_kinds(report))
        text += concat("<figure><figcaption><b>", to_string(kind.kind), "</b><span>",
                       kind.count - kind.mpo_count, " low rank, ", kind.mpo_count,
                       " MPO</span></figcaption>\n", loss_panel(report, kind.kind, axes),
                       "</figure>\n");
    return text + "</div></section>\n";
}

/// The largest deviation decides the axis.
[[nodiscard]] inline std::string deviation_plot(const CalibrationRun& run) {
    double largest = 1e-3;
    Series ordinary{.name = "ordinary", .colour = "var(--a)"},
        sinks{.name = "worst sink", .colour = "var(--b)"};
    for (const auto& one : run.deviations) {
        const auto layer = static_cast<double>(one.layer);
        largest = (std::max)({largest, one.ordinary, one.sinks > 0 ? one.worst_sink : 0});
        ordinary.points.push_back({layer, one.ordinary});
        if (one.sinks > 0) sinks.points.push_back({layer, one.worst_sink});
    }
    PlotOptions options;
    options.title = "Deviation of the states behind each layer";
    options.x = {"layer", 0, (std::max)(1.0, static_cast<double>(run.deviations.size()) - 1)};
    options.y = {"deviation", 0, 1.05 * largest};
    options.width = 640;
    options.height = 220;
    std::vector<PlotMark> marks;
    for (const auto* line : {&ordinary, &sinks})
        for (const auto& point : line->points)
            marks.push_back({.at = point, .colour = line->colour, .radius = 2});
    std::vector<Series> lines{std::move(ordinary)};
    if (!sinks.points.empty()) lines.push_back(std::move(sinks));
    return line_plot(lines, options, marks);
}

[[nodiscard]] inline std::string sink_rows(const CalibrationRun& run) {
    std::string text;
    for (std::size_t k = 0; k < run.sinks.size(); ++k) {
        const auto& sink = run.sinks[k];
        const std::string at = concat("/calibration/sinks/", k, "/");
        text += concat(
            "<tr>", cell("module", "<bdi class=\"name\">" + html_escape(sink.module) + "</bdi>"),
            cell("windows", datum(sink.windows, std::to_string(sink.windows), at + "windows")),
            cell("positions",
                 datum(sink.positions, std::to_string(sink.positions), at + "positions")),
            cell("norm", loss_datum(sink.norm, at + "norm")),
            cell("median beside them", loss_datum(sink.median, at + "median")), "</tr>\n");
    }
    return text;
}

MPO_DETAIL_MODEL_INLINE std::string flow_section(const CompressReport& report) {
    const auto& run = *report.calibration;
    std::string text = concat(
        "<section><h2>The flow behind the compressed layers</h2>\n<p class=\"how\">Calibrated on ",
        datum(run.tokens, std::to_string(run.tokens), "/calibration/tokens"), " tokens in ",
        datum(run.windows, std::to_string(run.windows), "/calibration/windows"),
        " windows. Distance of the states behind each layer from those of the dense model, of "
        "their "
        "norm.</p>\n");
    for (const auto& file : run.texts)
        text += "<p class=\"soft\"><bdi class=\"name\">" + html_escape(file) + "</bdi></p>\n";
    if (!run.deviations.empty()) text += deviation_plot(run);
    if (!run.sinks.empty())
        text += concat(
            "<p class=\"how\">Attention sinks: states far above all others of their window.</p>\n"
            "<table class=\"cards\"><thead><tr><th>Made by</th><th>Windows</th><th>Positions</th>"
            "<th>Norm,<br>mean</th><th>Median<br>beside them</th></tr></thead><tbody>\n",
            sink_rows(run), "</tbody></table>\n");
    return text + "</section>\n";
}

}  // namespace mpo::detail
