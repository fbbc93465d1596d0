#include "mpo/model/teacher_cache.hpp"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "mpo/model/cache_teacher.hpp"
#include "mpo/model/head_loss.hpp"
#include "support/catch.hpp"
#include "support/child.hpp"
#include "support/files.hpp"
#include "support/hashed_weights.hpp"
#include "support/log_softmax.hpp"
#include "support/models.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// A tiny teacher, and windows of ids that it knows.
struct Classroom {
    explicit Classroom(const std::string& name = "plain", Index length = 5, Index count = 7) {
        decoder = tiny_decoder(name);
        write_decoder(teacher, decoder);
        const auto vocab = decoder.config["vocab_size"].get<Index>();
        std::vector<Index> text;
        for (Index t = 0; t < length * count + 1; ++t) text.push_back((t * t + t / 3 + 2) % vocab);
        windows.length = length;
        append_training_windows(text, 1, 0, "text", windows);
        options.top = 4;
        options.windows_per_shard = 3;
    }
    TeacherCache cache(const std::string& name) const {
        return cache_teacher(folder / name, teacher, windows, options, cpu);
    }
    [[nodiscard]] TeacherCacheRun run() const {
        return teacher_cache_run(teacher, windows, options);
    }

    TemporaryFolder folder;
    std::filesystem::path teacher = folder / "teacher";
    TinyDecoder decoder;
    TrainingWindows windows;
    CacheTeacherOptions options;
};

/// What float16 may round off a log-probability, and float off the logits behind it.
[[nodiscard]] double half_rounding(double log_p) {
    return std::ldexp(1 + std::abs(log_p), -10);
}

/// Targets against the whole softmax: the right ids in the right order, masses that add up to 1.
void check_targets(const TeacherTargetRows& rows, const Tensor<double>& log_p) {
    const Index vocab = log_p.extent(1), top = rows.top;
    REQUIRE(rows.positions == log_p.extent(0));
    for (Index t = 0; t < rows.positions; ++t) {
        std::vector<double> sorted(log_p.data() + t * vocab, log_p.data() + (t + 1) * vocab);
        std::sort(sorted.begin(), sorted.end(), std::greater<>());
        double named = 0, total = 0;
        std::vector<char> seen(static_cast<std::size_t>(vocab), 0);
        for (Index k = 0; k < top; ++k) {
            const auto at = static_cast<std::size_t>(t * top + k);
            const double expected = sorted[static_cast<std::size_t>(k)];
            CHECK(std::abs(log_p(t, rows.ids[at]) - expected) < tolerance<float>(vocab, 8));
            CHECK(std::abs(static_cast<double>(rows.log_probabilities[at]) - expected) <
                  half_rounding(expected));
            CHECK(seen[static_cast<std::size_t>(rows.ids[at])]++ == 0);
            named += std::exp(expected);
            total += std::exp(static_cast<double>(rows.log_probabilities[at]));
        }
        const double rest =
            std::exp(static_cast<double>(rows.log_rest[static_cast<std::size_t>(t)]));
        CHECK(std::abs(total + rest - 1) < tolerance<float>(top, 1));
        CHECK(std::abs(rest - (1 - named)) < half_rounding(1));
        if (top == vocab) CHECK(rest == 0);
    }
}

/// A cache is written, one thing in it is changed, and it is opened again.
template <class E, class Change>
void check_refused_cache(Change&& change, const std::vector<std::string>& pieces) {
    const Classroom room;
    (void)room.cache("cache");
    change(room.folder / "cache", room);
    check_throws<E>(
        [&] {
            const TeacherCache cache(room.folder / "cache", room.run());
            for (Index w = 0; w < 7; ++w) (void)cache.targets(w);
        },
        pieces);
}

/// Shard 1 written again with other targets, and the index that belongs to it.
template <class Change>
void rewrite_shard(const std::filesystem::path& cache, const Classroom& room, Change&& change) {
    const auto run = room.run();
    std::vector<std::string> shards;
    for (Index k = 0; k < 3; ++k)
        shards.push_back(detail::TeacherShard(cache, run, k).bytes_fingerprint());
    TeacherTargetRows rows;
    {
        const detail::TeacherShard shard(cache, run, 1);
        for (Index w = 3; w < 6; ++w) shard.append(w, rows);
    }
    change(rows);
    shards[1] = detail::write_shard(cache, run, 1, rows);
    detail::write_index(cache, run, shards);
}

}  // namespace

TEST_CASE("teacher cache: what it holds are the largest probabilities and the rest") {
    for (const char* name : {"plain", "tied", "bf16", "llama3_rope"})
        for (const Index top : {Index{1}, Index{4}, Index{-1}})
            for (const Index workspace : {Index{1}, Index{1} << 20}) {
                INFO(name << ", top " << top << ", workspace " << workspace);
                Classroom room(name);
                const Transformer model(room.teacher, {}, cpu);
                room.options.top = top > 0 ? top : model.config().vocab_size;
                room.options.max_workspace_bytes = workspace;
                const auto cache = room.cache("cache");
                CHECK(cache.run().windows == 7);
                for (Index w = 0; w < 7; ++w)
                    check_targets(cache.targets(w),
                                  log_softmax_of(model, room.windows.tokens_of(w)));
                const std::vector<Index> some{6, 0, 6};
                const auto rows = cache.targets(some);
                CHECK(rows.positions == 15);
                const auto last = cache.targets(6), first = cache.targets(0);
                auto joined = last.log_probabilities;
                joined.insert(joined.end(), first.log_probabilities.begin(),
                              first.log_probabilities.end());
                joined.insert(joined.end(), last.log_probabilities.begin(),
                              last.log_probabilities.end());
                CHECK(rows.log_probabilities == joined);
            }
}

TEST_CASE("teacher cache: a student that is the teacher has no divergence from what is read") {
    Classroom room("group_2", 12, 4);
    room.options.top = 8;
    const auto cache = room.cache("cache");
    const Transformer model(room.teacher, {}, cpu);
    const auto& config = model.config();
    Tensor<float> E({config.vocab_size, config.hidden_size});
    const SafetensorsFile weights(room.teacher / "model.safetensors");
    E = weights.read<float>("model.embed_tokens.weight");
    const HeadWeight<float> head(as_matrix(std::as_const(E).view()));
    for (Index w = 0; w < 4; ++w) {
        auto kv = model.make_cache(12);
        auto hidden = model.forward(room.windows.tokens_of(w), kv);
        const auto rows = cache.targets(w);
        const auto sums =
            head_loss(as_matrix(std::as_const(hidden).view()), head,
                      {{}, room.windows.weights_of(w), rows.view()}, {.alpha = 1}, cpu);
        CHECK(sums.positions == 12);
        CHECK(sums.agreements == 12);
        // Half the mean square of float16's relative rounding of log-probabilities up to 8.
        CHECK(std::abs(sums.divergence / 12) < std::ldexp(64.0, -2 * 11));
    }
}

TEST_CASE("teacher cache: interrupted behind any window it ends in the same bytes") {
    const Classroom room;
    (void)room.cache("unbroken");
    const auto expected = contents(room.folder / "unbroken");
    CHECK(expected.size() == 5);  // run.json, index.json, 3 shards
    for (Index stop = 1; stop <= 7; ++stop) {
        INFO("stopped behind window " << stop);
        const auto name = "stopped_" + std::to_string(stop);
        auto stopped = room.options;
        stopped.progress = [&](Index done, Index windows) -> ProgressReply {
            CHECK(windows == 7);
            if (done == stop) throw std::runtime_error("stopped");
            return ProgressReply::go_on;
        };
        const auto resume = [&](const CacheTeacherOptions& options) {
            (void)cache_teacher(room.folder / name, room.teacher, room.windows, options, cpu);
        };
        check_throws<std::runtime_error>([&] { resume(stopped); }, {"stopped"});
        check_throws<ArgumentError>(
            [&] { (void)TeacherCache(room.folder / name, room.run()); },
            {name, "not complete", std::to_string(stop == 7 ? 3 : stop / 3) + " of 3 shards"});
        std::vector<Index> heard;
        auto options = room.options;
        options.progress = [&](Index done, Index) {
            heard.push_back(done);
            return ProgressReply::go_on;
        };
        resume(options);
        if (stop < 7) CHECK(heard.front() == stop / 3 * 3 + 1);
        CHECK(heard.size() == static_cast<std::size_t>(stop == 7 ? 0 : 7 - stop / 3 * 3));
        CHECK(contents(room.folder / name) == expected);
        heard.clear();
        resume(options);  // complete: nothing is computed
        CHECK(heard.empty());
    }
}

TEST_CASE("teacher cache: killed, it goes on behind the last whole shard") {
    const Classroom room;
    (void)room.cache("unbroken");
    const auto ended = wait_for(start_child([&] {
        auto options = room.options;
        options.progress = [](Index done, Index) -> ProgressReply {
            if (done == 5) ::raise(SIGKILL);
            return ProgressReply::go_on;
        };
        (void)cache_teacher(room.folder / "killed", room.teacher, room.windows, options, cpu);
    }));
    CHECK(ended.signal == SIGKILL);
    CHECK(std::filesystem::exists(room.folder / "killed" / "shard_00000.safetensors"));
    CHECK_FALSE(std::filesystem::exists(room.folder / "killed" / "shard_00001.safetensors"));
    (void)room.cache("killed");
    CHECK(contents(room.folder / "killed") == contents(room.folder / "unbroken"));
}

TEST_CASE("teacher cache: cancelling keeps the shards that are whole") {
    Classroom room;
    room.options.progress = [](Index done, Index) {
        return done == 4 ? ProgressReply::cancel : ProgressReply::go_on;
    };
    check_throws<Cancelled>([&] { (void)room.cache("cache"); },
                            {"after 4 of 7 windows", "1 of 3 shards"});
    room.options.progress = {};
    CHECK(room.cache("cache").run().windows == 7);
}

TEST_CASE("teacher cache: another text, teacher, K or window is refused, with both values") {
    const Classroom room;
    (void)room.cache("cache");
    const auto refused = [&](const Classroom& other, const std::string& key, const std::string& was,
                             const std::string& asked) {
        for (const bool write : {true, false})
            check_throws<ArgumentError>(
                [&] {
                    if (write)
                        (void)cache_teacher(room.folder / "cache", other.teacher, other.windows,
                                            other.options, cpu);
                    else
                        (void)TeacherCache(room.folder / "cache", other.run());
                },
                {(room.folder / "cache").string(), "has " + key + ' ' + was,
                 "asked for is " + asked});
    };
    const auto quoted = [](const std::string& text) { return '"' + text + '"'; };
    {
        Classroom other;
        other.windows.tokens[17] = (other.windows.tokens[17] + 1) % 40;
        refused(other, "tokens", quoted(room.run().tokens), quoted(other.run().tokens));
    }
    {
        Classroom other;
        std::filesystem::remove_all(other.teacher);
        write_decoder(other.teacher, other.decoder, [](const std::string& name, Tensor<float> x) {
            if (name == "model.norm.weight") x.data()[3] += 0.5f;
            return x;
        });
        refused(other, "teacher", quoted(room.run().teacher), quoted(other.run().teacher));
    }
    {
        Classroom other;
        other.options.top = 5;
        refused(other, "top", "4", "5");
    }
    {
        Classroom other;
        other.options.windows_per_shard = 2;
        refused(other, "windows_per_shard", "3", "2");
    }
    {
        Classroom other("plain", 7, 5);
        refused(other, "tokens", quoted(room.run().tokens), quoted(other.run().tokens));
    }
    auto run = room.run();
    run.window = 6;
    check_throws<ArgumentError>([&] { (void)TeacherCache(room.folder / "cache", run); },
                                {"has window 5", "asked for is 6"});
    // killed before its first file had its name
    std::filesystem::create_directory(room.folder / "killed");
    write_file(room.folder / "killed" / ".run.json.3127.tmp", "{");
    (void)room.cache("killed");
    write_file(room.folder / "text", "this is no cache");
    check_throws<ArgumentError>([&] { (void)room.cache("."); }, {"something else"});
    check_throws<FileError>([&] { (void)TeacherCache(room.folder / "nothing", room.run()); },
                            {"nothing"});
}

TEST_CASE("teacher cache: files that are cut, damaged or exchanged are refused") {
    const auto shard = [](const std::filesystem::path& cache, int k) {
        return cache / ("shard_0000" + std::to_string(k) + ".safetensors");
    };
    using Path = std::filesystem::path;
    const auto change_bytes = [](const Path& file, auto change) {
        auto bytes = read_file(file);
        change(bytes);
        std::filesystem::remove(file);
        write_file(file, bytes);
    };
    check_refused_cache<FormatError>(
        [&](const Path& cache, const Classroom&) {
            change_bytes(shard(cache, 1), [](std::string& b) { b.pop_back(); });
        },
        {"shard_00001"});
    check_refused_cache<FormatError>(
        [&](const Path& cache, const Classroom&) {
            change_bytes(shard(cache, 2), [](std::string& b) { b.back() ^= 1; });
        },
        {"shard_00002", "'fingerprint'"});
    check_refused_cache<FormatError>(
        [&](const Path& cache, const Classroom&) {
            std::filesystem::copy_file(shard(cache, 0), shard(cache, 1),
                                       std::filesystem::copy_options::overwrite_existing);
        },
        {"shard_00001", "'shard'", "'0'", "'1'"});
    check_refused_cache<FormatError>(
        [&](const Path& cache, const Classroom& room) {
            auto other = room.run();
            other.teacher = "0123456789abcdef";
            TeacherTargetRows rows;
            detail::TeacherShard(cache, room.run(), 1).append(3, rows);
            for (Index w = 4; w < 6; ++w)
                detail::TeacherShard(cache, room.run(), 1).append(w, rows);
            (void)detail::write_shard(cache, other, 1, rows);
        },
        {"shard_00001", "'run'"});
    check_refused_cache<FileError>(
        [&](const Path& cache, const Classroom&) { std::filesystem::remove(shard(cache, 0)); },
        {"shard_00000"});
    check_refused_cache<FormatError>(
        [&](const Path& cache, const Classroom& room) {
            detail::write_index(cache, room.run(), {"a", "b"});
        },
        {"index.json", "names 2 shards, the run has 3"});
    check_refused_cache<FormatError>(
        [&](const Path& cache, const Classroom& room) {
            detail::write_index(cache, room.run(), {"a", "b", "c"});
        },
        {"shard_00000", "index.json states 'a'"});
    check_refused_cache<FormatError>(
        [&](const Path& cache, const Classroom& room) {
            auto other = room.run();
            other.top = 2;
            detail::write_index(cache, other, {"a", "b", "c"});
        },
        {"index.json", "belongs to the run"});
    check_refused_cache<FormatError>(
        [&](const Path& cache, const Classroom&) {
            change_bytes(cache / "run.json", [](std::string& b) { b.resize(b.size() / 2); });
        },
        {"run.json"});
    check_refused_cache<ArgumentError>(
        [&](const Path& cache, const Classroom&) {
            change_bytes(cache / "run.json", [](std::string& b) {
                b.replace(b.find("\"format_version\": 1"), 19, "\"format_version\": 2");
            });
        },
        {"format_version 2", "asked for is 1"});
}

TEST_CASE("teacher cache: shards whose numbers are no distribution are refused") {
    using Path = std::filesystem::path;
    const auto refused = [](auto change, const std::vector<std::string>& pieces) {
        check_refused_cache<FormatError>(
            [&](const Path& cache, const Classroom& room) { rewrite_shard(cache, room, change); },
            pieces);
    };
    // Window 4 is the second of shard 1; position 2 of it is row 7.
    refused([](TeacherTargetRows& rows) { rows.ids[7 * 4 + 1] = 40; },
            {"shard_00001", "position 2 of window 4", "id 40", "has 40"});
    refused([](TeacherTargetRows& rows) { rows.ids[7 * 4 + 1] = -1; }, {"id -1"});
    refused([](TeacherTargetRows& rows) { rows.log_probabilities[7 * 4 + 1] = 0; },
            {"position 2 of window 4", "log-probability 0 at place 1"});
    refused([](TeacherTargetRows& rows) { rows.log_probabilities[7 * 4] = NAN; }, {"nan"});
    refused([](TeacherTargetRows& rows) { rows.log_probabilities[7 * 4] = 0.5f; }, {"0.5"});
    refused([](TeacherTargetRows& rows) { rows.log_rest[7] = 1; },
            {"position 2 of window 4", "add up to"});
    refused([](TeacherTargetRows& rows) { rows.log_rest[7] = NAN; }, {"add up to"});
    const Classroom room;
    const auto cache = room.cache("cache");
    check_throws<ArgumentError>([&] { (void)cache.targets(7); }, {"window 7", "has 7"});
    check_throws<ArgumentError>([&] { (void)cache.targets(-1); }, {"window -1"});
}

TEST_CASE("teacher cache: what cannot be asked for is refused") {
    const auto refused = [](auto change, const std::vector<std::string>& pieces) {
        Classroom room;
        change(room);
        check_throws<ArgumentError>([&] { (void)room.cache("cache"); }, pieces);
        CHECK_FALSE(std::filesystem::exists(room.folder / "cache"));
    };
    refused([](Classroom& room) { room.options.top = 0; }, {"1 to 40", "got 0"});
    refused([](Classroom& room) { room.options.top = 41; }, {"1 to 40", "got 41"});
    refused([](Classroom& room) { room.options.windows_per_shard = 0; }, {"got 0"});
    refused([](Classroom& room) { room.windows = {}; }, {"no windows"});
    refused([](Classroom& room) { room.windows.tokens[11] = 40; },
            {"token 1 of window 2 is 40", "has 40"});
    refused(
        [](Classroom& room) {
            room.windows = {};
            room.windows.length = 513;
            append_training_windows(std::vector<Index>(513, 1), 1, 0, "long", room.windows);
        },
        {"513 tokens", "512"});
}

TEST_CASE("teacher cache: a teacher whose logits are not finite is refused, naming the position") {
    Classroom room;
    std::filesystem::remove_all(room.teacher);
    write_decoder(room.teacher, room.decoder, [](const std::string& name, Tensor<float> x) {
        if (name == "model.norm.weight")
            for (Index k = 0; k < x.size(); ++k) x.data()[k] = 3e38f;
        return x;
    });
    check_throws<NumericalError>([&] { (void)room.cache("cache"); },
                                 {"position 0 of window 0", "not finite"});
}
