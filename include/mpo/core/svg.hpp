// Pictures as SVG text: shapes and words, for core/plot, network/draw and model/report.
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
#include "mpo/core/printable.hpp"

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
        raise<ArgumentError>({"Svg: coordinates and sizes must be finite, got ", value});
    char digits[400];  // the largest double has 309 digits before the point
    const auto end =
        std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed, 3).ptr;
    std::string text(digits, end);
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
    return text == "-0" ? "0" : text;
}

/// Controls, and marks that turn the direction of what follows: none may reach a reader's eye.
[[nodiscard]] inline bool is_invisible(std::string_view character) {
    if (is_control(character)) return true;
    const bool turns = (character >= "\u200e" && character <= "\u200f") ||
                       (character >= "\u2028" && character <= "\u202e") ||
                       (character >= "\u2066" && character <= "\u2069");
    return character.size() == 3 && turns;
}

/// Text between tags or in an attribute: markup cannot leave it, what is not UTF-8 becomes U+FFFD and
/// a control a blank.
[[nodiscard]] inline std::string svg_escape(std::string_view raw) {
    std::string text;
    for (std::size_t at = 0; at < raw.size();) {
        const auto length = utf8_length(raw, at);
        const auto character = raw.substr(at, (std::max)(length, std::size_t{1}));
        at += character.size();
        if (length == 0)
            text += "\ufffd";
        else if (is_invisible(character))
            text += ' ';
        else if (character == "&")
            text += "&amp;";
        else if (character == "<")
            text += "&lt;";
        else if (character == ">")
            text += "&gt;";
        else if (character == "\"")
            text += "&quot;";
        else if (character == "'")
            text += "&#39;";
        else
            text += character;
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
            detail::raise<ArgumentError>(
                {"Svg: width and height must be positive, got ", width, " x ", height});
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
            text += detail::concat(text.empty() ? "" : " ", detail::svg_number(point.x), ",",
                                   detail::svg_number(point.y));
        return element("polyline", detail::concat(" points=\"", text, "\"", drawn(style)));
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

}  // namespace mpo
