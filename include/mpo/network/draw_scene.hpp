// Where everything of a drawn diagram lies: tensors, legs, dots, words, in px, y downwards. What
// network/draw.hpp writes down as SVG or TikZ.
//
//   tensor        a circle, a box where several open legs leave one side
//   leg of two    a line between them, thicker the larger its extent
//   open leg      a line up or down from a chain, outwards from a ring
//   leg of three  lines that meet in a dot; an open leg of several tensors leaves from the dot
//   trace         a loop
//
// A chain stands in a row from its first end, everything else on a ring, unless places are given.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "mpo/core/svg.hpp"
#include "mpo/network/wiring.hpp"

namespace mpo {

/// Where a tensor is drawn: columns and rows of a grid, from the top left; fractions are allowed.
struct DrawPlace {
    std::string tensor = {};  // its name
    double column = 0;        // to the right
    double row = 0;           // downwards
};

/// How diagrams are drawn.
struct DrawOptions {
    std::vector<std::string> up =
        {};  // open legs that are drawn upwards, the others point downwards
    std::vector<DrawPlace> places = {};      // of all tensors; none: a row or a ring
    std::string sign = "=";                  // between several diagrams
    std::vector<std::string> captions = {};  // one below each diagram; none: no captions
    std::string paper = {};                  // colour of the ground, any of CSS; empty: none
    std::string ink = "currentColor";        // colour of what is neither up nor down, any of CSS
};

namespace detail {

/// Sizes in px that all pictures share.
struct DrawSizes {
    static constexpr double radius = 20;    // of a tensor
    static constexpr double leg = 38;       // length of an open leg
    static constexpr double text = 13;      // height of letters
    static constexpr double letter = 7.2;   // their mean width
    static constexpr double line_gap = 44;  // between open legs on one side, at least
    static constexpr double row_gap = 120;  // between rows of a grid
    static constexpr double margin = 14;
};

/// What a line or a word is: tones are turned into colours by whoever writes the picture.
enum class Tone { ink, up, down };

struct SceneLine {
    std::vector<SvgPoint> points;
    double width;
    Tone tone;
};

struct SceneTensor {
    SvgPoint at;  // its centre
    double half_width, half_height;
    bool is_round;
    std::string name;
};

struct SceneText {
    SvgPoint at;  // the middle of the base line
    std::string text;
    double size;
    Tone tone;
};

/// A picture before it is written; (0, 0) is its top left corner.
struct Scene {
    double width = 0, height = 0;
    std::vector<SceneLine> lines = {};  // below the tensors
    std::vector<SvgPoint> dots = {};
    std::vector<SceneTensor> tensors = {};
    std::vector<SceneText> texts = {};
    std::string title = {};
};

/// One diagram; its first row lies at y = 0.
[[nodiscard]] Scene sketch_of(const Wiring& diagram, const DrawOptions& options);

/// Diagrams side by side, the sign between them. Throws ArgumentError (no diagram, no tensor, options).
[[nodiscard]] Scene scene_of(const std::vector<Wiring>& diagrams, const DrawOptions& options);

/// Thickness of a leg in px: 1 + log(extent), at most 9.
[[nodiscard]] double line_width(Index extent);

/// About as wide as letters of 13 px are, in px.
[[nodiscard]] double text_width(const std::string& text);

/// The rectangle that holds everything, as its corners.
struct SceneBox {
    SvgPoint low{1e300, 1e300}, high{-1e300, -1e300};

    void include(SvgPoint at, double half_width, double half_height) {
        low = {(std::min)(low.x, at.x - half_width), (std::min)(low.y, at.y - half_height)};
        high = {(std::max)(high.x, at.x + half_width), (std::max)(high.y, at.y + half_height)};
    }
};
[[nodiscard]] SceneBox box_of(const Scene& scene);

}  // namespace detail
}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/draw_scene_inl.hpp"
#include "mpo/network/draw_sketch_inl.hpp"
#endif
