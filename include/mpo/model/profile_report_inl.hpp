// The bodies of model/profile_report.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "mpo/core/plot.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/profile_json.hpp"
#include "mpo/model/profile_report.hpp"
#include "mpo/model/report_html.hpp"
#include "mpo/model/report_tables.hpp"

namespace mpo {
namespace detail {

/// The size that a page shows where it shows one.
[[nodiscard]] inline std::size_t shown_size(const Profile& profile) {
    return profile.sizes.size() / 2;
}

/// Nine steps of equal ratio over what occurs; nothing below the smallest step is told apart.
class DecadeScale {
  public:
    explicit DecadeScale(const std::vector<double>& values) {
        double smallest = 1e300, largest = 0;
        for (const double value : values)
            if (value > 0) {
                smallest = (std::min)(smallest, value);
                largest = (std::max)(largest, value);
            }
        if (!(largest > 0)) return;
        begin_ = (std::max)(smallest, 1e-6 * largest);
        ratio_ = (std::max)(1.05, std::pow(largest / begin_, 1.0 / HeatScale::steps));
    }
    [[nodiscard]] int class_of(double value) const {
        if (!(value > begin_)) return 0;
        return std::clamp(static_cast<int>(std::log(value / begin_) / std::log(ratio_)), 0,
                          HeatScale::steps - 1);
    }
    [[nodiscard]] std::string legend() const {
        std::string text = "<div class=\"scale\" aria-hidden=\"true\">";
        for (int k = 0; k < HeatScale::steps; ++k)
            text += concat("<span class=\"h", k, "\"><i></i>",
                           short_number(begin_ * std::pow(ratio_, k), 2), "</span>");
        return text + "</div>\n";
    }

  private:
    double begin_ = 1, ratio_ = 2;
};

[[nodiscard]] inline std::string kld_pointer(std::size_t linear, std::size_t size) {
    return concat("/linears/", linear, "/probes/", size, "/kld");
}

/// Kinds that occur, in their order.
[[nodiscard]] inline std::vector<LinearKind> profiled_kinds(const Profile& profile) {
    std::vector<LinearKind> kinds;
    for (std::size_t k = 0; k < linear_kinds.size(); ++k)
        for (const auto& linear : profile.linears)
            if (linear.kind == static_cast<LinearKind>(k)) {
                kinds.push_back(linear.kind);
                break;
            }
    return kinds;
}

[[nodiscard]] inline std::string profile_heat(const Profile& profile) {
    const std::size_t s = shown_size(profile);
    const auto kinds = profiled_kinds(profile);
    std::vector<double> values;
    std::map<Index, std::map<LinearKind, std::size_t>> rows;
    for (std::size_t k = 0; k < profile.linears.size(); ++k) {
        const auto& linear = profile.linears[k];
        values.push_back(linear.probes[s].kld.mean);
        rows[linear.layer][linear.kind] = k;
    }
    const DecadeScale scale(values);
    std::string text = concat(
        "<section><h2>Divergence by block and kind</h2>\n<p class=\"how\">Nats per token that the "
        "whole model departs from itself where this linear alone keeps ",
        short_number(profile.sizes[s], 3),
        " of its numbers; blocks from the input down to the output. Below each colour stands where "
        "it begins.</p>\n",
        scale.legend(), "<table class=\"heat\"><thead><tr><th scope=\"col\">block</th>");
    for (const auto kind : kinds) text += "<th scope=\"col\">" + to_string(kind) + "</th>";
    text += "</tr></thead><tbody>\n";
    for (const auto& [layer, row] : rows) {
        text += concat("<tr><th scope=\"row\">", layer, "</th>");
        for (const auto kind : kinds) {
            const auto found = row.find(kind);
            if (found == row.end()) {
                text += "<td></td>";
                continue;
            }
            const double kld = values[found->second];
            text +=
                concat("<td class=\"h", scale.class_of(kld), "\">",
                       datum(kld, short_number(kld, 2), kld_pointer(found->second, s)), "</td>");
        }
        text += "</tr>\n";
    }
    return text + "</tbody></table></section>\n";
}

/// Error of the outputs against stored numbers, a line per block; the block of the largest divergence stands out.
[[nodiscard]] inline std::string curve_panel(const Profile& profile, LinearKind kind) {
    const std::size_t s = shown_size(profile);
    const LinearProfile* worst = nullptr;
    std::vector<Series> lines;
    for (const auto& linear : profile.linears) {
        if (linear.kind != kind) continue;
        if (!worst || worst->probes[s].kld.mean < linear.probes[s].kld.mean) worst = &linear;
        Series line{.colour = "var(--a)", .width = 1, .opacity = 0.35};
        const auto full = static_cast<Index>(linear.losses.size()) - 1;
        const Index step = (std::max)(Index{1}, full / 48);
        for (Index r = 0; r <= full; r = r < full ? (std::min)(full, r + step) : full + 1)
            line.points.push_back({stored_share(linear.rows, linear.cols, r),
                                   std::sqrt(linear.losses[static_cast<std::size_t>(r)])});
        lines.push_back(std::move(line));
    }
    PlotOptions options;
    options.title = "Error of the outputs against stored numbers, " + to_string(kind);
    options.x = {"stored, of dense", 0, 1};
    options.y = {"error of the outputs", 0, 1};
    options.width = 262;
    options.height = 200;
    options.most_ticks = 6;
    std::vector<PlotMark> marks;
    for (const auto& probe : worst->probes)
        marks.push_back({.at = {probe.share, probe.activation_error}, .colour = "var(--b)"});
    marks[s].label = concat("block ", worst->layer);
    marks[s].lift = 9;
    return concat("<figure><figcaption><b>", to_string(kind), "</b><span>", worst->rows, " \u00d7 ",
                  worst->cols, "</span></figcaption>\n", line_plot(lines, options, marks),
                  "</figure>\n");
}

[[nodiscard]] inline std::string profile_curves(const Profile& profile) {
    std::string text =
        "<section><h2>What every rank loses</h2>\n<p class=\"how\">Error of a linear\u2019s "
        "outputs "
        "by its best low rank, against the numbers stored for it: one line per block. Dots: the "
        "block that the model suffers from most, where it was measured.</p>\n"
        "<div class=\"panels\">\n";
    for (const auto kind : profiled_kinds(profile)) text += curve_panel(profile, kind);
    return text + "</div></section>\n";
}

/// At most ten linears, the largest divergence first.
[[nodiscard]] inline std::string most_sensitive(const Profile& profile) {
    const std::size_t s = shown_size(profile);
    std::vector<std::size_t> order(profile.linears.size());
    for (std::size_t k = 0; k < order.size(); ++k) order[k] = k;
    const auto kld = [&](std::size_t k) { return profile.linears[k].probes[s].kld.mean; };
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return kld(a) > kld(b); });
    order.resize((std::min)(order.size(), std::size_t{10}));
    std::string text = concat(
        "<section><h2>Most sensitive</h2>\n<p class=\"how\">Divergence, nats per token, where this "
        "linear alone keeps ",
        short_number(profile.sizes[s], 3),
        " of its numbers; its standard error.</p>\n<table class=\"rank\"><tbody>\n");
    for (const auto k : order) {
        const auto& linear = profile.linears[k];
        text += concat(
            "<tr>", cell("linear", "<bdi class=\"name\">" + html_escape(linear.name) + "</bdi>"),
            cell("", rank_bar(kld(order[0]) > 0 ? kld(k) / kld(order[0]) : 0)),
            cell("divergence", datum(kld(k), short_number(kld(k), 3), kld_pointer(k, s))),
            cell("standard error",
                 "\u00b1 " + datum(linear.probes[s].kld.standard_error,
                                   short_number(linear.probes[s].kld.standard_error, 2),
                                   kld_pointer(k, s) + "_error")),
            "</tr>\n");
    }
    return text + "</tbody></table></section>\n";
}

[[nodiscard]] inline std::string profile_made_by(const Profile& profile) {
    const auto entry = [](std::string_view term, const std::string& content) {
        return concat("<dt>", term, "</dt><dd>", content, "</dd>\n");
    };
    const auto code = [](const std::string& text) {
        return "<code>" + html_escape(text) + "</code>";
    };
    const auto& made = profile.made_by;
    const auto text_entry = [](const ProfileText& part, const std::string& at) {
        return concat(count_datum(part.tokens, at + "/tokens"), " tokens in ",
                      count_datum(part.windows, at + "/windows"), " windows");
    };
    std::string text = "<section><h2>Made by</h2>\n<dl>\n";
    if (!made.command.empty()) text += entry("Command", code(made.command));
    text += entry("Model", code(profile.model));
    for (const auto& file : profile.texts) text += entry("Text", code(file));
    text += entry("Moments", text_entry(profile.calibration, "/calibration"));
    text += entry("Divergence", text_entry(profile.probing, "/probing"));
    text += entry("mpo", html_escape(made.version + ", compiled by " + made.compiler));
    text +=
        entry("Time", datum(profile.seconds, fixed_number(profile.seconds, 1) + " s", "/seconds"));
    return text + "</dl></section>\n";
}

[[nodiscard]] inline std::string profile_header(const Profile& profile) {
    std::string sizes;
    for (const double size : profile.sizes)
        sizes += (sizes.empty() ? "" : ", ") + short_number(size, 3);
    return concat("<header><p class=\"over\">mpo profile</p>\n<h1>",
                  html_escape(model_name(profile.model)), "</h1>\n<p class=\"lead\">",
                  profile.linears.size(), " linears, each alone made a low rank that keeps ", sizes,
                  " of its numbers: what its outputs lose, and what the model suffers.</p>"
                  "</header>\n");
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE std::string to_html(const Profile& profile) {
    const bool any = !profile.linears.empty();
    return detail::page(detail::model_name(profile.model) + ", profiled by mpo",
                        detail::profile_header(profile) +
                            (any ? detail::profile_curves(profile) + "<div class=\"two\"><div>" +
                                       detail::profile_heat(profile) + "</div><div>" +
                                       detail::most_sensitive(profile) + "</div></div>\n"
                                 : "") +
                            detail::profile_made_by(profile),
                        "mpo profile --json", describe(profile));
}

}  // namespace mpo
