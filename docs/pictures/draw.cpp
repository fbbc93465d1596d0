// Draws the pictures of the pages: draw FOLDER writes them, draw FOLDER --check compares them.

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "mpo/core/plot.hpp"
#include "mpo/core/svg.hpp"
#include "mpo/network/draw.hpp"

namespace {

using mpo::Svg;
using mpo::SvgPoint;

// A page of its own colour: a picture inside <img> does not know whether its reader prefers dark.
constexpr const char *paper = "#ffffff", *ink = "#222222", *pale = "#cfe3f1", *blue = "#0072b2",
                     *orange = "#d55e00", *sand = "#f7e6c8";

[[nodiscard]] Svg sheet(double width, double height, const std::string& title) {
    Svg svg(width, height, title);
    svg.rectangle({0, 0}, width, height, {.fill = paper, .stroke = "none"});
    return svg;
}

void label(Svg& svg, SvgPoint at, const std::string& text, const std::string& colour = ink,
           double size = 13) {
    svg.text(at, text, {.size = size, .anchor = mpo::TextAnchor::middle, .fill = colour});
}

void line(Svg& svg, SvgPoint a, SvgPoint b, const std::string& colour = ink, double width = 2) {
    svg.line(a, b, {.stroke = colour, .stroke_width = width});
}

/// A core with its legs: in above, out below.
void core(Svg& svg, SvgPoint at, const std::string& name, const std::string& index,
          const std::string& fill = pale) {
    line(svg, {at.x, at.y - 52}, {at.x, at.y - 18}, orange);
    line(svg, {at.x, at.y + 18}, {at.x, at.y + 52}, blue);
    label(svg, {at.x, at.y - 58}, "i" + index, orange);
    label(svg, {at.x, at.y + 68}, "o" + index, blue);
    svg.circle(at, 19, {.fill = fill, .stroke = ink, .stroke_width = 2});
    label(svg, {at.x, at.y + 5}, name);
}

[[nodiscard]] std::string chain() {
    auto svg = sheet(640, 210, "A matrix with one leg per side becomes a chain of cores");
    svg.rectangle({50, 80}, 50, 50, {.fill = pale, .stroke = ink, .stroke_width = 2});
    label(svg, {75, 110}, "W", ink, 16);
    line(svg, {75, 40}, {75, 80}, orange);
    line(svg, {75, 130}, {75, 170}, blue);
    label(svg, {75, 32}, "in", orange);
    label(svg, {75, 188}, "out", blue);
    label(svg, {150, 111}, "≈", ink, 22);
    for (int k = 0; k < 4; ++k) {
        const double x = 220 + 120 * k;
        if (k < 3) {
            line(svg, {x + 19, 105}, {x + 101, 105});
            label(svg, {x + 60, 97}, "D[" + std::to_string(k + 1) + "]");
        }
        core(svg, {x, 105}, "C" + std::to_string(k), std::to_string(k + 1));
    }
    return svg.to_string();
}

/// The four indices of core k, and the order in which they stand.
[[nodiscard]] std::string core_indices() {
    auto svg = sheet(640, 200, "The four indices of a core, and their order");
    const SvgPoint at{150, 100};
    line(svg, {at.x - 70, at.y}, {at.x + 70, at.y});
    line(svg, {at.x, at.y - 58}, at, orange);
    line(svg, at, {at.x, at.y + 58}, blue);
    svg.circle(at, 30, {.fill = pale, .stroke = ink, .stroke_width = 2});
    label(svg, {at.x, at.y + 5}, "core(k)");
    label(svg, {at.x, at.y - 66}, "in[k]", orange);
    label(svg, {at.x, at.y + 76}, "out[k]", blue);
    label(svg, {at.x - 92, at.y + 5}, "D[k]");
    label(svg, {at.x + 100, at.y + 5}, "D[k+1]");
    // the same four as columns of a row of boxes, slowest first
    const char* const names[] = {"D[k]", "out[k]", "in[k]", "D[k+1]"};
    const char* const meanings[] = {"bond to k-1", "leg of Y", "leg of X", "bond to k+1"};
    const char* const colours[] = {ink, blue, orange, ink};
    for (int axis = 0; axis < 4; ++axis) {
        const double x = 310 + 76 * axis;
        svg.rectangle({x, 76}, 76, 40, {.fill = axis % 3 == 0 ? sand : pale, .stroke = ink});
        label(svg, {x + 38, 101}, names[axis], colours[axis]);
        label(svg, {x + 38, 136}, meanings[axis], colours[axis], 11);
    }
    label(svg, {348, 62}, "slowest", ink, 11);
    label(svg, {576, 62}, "fastest", ink, 11);
    label(svg, {462, 30}, "its shape, row-major", ink, 14);
    return svg.to_string();
}

/// A 4 x 6 matrix, rows (o1 o2) = (2, 2), columns (i1 i2) = (2, 3): offsets in memory, blocks of one (o1, i1).
[[nodiscard]] std::string row_major() {
    auto svg = sheet(640, 300, "Row-major order of W[(o1 o2), (i1 i2)] and of its unfolding");
    const double left = 90, top = 80, cell = 34;
    label(svg, {left + 3 * cell, 22}, "W (4, 6): offset in memory", ink, 14);
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 6; ++j) {
            const bool shaded = (i / 2 + j / 3) % 2 == 0;
            const SvgPoint at{left + cell * j, top + cell * i};
            svg.rectangle(at, cell, cell, {.fill = shaded ? pale : sand, .stroke = ink});
            label(svg, {at.x + cell / 2, at.y + 22}, std::to_string(6 * i + j), ink, 12);
        }
    for (int j = 0; j < 6; ++j)
        label(svg, {left + cell * (j + 0.5), top - 8},
              std::to_string(j / 3) + std::to_string(j % 3), orange, 12);
    for (int i = 0; i < 4; ++i)
        label(svg, {left - 16, top + cell * i + 22}, std::to_string(i / 2) + std::to_string(i % 2),
              blue, 12);
    label(svg, {left + 3 * cell, top - 28}, "(i1 i2)", orange);
    label(svg, {left - 56, top + 2 * cell + 5}, "(o1 o2)", blue);
    const double right = 400;
    label(svg, {right + 3 * cell, 22}, "its unfolding (o1 i1, o2 i2): (4, 6)", ink, 14);
    for (int a = 0; a < 4; ++a)
        for (int b = 0; b < 6; ++b) {
            const int o1 = a / 2, i1 = a % 2, o2 = b / 3, i2 = b % 3;
            const SvgPoint at{right + cell * b, top + cell * a};
            svg.rectangle(at, cell, cell,
                          {.fill = (o1 + i1) % 2 == 0 ? pale : sand, .stroke = ink});
            label(svg, {at.x + cell / 2, at.y + 22},
                  std::to_string(6 * (2 * o1 + o2) + 3 * i1 + i2), ink, 12);
        }
    for (int b = 0; b < 6; ++b)
        label(svg, {right + cell * (b + 0.5), top - 8},
              std::to_string(b / 3) + std::to_string(b % 3), ink, 12);
    for (int a = 0; a < 4; ++a)
        label(svg, {right - 16, top + cell * a + 22}, std::to_string(a / 2) + std::to_string(a % 2),
              ink, 12);
    label(svg, {right + 3 * cell, top - 28}, "(o2 i2)");
    label(svg, {right - 54, top + 2 * cell + 5}, "(o1 i1)");
    label(svg, {320, 256}, "A patch of W, one colour, is one row of the unfolding;", ink, 13);
    label(svg, {320, 276}, "the rank of the unfolding is the bond that the two cores need.", ink,
          13);
    return svg.to_string();
}

/// A core as a triangle whose tip points towards the centre.
void triangle(Svg& svg, SvgPoint at, int direction) {
    const double d = direction;
    svg.polyline({{at.x - 16 * d, at.y - 20},
                  {at.x + 18 * d, at.y},
                  {at.x - 16 * d, at.y + 20},
                  {at.x - 16 * d, at.y - 20}},
                 {.fill = pale, .stroke = ink, .stroke_width = 2});
}

[[nodiscard]] std::string center() {
    auto svg = sheet(640, 190, "Canonical form: orthonormal cores around the orthogonality centre");
    for (int k = 0; k < 5; ++k) {
        const double x = 80 + 120 * k;
        if (k < 4) line(svg, {x, 85}, {x + 120, 85});
        line(svg, {x, 40}, {x, 85}, orange);
        line(svg, {x, 85}, {x, 130}, blue);
    }
    for (int k = 0; k < 2; ++k) triangle(svg, {80 + 120.0 * k, 85}, 1);
    svg.circle({320, 85}, 19, {.fill = sand, .stroke = ink, .stroke_width = 2});
    for (int k = 3; k < 5; ++k) triangle(svg, {80 + 120.0 * k, 85}, -1);
    label(svg, {140, 160}, "left-orthonormal: Qᴴ Q = 1", ink, 13);
    label(svg, {320, 160}, "centre: norm(W)", ink, 13);
    label(svg, {500, 160}, "right-orthonormal: Q Qᴴ = 1", ink, 13);
    return svg.to_string();
}

/// Two bars, the two sides of W, cut into legs; lengths are logarithms of the legs.
void legs(Svg& svg, double left, const std::string& title, const std::vector<double>& out,
          const std::vector<double>& in) {
    label(svg, {left + 120, 28}, title, ink, 14);
    const auto bar = [&](double y, const std::vector<double>& cuts, const std::string& fill,
                         const std::string& name) {
        double x = left;
        for (const double leg : cuts) {
            const double width = 240 * std::log(leg) / std::log(4096.0);
            svg.rectangle({x, y}, width, 34, {.fill = fill, .stroke = ink});
            if (leg > 1) label(svg, {x + width / 2, y + 22}, mpo::short_number(leg), ink, 13);
            x += width;
        }
        svg.text({left - 8, y + 22}, name,
                 {.size = 13, .anchor = mpo::TextAnchor::end, .fill = ink});
    };
    bar(46, out, pale, "out");
    bar(100, in, sand, "in");
}

[[nodiscard]] std::string layouts() {
    auto svg = sheet(640, 160, "Balanced and opposed legs of a 4096 x 4096 matrix on two sites");
    legs(svg, 60, "balanced 64x64 : 64x64", {64, 64}, {64, 64});
    legs(svg, 370, "opposed 1024x4 : 4x1024", {1024, 4}, {4, 1024});
    return svg.to_string();
}

/// A 216 x 216 matrix and its MPO of three sites: 2 36 D + 36 D^2 parameters.
[[nodiscard]] std::string matrix_and_mpo() {
    const mpo::Layout layout{{6, 6, 6}, {6, 6, 6}};
    const auto W = mpo::matrix_wiring(layout);
    const auto chain = mpo::chain_wiring(layout, {1, 10, 10, 1});
    auto options = mpo::chain_options(3);
    options.sign = "≈";
    options.captions = {
        "216 × 216 = " + std::to_string(W.num_parameters()) + " parameters",
        "2 · 36 · 10 + 36 · 10² = " + std::to_string(chain.num_parameters()) + " parameters"};
    options.paper = paper;
    options.ink = ink;
    return mpo::draw_svg({W, chain}, options);
}

[[nodiscard]] std::string read(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::cerr << "usage: draw FOLDER [--check]\n";
        return 2;
    }
    const bool check = argc > 2;
    const std::filesystem::path folder = argv[1];
    int different = 0;
    for (const auto& [name, picture] :
         {std::pair{"chain.svg", chain()}, std::pair{"core.svg", core_indices()},
          std::pair{"row_major.svg", row_major()}, std::pair{"center.svg", center()},
          std::pair{"layouts.svg", layouts()}, std::pair{"matrix_and_mpo.svg", matrix_and_mpo()}}) {
        if (!check) std::ofstream(folder / name, std::ios::binary) << picture;
        if (read(folder / name) == picture) continue;
        std::cerr << (folder / name).string() << " is not what draw draws\n";
        ++different;
    }
    return different == 0 ? 0 : 1;
}
