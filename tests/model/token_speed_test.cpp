// Laws of what a token costs: multiply-adds are those of the plans that are taken, and of every batch there is one entry.
#include "mpo/model/token_speed.hpp"

#include <string>
#include <vector>

#include "mpo/model/compress.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/hashed_weights.hpp"
#include "support/models.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// A decoder, dense and with all linears of low rank.
struct SpeedDesk {
    SpeedDesk() {
        write_decoder(folder / "dense", tiny_decoder("plain"));
        CompressOptions options;
        options.budget = 0.5;
        options.form = CompressForm::low_rank;
        options.dtype = DType::f32;
        report = compress(Checkpoint(folder / "dense"), folder / "small", options, cpu);
    }
    [[nodiscard]] Transformer open(const std::string& name) const {
        return Transformer(folder / name, {}, cpu);
    }
    TemporaryFolder folder;
    CompressReport report;
};

}  // namespace

TEST_CASE("token speed: multiply-adds are those that the linears are applied with") {
    const SpeedDesk desk;
    const auto dense = desk.open("dense"), small = desk.open("small");
    const auto size = desk.report.size();
    const auto of_dense = measure_batches(dense, {{1, 5}, 1}),
               of_small = measure_batches(small, {{1, 5}, 1});
    REQUIRE(of_dense.size() == 2);
    REQUIRE(of_small.size() == 2);
    for (std::size_t k = 0; k < 2; ++k) {
        CHECK(of_dense[k].multiply_adds == size.multiply_adds_before);
        CHECK(of_small[k].multiply_adds == size.multiply_adds);
        CHECK(of_dense[k].ms_per_token > 0);
    }
    CHECK(size.multiply_adds < size.multiply_adds_before);
    const auto cost = measure_cost(desk.folder / "small", {{1}, 1}, cpu);
    CHECK(cost.batches[0].multiply_adds == size.multiply_adds);  // no dense W is kept
    CHECK(cost.bytes == desk.report.bytes);
    CHECK(cost.parameters == desk.report.parameters);
    const auto before = measure_cost(desk.folder / "dense", {{1}, 1}, cpu);
    CHECK(before.bytes == desk.report.bytes_before);
    CHECK(before.parameters == desk.report.parameters_before);
}

TEST_CASE("token speed: batches ascend, none twice, and stay in the context") {
    const SpeedDesk desk;
    const auto model = desk.open("dense");
    const Index most = model.config().max_positions;
    const auto costs = measure_batches(model, {{most + 9, 3, 1, 3, most}, 2});
    REQUIRE(costs.size() == 3);
    CHECK(costs[0].batch == 1);
    CHECK(costs[1].batch == 3);
    CHECK(costs[2].batch == most);
    for (const TokenSpeedOptions& bad :
         {TokenSpeedOptions{{}, 1}, TokenSpeedOptions{{1, 0}, 1}, TokenSpeedOptions{{1}, 0}})
        check_throws<ArgumentError>([&] { (void)measure_batches(model, bad); },
                                    {"at least 1 token", "at least 1 round"});
}
