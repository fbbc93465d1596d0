// The geometry of diagrams, see network/draw_scene.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "mpo/core/inline.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/network/draw_scene.hpp"

namespace mpo::detail {

MPO_DETAIL_INLINE double line_width(Index extent) {
    return (std::min)(9.0, 1 + std::log(static_cast<double>(extent)));
}

/// Characters, not bytes.
[[nodiscard]] MPO_DETAIL_INLINE double text_width(const std::string& text) {
    double letters = 0;
    for (std::size_t at = 0; at < text.size(); ++letters)
        at += (std::max)(utf8_length(text, at), std::size_t{1});
    return letters * DrawSizes::letter;
}

[[nodiscard]] MPO_DETAIL_INLINE SceneBox box_of(const Scene& scene) {
    SceneBox box;
    for (const auto& line : scene.lines)
        for (const auto& point : line.points) box.include(point, line.width / 2, line.width / 2);
    for (const auto& tensor : scene.tensors)
        box.include(tensor.at, tensor.half_width + 1, tensor.half_height + 1);
    for (const auto& dot : scene.dots) box.include(dot, 5, 5);
    for (const auto& text : scene.texts)
        box.include({text.at.x, text.at.y - text.size / 3},
                    text_width(text.text) * text.size / DrawSizes::text / 2, text.size / 2 + 2);
    return box;
}

MPO_DETAIL_INLINE void shift(Scene& scene, double dx, double dy) {
    const auto move = [&](SvgPoint& at) { at = {at.x + dx, at.y + dy}; };
    for (auto& line : scene.lines)
        for (auto& point : line.points) move(point);
    for (auto& tensor : scene.tensors) move(tensor.at);
    for (auto& dot : scene.dots) move(dot);
    for (auto& text : scene.texts) move(text.at);
}

template <class Item>
void append(std::vector<Item>& to, std::vector<Item>& from) {
    to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

/// "a diagram of C0, C1 and C2", for screen readers.
[[nodiscard]] MPO_DETAIL_INLINE std::string title_of(const std::vector<Wiring>& diagrams,
                                                     const std::string& sign) {
    std::string title;
    for (const auto& diagram : diagrams) {
        std::string names;
        for (const auto& tensor : diagram.tensors())
            names.append(names.empty() ? "" : " ").append(tensor.name);
        if (!title.empty()) title.append(" ").append(sign).append(" ");
        title += names;
    }
    return "Tensor diagram: " + title;
}

MPO_DETAIL_INLINE Scene scene_of(const std::vector<Wiring>& diagrams, const DrawOptions& options) {
    if (diagrams.empty()) throw ArgumentError("draw: there is no diagram");
    if (!options.captions.empty() && options.captions.size() != diagrams.size())
        raise<ArgumentError>({"draw: ", diagrams.size(), " diagrams need as many captions, got ",
                              options.captions.size()});
    Scene whole;
    std::vector<double> middles;  // of the diagrams, for their captions
    double x = 0;
    for (const auto& diagram : diagrams) {
        if (diagram.tensors().empty()) throw ArgumentError("draw: the diagram has no tensors");
        auto scene = sketch_of(diagram, options);
        auto box = box_of(scene);
        if (const double row = scene.tensors.front().at.y; row != 0 && diagrams.size() > 1)
            shift(scene, 0, -(box.low.y + box.high.y) / 2);  // rings and grids: in the middle
        if (!middles.empty()) {
            whole.texts.push_back({{x + 26, 8}, options.sign, 24, Tone::ink});
            x += 52;
        }
        const double caption =
            options.captions.empty() ? 0 : text_width(options.captions[middles.size()]);
        const double width = (std::max)(box.high.x - box.low.x, caption);
        middles.push_back(x + width / 2);
        shift(scene, x + (width - (box.high.x - box.low.x)) / 2 - box.low.x, 0);
        append(whole.lines, scene.lines);
        append(whole.dots, scene.dots);
        append(whole.tensors, scene.tensors);
        append(whole.texts, scene.texts);
        x += width;
    }
    const double below = box_of(whole).high.y + 26;
    for (std::size_t k = 0; k < options.captions.size(); ++k)
        whole.texts.push_back(
            {{middles[k], below}, options.captions[k], DrawSizes::text, Tone::ink});
    const auto box = box_of(whole);
    shift(whole, DrawSizes::margin - box.low.x, DrawSizes::margin - box.low.y);
    whole.width = box.high.x - box.low.x + 2 * DrawSizes::margin;
    whole.height = box.high.y - box.low.y + 2 * DrawSizes::margin;
    whole.title = title_of(diagrams, options.sign);
    return whole;
}

}  // namespace mpo::detail
