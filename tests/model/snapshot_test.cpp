#include "mpo/model/snapshot.hpp"

#include <sys/wait.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "mpo/model/training_snapshot.hpp"
#include "support/catch.hpp"
#include "support/child.hpp"
#include "support/files.hpp"
#include "support/limits.hpp"
#include "support/matrices.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;
using WorkJson = nlohmann::ordered_json;

template <class T>
[[nodiscard]] bool equal_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

/// Every kind of number that arithmetic may change: signed zeros, subnormals, NaN with a payload.
template <class T, class Bits>
[[nodiscard]] std::vector<T> odd_numbers() {
    using Limits = std::numeric_limits<T>;
    const auto payload = std::bit_cast<Bits>(Limits::quiet_NaN()) | Bits{0x1234};
    return {T{0},          -T{0},
            Limits::min(), Limits::denorm_min(),
            Limits::max(), -Limits::infinity(),
            T{1} / T{3},   std::bit_cast<T>(payload)};
}

const WorkJson our_work{{"seed", 7}, {"rate", 0.1}, {"teacher", {{"name", "M"}, {"hash", "ab"}}}};

/// Parameters with gradients of their own, as one long array each.
struct TrainedPair {
    std::vector<float> a, b, da, db;
    explicit TrainedPair(Index size)
        : a(static_cast<std::size_t>(size), 1.0F), b(5, -2.0F), da(a.size()), db(5) {}
    [[nodiscard]] Parameters<float> parameters() {
        Parameters<float> all;
        all.add({"layers.0.cores.1", a, da});
        all.add({"norm", b, db, false});
        return all;
    }
    void differentiate() {
        for (std::size_t i = 0; i < a.size(); ++i) da[i] = a[i] - static_cast<float>(i % 5) / 3;
        for (std::size_t i = 0; i < b.size(); ++i) db[i] = b[i] * b[i];
    }
};

[[nodiscard]] std::string fingerprint_of(const std::string& configuration,
                                         const std::string& header) {
    detail::Fingerprint sum;
    sum.add(configuration);
    sum.add(header);
    return sum.to_string();
}

}  // namespace

TEST_CASE("snapshot: what is read has the bits that were written") {
    const TemporaryFolder folder;
    const auto floats = odd_numbers<float, std::uint32_t>();
    const auto doubles = odd_numbers<double, std::uint64_t>();
    const std::vector<std::int64_t> integers{0, -1, std::numeric_limits<std::int64_t>::min(),
                                             std::numeric_limits<std::int64_t>::max(),
                                             (std::int64_t{1} << 53) + 1};
    const WorkJson header{
        {"block", 3}, {"curve", {0.1, 1.0 / 3, 1e-300}}, {"\"name\"", "\u00fc\n"}};
    {
        SnapshotWriter writer(folder / "s", our_work, header);
        writer.add("floats", floats);
        writer.add("doubles", doubles);
        writer.add("integers", integers);
        writer.add("nothing", std::vector<float>{});
        writer.add("one", std::span<const double>(doubles).first(1));
        CHECK(!std::filesystem::exists(folder / "s"));
        writer.finish();
        check_throws<ArgumentError>([&] { writer.finish(); }, {"committed before"});
    }
    CHECK(folder.names() == std::vector<std::string>{"s"});
    const Snapshot snapshot(folder / "s", our_work);
    CHECK(snapshot.path() == folder / "s");
    CHECK(snapshot.names() ==
          std::vector<std::string>{"floats", "doubles", "integers", "nothing", "one"});
    CHECK(snapshot.header() == nlohmann::json::parse(header.dump()));
    CHECK(snapshot.header().at("curve")[1].get<double>() == 1.0 / 3);
    CHECK(equal_bits(snapshot.read<float>("floats"), floats));
    CHECK(equal_bits(snapshot.read<double>("doubles"), doubles));
    CHECK(equal_bits(snapshot.read<std::int64_t>("integers"), integers));
    CHECK(snapshot.read<float>("nothing").empty());
    CHECK(snapshot.contains("one"));
    CHECK(!snapshot.contains("two"));
    std::vector<float> into(floats.size());
    snapshot.read("floats", std::span<float>(into));
    CHECK(equal_bits(into, floats));
}

TEST_CASE("snapshot: one of another configuration is refused, with what differs") {
    const TemporaryFolder folder;
    SnapshotWriter(folder / "s", our_work).finish();
    const auto refused = [&](const WorkJson& asked, std::vector<std::string> pieces) {
        pieces.insert(pieces.end(), {(folder / "s").string(), "another configuration"});
        check_throws<ArgumentError>([&] { const Snapshot snapshot(folder / "s", asked); }, pieces);
    };
    auto other = our_work;
    other["seed"] = 8;
    refused(other, {"seed was 7, asked for is 8"});
    other = our_work;
    other["rate"] = 0.1 + 1e-18;  // is 0.1
    CHECK_NOTHROW(Snapshot(folder / "s", other));
    other["rate"] = std::nextafter(0.1, 1.0);
    refused(other, {"rate was 0.1, asked for is 0.10000000000000002"});
    other = our_work;
    other["teacher"]["hash"] = "cd";
    refused(other, {"teacher was", "\"ab\"", "\"cd\""});
    other = our_work;
    other["steps"] = 5;
    refused(other, {"steps was (nothing), asked for is 5"});
    other = our_work;
    other.erase("seed");
    refused(other, {"seed was 7, asked for is (nothing)"});
    refused(WorkJson::object(), {"was", "(nothing)"});
    other = WorkJson{{"teacher", {{"hash", "ab"}, {"name", "M"}}}, {"rate", 0.1}, {"seed", 7}};
    CHECK_NOTHROW(Snapshot(folder / "s", other));  // order means nothing
}

TEST_CASE("snapshot: one flipped bit anywhere, and it is refused") {
    const TemporaryFolder folder;
    {
        SnapshotWriter writer(folder / "s", our_work, WorkJson{{"step", 7}});
        writer.add("x", std::vector<float>{1, 2, 3});
        writer.add("y", std::vector<double>{4, 5});
        writer.add("z", std::vector<std::int64_t>{6});
        writer.finish();
    }
    const auto whole = read_file(folder / "s");
    const std::string unread = "\"format\":\"pt\"";  // what other programs look for
    const auto begin = whole.find(unread);
    REQUIRE(begin != std::string::npos);
    for (std::size_t at = 0; at < whole.size(); ++at)
        for (const int bit : {0, 6}) {
            if (at >= begin && at < begin + unread.size()) continue;
            auto damaged = whole;
            damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
            write_file(folder / "s", damaged);
            INFO(at << " " << bit);
            CHECK_THROWS_AS(Snapshot(folder / "s", our_work), Error);
        }
    auto last = whole;
    last.back() = static_cast<char>(last.back() ^ 1);
    write_file(folder / "s", last);
    check_throws<FormatError>([&] { const Snapshot snapshot(folder / "s", our_work); },
                              {(folder / "s").string(), "is damaged", "its contents have"});
}

TEST_CASE("snapshot: what is none, or holds other arrays, is refused by name") {
    const TemporaryFolder folder;
    const auto refused = [&](const std::string& file, std::vector<std::string> pieces) {
        pieces.push_back((folder / file).string());
        check_throws<FormatError>([&] { const Snapshot snapshot(folder / file, our_work); },
                                  pieces);
    };
    check_throws<FileError>([&] { const Snapshot snapshot(folder / "no", our_work); }, {"no"});
    write_file(folder / "junk", std::string("junk"));
    refused("junk", {"4 bytes"});
    SafetensorsWriter(folder / "plain").finish();
    refused("plain", {"no snapshot", "'mpo_snapshot'"});
    const auto with = [&](const std::string& file, const std::string& version,
                          const std::string& kept, const std::string& header) {
        SafetensorsWriter writer(folder / file,
                                 {.metadata = {{"mpo_snapshot", version},
                                               {"configuration", kept},
                                               {"header", header},
                                               {"fingerprint", fingerprint_of(kept, header)}}});
        writer.finish();
    };
    with("v1", "1", our_work.dump(), "{}");
    refused("v1", {"version 1", "reads 2"});
    with("list", "2", "[]", "{}");
    refused("list", {"'configuration'", "array"});
    with("half", "2", our_work.dump(), "{");
    refused("half", {});
    SafetensorsWriter(
        folder / "unsummed",
        {.metadata = {{"mpo_snapshot", "2"}, {"configuration", "{}"}, {"header", "{}"}}})
        .finish();
    refused("unsummed", {"'fingerprint'"});
    for (const auto& bad : {WorkJson(), WorkJson(3), WorkJson::array({1})})
        for (const bool first : {true, false})
            check_throws<ArgumentError>(
                [&] {
                    SnapshotWriter(folder / "bad", first ? bad : our_work, first ? our_work : bad);
                },
                {"bad", "objects"});
    check_throws<ArgumentError>(
        [&] {
            SnapshotWriter(folder / "bad", WorkJson{{"text", "\xff"}});
        },
        {"bad", "UTF-8"});
    CHECK(!std::filesystem::exists(folder / "bad"));

    SnapshotWriter writer(folder / "s", our_work);
    writer.add("x", std::vector<float>{1, 2});
    check_throws<ArgumentError>([&] { writer.add("x", std::vector<float>{1}); }, {"'x'", "before"});
    writer.finish();
    const Snapshot snapshot(folder / "s", our_work);
    check_throws<FormatError>([&] { (void)snapshot.read<float>("y"); }, {"'y'", "not there", "/s"});
    check_throws<FormatError>([&] { (void)snapshot.read<double>("x"); }, {"'x'", "F32", "F64"});
    std::vector<float> three{7, 7, 7};
    check_throws<FormatError>([&] { snapshot.read("x", std::span<float>(three)); },
                              {"'x'", "2 numbers", "3"});
    CHECK(three == std::vector<float>{7, 7, 7});
}

TEST_CASE("snapshot: wherever the disk is full, the old one stays intact, and then it succeeds") {
    const TemporaryFolder folder;
    const auto save = [&](Index step) {
        SnapshotWriter writer(folder / "s", our_work, WorkJson{{"step", step}});
        writer.add("x", std::vector<double>(4000, static_cast<double>(step)));
        writer.add("y", std::vector<float>(100, static_cast<float>(step)));
        writer.finish();
    };
    save(1);
    const auto old = read_file(folder / "s");
    int failures = 0;
    for (rlim_t bytes = 0;; bytes += bytes < 200 ? 37 : 3001) {
        INFO("files of at most " << bytes << " bytes");
        REQUIRE(bytes < 1'000'000);
        try {
            const FileSizeLimit limit(bytes);
            save(2);
        } catch (const FileError& error) {
            ++failures;
            CHECK(std::string(error.what()).find("File too large") != std::string::npos);
            CHECK(read_file(folder / "s") == old);
            CHECK(folder.names() == std::vector<std::string>{"s"});
            continue;
        }
        break;
    }
    CHECK(failures > 10);
    const Snapshot snapshot(folder / "s", our_work);
    CHECK(snapshot.header().at("step") == 2);
    CHECK(snapshot.read<double>("x") == std::vector<double>(4000, 2.0));
}

TEST_CASE("snapshot: one that is open stays readable when a newer one takes its name") {
    const TemporaryFolder folder;
    const auto save = [&](double value) {
        SnapshotWriter writer(folder / "s", our_work);
        writer.add("x", std::vector<double>(100'000, value));
        writer.finish();
    };
    save(1);
    const Snapshot old(folder / "s", our_work);
    save(2);
    CHECK(old.read<double>("x") == std::vector<double>(100'000, 1.0));
    CHECK(Snapshot(folder / "s", our_work).read<double>("x") == std::vector<double>(100'000, 2.0));
}

TEST_CASE("snapshot: training that kill -9 ends goes on with the bits of an unbroken run") {
    const AdamWOptions options{
        .learning_rate = {.peak = 0.05, .warm_up_steps = 5, .decay = LearningRateDecay::cosine},
        .total_steps = 60,
        .weight_decay = 0.01,
        .clip_norm = 1};
    constexpr Index size = 20'000, steps = 60;
    const TemporaryFolder folder;
    const auto run = [&](const std::string& file, Index snapshot_every) {
        TrainedPair model(size);
        AdamW<float> optimizer(model.parameters(), options);
        if (std::filesystem::exists(folder / file))
            restore_training(Snapshot(folder / file, our_work), optimizer);
        while (optimizer.num_steps() < steps) {
            model.differentiate();
            optimizer.step();
            if (optimizer.num_steps() % snapshot_every != 0) continue;
            SnapshotWriter writer(folder / file, our_work);
            add_training(writer, optimizer);
            writer.finish();
        }
    };
    run("unbroken", steps);
    int killed = 0;
    for (int trial = 0;; ++trial) {
        REQUIRE(trial < 1000);
        const pid_t child = start_child([&] { run("killed", 3); });
        std::this_thread::sleep_for(std::chrono::milliseconds(1 + trial * 7 % 20 + trial / 8));
        ::kill(child, SIGKILL);
        if (wait_for(child).signal == 0) break;
        ++killed;
        if (std::filesystem::exists(folder / "killed"))
            CHECK_NOTHROW(Snapshot(folder / "killed", our_work));
    }
    CHECK(killed > 0);
    CHECK(read_file(folder / "killed") == read_file(folder / "unbroken"));
}

TEST_CASE("snapshot: training of other parameters is refused and changes nothing") {
    const TemporaryFolder folder;
    TrainedPair model(8);
    AdamW<float> optimizer(model.parameters());
    model.differentiate();
    optimizer.step();
    {
        SnapshotWriter writer(folder / "s", our_work);
        add_training(writer, optimizer);
        writer.finish();
    }
    const Snapshot snapshot(folder / "s", our_work);
    TrainedPair longer(9);
    AdamW<float> other(longer.parameters());
    check_throws<FormatError>([&] { restore_training(snapshot, other); },
                              {"layers.0.cores.1", "8 numbers", "9"});
    CHECK(longer.a == TrainedPair(9).a);
    CHECK(other.num_steps() == 0);
    std::vector<double> x(8), dx(8);
    Parameters<double> parameters;
    parameters.add({"norm", x, dx});
    AdamW<double> wide(parameters);
    check_throws<FormatError>([&] { restore_training(snapshot, wide); }, {"norm", "F32", "F64"});
    std::vector<float> y(5), dy(5);
    Parameters<float> one;  // of the two that the snapshot has
    one.add({"norm", y, dy, false});
    AdamW<float> part(one);
    restore_training(snapshot, part);
    CHECK(y == model.b);
    CHECK(part.num_steps() == 1);
}
