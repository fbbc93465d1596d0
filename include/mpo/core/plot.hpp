// Plots as SVG text: axes, lines with their names beside them, heat maps; made of core/svg.hpp.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mpo/core/svg.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo {

/// How values are spread over an axis.
enum class AxisScale { linear, logarithmic };

/// An interval of values and how it is spread over a length.
struct Axis {
    std::string label = {};               // what stands beside the axis
    double min = 0;                       // value at its beginning
    double max = 1;                       // value at its end; > min
    AxisScale scale = AxisScale::linear;  // logarithmic: min > 0
};

/// Throws ArgumentError unless min < max, both finite, and positive where logarithmic.
inline void validate(const Axis& axis) {
    const bool ordered = std::isfinite(axis.min) && std::isfinite(axis.max) && axis.min < axis.max;
    if (!ordered || (axis.scale == AxisScale::logarithmic && axis.min <= 0))
        detail::raise<ArgumentError>({"Axis '", axis.label,
                                      "': need min < max (positive where logarithmic), got ",
                                      axis.min, " .. ", axis.max});
}

/// Share of the axis at which a value lies: 0 at min, 1 at max.
[[nodiscard]] inline double share_along(const Axis& axis, double value) {
    if (axis.scale == AxisScale::linear) return (value - axis.min) / (axis.max - axis.min);
    return std::log(value / axis.min) / std::log(axis.max / axis.min);
}

namespace detail {

/// Powers of ten inside the axis, at most `most`; with 2 and 5 times them where all of those fit.
[[nodiscard]] inline std::vector<double> logarithmic_ticks(const Axis& axis, Index most) {
    const double begin = std::log10(axis.min), end = std::log10(axis.max);
    std::vector<double> fine;
    for (double e = std::floor(begin); e <= std::ceil(end); ++e)
        for (const double factor : {1.0, 2.0, 5.0}) {
            const double tick = factor * std::pow(10.0, e);
            if (tick >= axis.min * (1 - 1e-9) && tick <= axis.max * (1 + 1e-9))
                fine.push_back(tick);
            if (static_cast<Index>(fine.size()) > most) break;
        }
    if (static_cast<Index>(fine.size()) <= most) return fine;
    const double first = std::ceil(begin - 1e-9), last = std::floor(end + 1e-9);
    const double step = (std::max)(1.0, std::ceil((last - first + 1) / static_cast<double>(most)));
    std::vector<double> ticks;
    for (double e = first; e <= last; e += step) ticks.push_back(std::pow(10.0, e));
    return ticks;
}

}  // namespace detail

/// Round numbers on the axis: powers of ten where logarithmic (thinned to `most`; with their doubles
/// and fives where all of those fit), else multiples of 1, 2 or 5 times a power of ten; at most `most`
/// of them.
[[nodiscard]] inline std::vector<double> axis_ticks(const Axis& axis, Index most = 7) {
    validate(axis);
    if (most < 2) detail::raise<ArgumentError>({"axis_ticks: need room for 2 ticks, got ", most});
    if (axis.scale == AxisScale::logarithmic) return detail::logarithmic_ticks(axis, most);
    std::vector<double> ticks;
    const double raw = (axis.max - axis.min) / static_cast<double>(most - 1);
    const double power = std::pow(10.0, std::floor(std::log10(raw)));
    double step = power;
    for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
        step = factor * power;
        if (step >= raw * (1 - 1e-9)) break;
    }
    for (double k = std::ceil(axis.min / step - 1e-9); k * step <= axis.max + 1e-9 * step; ++k)
        ticks.push_back(k == 0 ? 0.0 : k * step);
    return ticks;
}

/// `value` for a reader: `digits_shown` significant digits, plain where short.
[[nodiscard]] inline std::string short_number(double value, int digits_shown = 4) {
    char digits[64];
    const auto end = std::to_chars(digits, digits + sizeof digits, value,
                                   std::chars_format::general, digits_shown)
                         .ptr;
    return {digits, end};
}

/// `value` with `decimals` digits behind the point, whatever the locale.
[[nodiscard]] inline std::string fixed_number(double value, int decimals) {
    char digits[400];  // the largest double has 309 digits before the point
    const auto end =
        std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed, decimals)
            .ptr;
    return {digits, end};
}

/// What stands at a tick: short_number; on a logarithmic axis powers of ten below 0.001 and above
/// 1000 as 10 with a raised exponent.
[[nodiscard]] inline std::string tick_text(const Axis& axis, double tick) {
    const double exponent = tick > 0 ? std::log10(tick) : 0;
    const bool power = std::abs(exponent - std::round(exponent)) < 1e-9;
    if (axis.scale == AxisScale::linear || !power || std::abs(exponent) < 3.5)
        return short_number(tick);
    constexpr std::string_view raised[] = {"\u2070", "\u00b9", "\u00b2", "\u00b3", "\u2074",
                                           "\u2075", "\u2076", "\u2077", "\u2078", "\u2079"};
    std::string text = exponent < 0 ? "10\u207b" : "10";
    for (const char digit : std::to_string(std::llround(std::abs(exponent))))
        text += raised[digit - '0'];
    return text;
}

/// One line of a plot.
struct Series {
    std::string name = {};              // stands at the right end of the line
    std::vector<SvgPoint> points = {};  // in values; clamped to the frame where outside the axes
    std::string colour = {};            // any CSS colour; empty: one of six, in turn
    double width = 2;                   // px
    double opacity = 1;                 // 0 .. 1
};

/// A dot, and perhaps a word beside it.
struct PlotMark {
    SvgPoint at = {};                       // in values
    std::string label = {};                 // none where empty
    std::string colour = "currentColor";    // any CSS colour, of dot and label
    TextAnchor anchor = TextAnchor::start;  // start: the label is to the right
    double lift = 0;                        // px by which the label stands higher than the dot
    double radius = 3;                      // px
};

/// Title, axes and size of a plot.
struct PlotOptions {
    std::string title = {};    // for screen readers
    std::string heading = {};  // above the frame, for everybody; may be empty
    Axis x = {};               // to the right; its label stands below the right end
    Axis y = {};               // upwards; its label stands above the left end
    double width = 480;        // px
    double height = 300;       // px
    Index most_ticks = 7;      // per axis, at least 2
};

namespace detail {

/// Distinguishable by hue and by lightness (Okabe and Ito's palette).
[[nodiscard]] inline std::string_view series_colour(std::size_t k) {
    constexpr std::string_view colours[] = {"#0072b2", "#d55e00", "#009e73",
                                            "#cc79a7", "#e69f00", "#56b4e9"};
    return colours[k % std::size(colours)];
}

/// Width of a text of 11 px, roughly: fonts differ.
[[nodiscard]] inline double text_width(std::string_view text) {
    const auto letters = std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xc0) != 0x80;  // no continuation of UTF-8
    });
    return 6.2 * static_cast<double>(letters);
}

/// A plot in the making: the frame, and where values lie in it.
class PlotFrame {
  public:
    PlotFrame(const PlotOptions& options, double right_margin)
        : options_(options),
          svg_(options.width, options.height, options.title),
          top_left_{44, options.heading.empty() ? 24.0 : 44.0},
          bottom_right_{options.width - right_margin, options.height - 36} {}

    /// Grid, ticks and labels: a line at the bottom, none around.
    void draw_axes() {
        const double left = top_left_.x, right = bottom_right_.x, bottom = bottom_right_.y;
        for (const double tick : axis_ticks(options_.y, options_.most_ticks)) {
            const double y = place({options_.x.min, tick}).y;
            svg_.line({left, y}, {right, y}, {.opacity = 0.12});
            svg_.text({left - 6, y + 4}, tick_text(options_.y, tick),
                      {.size = 11, .anchor = TextAnchor::end});
        }
        svg_.line({left, bottom}, {right, bottom}, {.opacity = 0.6});
        for (const double tick : axis_ticks(options_.x, options_.most_ticks)) {
            const double x = place({tick, options_.y.min}).x;
            svg_.line({x, bottom}, {x, bottom + 4}, {.opacity = 0.6});
            svg_.text({x, bottom + 16}, tick_text(options_.x, tick),
                      {.size = 11, .anchor = TextAnchor::middle});
        }
        svg_.text({0, top_left_.y - 11}, options_.y.label, {.size = 11});
        svg_.text({right, bottom + 31}, options_.x.label, {.size = 11, .anchor = TextAnchor::end});
        if (!options_.heading.empty()) svg_.text({0, 15}, options_.heading, {.size = 14});
    }

    /// In px, to a tenth. Throws ArgumentError for what the axes cannot show.
    [[nodiscard]] SvgPoint place(const SvgPoint& value) const {
        const double u = share_along(options_.x, value.x), v = share_along(options_.y, value.y);
        if (std::isnan(u) || std::isnan(v))
            raise<ArgumentError>(
                {"line_plot: (", value.x, ", ", value.y, ") cannot be shown on these axes"});
        const auto tenths = [](double px) { return std::round(10 * px) / 10; };
        return {
            tenths(top_left_.x + std::clamp(u, 0.0, 1.0) * (bottom_right_.x - top_left_.x)),
            tenths(bottom_right_.y - std::clamp(v, 0.0, 1.0) * (bottom_right_.y - top_left_.y))};
    }

    void draw(const Series& series, const std::string& colour) {
        std::vector<SvgPoint> path;
        for (const auto& point : series.points) path.push_back(place(point));
        svg_.polyline(path,
                      {.stroke = colour, .stroke_width = series.width, .opacity = series.opacity});
    }

    /// The names of lines, at their ends, 12 px or more apart.
    void draw_names(const std::vector<Series>& all, const std::vector<std::string>& colours) {
        std::vector<std::pair<double, std::size_t>> ends;
        for (std::size_t k = 0; k < all.size(); ++k)
            if (!all[k].name.empty() && !all[k].points.empty())
                ends.emplace_back(place(all[k].points.back()).y, k);
        std::sort(ends.begin(), ends.end());
        double free_from = 0;
        for (const auto& [wanted, k] : ends) {
            const double y = (std::max)(wanted, free_from);
            svg_.text({bottom_right_.x + 6, y + 4}, all[k].name, {.size = 11, .fill = colours[k]});
            free_from = y + 12;
        }
    }

    /// A label that would leave the picture is moved inwards.
    void draw(const PlotMark& mark) {
        const auto dot = place(mark.at);
        svg_.circle(dot, mark.radius, {.fill = mark.colour, .stroke = "none"});
        if (mark.label.empty()) return;
        const double width = text_width(mark.label), gap = mark.radius + 4;
        double left = dot.x + gap;
        if (mark.anchor == TextAnchor::end) left = dot.x - gap - width;
        if (mark.anchor == TextAnchor::middle) left = dot.x - width / 2;
        left = (std::max)(top_left_.x + 4, (std::min)(left, options_.width - 2 - width));
        const double shift = mark.anchor == TextAnchor::end      ? width
                             : mark.anchor == TextAnchor::middle ? width / 2
                                                                 : 0;
        const double y = std::clamp(dot.y + 4 - mark.lift, 11.0, bottom_right_.y - 3);
        svg_.text({left + shift, y}, mark.label,
                  {.size = 11, .anchor = mark.anchor, .fill = mark.colour});
    }

    [[nodiscard]] std::string to_string() const { return svg_.to_string(); }

  private:
    const PlotOptions& options_;
    Svg svg_;
    SvgPoint top_left_, bottom_right_;
};

}  // namespace detail

/// Lines through the points of each series `all`, their names at their right ends, and `marks` on top. Throws
/// ArgumentError on invalid axes, values that are NaN, and values <= 0 on a logarithmic axis.
[[nodiscard]] inline std::string line_plot(const std::vector<Series>& all,
                                           const PlotOptions& options,
                                           const std::vector<PlotMark>& marks = {}) {
    validate(options.x);
    validate(options.y);
    double right_margin = 14;
    std::vector<std::string> colours;
    for (const auto& series : all) {
        right_margin = (std::max)(right_margin, 10 + detail::text_width(series.name));
        colours.push_back(series.colour.empty() ? std::string(detail::series_colour(colours.size()))
                                                : series.colour);
    }
    detail::PlotFrame frame(options, right_margin);
    frame.draw_axes();
    for (std::size_t k = 0; k < all.size(); ++k) frame.draw(all[k], colours[k]);
    frame.draw_names(all, colours);
    for (const auto& mark : marks) frame.draw(mark);
    return frame.to_string();
}

/// Title, labels and colours of a heat map.
struct HeatMapOptions {
    std::string title = {};                       // above the cells, and for screen readers
    std::vector<std::string> row_labels = {};     // none, or one per row
    std::vector<std::string> column_labels = {};  // none, or one per column
    Axis scale = {};   // values -> colour; its label stands beside the title
    double cell = 22;  // px
};

/// A colour between pale yellow (share 0) and dark blue (share 1), monotone in lightness; grey for NaN.
[[nodiscard]] inline std::string heat_colour(double share) {
    if (std::isnan(share)) return "#999999";
    const double t = std::clamp(share, 0.0, 1.0);
    const auto mix = [&](double from, double to) {
        return std::to_string(static_cast<int>(std::lround(from + t * (to - from))));
    };
    return "rgb(" + mix(255, 8) + ',' + mix(247, 48) + ',' + mix(188, 107) + ')';
}

/// One coloured cell per value (rows, cols) with the number in it; NaN leaves a grey cell. Throws ShapeError where labels and
/// cells differ in number, ArgumentError on an invalid scale.
[[nodiscard]] inline std::string heat_map(const TensorView<const double>& values,
                                          const HeatMapOptions& options) {
    validate(options.scale);
    const auto M = as_matrix(values);
    const auto rows = static_cast<std::size_t>(M.rows), cols = static_cast<std::size_t>(M.cols);
    if ((!options.row_labels.empty() && options.row_labels.size() != rows) ||
        (!options.column_labels.empty() && options.column_labels.size() != cols))
        detail::raise<ShapeError>({"heat_map: ", M.rows, " x ", M.cols,
                                   " cells need as many labels, got ", options.row_labels.size(),
                                   " and ", options.column_labels.size()});
    const double left = 56, top = 64, side = options.cell, wide = 2 * side;
    Svg svg(left + wide * static_cast<double>(cols) + 12,
            top + side * static_cast<double>(rows) + 12, options.title);
    svg.text({left, 18}, options.title, {.size = 14});
    svg.text({left, 36}, options.scale.label, {.size = 11});
    for (std::size_t j = 0; j < cols && !options.column_labels.empty(); ++j)
        svg.text({left + wide * (static_cast<double>(j) + 0.5), top - 6}, options.column_labels[j],
                 {.size = 11, .anchor = TextAnchor::middle});
    for (std::size_t i = 0; i < rows; ++i) {
        const double y = top + side * static_cast<double>(i);
        if (!options.row_labels.empty())
            svg.text({left - 6, y + side / 2 + 4}, options.row_labels[i],
                     {.size = 11, .anchor = TextAnchor::end});
        for (std::size_t j = 0; j < cols; ++j) {
            const double x = left + wide * static_cast<double>(j);
            const double value = values(static_cast<Index>(i), static_cast<Index>(j));
            const double share = share_along(options.scale, value);
            svg.rectangle({x, y}, wide, side, {.fill = heat_colour(share), .stroke = "none"});
            if (!std::isnan(value))
                svg.text({x + wide / 2, y + side / 2 + 4}, short_number(value, 3),
                         {.size = 10,
                          .anchor = TextAnchor::middle,
                          .fill = share > 0.5 ? "#ffffff" : "#222222"});
        }
    }
    return svg.to_string();
}

}  // namespace mpo
