// Laws of the page: it stands alone, whatever a file is named stays text, and it can be made of any
// report. That its numbers are those of the JSON is checked from outside, in tests/schema.
#include "mpo/model/report.hpp"

#include <string>

#include "mpo/core/plot.hpp"
#include "mpo/model/report_tables.hpp"
#include "support/catch.hpp"
#include "support/count_of.hpp"

namespace {

using namespace mpo;

using test::count_of;

/// A linear (12, 24) with a bond of 3 of 12.
[[nodiscard]] LinearReport some_linear(const std::string& name, LinearKind kind, double error) {
    LinearReport linear;
    linear.name = name;
    linear.kind = kind;
    linear.shape = {12, 24};
    linear.form = LinearForm::low_rank;
    linear.layout = low_rank_layout(12, 24);
    linear.bonds = {1, 3, 1};
    linear.size = {288, 108, 1152, 216, 288, 108};
    linear.relative_error = linear.truncation_error = linear.low_rank_error = error;
    linear.source_type = "F32";
    linear.norm = 2;
    linear.seconds = 0.25;
    SpectrumReport bond{3, 12, 4, BindingLimit::bond_cap, error * error, {}};
    for (const Index rank : {1, 2, 3, 4})
        bond.points.push_back(
            {rank, 1 / static_cast<double>(rank), error * 3 / static_cast<double>(rank)});
    linear.spectra = {bond};
    return linear;
}

[[nodiscard]] CompressReport report_of(std::vector<LinearReport> linears) {
    CompressReport report;
    report.source = "models/some.gguf";
    report.num_tensors = static_cast<Index>(linears.size());
    report.linears = std::move(linears);
    report.made_by = {version_text(), "gcc 12.2.0", "mpo compress", 1, 2};
    return report;
}

}  // namespace

TEST_CASE("report: the page stands alone") {
    const auto page = to_html(report_of({some_linear("l.0.mlp.up_proj", LinearKind::up, 0.2)}));
    CHECK(page.starts_with("<!DOCTYPE html>"));
    CHECK(count_of(page, "prefers-color-scheme:dark") == 1);
    CHECK(count_of(page, "width=device-width") == 1);
    CHECK(count_of(page, "default-src 'none'") == 1);
    CHECK(count_of(page, "src=") + count_of(page, "href=") + count_of(page, "url(") +
              count_of(page, "@import") ==
          0);
    CHECK(count_of(page, "<script") == 1);
    CHECK(count_of(page, "<script type=\"application/json\"") == 1);
    CHECK(count_of(page, "http") ==
          count_of(page, "http://www.w3.org/2000/svg") + 1);  // http-equiv
}

TEST_CASE("report: names from a file are text and nothing else") {
    const std::string hostile = "</script></title><b onclick='x'>&\"\xff\u202e";
    auto report = report_of({some_linear(hostile + ".0.mlp.up_proj", LinearKind::up, 0.2)});
    report.source = hostile;
    report.made_by.command = "mpo compress '" + hostile + "'";
    report.linears[0].source_type = hostile;
    const auto page = to_html(report);
    CHECK(count_of(page, "</script>") == 1);
    CHECK(count_of(page, "</title>") == 1 + count_of(page, "<svg"));
    CHECK(count_of(page, "<b onclick") == 0);
    CHECK(count_of(page, "\xff") == 0);
    CHECK(count_of(
              page,
              "&lt;/script&gt;&lt;/title&gt;&lt;b onclick=&#39;x&#39;&gt;&amp;&quot;\ufffd ") >= 4);
}

TEST_CASE("report: every linear has its cell, block by block in numeric order") {
    std::vector<LinearReport> linears;
    for (const char* layer : {"l.10.", "l.2.", "l.0."})
        for (const auto kind : {LinearKind::q, LinearKind::k})
            linears.push_back(
                some_linear(layer + std::string("self_attn.") + to_string(kind) + "_proj", kind,
                            kind == LinearKind::q ? 0.125 : 0.5));
    linears.pop_back();  // block 0 has no k
    const auto page = to_html(report_of(linears));
    const auto zero = page.find("<th scope=\"row\">0</th>"),
               two = page.find("<th scope=\"row\">2</th>"),
               ten = page.find("<th scope=\"row\">10</th>");
    REQUIRE(ten != std::string::npos);
    CHECK(zero < two);
    CHECK(two < ten);
    CHECK(count_of(page, "/relative_error\">0.12</data>") == 3);
    CHECK(count_of(page, "/relative_error\">0.50</data>") == 2);
    CHECK(count_of(page, "title=\"l.10.self_attn.k_proj: 0.5\"") == 1);
}

TEST_CASE("report: blocks of several stacks keep their names") {
    const auto page = to_html(report_of({some_linear("a.0.mlp.up_proj", LinearKind::up, 0.2),
                                         some_linear("b.0.mlp.up_proj", LinearKind::up, 0.3),
                                         some_linear("head.mlp.up_proj", LinearKind::up, 0.4),
                                         some_linear(".mlp.up_proj", LinearKind::up, 0.4)}));
    for (const char* row : {"a.0", "b.0", "head", ""})
        CHECK(count_of(page, "<th scope=\"row\">" + std::string(row) + "</th>") == 1);
    const auto far = some_linear("l.99999999999999999999.mlp.up_proj", LinearKind::up, 0.2);
    CHECK(detail::block_of(far).number == -1);
    CHECK(detail::block_of(far).prefix == "l.99999999999999999999");
}

TEST_CASE("report: errors too small for a linear axis get a logarithmic one") {
    const auto axis = [](double error) {
        const auto report = report_of({some_linear("l.0.mlp.up_proj", LinearKind::up, error)});
        return detail::error_axis(detail::chart_kinds(report));
    };
    CHECK(axis(0.3).scale == AxisScale::linear);
    CHECK(axis(2e-4).scale == AxisScale::logarithmic);
    CHECK(axis(2e-4).min == std::pow(10.0, -4));
    CHECK(axis(1e-30).min == std::pow(10.0, -7));
    CHECK(axis(0).scale == AxisScale::linear);
}

TEST_CASE("report: the colour scale covers what occurs in nine round steps") {
    for (const auto& [smallest, largest] : {std::pair{0.145, 0.618},
                                            {0.0, 1.0},
                                            {0.5, 0.5},
                                            {0.0, 0.0},
                                            {1e-5, 3e-5},
                                            {0.99, 1.01}}) {
        const detail::HeatScale scale(smallest, largest);
        INFO(smallest << " .. " << largest << ": " << scale.begin << " by " << scale.step);
        CHECK(scale.begin <= smallest + 1e-9);
        CHECK(scale.begin + scale.steps * scale.step >= largest);
        CHECK(scale.class_of(smallest) == 0);
        if (largest > smallest)
            CHECK(scale.class_of(largest) >= 6);  // most of the colours are used
    }
}

TEST_CASE("report: what was left dense, and nothing at all, make a page too") {
    auto dense = some_linear("l.0.mlp.up_proj", LinearKind::up, 0);
    dense.form = LinearForm::dense;
    dense.layout = {};
    dense.bonds = {};
    dense.spectra = {};
    dense.size.multiply_adds_before = 0;  // nothing divides by it
    const auto page = to_html(report_of({dense}));
    CHECK(count_of(page, ">dense</td>") == 1);
    CHECK(count_of(page, "nothing was truncated") == 2);
    CHECK(count_of(page, "left dense") >= 2);
    for (const char* word : {"nan", "inf"})
        CHECK(count_of(page.substr(page.find("<body>")), word) == count_of(page, "info"));
    CHECK(to_html(CompressReport{}).ends_with("</html>\n"));
}
