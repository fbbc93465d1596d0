// Laws of the plots: every number lands where its axis says, and words keep out of each other's way.
#include "mpo/core/plot.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/count_of.hpp"

using mpo::test::count_of;

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

TEST_CASE("short logarithmic axes have doubles and fives, long ones few powers of ten") {
    const auto ticks = [](double min, double max) {
        return mpo::axis_ticks({"y", min, max, mpo::AxisScale::logarithmic});
    };
    CHECK(ticks(0.15, 0.9) == std::vector<double>{2 * std::pow(10.0, -1), 5 * std::pow(10.0, -1)});
    CHECK(ticks(1, 50) == std::vector<double>{1, 2, 5, 10, 20, 50});
    CHECK(ticks(1, 500) == std::vector<double>{1, 10, 100});
    for (const double max : {0.2, 3.0, 1e3, 1e20}) CHECK(ticks(0.1, max).size() <= 7);
}

TEST_CASE("numbers at ticks are short, powers of ten raised") {
    const mpo::Axis linear{"x", 0, 1}, powers{"y", 1e-12, 1e12, mpo::AxisScale::logarithmic};
    CHECK(mpo::tick_text(linear, 0.25) == "0.25");
    CHECK(mpo::tick_text(powers, 0.001) == "0.001");
    CHECK(mpo::tick_text(powers, std::pow(10.0, -12)) == "10\u207b\u00b9\u00b2");
    CHECK(mpo::tick_text(powers, 1e8) == "10\u2078");
    CHECK(mpo::tick_text(powers, 2e-8) == "2e-08");
    CHECK(mpo::fixed_number(2.0 / 3, 2) == "0.67");
    CHECK(mpo::fixed_number(1e308, 0).size() == 309);
}

TEST_CASE("a plot draws one line per series and names it") {
    const mpo::PlotOptions options{.title = "loss",
                                   .x = {"bond", 0, 10},
                                   .y = {"error", 1e-3, 1, mpo::AxisScale::logarithmic}};
    const auto text = mpo::line_plot(
        {{"mpo", {{0, 1}, {10, 1e-3}}}, {"low rank", {{0, 0.5}, {5, 1e-9}}}}, options);
    CHECK(count_of(text, "<polyline") == 2);
    CHECK(count_of(text, ">low rank</text>") == 1);
    CHECK(count_of(text, ">error</text>") == 1);
    CHECK(count_of(text, "<title>loss</title>") == 1);
    CHECK(count_of(text, ">loss</text>") == 0);
    CHECK(count_of(text, "points=\"44,24 420.4,264\"") == 1);  // corner to corner
    CHECK(count_of(text, ",264\"") == 2);  // below the axis: clamped to the frame
    CHECK_THROWS_AS(mpo::line_plot({{"bad", {{0, -1}}}}, options), mpo::ArgumentError);
    CHECK_THROWS_AS(mpo::line_plot({}, {.x = {"x", 2, 1}}), mpo::ArgumentError);
    CHECK_THROWS_AS(mpo::line_plot({}, options, {{.at = {1, std::nan("")}}}), mpo::ArgumentError);
}

TEST_CASE("names of lines never lie on each other") {
    std::vector<mpo::Series> lines;
    for (const char* name : {"a", "b", "c"}) lines.push_back({name, {{0, 0.5}, {1, 0.5}}});
    const auto text = mpo::line_plot(lines, {.width = 200, .height = 160});
    // the end of all three is at y = 74: names at 12 px from each other
    CHECK(count_of(text, "y=\"78\" font-size=\"11\" text-anchor=\"start\" fill=\"#0072b2\">a<") ==
          1);
    CHECK(count_of(text, "y=\"90\" font-size=\"11\" text-anchor=\"start\" fill=\"#d55e00\">b<") ==
          1);
    CHECK(count_of(text, "y=\"102\" font-size=\"11\" text-anchor=\"start\" fill=\"#009e73\">c<") ==
          1);
}

TEST_CASE("a label stands beside its dot, and never outside the picture") {
    const mpo::PlotOptions options{.width = 200, .height = 160};  // frame: 44 .. 186
    const auto at = [&](double x, mpo::TextAnchor anchor) {
        const auto text =
            mpo::line_plot({}, options, {{.at = {x, 1}, .label = "eight on", .anchor = anchor}});
        CHECK(count_of(text, "<circle") == 1);
        const auto label = text.find(">eight on<");
        const auto begin = text.rfind("<text x=\"", label) + 9;
        return std::stod(text.substr(begin));
    };
    constexpr double wide = 8 * 6.2;
    CHECK(at(0, mpo::TextAnchor::start) == 44 + 7);
    CHECK(at(1, mpo::TextAnchor::end) == Approx(186 - 7));
    CHECK(at(1, mpo::TextAnchor::start) == Approx(200 - 2 - wide));
    CHECK(at(0, mpo::TextAnchor::end) == Approx(44 + 4 + wide));
    CHECK(at(0, mpo::TextAnchor::middle) == Approx(44 + 4 + wide / 2));
    const auto low = mpo::line_plot({}, options, {{.at = {0.5, 0}, .label = "low", .lift = -17}});
    CHECK(count_of(low,
                   "y=\"121\" font-size=\"11\" text-anchor=\"start\" fill=\"currentColor\">low<") ==
          1);  // above the line at the bottom, y = 124
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
}
