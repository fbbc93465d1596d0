// Pictures as SVG text: shapes, axes, line plots and heat maps, for network/draw and model/report.
//
// The text is self-contained: no script, no network, no fonts but the reader's. Lines and letters
// take the colour of the surrounding page (currentColor), so the same picture serves light and dark.
// Coordinates are in px, the origin is the top left corner. Numbers are written with a point and at
// most three decimals whatever the locale.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo {

/// How a shape is drawn; an empty fill is none.
struct SvgStyle {
    std::string fill = "none";            // any CSS colour
    std::string stroke = "currentColor";  // any CSS colour
    double stroke_width = 1;              // px
    double opacity = 1;                   // 0 .. 1
};

/// Which end of a text lies at its point.
enum class TextAnchor { start, middle, end };

/// How a text is drawn.
struct SvgTextStyle {
    double size = 12;                       // px
    TextAnchor anchor = TextAnchor::start;  // the end that is fixed
    double rotation = 0;                    // degrees, clockwise, about the anchor
    std::string fill = "currentColor";      // any CSS colour
};

/// A place on the page, in px; y grows downwards.
struct SvgPoint {
    double x = 0;  // from the left
    double y = 0;  // from the top
};

namespace detail {

/// "12.5": at most three decimals, no trailing zeros. Throws ArgumentError on NaN and Inf.
[[nodiscard]] inline std::string svg_number(double value) {
    if (!std::isfinite(value))
        throw ArgumentError(concat("Svg: coordinates and sizes must be finite, got ", value));
    char digits[400];  // the largest double has 309 digits before the point
    const auto end =
        std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed, 3).ptr;
    std::string text(digits, end);
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
    return text == "-0" ? "0" : text;
}

/// Text between tags or in an attribute: markup and control characters cannot leave it.
[[nodiscard]] inline std::string svg_escape(std::string_view raw) {
    std::string text;
    for (const char c : raw) {
        switch (c) {
            case '&':
                text += "&amp;";
                break;
            case '<':
                text += "&lt;";
                break;
            case '>':
                text += "&gt;";
                break;
            case '"':
                text += "&quot;";
                break;
            case '\'':
                text += "&#39;";
                break;
            default:
                text += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
        }
    }
    return text;
}

}  // namespace detail

/// A picture in the making: each call adds one shape on top. Throws ArgumentError on coordinates
/// that are not finite.
class Svg {
  public:
    /// An empty picture of `width` by `height` px. `title` is read out by screen readers. Throws
    /// ArgumentError unless both sizes are positive.
    Svg(double width, double height, std::string title = {})
        : width_(width), height_(height), title_(std::move(title)) {
        if (!(width > 0) || !(height > 0))
            throw ArgumentError(detail::concat("Svg: width and height must be positive, got ",
                                               width, " x ", height));
    }

    /// A straight line from `a` to `b`.
    Svg& line(SvgPoint a, SvgPoint b, const SvgStyle& style = {}) {
        return element("line", attribute("x1", a.x) + attribute("y1", a.y) + attribute("x2", b.x) +
                                   attribute("y2", b.y) + drawn(style));
    }
    /// A rectangle of `width` by `height` px; `corner` is its top left one.
    Svg& rectangle(SvgPoint corner, double width, double height, const SvgStyle& style = {}) {
        return element("rect", attribute("x", corner.x) + attribute("y", corner.y) +
                                   attribute("width", width) + attribute("height", height) +
                                   drawn(style));
    }
    /// A circle of the given radius around `center`.
    Svg& circle(SvgPoint center, double radius, const SvgStyle& style = {}) {
        return element("circle", attribute("cx", center.x) + attribute("cy", center.y) +
                                     attribute("r", radius) + drawn(style));
    }
    /// Straight lines from point to point, not closed.
    Svg& polyline(const std::vector<SvgPoint>& points, const SvgStyle& style = {}) {
        std::string text;
        for (const auto& point : points)
            text += (text.empty() ? "" : " ") + detail::svg_number(point.x) + ',' +
                    detail::svg_number(point.y);
        return element("polyline", " points=\"" + text + '"' + drawn(style));
    }
    /// One line of text at the point `at`; markup in `content` is shown, not interpreted.
    Svg& text(SvgPoint at, std::string_view content, const SvgTextStyle& style = {}) {
        constexpr std::string_view anchors[] = {"start", "middle", "end"};
        body_ += "<text" + attribute("x", at.x) + attribute("y", at.y) +
                 attribute("font-size", style.size) + " text-anchor=\"" +
                 std::string(anchors[static_cast<int>(style.anchor)]) + "\" fill=\"" +
                 detail::svg_escape(style.fill) + '"';
        if (style.rotation != 0)
            body_ += " transform=\"rotate(" + detail::svg_number(style.rotation) + ' ' +
                     detail::svg_number(at.x) + ' ' + detail::svg_number(at.y) + ")\"";
        body_ += '>' + detail::svg_escape(content) + "</text>\n";
        return *this;
    }

    /// The whole picture, an svg element. It scales with the width of its container.
    [[nodiscard]] std::string to_string() const {
        const std::string w = detail::svg_number(width_), h = detail::svg_number(height_);
        return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + w + "\" height=\"" + h +
               "\" viewBox=\"0 0 " + w + ' ' + h +
               "\" role=\"img\" style=\"max-width:100%;height:auto\" "
               "font-family=\"sans-serif\">\n" +
               (title_.empty() ? "" : "<title>" + detail::svg_escape(title_) + "</title>\n") +
               body_ + "</svg>\n";
    }

  private:
    [[nodiscard]] static std::string attribute(std::string_view name, double value) {
        return ' ' + std::string(name) + "=\"" + detail::svg_number(value) + '"';
    }
    [[nodiscard]] static std::string drawn(const SvgStyle& style) {
        return " fill=\"" + detail::svg_escape(style.fill) + "\" stroke=\"" +
               detail::svg_escape(style.stroke) + '"' +
               attribute("stroke-width", style.stroke_width) +
               (style.opacity == 1 ? "" : attribute("opacity", style.opacity));
    }
    Svg& element(std::string_view tag, const std::string& attributes) {
        body_ += '<' + std::string(tag) + attributes + "/>\n";
        return *this;
    }

    double width_, height_;
    std::string title_, body_;
};

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
        throw ArgumentError(detail::concat("Axis '", axis.label,
                                           "': need min < max (positive where logarithmic), got ",
                                           axis.min, " .. ", axis.max));
}

/// Share of the axis at which a value lies: 0 at min, 1 at max.
[[nodiscard]] inline double share_along(const Axis& axis, double value) {
    if (axis.scale == AxisScale::linear) return (value - axis.min) / (axis.max - axis.min);
    return std::log(value / axis.min) / std::log(axis.max / axis.min);
}

/// Round numbers on the axis: powers of ten where logarithmic (thinned to `most`), else multiples of
/// 1, 2 or 5 times a power of ten; at most `most` of them.
[[nodiscard]] inline std::vector<double> axis_ticks(const Axis& axis, Index most = 7) {
    validate(axis);
    if (most < 2)
        throw ArgumentError(detail::concat("axis_ticks: need room for 2 ticks, got ", most));
    std::vector<double> ticks;
    if (axis.scale == AxisScale::logarithmic) {
        const double first = std::ceil(std::log10(axis.min) - 1e-9),
                     last = std::floor(std::log10(axis.max) + 1e-9);
        const double step =
            (std::max)(1.0, std::ceil((last - first + 1) / static_cast<double>(most)));
        for (double e = first; e <= last; e += step) ticks.push_back(std::pow(10.0, e));
        return ticks;
    }
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

/// One line of a plot.
struct Series {
    std::string name = {};  // what the legend calls it
    std::vector<SvgPoint> points =
        {};  // in values; those outside the axes are clamped to the frame
};

/// Title, axes and size of a plot.
struct PlotOptions {
    std::string title = {};  // above the frame, and for screen readers
    Axis x = {};             // to the right
    Axis y = {};             // upwards
    double width = 480;      // px
    double height = 300;     // px
};

namespace detail {

/// Distinguishable by hue and by lightness (Okabe and Ito's palette).
[[nodiscard]] inline std::string_view series_colour(std::size_t k) {
    constexpr std::string_view colours[] = {"#0072b2", "#d55e00", "#009e73",
                                            "#cc79a7", "#e69f00", "#56b4e9"};
    return colours[k % std::size(colours)];
}

/// Frame, ticks, grid and labels; the plot area is [left, right] x [top, bottom].
inline void draw_axes(Svg& svg, const PlotOptions& options, SvgPoint top_left,
                      SvgPoint bottom_right) {
    const SvgStyle grid{.opacity = 0.15};
    for (const double tick : axis_ticks(options.x)) {
        const double x = top_left.x + share_along(options.x, tick) * (bottom_right.x - top_left.x);
        svg.line({x, top_left.y}, {x, bottom_right.y}, grid);
        svg.text({x, bottom_right.y + 16}, short_number(tick),
                 {.size = 11, .anchor = TextAnchor::middle});
    }
    for (const double tick : axis_ticks(options.y)) {
        const double y =
            bottom_right.y - share_along(options.y, tick) * (bottom_right.y - top_left.y);
        svg.line({top_left.x, y}, {bottom_right.x, y}, grid);
        svg.text({top_left.x - 6, y + 4}, short_number(tick),
                 {.size = 11, .anchor = TextAnchor::end});
    }
    svg.rectangle(top_left, bottom_right.x - top_left.x, bottom_right.y - top_left.y,
                  {.opacity = 0.6});
    const double middle = (top_left.x + bottom_right.x) / 2;
    svg.text({middle, 18}, options.title, {.size = 14, .anchor = TextAnchor::middle});
    svg.text({middle, bottom_right.y + 34}, options.x.label, {.anchor = TextAnchor::middle});
    svg.text({14, (top_left.y + bottom_right.y) / 2}, options.y.label,
             {.anchor = TextAnchor::middle, .rotation = -90});
}

}  // namespace detail

/// Lines through the points of each series, with a legend under the title. Throws ArgumentError on
/// invalid axes, values that are NaN, and values <= 0 on a logarithmic axis.
[[nodiscard]] inline std::string line_plot(const std::vector<Series>& all,
                                           const PlotOptions& options) {
    validate(options.x);
    validate(options.y);
    Svg svg(options.width, options.height, options.title);
    const SvgPoint top_left{64, 44}, bottom_right{options.width - 14, options.height - 44};
    detail::draw_axes(svg, options, top_left, bottom_right);
    double legend = top_left.x;
    for (std::size_t k = 0; k < all.size(); ++k) {
        const std::string colour(detail::series_colour(k));
        std::vector<SvgPoint> path;
        for (const auto& point : all[k].points) {
            const double u = share_along(options.x, point.x), v = share_along(options.y, point.y);
            if (std::isnan(u) || std::isnan(v))
                throw ArgumentError(detail::concat("line_plot: series '", all[k].name,
                                                   "' cannot show (", point.x, ", ", point.y,
                                                   ") on these axes"));
            path.push_back(
                {top_left.x + std::clamp(u, 0.0, 1.0) * (bottom_right.x - top_left.x),
                 bottom_right.y - std::clamp(v, 0.0, 1.0) * (bottom_right.y - top_left.y)});
        }
        svg.polyline(path, {.stroke = colour, .stroke_width = 2});
        svg.line({legend, 33}, {legend + 16, 33}, {.stroke = colour, .stroke_width = 3});
        svg.text({legend + 20, 37}, all[k].name, {.size = 11});
        legend += 34 + 6.5 * static_cast<double>(all[k].name.size());
    }
    return svg.to_string();
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
        throw ShapeError(
            detail::concat("heat_map: ", M.rows, " x ", M.cols, " cells need as many labels, got ",
                           options.row_labels.size(), " and ", options.column_labels.size()));
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
