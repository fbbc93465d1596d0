// Laws of the pictures: every number lands where its axis says, and no text can break the markup.
#include "mpo/core/svg.hpp"

#include <limits>
#include <string>

#include "../support/catch.hpp"

namespace {

int count_of(const std::string& text, const std::string& part) {
    int count = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
    return count;
}

}  // namespace

TEST_CASE("a number is written with a point and at most three decimals") {
    CHECK(mpo::detail::svg_number(12.5) == "12.5");
    CHECK(mpo::detail::svg_number(-0.0001) == "0");
    CHECK(mpo::detail::svg_number(100) == "100");
    CHECK(mpo::detail::svg_number(1.0 / 3) == "0.333");
    CHECK(mpo::detail::svg_number(1e300).size() == 301);
    CHECK_THROWS_AS(mpo::detail::svg_number(std::numeric_limits<double>::quiet_NaN()),
                    mpo::ArgumentError);
}

TEST_CASE("text cannot leave its element") {
    const auto text = mpo::Svg(10, 10, "a<b & \"c\"").text({1, 1}, "</svg><script>\n'").to_string();
    CHECK(count_of(text, "<script") == 0);
    CHECK(count_of(text, "</svg>") == 1);
    CHECK(count_of(text, "&lt;/svg&gt;&lt;script&gt; &#39;") == 1);
    CHECK(count_of(text, "<title>a&lt;b &amp; &quot;c&quot;</title>") == 1);
}

TEST_CASE("each call adds one shape, in order, with its coordinates") {
    const auto text = mpo::Svg(40, 30)
                          .line({1, 2}, {3, 4})
                          .rectangle({5, 6}, 7, 8, {.fill = "red"})
                          .circle({9, 10}, 2.5)
                          .polyline({{0, 0}, {1.5, 2}})
                          .to_string();
    const auto line = text.find("<line x1=\"1\" y1=\"2\" x2=\"3\" y2=\"4\"");
    const auto rectangle = text.find("<rect x=\"5\" y=\"6\" width=\"7\" height=\"8\" fill=\"red\"");
    const auto circle = text.find("<circle cx=\"9\" cy=\"10\" r=\"2.5\"");
    const auto polyline = text.find("<polyline points=\"0,0 1.5,2\"");
    REQUIRE(polyline != std::string::npos);
    CHECK(line < rectangle);
    CHECK(rectangle < circle);
    CHECK(circle < polyline);
    CHECK(count_of(text, "viewBox=\"0 0 40 30\"") == 1);
}

TEST_CASE("an axis maps its ends to 0 and 1 and keeps order in between") {
    for (const auto scale : {mpo::AxisScale::linear, mpo::AxisScale::logarithmic}) {
        const mpo::Axis axis{"x", 0.5, 800, scale};
        CHECK(mpo::share_along(axis, axis.min) == 0);
        CHECK(mpo::share_along(axis, axis.max) == 1);
        double previous = -1;
        for (const double value : {0.5, 0.6, 1.0, 20.0, 799.0, 800.0}) {
            CHECK(mpo::share_along(axis, value) > previous);
            previous = mpo::share_along(axis, value);
        }
    }
}

TEST_CASE("ticks are round numbers inside the axis, at most as many as asked for") {
    for (const double max : {0.003, 0.7, 1.0, 9.0, 10.0, 37.0, 1234567.0}) {
        for (const mpo::Index most : {2, 3, 7, 12}) {
            const auto ticks = mpo::axis_ticks({"x", -max / 3, max, mpo::AxisScale::linear}, most);
            CHECK(!ticks.empty());
            CHECK(static_cast<mpo::Index>(ticks.size()) <= most);
            for (const double tick : ticks) {
                CHECK(tick >= -max / 3 * (1 + 1e-6));
                CHECK(tick <= max * (1 + 1e-6));
            }
        }
    }
    CHECK(mpo::axis_ticks({"y", 1e-3, 10, mpo::AxisScale::logarithmic}) ==
          std::vector<double>{std::pow(10.0, -3), std::pow(10.0, -2), std::pow(10.0, -1), 1, 10});
    CHECK(mpo::axis_ticks({"y", 1e-12, 1, mpo::AxisScale::logarithmic}).size() <= 7);
    CHECK_THROWS_AS(mpo::axis_ticks({"x", 1, 1}), mpo::ArgumentError);
    CHECK_THROWS_AS(mpo::axis_ticks({"x", 0, 1, mpo::AxisScale::logarithmic}), mpo::ArgumentError);
    CHECK_THROWS_AS(mpo::axis_ticks({"x", 0, 1}, 1), mpo::ArgumentError);
}

TEST_CASE("a plot draws one line per series and names it") {
    const mpo::PlotOptions options{.title = "loss",
                                   .x = {"bond", 0, 10},
                                   .y = {"error", 1e-3, 1, mpo::AxisScale::logarithmic}};
    const auto text = mpo::line_plot(
        {{"mpo", {{0, 1}, {10, 1e-3}}}, {"low rank", {{0, 0.5}, {5, 1e-9}}}}, options);
    CHECK(count_of(text, "<polyline") == 2);
    CHECK(count_of(text, ">low rank</text>") == 1);
    CHECK(count_of(text, "points=\"64,44 466,256\"") == 1);  // corner to corner
    CHECK(count_of(text, ",256\"") == 2);                    // below the axis: clamped to the frame
    CHECK_THROWS_AS(mpo::line_plot({{"bad", {{0, -1}}}}, options), mpo::ArgumentError);
    CHECK_THROWS_AS(mpo::line_plot({}, {.x = {"x", 2, 1}}), mpo::ArgumentError);
}

TEST_CASE("a heat map has one cell per value, darker for more, grey for none") {
    const mpo::Tensor<double> values({2, 3}, {0, 0.25, 0.5, 0.75, 1, std::nan("")});
    const auto text =
        mpo::heat_map(values.view(),
                      {.title = "kld", .row_labels = {"0", "1"}, .column_labels = {"q", "k", "v"}});
    CHECK(count_of(text, "<rect") == 6);
    CHECK(count_of(text, "#999999") == 1);
    CHECK(count_of(text, mpo::heat_colour(0)) == 1);
    CHECK(count_of(text, mpo::heat_colour(1)) == 1);
    CHECK(count_of(text, ">0.25</text>") == 1);
    CHECK_THROWS_AS(mpo::heat_map(values.view(), {.row_labels = {"only one"}}), mpo::ShapeError);
    CHECK_THROWS_AS(mpo::Svg(0, 5), mpo::ArgumentError);
}
