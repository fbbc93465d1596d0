// Laws of a calibrated compression as a whole: what its report says of the walk, what the sceptic's baseline stores, and
// the shares that a profile gives.
#include "mpo/model/uniform_low_rank.hpp"

#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "mpo/model/fingerprint.hpp"
#include "mpo/model/profile_shares.hpp"
#include "support/calibration.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/hashed_weights.hpp"
#include "support/models.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// A decoder, texts, and how it is compressed: few sweeps.
struct CalibratedDesk {
    explicit CalibratedDesk(const std::string& name) {
        const auto decoder = tiny_decoder(name);
        write_decoder(path, decoder);
        calibration.windows = windows_of(decoder);
        calibration.linear.fit.max_sweeps = 2;
        calibration.linear.rivals = Rivals::none;
        options.budget = 0.6;
        options.sites = 2;
    }
    [[nodiscard]] Checkpoint source() const { return Checkpoint(path); }
    TemporaryFolder folder;
    std::filesystem::path path = folder / "model";
    CompressCalibration calibration;
    CompressOptions options;
};

/// A profile that finds the first layer ten times as important as the others.
[[nodiscard]] Profile some_profile(const Checkpoint& source) {
    Profile profile;
    profile.model = source.path().string();
    profile.fingerprint = detail::fingerprint(source);
    profile.sizes = {0.5};
    for (const auto& linear : detail::plan_linears(source, {.budget = 0.5})) {
        const auto& shape = linear.tensor->shape;
        LinearProfile one{linear.name, linear.kind, 0, shape[0], shape[1], {}, {}};
        const Index full = (std::min)(shape[0], shape[1]);
        for (Index r = 0; r <= full; ++r)
            one.losses.push_back(static_cast<double>((full - r) * (full - r)) /
                                 static_cast<double>(full * full));
        const double kld = linear.name.find("layers.0.") != std::string::npos ? 0.5 : 0.05;
        one.probes.push_back({0.5, 0.5, full / 2, 0.5, 0.5, {kld, 0.001}});
        profile.linears.push_back(one);
    }
    return profile;
}

}  // namespace

TEST_CASE("compress, calibrated: the report says what was read and how the flow fared") {
    const CalibratedDesk desk("group_2");
    const auto report =
        compress(desk.source(), desk.folder / "out", desk.options, desk.calibration, cpu);
    REQUIRE(report.calibration);
    const auto& run = *report.calibration;
    Index tokens = 0;
    for (const auto& window : desk.calibration.windows)
        tokens += static_cast<Index>(window.tokens.size());
    CHECK(run.windows == 3);
    CHECK(run.tokens == tokens);
    CHECK(run.most_inputs == 64);
    CHECK(run.has_few_tokens() == (tokens < 64));
    REQUIRE(run.deviations.size() == 2);
    for (Index layer = 0; layer < 2; ++layer) {
        CHECK(run.deviations[static_cast<std::size_t>(layer)].layer == layer);
        CHECK(run.deviations[static_cast<std::size_t>(layer)].ordinary > 0);
    }
}

TEST_CASE(
    "uniform low rank: no more numbers, one share, low rank everywhere and nothing beside it") {
    for (const char* name : {"plain", "prime_sizes", "one_head"}) {
        CAPTURE(name);
        const CalibratedDesk desk(name);
        auto options = desk.options;
        options.form = CompressForm::mpo;
        auto calibration = desk.calibration;
        calibration.linear.rivals = Rivals::all;
        const auto report = compress(desk.source(), desk.folder / "out", options, calibration, cpu);
        const auto sceptic = compress_uniform_low_rank(desk.source(), desk.folder / "sceptic",
                                                       options, calibration, report, cpu);
        CHECK(sceptic.size().parameters <= report.size().parameters);
        CHECK(sceptic.parameters <= report.parameters);
        REQUIRE(sceptic.linears.size() == report.linears.size());
        const double share = sceptic.linears[0].calibration->share;
        for (const auto& linear : sceptic.linears) {
            CHECK(linear.form == LinearForm::low_rank);
            CHECK(linear.calibration->share == share);
            CHECK(linear.calibration->rivals.empty());
            CHECK(linear.calibration->candidates.size() == 1);
        }
    }
}

TEST_CASE("uniform low rank: what rank 1 does not fit into gets rank 1, or stays dense") {
    CompressReport report;
    for (const Shape& shape : {Shape{40, 40}, Shape{2, 3}, Shape{1, 5}}) {
        auto& linear = report.linears.emplace_back();
        linear.name = to_string(shape);
        linear.shape = shape;
        linear.size.parameters_before = num_elements(shape);
        linear.size.parameters = num_elements(shape) / 4;
    }
    const auto shares = uniform_shares(report);
    CHECK(shares.at(to_string(Shape{40, 40})) == Approx(0.25).margin(0.01));
    CHECK(static_cast<Index>(shares.at(to_string(Shape{2, 3})) * 6) == 5);  // 2 + 3
    CHECK(shares.at(to_string(Shape{1, 5})) == 1);
}

TEST_CASE(
    "profile_shares: the budget holds, every linear keeps its floor, the important ones more") {
    const CalibratedDesk desk("plain");
    const auto source = desk.source();
    const auto profile = some_profile(source);
    for (const auto& [budget, ratio] :
         {std::pair(0.4, HUGE_VAL), {0.6, HUGE_VAL}, {0.9, HUGE_VAL}, {0.6, 1.0}, {0.9, 1.0}}) {
        CAPTURE(budget, ratio);
        CompressOptions options;
        options.budget = budget;
        const auto shares = profile_shares(profile, source, options, 0.5, ratio);
        REQUIRE(shares.size() == profile.linears.size());
        double numbers = 0, kept = 0, first = 0, last = 0;
        for (const auto& linear : profile.linears) {
            const auto dense = static_cast<double>(linear.rows * linear.cols);
            const double share = shares.at(linear.name);
            numbers += dense;
            kept += std::floor(share * dense);
            CHECK(share > 0.5 * budget - 0.1);  // a rank is a step
            (linear.name.find("layers.0.") != std::string::npos ? first : last) += share;
        }
        CHECK(kept <= budget * numbers);
        CHECK(kept > 0.9 * budget * numbers);
        CHECK(first > last);
        auto calibration = desk.calibration;
        calibration.shares = shares;
        calibration.linear.max_flops_ratio = ratio;
        options.sites = 2;
        options.form = CompressForm::low_rank;
        const auto report = compress(source, desk.folder / detail::concat(budget, '_', ratio),
                                     options, calibration, cpu);
        CHECK(static_cast<double>(report.size().parameters) == kept);  // no rank was rounded away
    }
    CompressOptions options;
    options.budget_bytes = 12000;
    double bytes = 0;
    for (const auto& [name, share] : profile_shares(profile, source, options))
        for (const auto& linear : profile.linears)
            if (linear.name == name)
                bytes += 2 * std::floor(share * static_cast<double>(linear.rows * linear.cols));
    CHECK(bytes < 12000);
    CHECK(bytes > 8000);
}

TEST_CASE("profile_shares: another model, linears without a profile and no budget are refused") {
    const CalibratedDesk desk("plain"), other("tied");
    const auto source = desk.source();
    const auto profile = some_profile(source);
    const auto refuses = [&](const Profile& given, const Checkpoint& checkpoint,
                             const CompressOptions& options,
                             const std::vector<std::string>& pieces) {
        check_throws<ArgumentError>([&] { (void)profile_shares(given, checkpoint, options); },
                                    pieces);
    };
    refuses(profile, other.source(), desk.options,
            {"another model", profile.fingerprint, profile.model});
    auto less = profile;
    const auto name = less.linears.back().name;
    less.linears.pop_back();
    refuses(less, source, desk.options, {"says nothing of " + name});
    auto only = desk.options;
    only.skip = "layers.1.mlp";
    CHECK(profile_shares(profile, source, only).size() < profile.linears.size());
    auto wide = profile;
    wide.linears[0].cols += 1;
    refuses(wide, source, desk.options, {wide.linears[0].name, " x ", "in the profile"});
    refuses(profile, source, {.max_bond_dim = 3}, {"needs a budget"});
    auto small = desk.options;
    small.budget.reset();
    small.budget_bytes = 100;
    refuses(profile, source, small, {"the smallest form takes"});
    check_throws<ArgumentError>([&] { (void)profile_shares(profile, source, desk.options, 2); },
                                {"allocate", "floor", "2"});
}
