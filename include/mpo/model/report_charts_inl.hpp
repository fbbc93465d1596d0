// The bodies of model/report_charts.hpp that are no templates.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "mpo/io/inline.hpp"
#include "mpo/model/report_charts.hpp"
#include "mpo/model/report_html.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE BlockPlace block_of(const LinearReport& linear) {
    const auto suffix = linear_kinds.at(static_cast<std::size_t>(linear.kind)).module;
    std::string_view layer = linear.name;
    if (layer.ends_with(suffix)) layer.remove_suffix(suffix.size());
    const auto last = layer.find_last_not_of("0123456789");
    const auto begin = last == std::string_view::npos ? 0 : last + 1;
    const auto digits = layer.substr(begin);
    Index number = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (digits.empty() || error != std::errc()) return {std::string(layer), -1};
    return {std::string(layer.substr(0, begin)), number};
}

/// "block 3", or the beginning of the name where it has no number.
[[nodiscard]] inline std::string block_text(const LinearReport& linear) {
    const auto place = block_of(linear);
    return place.number >= 0 ? concat("block ", place.number) : place.prefix.substr(0, 16);
}

MPO_DETAIL_MODEL_INLINE double ChartKind::largest_bond() const {
    Index computed = 2, useful = 2;
    for (const auto* linear : linears)
        for (const auto& spectrum : linear->spectra) {
            computed = (std::max)(computed, spectrum.num_computed);
            useful = (std::max)(useful, spectrum.useful_bond_dim);
        }
    return static_cast<double>(8 * computed >= useful ? useful : computed);
}

MPO_DETAIL_MODEL_INLINE std::vector<ChartKind> chart_kinds(const CompressReport& report) {
    std::vector<ChartKind> result;
    for (auto& kind : report.kinds()) {
        ChartKind chart{std::move(kind), {}};
        for (const auto& linear : report.linears)
            if (linear.kind == chart.kind.kind && !linear.spectra.empty())
                chart.linears.push_back(&linear);
        result.push_back(std::move(chart));
    }
    return result;
}

/// The largest bond of a linear is its most loaded one: the chosen point of a chain of several.
[[nodiscard]] inline const SpectrumPoint* chosen_point(const SpectrumReport& spectrum) {
    for (const auto& point : spectrum.points)
        if (point.rank == spectrum.bond_dim) return &point;
    return nullptr;
}

MPO_DETAIL_MODEL_INLINE Axis error_axis(const std::vector<ChartKind>& kinds) {
    double smallest = 1;
    for (const auto& kind : kinds)
        for (const auto* linear : kind.linears)
            for (const auto& spectrum : linear->spectra)
                if (const auto* chosen = chosen_point(spectrum);
                    chosen && chosen->relative_error > 0)
                    smallest = (std::min)(smallest, chosen->relative_error);
    if (smallest >= 0.03) return {"relative error", 0, 1};
    const double decades = std::clamp(std::floor(std::log10(smallest)), -7.0, -2.0);
    return {"relative error", std::pow(10.0, decades), 1, AxisScale::logarithmic};
}

MPO_DETAIL_MODEL_INLINE Axis spectrum_axis(const std::vector<ChartKind>& kinds) {
    double smallest = 0.1;
    for (const auto& kind : kinds)
        for (const auto* linear : kind.linears)
            for (const auto& spectrum : linear->spectra)
                for (const auto& point : spectrum.points) {
                    const double ratio = point.singular_value /
                                         (std::max)(1e-300, spectrum.points[0].singular_value);
                    if (ratio >= 1e-7) smallest = (std::min)(smallest, ratio);
                }
    return {"singular value / largest", smallest * 0.9, 1, AxisScale::logarithmic};
}

MPO_DETAIL_MODEL_INLINE PlotOptions panel(const ChartKind& chart, const Axis& y,
                                          std::string title) {
    PlotOptions options;
    options.title = std::move(title) + ", " + to_string(chart.kind.kind);
    options.x = {"bond dimension", 0, chart.largest_bond()};
    options.y = y;
    options.width = 262;
    options.height = 200;
    options.most_ticks = 6;
    return options;
}

/// The linears with the smallest and the largest error get a label, the others a dot.
[[nodiscard]] inline std::vector<PlotMark> chosen_marks(const ChartKind& chart) {
    const auto less = [](const LinearReport* a, const LinearReport* b) {
        return a->truncation_error < b->truncation_error;
    };
    const auto [best, worst] =
        std::minmax_element(chart.linears.begin(), chart.linears.end(), less);
    std::vector<PlotMark> marks;
    for (auto at = chart.linears.begin(); at != chart.linears.end(); ++at)
        for (const auto& spectrum : (*at)->spectra) {
            const auto* chosen = chosen_point(spectrum);
            if (chosen == nullptr) continue;
            PlotMark mark{{static_cast<double>(chosen->rank), chosen->relative_error}};
            mark.colour = form_colour((*at)->form);
            mark.radius = 2;
            const std::string label = error_text(chosen->relative_error) + ' ' + block_text(**at);
            const bool alone = (*at)->spectra.size() == 1;
            if (alone && at == worst) mark.label = label, mark.lift = 9;
            if (alone && at == best && best != worst) {
                mark.label = label;
                mark.anchor = TextAnchor::end;
                mark.lift = -17;
            }
            marks.push_back(std::move(mark));
        }
    return marks;
}

MPO_DETAIL_MODEL_INLINE std::string error_panel(const ChartKind& chart, const Axis& y) {
    std::vector<Series> lines;
    for (const auto* linear : chart.linears)
        for (const auto& spectrum : linear->spectra) {
            Series line{.colour = form_colour(linear->form), .width = 1, .opacity = 0.35};
            for (const auto& point : spectrum.points)
                line.points.push_back({static_cast<double>(point.rank), point.relative_error});
            lines.push_back(std::move(line));
        }
    return line_plot(lines, panel(chart, y, "Relative error against bond dimension"),
                     chosen_marks(chart));
}

MPO_DETAIL_MODEL_INLINE std::string spectrum_panel(const ChartKind& chart, const Axis& y) {
    std::vector<Series> lines;
    std::vector<PlotMark> marks;
    for (const auto* linear : chart.linears)
        for (const auto& spectrum : linear->spectra) {
            const double largest = spectrum.points[0].singular_value;
            if (!(largest > 0)) continue;  // a zero matrix
            Series kept{.colour = form_colour(linear->form), .width = 1, .opacity = 0.45};
            Series dropped{.colour = kept.colour, .width = 1, .opacity = 0.15};
            for (const auto& point : spectrum.points) {
                const SvgPoint at{static_cast<double>(point.rank),
                                  (std::max)(point.singular_value / largest, y.min)};
                if (point.rank <= spectrum.bond_dim) kept.points.push_back(at);
                if (point.rank >= spectrum.bond_dim) dropped.points.push_back(at);
            }
            if (!dropped.points.empty())
                marks.push_back({.at = dropped.points[0], .colour = kept.colour, .radius = 2});
            lines.push_back(std::move(kept));
            lines.push_back(std::move(dropped));
        }
    return line_plot(lines, panel(chart, y, "Singular values"), marks);
}

/// ", bond 144" or ", bonds 60 to 144": what was chosen.
[[nodiscard]] inline std::string chosen_bonds(const ChartKind& chart) {
    Index least = (std::numeric_limits<Index>::max)(), most = 0;
    for (const auto* linear : chart.linears)
        for (const auto& spectrum : linear->spectra) {
            least = (std::min)(least, spectrum.bond_dim);
            most = (std::max)(most, spectrum.bond_dim);
        }
    if (most == 0) return {};
    return least == most ? concat(", <span class=\"keep\">bond ", most, "</span>")
                         : concat(", <span class=\"keep\">bonds ", least, " to ", most, "</span>");
}

MPO_DETAIL_MODEL_INLINE std::string panel_caption(const ChartKind& chart) {
    std::array<Index, 3> forms{};
    forms[0] = chart.kind.dense_count;
    for (const auto* linear : chart.linears) ++forms[static_cast<std::size_t>(linear->form)];
    std::string text = "<b>" + to_string(chart.kind.kind) + "</b><span>" +
                       joined(chart.kind.typical.shape, " \u00d7 ") + ":";
    const auto add = [&](Index count, std::string_view style, std::string_view word) {
        if (count > 0)
            text += concat(text.back() == ':' ? " " : ", ", "</span><span class=\"", style, "\">",
                           count, ' ', word, "</span><span>");
    };
    add(forms[1], "low", "low rank");
    add(forms[2], "chain", "MPO");
    add(forms[0], "soft", "left dense");
    return text + chosen_bonds(chart) + "</span>";
}

}  // namespace mpo::detail
