// Laws of what calibration says, added up: counts agree with the linears, what is better is better at no more bytes,
// and JSON, notes and page say the same.
#include "mpo/model/calibrated_kinds.hpp"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "mpo/model/compress_json.hpp"
#include "mpo/model/compress_notes.hpp"
#include "mpo/model/report.hpp"
#include "mpo/model/summarize_calibration.hpp"
#include "support/catch.hpp"
#include "support/count_of.hpp"

namespace {

using namespace mpo;
using test::count_of;

/// A linear (12, 24) of 216 bytes, 6 bits per weight.
[[nodiscard]] LinearReport some_calibrated_linear(LinearKind kind, int layer, Layout layout,
                                                  double loss, std::vector<RivalReport> rivals) {
    LinearReport linear;
    linear.name = "model.layers." + std::to_string(layer) + ".mlp." + to_string(kind) + "_proj";
    linear.kind = kind;
    linear.shape = {12, 24};
    linear.layout = std::move(layout);
    linear.form = linear.layout == low_rank_layout(12, 24) ? LinearForm::low_rank : LinearForm::mpo;
    linear.bonds = {1, 3, 1};
    linear.size = {288, 108, 1152, 216, 288, 108};
    linear.relative_error = linear.low_rank_error = 0.3;
    linear.source_type = "F32";
    auto& said = linear.calibration.emplace();
    said.share = 0.4;
    said.loss = loss;
    said.fitted_loss = loss / 2;
    said.low_rank_loss = 3 * loss;
    said.rivals = std::move(rivals);
    said.candidates.push_back({linear.layout, {1, 3, 1}, 108, 108, 0.5, {}, loss / 2, ""});
    said.verdict = "a sentence";
    return linear;
}

[[nodiscard]] CompressReport some_report() {
    const Layout chain{{3, 4}, {6, 4}}, low = low_rank_layout(12, 24);
    CompressReport report;
    report.linears = {
        some_calibrated_linear(LinearKind::up, 0, chain, 0.1,
                               {{"plain MPO", 6, 0.4}, {"rounded to 4 bits", 4.5, 0.02}}),
        some_calibrated_linear(LinearKind::up, 1, low, 0.2,  // better, but larger
                               {{"plain MPO", 6, 0.8}, {"rounded to 8 bits", 8.5, 0.001}}),
        some_calibrated_linear(LinearKind::up, 2, chain, 0.3,
                               {{"plain MPO", 6.1, 0.2},
                                {"rounded to 3 bits", 3.5, 0.25},
                                {"rounded to 4 bits", 4.5, 0.05}}),
        some_calibrated_linear(LinearKind::down, 0, chain, 0.4, {})};
    auto dense = some_calibrated_linear(LinearKind::down, 1, {}, 0, {});
    dense.form = LinearForm::dense;
    report.linears.push_back(dense);
    auto& run = report.calibration.emplace();
    run.texts = {"a <text>"};
    run.windows = 2;
    run.tokens = 20;
    run.most_inputs = 24;
    run.sinks = {{"model.layers.0.mlp.down_proj", 2, 3, 900, 10}};
    run.deviations = {{0, 0.1, 3, 0.05}, {1, 0.2, 3, 0.06}};
    report.made_by = {version_text(), "gcc", "mpo compress", 1, 2};
    return report;
}

}  // namespace

TEST_CASE(
    "calibrated kinds: sums are those of the linears, and what stayed dense is not among them") {
    const auto report = some_report();
    const auto kinds = calibrated_kinds(report);
    REQUIRE(kinds.size() == 2);
    Index beaten = 0;
    for (const auto& kind : kinds) {
        Index count = 0, chains = 0, better = 0, wins = 0;
        double sum = 0, most = 0;
        for (const auto& linear : report.linears) {
            if (linear.kind != kind.kind || linear.form == LinearForm::dense) continue;
            ++count;
            chains += linear.form == LinearForm::mpo ? 1 : 0;
            better += better_rival(linear) ? 1 : 0;
            sum += linear.calibration->loss;
            most = (std::max)(most, linear.calibration->loss);
        }
        CHECK(kind.count == count);
        CHECK(kind.mpo_count == chains);
        CHECK(kind.beaten_count == better);
        CHECK(kind.max_loss == most);
        CHECK(kind.mean_loss == Approx(sum / static_cast<double>(count)));
        CHECK(kind.mean_low_rank_loss == Approx(3 * kind.mean_loss));
        for (std::size_t k = 0; k < kind.winners.size(); ++k) {
            wins += kind.winners[k].count;
            CHECK((k == 0 || kind.winners[k].count <= kind.winners[k - 1].count));
        }
        CHECK(wins == kind.count);
        beaten += better;
    }
    CHECK(kinds[0].kind == LinearKind::up);
    CHECK(kinds[0].mean_plain_loss.value() == Approx((0.4 + 0.8 + 0.2) / 3));
    CHECK(!kinds[1].mean_plain_loss);  // nothing was measured
    Index named = 0;
    for (const auto& one : better_storage(report)) named += one.count;
    CHECK(named == beaten);
}

TEST_CASE("better_rival: the least loss at no more bytes, and only where it is less") {
    const auto report = some_report();
    const auto form_of = [&](std::size_t k) {
        const auto* rival = better_rival(report.linears[k]);
        return rival ? rival->form : std::string();
    };
    CHECK(form_of(0) == "rounded to 4 bits");
    CHECK(form_of(1).empty());                 // 8.5 bits are more than 6
    CHECK(form_of(2) == "rounded to 4 bits");  // plain MPO, better too, is larger
    CHECK(form_of(3).empty());
    CHECK(form_of(4).empty());
    auto equal = report.linears[0];
    equal.calibration->rivals = {{"as large, as good", 6, equal.calibration->loss}};
    CHECK(better_rival(equal) == nullptr);
    equal.calibration->rivals[0].loss *= 0.99;
    CHECK(better_rival(equal) != nullptr);
}

TEST_CASE("better_rival: rounding to as many bits as the source came from is not counted") {
    CHECK(detail::grid_bits("Q4_1") == 4);
    CHECK(detail::grid_bits("IQ3_S") == 3);
    for (const char* type : {"F32", "BF16", "Q", "", "I", "I8"})
        CHECK(detail::grid_bits(type) == 0);
    auto report = some_report();
    for (auto& linear : report.linears) linear.source_type = "Q4_1";
    CHECK(better_rival(report.linears[0]) == nullptr);
    CHECK(better_rival(report.linears[2])->form == "rounded to 3 bits");
    CHECK(nlohmann::json::parse(
              to_json(report))["linears"][0]["calibration"]["rivals"][1]["comparable"] == false);
    CHECK(count_of(nlohmann::json(notes(report)).dump(),
                   "rounding to 4 bits is not counted for 2 linears") == 1);
}

TEST_CASE(
    "calibrated report: notes, JSON and page say it, and none says that it is not calibrated") {
    auto report = some_report();
    const auto json = nlohmann::json::parse(to_json(report));
    const auto& said = json["calibration"];
    CHECK(said["fewer_tokens_than_inputs"] == true);
    CHECK(said["sinks"][0]["positions"] == 3);
    CHECK(said["deviations"].size() == 2);
    CHECK(said["better"][0] == nlohmann::json{{"form", "rounded to 4 bits"}, {"count", 2}});
    CHECK(said["kinds"][1]["mean_plain_mpo_loss"].is_null());
    CHECK(json["linears"][0]["calibration"]["candidates"][0]["first_loss"].is_null());
    CHECK(json["linears"][0]["calibration"]["rivals"][1]["bits_per_weight"] == 4.5);
    const auto all = json["notes"].dump();
    CHECK(count_of(all, "without calibration") == 0);
    CHECK(count_of(all, "for 2 of 4 linears something else loses less") == 1);
    CHECK(count_of(all, "fewer than the 24 inputs") == 1);
    CHECK(count_of(all, "model.layers.0.mlp.down_proj makes states of norm 900") == 1);
    const auto page = to_html(report);
    CHECK(count_of(page, "/calibration/loss\">") == 4);  // one cell per compressed linear
    CHECK(count_of(page, "a &lt;text&gt;") >= 1);
    CHECK(count_of(page, "Loss against stored bits, up") == 1);
    CHECK(count_of(page, "nothing was truncated") == 0);
    report.calibration->tokens = 24;
    report.calibration->sinks.clear();
    CHECK(count_of(nlohmann::json(notes(report)).dump(), "fewer than") == 0);
    report.calibration.reset();
    CHECK(nlohmann::json::parse(to_json(report)).count("calibration") == 0);
    CHECK(count_of(nlohmann::json(notes(report)).dump(), "without calibration") == 1);
}

TEST_CASE("calibrated report: a report of a calibration without any loss has a page") {
    auto report = some_report();
    report.linears = {report.linears.back()};
    report.calibration = CalibrationRun{};
    CHECK(!to_html(report).empty());
    CHECK(calibrated_kinds(report).empty());
}

TEST_CASE("sink_reports: one per module, windows counted once, norms averaged over positions") {
    std::vector<SinkPosition> sinks{{0, BlockStage::down, 0, 0, 100, 1},
                                    {0, BlockStage::down, 0, 3, 300, 1},
                                    {-1, BlockStage::down, 1, 0, 50, 2},
                                    {0, BlockStage::down, 1, 5, 200, 4}};
    const auto reports = sink_reports(sinks);
    REQUIRE(reports.size() == 2);
    CHECK(reports[0].module == "model.layers.0.mlp.down_proj");
    CHECK(reports[0].windows == 2);
    CHECK(reports[0].positions == 3);
    CHECK(reports[0].norm == Approx(200));
    CHECK(reports[0].median == Approx(2));
    CHECK(reports[1].module == "model.embed_tokens");
    CHECK(reports[1].windows == 1);
    CHECK(sink_reports({}).empty());
}
