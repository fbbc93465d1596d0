// Calibrated compression by the ranks of a job, a layer each.

#include "mpo/model/compress_calibrated.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "mpo/mpi.hpp"
#include "support/calibration.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/hashed_weights.hpp"
#include "support/models.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// A tiny decoder in "model", which all ranks see.
class Workshop {
  public:
    explicit Workshop(const std::string& name = "group_3") : decoder_(tiny_decoder(name)) {
        if (all_.rank() == 0) {
            own_.emplace();
            write_decoder(*own_ / "model", decoder_);
        }
        folder_ = detail::broadcast_text(all_, own_ ? own_->path().string() : "", 0);
        options.budget = 0.6;
        calibration.windows = windows_of(decoder_);
        calibration.inputs = CompressInputs::dense;
        calibration.linear.rivals = Rivals::none;
    }
    ~Workshop() { all_.barrier(); }
    Workshop(const Workshop&) = delete;
    Workshop& operator=(const Workshop&) = delete;

    [[nodiscard]] MpiCommunicator& all() { return all_; }
    [[nodiscard]] bool first() const { return all_.rank() == 0; }
    [[nodiscard]] std::filesystem::path operator/(const std::string& name) const {
        return folder_ / name;
    }
    template <Communicator Group>
    CompressReport run(Group& group, const std::string& to) {
        calibration.resume = folder_ / (to + "_state");
        return compress(Checkpoint(folder_ / "model"), folder_ / to, options, calibration, cpu,
                        group);
    }

    CompressOptions options;
    CompressCalibration calibration;

  private:
    MpiCommunicator all_;
    TinyDecoder decoder_;
    std::optional<TemporaryFolder> own_;
    std::filesystem::path folder_;
};

}  // namespace

TEST_CASE("compress: layers apart have the bits that one process gives them") {
    Workshop workshop;
    const auto report = workshop.run(workshop.all(), "all");
    CHECK(report.linears.empty() != workshop.first());
    if (!workshop.first()) return;
    SingleProcess alone;
    const auto one = workshop.run(alone, "one");
    CHECK(contents(workshop / "all") == contents(workshop / "one"));
    REQUIRE(report.linears.size() == one.linears.size());
    for (std::size_t k = 0; k < one.linears.size(); ++k)
        CHECK(report.linears[k].calibration->loss == one.linears[k].calibration->loss);

    // the first layer reads the same either way, the second does not
    workshop.calibration.inputs = CompressInputs::compressed;
    (void)workshop.run(alone, "in_order");
    const CompressedCheckpoint apart(workshop / "one"), in_order(workshop / "in_order");
    Index others = 0;
    for (const auto& tensor : apart.checkpoint().tensors()) {
        const bool has = in_order.checkpoint().contains(tensor.name);
        const auto bytes = [&](const CompressedCheckpoint& of) {
            const auto raw = of.checkpoint().raw(tensor.name);
            return std::vector<std::byte>(raw.data(), raw.data() + raw.size());
        };
        const bool same = has && bytes(apart) == bytes(in_order);
        if (tensor.name.find("layers.1.") == std::string::npos)
            CHECK(same);
        else
            others += same ? 0 : 1;
    }
    CHECK(others > 0);
}

TEST_CASE("compress: layers apart, cancelled by rank 0: all end, any number of ranks goes on") {
    Workshop workshop;
    SingleProcess alone;
    if (workshop.first()) (void)workshop.run(alone, "unbroken");
    workshop.all().barrier();
    for (const bool by_one : {false, true}) {
        const std::string to = by_one ? "to_1" : "to_n";
        workshop.options.progress = [](const Progress& now) {
            return now.done == 3 ? ProgressReply::cancel : ProgressReply::go_on;
        };
        check_throws<Cancelled>([&] { (void)workshop.run(workshop.all(), to); },
                                {"cancelled after 3 of"});
        CHECK(!std::filesystem::exists(workshop / to));
        CHECK(!std::filesystem::exists(workshop / (to + "_state") / "layer_0.safetensors"));
        CHECK(std::filesystem::exists(workshop / (to + "_state") / "layer_1.safetensors") ==
              (workshop.all().size() > 1));
        workshop.all().barrier();
        workshop.options.progress = {};
        if (!by_one)
            (void)workshop.run(workshop.all(), to);
        else if (workshop.first())
            (void)workshop.run(alone, to);
        workshop.all().barrier();
        CHECK(contents(workshop / to) == contents(workshop / "unbroken"));
    }
}

TEST_CASE("compress: what ranks cannot share is refused by all of them") {
    Workshop workshop;
    if (workshop.first()) write_file(workshop / "there", "");
    workshop.all().barrier();
    CHECK_THROWS_AS(workshop.run(workshop.all(), "there"), Error);
    workshop.calibration.inputs = CompressInputs::compressed;
    if (workshop.all().size() > 1)
        check_throws<ArgumentError>([&] { (void)workshop.run(workshop.all(), "x"); },
                                    {"2 processes", "CompressInputs::dense"});
    workshop.calibration.inputs = CompressInputs::dense;
    workshop.calibration.resume.clear();
    check_throws<ArgumentError>(
        [&] {
            (void)compress(Checkpoint(workshop / "model"), workshop / "y", workshop.options,
                           workshop.calibration, cpu, workshop.all());
        },
        {"folder to resume from"});
}
