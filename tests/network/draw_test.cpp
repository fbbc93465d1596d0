// Pictures: what they show, that names of strangers cannot leave their quotes, and the count of the
// paper's first figure.
#include "mpo/network/draw.hpp"

#include "support/catch.hpp"
#include "support/matrices.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

Index count(const std::string& text, const std::string& part) {
    Index found = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
}

/// One of everything: a bond, two bonds between a pair, a batch leg that is open, a hyperedge that is
/// summed, a trace, a leg that is summed by itself.
Wiring zoo() {
    Wiring wiring;
    wiring.add("A", {2, 3, 4, 5, 6}, {"x", "p", "q", "h", "a"});
    wiring.add("B", {2, 3, 4, 5, 7}, {"x", "p", "q", "h", "b"});
    wiring.add("C", {5, 7, 8, 8, 9}, {"h", "b", "t", "t", "s"});
    wiring.set_open({"x", "a"});
    return wiring;
}

}  // namespace

TEST_CASE("draw: the paper's figure has 2 36 chi + 36 chi^2 parameters") {
    const Layout layout{{6, 6, 6}, {6, 6, 6}};  // 216 x 216
    CHECK(matrix_wiring(layout).num_parameters() == 216 * 216);
    for (const Index chi : {1, 5, 10, 36}) {
        const auto chain = chain_wiring(layout, {1, chi, chi, 1});
        CHECK(chain.num_parameters() == 2 * 36 * chi + 36 * chi * chi);
        CHECK(wiring_of(random_mpo<float>(layout, {1, chi, chi, 1}, 1)).num_parameters() ==
              chain.num_parameters());
    }
}

TEST_CASE("draw: an SVG has every tensor, leg and extent, and thick lines for large extents") {
    const Layout layout{{6, 6, 6}, {6, 6, 6}};
    auto options = chain_options(3);
    options.captions = {"216 x 216", "three sites"};
    const auto svg =
        draw_svg({matrix_wiring(layout), chain_wiring(layout, {1, 10, 20, 1})}, options);
    CHECK(count(svg, "<polyline") == 6 + 8);
    CHECK(count(svg, "<circle") == 3);
    CHECK(count(svg, "<rect") == 1);
    CHECK(count(svg, "<title>Tensor diagram: W = C0 C1 C2</title>") == 1);
    for (const char* label : {">W<", ">C0<", ">C1<", ">C2<", ">b1: 10<", ">b2: 20<", ">=<",
                              ">216 x 216<", ">three sites<"})
        CHECK(count(svg, label) == 1);
    for (const char* label : {">o1: 6<", ">i1: 6<", ">o3: 6<", ">i3: 6<"})
        CHECK(count(svg, label) == 2);
    CHECK(count(svg, "stroke=\"#d55e00\"") == 6);  // in legs
    CHECK(count(svg, "stroke=\"#0072b2\"") == 6);  // out legs
    CHECK(detail::line_width(1) == 1);
    CHECK(detail::line_width(10) < detail::line_width(20));
    CHECK(detail::line_width(1 << 20) == 9);
    CHECK(count(svg, "stroke-width=\"3.303\"") == 1);  // 1 + ln 10
}

TEST_CASE("draw: a chain stands in a row, in legs above, everything inside the picture") {
    const auto wiring = chain_wiring({{4, 4096, 4, 3}, {4, 4, 1, 4096}}, {1, 16, 128, 4096, 1});
    for (const auto& scene :
         {detail::scene_of({wiring}, chain_options(4)), detail::scene_of({zoo()}, {}),
          detail::scene_of({zoo(), wiring}, {.sign = "+"})}) {
        CHECK(scene.width > 0);
        const auto box = detail::box_of(scene);
        CHECK(box.low.x >= 0);
        CHECK(box.low.y >= 0);
        CHECK(box.high.x <= scene.width);
        CHECK(box.high.y <= scene.height);
        for (std::size_t k = 0; k < scene.texts.size(); ++k)  // no label on another one
            for (std::size_t j = 0; j < k; ++j) {
                const auto &a = scene.texts[k], &b = scene.texts[j];
                CAPTURE(a.text, b.text, a.at.x, a.at.y, b.at.x, b.at.y);
                const double reach = (detail::text_width(a.text) + detail::text_width(b.text)) / 2;
                CHECK((std::abs(a.at.x - b.at.x) > reach - 4 || std::abs(a.at.y - b.at.y) > 12));
            }
    }
    const auto row = detail::scene_of({wiring}, chain_options(4));
    for (std::size_t k = 1; k < 4; ++k) {
        CHECK(row.tensors[k].at.y == row.tensors[0].at.y);
        CHECK(row.tensors[k].at.x > row.tensors[k - 1].at.x);
    }
    for (const auto& text : row.texts) {
        if (text.tone == detail::Tone::ink) continue;
        const bool up = text.text[0] == 'i';  // in legs
        CHECK((text.tone == detail::Tone::up) == up);
        CHECK((text.at.y < row.tensors[0].at.y) == up);
    }
    Wiring boxes;  // wide ones, side by side: 30 px between them at least
    boxes.add("left", {2, 2, 2, 2, 9}, {"a", "b", "c", "d", "x"});
    boxes.add("right", {2, 2, 2, 2, 9}, {"e", "f", "g", "h", "x"});
    const auto wide = detail::scene_of({boxes}, {});
    CHECK(wide.tensors[1].at.x - wide.tensors[1].half_width >=
          wide.tensors[0].at.x + wide.tensors[0].half_width + 30);
}

TEST_CASE("draw: rings, places, dots and loops") {
    Wiring ring;
    ring.add("A", {2, 3, 4}, {"a", "b", "x"});
    ring.add("B", {3, 5}, {"b", "c"});
    ring.add("C", {5, 2}, {"c", "a"});
    const auto scene = detail::scene_of({ring}, {});
    CHECK(scene.lines.size() == 4);
    CHECK(scene.tensors[0].at.y < scene.tensors[1].at.y);  // the first one on top
    CHECK(scene.tensors[1].at.x > scene.tensors[2].at.x);  // and on, clockwise
    const auto placed =
        detail::scene_of({ring}, {.places = {{"A", 0, 0}, {"B", 1, 0}, {"C", 0.5, 1}}});
    CHECK(placed.tensors[0].at.y == placed.tensors[1].at.y);
    CHECK(placed.tensors[2].at.y - placed.tensors[0].at.y == 120);
    const auto everything = detail::scene_of({zoo()}, {});
    CHECK(everything.dots.size() == 3);  // x and h meet in one, s ends in one
    for (const auto& text : everything.texts)
        if (text.text == "x: 2")  // at the end of the line that leaves the dot
            CHECK(text.at.y > everything.dots[0].y + 30);
    // a, b, s, p, q, the loop t; x has two lines and a tip, h three
    CHECK(everything.lines.size() == 6 + 3 + 3);
}

TEST_CASE("draw: names of strangers are shown, never interpreted") {
    Wiring wiring;
    wiring.add("<script>\"", {2, 3}, {"a&b_c", "50%\\"});
    const auto svg = draw_svg({wiring});
    CHECK(count(svg, "<script>") == 0);
    CHECK(count(svg, "&lt;script&gt;&quot;") == 2);  // the title, too
    const auto tikz = draw_tikz({wiring});
    CHECK(count(tikz, "{a\\&b\\_c: 2}") == 1);
    CHECK(count(tikz, "{50\\%\\textbackslash{}: 3}") == 1);
    const auto dot = draw_dot(wiring);
    CHECK(count(dot, "[label=\"<script>\\\"\"]") == 1);
    CHECK(count(dot, "label=\"50%\\\\: 3\"") == 1);
    Wiring escape;
    escape.add("A\x1b[2J", {2}, {"a\n"});
    CHECK(count(draw_text(escape), "\x1b") == 0);
    CHECK(count(draw_text(escape), "\n") == 2);
    CHECK(count(draw_dot(escape), "\x1b") == 0);
    CHECK(count(draw_tikz({escape}), "\x1b") == 0);
}

TEST_CASE("draw: TikZ draws the same picture") {
    const auto chain = chain_wiring({{2, 3}, {4, 5}}, {1, 6, 1});
    const auto tikz = draw_tikz({matrix_wiring({{2, 3}, {4, 5}}), chain}, chain_options(2));
    CHECK(count(tikz, "\\draw[") == 4 + 5);
    CHECK(count(tikz, "\\node[circle") == 2);
    CHECK(count(tikz, "\\node[rectangle") == 1);
    CHECK(count(tikz, "{b1: 6}") == 1);
    CHECK(count(tikz, "line width=2.094pt") == 1);  // 0.75 (1 + ln 6)
    CHECK(count(tikz, "{$=$}") + count(tikz, "{=}") == 1);
    CHECK(count(tikz, "\\begin{tikzpicture}") == 1);
    CHECK(count(tikz, "\\end{tikzpicture}") == 1);
}

TEST_CASE("draw: DOT joins tensors by edges, more than two by points") {
    const auto dot = draw_dot(zoo());
    CHECK(count(dot, "shape=point") == 3);      // x, h, s
    CHECK(count(dot, "shape=plaintext") == 2);  // x and a are open
    // p, q, b, t; a to its end; x: two and the end; h: three; s: one
    CHECK(count(dot, " -- ") == 4 + 1 + 3 + 3 + 1);
    CHECK(count(dot, "\"tensor C\" -- \"tensor C\"") == 1);  // the trace
    CHECK(count(dot, "\"tensor A\" -- \"tensor B\" [penwidth=2.099, label=\"p: 3\"]") == 1);
}

TEST_CASE("draw: text has a line per tensor, the open legs and the sum") {
    CHECK(draw_text(chain_wiring({{6, 6}, {6, 6}}, {1, 10, 1})) ==
          "C0    (o1: 6, i1: 6, b1: 10)        360\n"
          "C1    (b1: 10, o2: 6, i2: 6)        360\n"
          "open  (o1: 6, o2: 6, i1: 6, i2: 6)  720 in all\n");
}

TEST_CASE("draw: what makes no sense is refused") {
    const auto refused = [](const auto& call, const std::string& message) {
        CHECK_THROWS_AS(call(), ArgumentError);
        CHECK_THROWS_WITH(call(), message);
    };
    const Wiring empty, some = zoo();
    refused([&] { (void)draw_svg({}); }, "draw: there is no diagram");
    refused([&] { (void)draw_svg({some, empty}); }, "draw: the diagram has no tensors");
    refused([&] { (void)draw_tikz({empty}); }, "draw: the diagram has no tensors");
    refused([&] { (void)draw_dot(empty); }, "draw: the diagram has no tensors");
    refused([&] { (void)draw_text(empty); }, "draw: the diagram has no tensors");
    refused(
        [&] {
            (void)draw_svg({some}, {.captions = {"a", "b"}});
        },
        "draw: 1 diagrams need as many captions, got 2");
    refused(
        [&] {
            (void)draw_svg({some}, {.places = {{"A", 0, 0}}});
        },
        "draw: places must name every tensor or none, got 1 without 'B'");
    CHECK_THROWS_AS(chain_wiring({{2, 3}, {2, 3}}, {1, 4}), ShapeError);
    CHECK_THROWS_AS(chain_wiring({{2, 3}, {2, 3}}, {1, 4, 2}), ArgumentError);
    CHECK_THROWS_AS(chain_wiring({{2, 3}, {2}}, {1, 4, 1}), ShapeError);
    CHECK_THROWS_AS(matrix_wiring({{2, 3}, {2}}), ShapeError);
    CHECK_THROWS_AS(chain_options(0), ArgumentError);
    CHECK_THROWS_AS(wiring_of(Mpo<float>()), ArgumentError);
}
