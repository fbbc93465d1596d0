// The bodies of model/heal_charts.hpp that are no templates.
#pragma once

#include <cmath>
#include <cstddef>
#include <utility>

#include "mpo/io/inline.hpp"
#include "mpo/model/heal_charts.hpp"
#include "mpo/model/heal_results.hpp"
#include "mpo/model/report_html.hpp"

namespace mpo::detail {

/// Round ends around all values; logarithmic, from a tenth of a decade at the least, where they are far apart.
[[nodiscard]] inline Axis value_axis(std::string label, const std::vector<double>& values) {
    double least = 1e300, most = 0;
    for (const double value : values)
        if (value > 0) {
            least = (std::min)(least, value);
            most = (std::max)(most, value);
        }
    if (!(most > 0)) return {std::move(label), 0, 1};
    if (most / least > 12) {  // nothing below a millionth of the largest is told apart
        least = (std::max)(least, 1e-6 * most);
        return {std::move(label), least / 1.15, most * 1.15, AxisScale::logarithmic};
    }
    const double span = (std::max)(most - least, 0.05 * most);
    return {std::move(label), (std::max)(0.0, least - 0.15 * span), most + 0.15 * span};
}

/// Steps 0 to the last one that any line has.
[[nodiscard]] inline Axis step_axis(Index last) {
    return {"steps", 0, static_cast<double>((std::max)(last, Index{1}))};
}

/// Layers from the first to the last, one unit at the least.
[[nodiscard]] inline Axis layer_axis(const std::vector<BlockHealing>& layers) {
    const auto first = static_cast<double>(layers.front().layer);
    return {"layer", first, (std::max)(first + 1, static_cast<double>(layers.back().layer))};
}

[[nodiscard]] inline PlotOptions heal_plot(std::string title, Axis x, Axis y) {
    PlotOptions options;
    options.title = std::move(title);
    options.x = std::move(x);
    options.y = std::move(y);
    options.width = 340;
    options.height = 240;
    options.most_ticks = 6;
    return options;
}

[[nodiscard]] inline std::string heal_figure(std::string_view caption, std::string_view note,
                                             const std::string& plot) {
    return concat("<figure><figcaption><b>", caption, "</b><span>", note, "</span></figcaption>\n",
                  plot, "</figure>\n");
}

/// A number of every layer before and after its healing, a line each.
template <class Of>
[[nodiscard]] std::string over_layers(const std::vector<BlockHealing>& layers, const char* title,
                                      const Of& of) {
    std::vector<double> all;
    for (const auto& layer : layers) {
        all.push_back(of(layer.before()));
        all.push_back(of(layer.after()));
    }
    const auto y = value_axis("loss", all);
    Series before{.name = "before", .colour = "var(--a)"},
        after{.name = "after", .colour = "var(--b)"};
    std::vector<PlotMark> marks;
    for (const auto& layer : layers) {
        const auto x = static_cast<double>(layer.layer);
        before.points.push_back(on(y, x, of(layer.before())));
        after.points.push_back(on(y, x, of(layer.after())));
        marks.push_back({.at = before.points.back(), .colour = before.colour, .radius = 2});
        marks.push_back({.at = after.points.back(), .colour = after.colour, .radius = 2});
    }
    return line_plot({before, after}, heal_plot(title, layer_axis(layers), y), marks);
}

/// The mean training loss of a layer's steps between its first two looks and before the last one: what training
/// saw, which lies below the held-out loss by as much as it fits its windows alone.
[[nodiscard]] inline std::string training_over_layers(const std::vector<BlockHealing>& layers) {
    std::vector<double> all;
    for (const auto& layer : layers)
        for (std::size_t k = 1; k < layer.curve.size(); ++k) all.push_back(layer.curve[k].training);
    const auto y = value_axis("loss", all);
    Series first{.name = "first", .colour = "var(--a)"}, last{.name = "last", .colour = "var(--b)"};
    for (const auto& layer : layers) {
        if (layer.curve.size() < 2) continue;
        const auto x = static_cast<double>(layer.layer);
        first.points.push_back(on(y, x, layer.curve[1].training));
        last.points.push_back(on(y, x, layer.curve.back().training));
    }
    std::vector<PlotMark> marks;
    for (const auto* line : {&first, &last})
        for (const auto& point : line->points)
            marks.push_back({.at = point, .colour = line->colour, .radius = 2});
    return line_plot({first, last},
                     heal_plot("Training loss over the layers", layer_axis(layers), y), marks);
}

/// Held-out loss over the steps, each layer's relative to what it was before.
[[nodiscard]] inline std::string curves_of_layers(const std::vector<BlockHealing>& layers) {
    std::vector<Series> lines;
    std::vector<double> all;
    Index last = 0;
    for (const auto& layer : layers)
        if (const double begin = layer.before().held_out; begin > 0) {
            Series line{.colour = "var(--a)", .width = 1, .opacity = 0.45};
            for (const auto& point : layer.curve) {
                line.points.push_back({static_cast<double>(point.step), point.held_out / begin});
                all.push_back(point.held_out / begin);
            }
            last = (std::max)(last, layer.curve.back().step);
            lines.push_back(std::move(line));
        }
    const auto y = value_axis("of the loss before", all);
    for (auto& line : lines)
        for (auto& point : line.points) point = on(y, point.x, point.y);
    return line_plot(lines,
                     heal_plot("Held-out loss over the steps of every layer", step_axis(last), y));
}

MPO_DETAIL_MODEL_INLINE bool has_sinks(const std::vector<BlockHealing>& layers) {
    return std::any_of(layers.begin(), layers.end(),
                       [](const auto& layer) { return layer.sinks > 0; });
}

MPO_DETAIL_MODEL_INLINE std::string block_charts(const std::vector<BlockHealing>& layers) {
    std::string text = "<div class=\"panels wide\">\n";
    text += heal_figure("held out", "windows that no step has seen",
                        over_layers(layers, "Held-out loss over the layers",
                                    [](const HealPoint& point) { return point.held_out; }));
    if (has_sinks(layers))
        text += heal_figure("sinks", "error of their states, relative",
                            over_layers(layers, "Error of the sinks over the layers",
                                        [](const HealPoint& point) { return point.sinks; }));
    text += heal_figure("training", "up to the first look, the last", training_over_layers(layers));
    text += heal_figure("held out, over the steps", "a line per layer", curves_of_layers(layers));
    return text + "</div>\n";
}

/// A number of every look of distillation; the kept look has a dot.
template <class Of>
[[nodiscard]] std::string over_looks(const Distillation& run, const char* title, const char* label,
                                     const Of& of) {
    std::vector<double> all;
    for (const auto& point : run.curve) all.push_back(of(point));
    const auto y = value_axis(label, all);
    Series line{.colour = "var(--a)"};
    std::vector<PlotMark> marks;
    for (const auto& point : run.curve) {
        line.points.push_back(on(y, static_cast<double>(point.step), of(point)));
        if (point.step == run.best_step)
            marks.push_back({.at = line.points.back(), .colour = "var(--b)"});
    }
    return line_plot({line}, heal_plot(title, step_axis(run.curve.back().step), y), marks);
}

/// Loss of the steps, and what was mixed for the held-out windows.
[[nodiscard]] inline std::string losses_over_looks(const Distillation& run, double alpha) {
    const auto loss = [&](const DistillPoint& point) {
        return alpha * point.divergence + (1 - alpha) * point.cross_entropy;
    };
    std::vector<double> all;
    for (const auto& point : run.curve) {
        all.push_back(loss(point));
        if (point.step > 0) all.push_back(point.training);
    }
    const auto y = value_axis("loss", all);
    Series training{.name = "training", .colour = "var(--a)"},
        held_out{.name = "held out", .colour = "var(--b)"};
    for (const auto& point : run.curve) {
        const auto x = static_cast<double>(point.step);
        if (point.step > 0) training.points.push_back(on(y, x, point.training));
        held_out.points.push_back(on(y, x, loss(point)));
    }
    return line_plot({training, held_out}, heal_plot("Loss over the steps of distillation",
                                                     step_axis(run.curve.back().step), y));
}

MPO_DETAIL_MODEL_INLINE std::string distillation_charts(const Distillation& run, double alpha) {
    return concat(
        "<div class=\"panels wide\">\n",
        heal_figure("loss", "mixed as trained", losses_over_looks(run, alpha)),
        heal_figure("divergence", "held out; the dot was kept",
                    over_looks(run, "Held-out divergence over the steps", "nats per token",
                               [](const DistillPoint& point) { return point.divergence; })),
        heal_figure("same first choice", "share of held-out tokens",
                    over_looks(run, "Held-out agreement over the steps", "share",
                               [](const DistillPoint& point) { return point.agreement; })),
        "</div>\n");
}

}  // namespace mpo::detail
