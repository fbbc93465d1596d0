// How pictures are written down, see network/draw.hpp.
#pragma once

#include <algorithm>
#include <utility>

#include "mpo/core/inline.hpp"
#include "mpo/network/chain_wiring_inl.hpp"
#include "mpo/network/draw.hpp"
#include "mpo/network/draw_scene_inl.hpp"

namespace mpo {
namespace detail {

/// Colours that readers tell apart whether or not they see red and green.
struct DrawColours {
    static constexpr std::string_view up = "#d55e00", down = "#0072b2", fill = "#cfe3f1",
                                      name = "#222222";
};

[[nodiscard]] MPO_DETAIL_INLINE std::string colour_of(Tone tone, const std::string& ink) {
    if (tone == Tone::ink) return ink;
    return std::string(tone == Tone::up ? DrawColours::up : DrawColours::down);
}

[[nodiscard]] MPO_DETAIL_INLINE std::string tikz_colour(Tone tone) {
    constexpr std::string_view names[] = {"mpoink", "mpoup", "mpodown"};
    return std::string(names[static_cast<int>(tone)]);
}

/// Text that TeX prints as it is.
[[nodiscard]] MPO_DETAIL_INLINE std::string tikz_escape(const std::string& raw) {
    std::string text;
    for (std::size_t at = 0; at < raw.size();) {
        const auto length = utf8_length(raw, at);
        const auto character = std::string_view(raw).substr(at, (std::max)(length, std::size_t{1}));
        at += character.size();
        if (length == 0)
            text += '?';
        else if (is_invisible(character))
            text += ' ';
        else if (character == "\\")
            text += "\\textbackslash{}";
        else if (character == "~" || character == "^")
            text += concat("\\", character, "{}");
        else if (std::string_view("&%$#_{}").find(character) != std::string_view::npos)
            text += concat("\\", character);
        else
            text += character;
    }
    return text;
}

[[nodiscard]] MPO_DETAIL_INLINE std::string tikz_point(SvgPoint at) {
    return concat("(", svg_number(at.x), ",", svg_number(at.y), ")");
}

/// Text in the quotes of DOT.
[[nodiscard]] MPO_DETAIL_INLINE std::string dot_quoted(const std::string& raw) {
    std::string text;
    for (const char c : printable(raw)) {
        if (c == '"' || c == '\\') text += '\\';
        text += c;
    }
    return concat("\"", text, "\"");
}

[[nodiscard]] MPO_DETAIL_INLINE std::string dot_edge(const std::string& from, const std::string& to,
                                                     Index extent, const std::string& label) {
    return concat("  ", from, " -- ", to, " [penwidth=", svg_number(line_width(extent)),
                  label.empty() ? "" : ", label=", label.empty() ? "" : dot_quoted(label), "];\n");
}

/// One leg of a DOT graph: an edge, or edges that meet in a point.
[[nodiscard]] MPO_DETAIL_INLINE std::string dot_leg(const Wiring& diagram, std::size_t number,
                                                    const std::string& leg) {
    std::vector<std::string> ends;
    for (const auto& tensor : diagram.tensors())
        for (const auto& own : tensor.legs)
            if (own == leg) ends.push_back(dot_quoted("tensor " + tensor.name));
    const bool open = holds(diagram.open(), leg);
    const Index extent = diagram.extent(leg);
    const std::string label = concat(leg, ": ", extent);
    if (ends.size() == 2 && !open) return dot_edge(ends[0], ends[1], extent, label);
    std::string text;
    const auto place = [&](const char* kind) { return concat("\"", kind, " ", number, "\""); };
    if (ends.size() > 1 || !open) {
        text += concat("  ", place("dot"), " [shape=point];\n");
        for (const auto& end : ends)
            text += dot_edge(end, place("dot"), extent, open || &end != &ends[0] ? "" : label);
        ends = {place("dot")};
    }
    if (!open) return text;
    text += concat("  ", place("open"), " [shape=plaintext, label=", dot_quoted(label), "];\n");
    return text + dot_edge(ends[0], place("open"), extent, "");
}

/// "o1: 6, i1: 6"
[[nodiscard]] MPO_DETAIL_INLINE std::string legs_text(const Wiring& diagram,
                                                      const std::vector<std::string>& legs) {
    std::string text;
    for (const auto& leg : legs)
        text += concat(text.empty() ? "" : ", ", printable(leg), ": ", diagram.extent(leg));
    return text;
}

MPO_DETAIL_INLINE void require_tensors(const Wiring& diagram) {
    if (diagram.tensors().empty()) throw ArgumentError("draw: the diagram has no tensors");
}

}  // namespace detail

MPO_DETAIL_INLINE std::string draw_svg(const std::vector<Wiring>& diagrams,
                                       const DrawOptions& options) {
    const auto scene = detail::scene_of(diagrams, options);
    Svg svg(scene.width, scene.height, scene.title);
    if (!options.paper.empty())
        svg.rectangle({0, 0}, scene.width, scene.height, {.fill = options.paper, .stroke = "none"});
    for (const auto& line : scene.lines)
        svg.polyline(line.points, {.stroke = detail::colour_of(line.tone, options.ink),
                                   .stroke_width = line.width});
    for (const auto& dot : scene.dots)
        svg.circle(dot, 4.5, {.fill = options.ink, .stroke = "none"});
    const std::string fill(detail::DrawColours::fill), name(detail::DrawColours::name);
    for (const auto& tensor : scene.tensors) {
        const SvgStyle style{.fill = fill, .stroke = options.ink, .stroke_width = 2};
        if (tensor.is_round)
            svg.circle(tensor.at, tensor.half_width, style);
        else
            svg.rectangle({tensor.at.x - tensor.half_width, tensor.at.y - tensor.half_height},
                          2 * tensor.half_width, 2 * tensor.half_height, style);
        svg.text({tensor.at.x, tensor.at.y + 5}, tensor.name,
                 {.size = 14, .anchor = TextAnchor::middle, .fill = name});
    }
    for (const auto& text : scene.texts)
        svg.text(text.at, text.text,
                 {.size = text.size,
                  .anchor = TextAnchor::middle,
                  .fill = detail::colour_of(text.tone, options.ink)});
    return svg.to_string();
}

MPO_DETAIL_INLINE std::string draw_tikz(const std::vector<Wiring>& diagrams,
                                        const DrawOptions& options) {
    using detail::concat;
    const auto scene = detail::scene_of(diagrams, options);
    std::string text =
        "\\begin{tikzpicture}[x=0.75pt, y=-0.75pt, font=\\small]\n"
        "  \\definecolor{mpoink}{HTML}{222222}\\definecolor{mpofill}{HTML}{CFE3F1}\n"
        "  \\definecolor{mpoup}{HTML}{D55E00}\\definecolor{mpodown}{HTML}{0072B2}\n";
    for (const auto& line : scene.lines) {
        text += concat("  \\draw[", detail::tikz_colour(line.tone),
                       ", line width=", detail::svg_number(0.75 * line.width), "pt] ");
        for (const auto& point : line.points)
            text += concat(&point == &line.points.front() ? "" : " -- ", detail::tikz_point(point));
        text += ";\n";
    }
    for (const auto& dot : scene.dots)
        text += concat("  \\fill[mpoink] ", detail::tikz_point(dot), " circle[radius=3.4pt];\n");
    for (const auto& tensor : scene.tensors)
        text +=
            concat("  \\node[", tensor.is_round ? "circle" : "rectangle",
                   ", draw=mpoink, fill=mpofill, thick, inner sep=0pt, minimum width=",
                   detail::svg_number(1.5 * tensor.half_width),
                   "pt, minimum height=", detail::svg_number(1.5 * tensor.half_height), "pt] at ",
                   detail::tikz_point(tensor.at), " {", detail::tikz_escape(tensor.name), "};\n");
    for (const auto& label : scene.texts)
        text += concat("  \\node[", detail::tikz_colour(label.tone), ", anchor=base, inner sep=0pt",
                       label.size > 20 ? ", font=\\Large" : "", "] at ",
                       detail::tikz_point(label.at), " {", detail::tikz_escape(label.text), "};\n");
    return text + "\\end{tikzpicture}\n";
}

MPO_DETAIL_INLINE std::string draw_dot(const Wiring& diagram) {
    using detail::concat;
    detail::require_tensors(diagram);
    std::string text = "graph diagram {\n  rankdir=LR;\n  node [shape=circle];\n";
    for (const auto& tensor : diagram.tensors())
        text += concat("  ", detail::dot_quoted("tensor " + tensor.name),
                       " [label=", detail::dot_quoted(tensor.name), "];\n");
    const auto legs = diagram.legs();
    for (std::size_t k = 0; k < legs.size(); ++k) text += detail::dot_leg(diagram, k, legs[k]);
    return text + "}\n";
}

MPO_DETAIL_INLINE std::string draw_text(const Wiring& diagram) {
    using detail::concat;
    detail::require_tensors(diagram);
    std::vector<std::pair<std::string, std::string>> rows;  // legs, elements
    std::size_t widest = 0, longest = 0;
    std::vector<std::string> names;
    for (const auto& tensor : diagram.tensors()) {
        names.push_back(detail::printable(tensor.name));
        rows.emplace_back(concat("(", detail::legs_text(diagram, tensor.legs), ")"),
                          std::to_string(num_elements(tensor.shape)));
    }
    names.emplace_back("open");
    rows.emplace_back(concat("(", detail::legs_text(diagram, diagram.open()), ")"),
                      std::to_string(diagram.num_parameters()) + " in all");
    for (std::size_t k = 0; k < rows.size(); ++k) {
        widest = (std::max)(widest, names[k].size());
        longest = (std::max)(longest, rows[k].first.size());
    }
    std::string text;
    for (std::size_t k = 0; k < rows.size(); ++k)
        text += concat(names[k], std::string(widest + 2 - names[k].size(), ' '), rows[k].first,
                       std::string(longest + 2 - rows[k].first.size(), ' '), rows[k].second, "\n");
    return text;
}

MPO_DETAIL_INLINE Wiring matrix_wiring(const Layout& layout, const std::string& name) {
    validate(layout, "matrix_wiring");
    const auto chain = chain_wiring(layout, Shape(layout.out.size() + 1, 1));
    Shape shape;
    for (const auto& leg : chain.open()) shape.push_back(chain.extent(leg));
    Wiring wiring;
    wiring.add(name, shape, chain.open());
    return wiring;
}

MPO_DETAIL_INLINE DrawOptions chain_options(Index sites) {
    detail::require_sites(sites, "chain_options");
    DrawOptions options;
    for (Index k = 1; k <= sites; ++k) options.up.push_back(detail::concat("i", k));
    return options;
}

}  // namespace mpo
