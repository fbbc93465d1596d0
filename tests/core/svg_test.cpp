// Laws of the pictures: every number lands where its axis says, and no text can break the markup.
#include "mpo/core/svg.hpp"

#include <limits>
#include <string>

#include "support/catch.hpp"
#include "support/count_of.hpp"

using mpo::test::count_of;

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

TEST_CASE("what no reader can see does not reach the page") {
    using mpo::detail::svg_escape;
    CHECK(svg_escape("a\x01\x7f") == "a  ");
    CHECK(svg_escape("\u202egnp\u2069") == " gnp ");  // would turn the direction of the rest
    CHECK(svg_escape("\u0085\u200f\u2028") == "   ");
    for (const std::string whole : {"caf\u00e9", "\u2013", "\u4e2d", "\U0001f600", ""})
        CHECK(svg_escape(whole) == whole);
    for (const std::string broken : {"\xff", "\xc3", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80",
                                     "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf8", "\xe2\x82"}) {
        const auto text = svg_escape("<" + broken + "b");
        CHECK(count_of(text, "\ufffd") >= 1);
        CHECK(text.starts_with("&lt;"));
        CHECK(text.ends_with("\ufffdb"));
    }
}

TEST_CASE("a picture has a size") {
    CHECK_THROWS_AS(mpo::Svg(0, 5), mpo::ArgumentError);
}
