// `mpo info` on files of a stranger: status 0, or status 1 and one line on stderr; never a signal,
// 5 s of the processor, or 1 GiB of address space.

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <map>
#include <string>
#include <vector>

#include "mpo/io/limits.hpp"
#include "mpo/model/compressed.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/gguf_lies.hpp"
#include "support/mutate.hpp"
#include "support/safetensors_lies.hpp"

#ifdef MPO_COMMAND

namespace {

using namespace mpo;
using namespace mpo::test;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool sanitized = true;  // terabytes of shadow memory, and every start takes long
#else
constexpr bool sanitized = false;
#endif

struct Outcome {
    int status = 0;  // of the process; -1 where a signal ended it
    std::string err;
};

/// Seconds of the processor that the command may take: 5 where a map of 200,000 names is made in 0.2, more where memory is
/// slower.
[[nodiscard]] rlim_t allowed_seconds() {
    if (sanitized) return 50;
    static const rlim_t seconds = [] {
        const std::clock_t begin = std::clock();
        std::map<std::string, int> names;
        for (int k = 0; k < 200'000; ++k)
            names.emplace(std::string(20, 'n') + std::to_string(k * 7919LL % 200'003), k);
        const double spent = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
        return static_cast<rlim_t>(5 * std::clamp(spent / 0.2, 1.0, 6.0));
    }();
    return seconds;
}

/// The command, run below the limits. Only calls that are safe behind a fork.
class Stranger {
  public:
    [[nodiscard]] Outcome info(const std::filesystem::path& path, bool as_json = false) const {
        const std::string err = (folder_ / "err").string();
        const rlim_t seconds = allowed_seconds();
        const ::pid_t child = ::fork();
        if (child == 0) run(path.c_str(), err.c_str(), as_json ? "--json" : nullptr, seconds);
        REQUIRE(child > 0);
        int code = 0;
        while (::waitpid(child, &code, 0) < 0) REQUIRE(errno == EINTR);
        return {WIFEXITED(code) ? WEXITSTATUS(code) : -1, read_file(err)};
    }

    /// Ends as promised; the status where it is known.
    void check(const std::filesystem::path& path, int expected = -1, bool as_json = false) const {
        const auto outcome = info(path, as_json);
        const auto& err = outcome.err;
        const auto line = std::string_view(err).substr(0, err.empty() ? 0 : err.size() - 1);
        const bool printable = std::none_of(line.begin(), line.end(), [](char c) {
            return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
        });
        const bool one_line =
            err.starts_with("mpo: error: ") && err.back() == '\n' && printable && err.size() < 5000;
        const bool kept = outcome.status == 0 ? err.empty() : outcome.status == 1 && one_line;
        if (kept && (expected < 0 || outcome.status == expected)) return;
        INFO("status " << outcome.status << ", stderr: " << err);
        CHECK(kept);
        CHECK(outcome.status == expected);
    }

  private:
    [[noreturn]] static void run(const char* path, const char* err, const char* option,
                                 rlim_t seconds) {
        const ::rlimit memory{rlim_t{1} << 30, rlim_t{1} << 30};
        const ::rlimit time{seconds, seconds};
        const int out = ::open("/dev/null", O_WRONLY);
        const int errors = ::open(err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        ::dup2(out, STDOUT_FILENO);
        ::dup2(errors, STDERR_FILENO);
        ::setrlimit(RLIMIT_CPU, &time);
        if (!sanitized) ::setrlimit(RLIMIT_AS, &memory);
        ::alarm(200);  // for what waits without computing
        ::execl(MPO_COMMAND, MPO_COMMAND, "info", path, option, static_cast<char*>(nullptr));
        ::_exit(127);
    }

    TemporaryFolder folder_;
};

/// Runs of the command on changed copies of `base`, written to `path`.
void check_mutations(const Stranger& stranger, const std::string& base,
                     const std::filesystem::path& path, const std::filesystem::path& model,
                     int count, std::uint64_t seed) {
    Mutator mutate(seed);
    for (int k = 0; k < (sanitized ? count / 10 : count); ++k) {
        const auto text = mutate(base);
        INFO(path.filename().string() << ", seed " << seed << ", mutation " << k);
        write_file(path, text);
        stranger.check(model, -1, k % 2 == 1);
    }
    write_file(path, base);
}

/// A copy of the compressed fixture.
void copy_compressed(const std::filesystem::path& folder) {
    std::filesystem::create_directory(folder);
    for (const char* name : {"config.json", "model.safetensors", compressed_config_file})
        write_file(folder / name, read_file(fixture("compressed_v1") / name));
}

/// `count` times `piece`, between `begin` and `end`.
[[nodiscard]] std::string repeated(const std::string& begin, const std::string& piece,
                                   std::size_t count, const std::string& end) {
    std::string text = begin;
    text.reserve(begin.size() + piece.size() * count + end.size());
    for (std::size_t k = 0; k < count; ++k) text += piece;
    return text + end;
}

/// JSON that is no description of anything, and how much work it would be to find out.
[[nodiscard]] std::vector<std::string> hostile_json() {
    const auto deep = [](const std::string& key) {
        return "{\"" + key + "\":" + std::string(1'000'000, '[') + std::string(1'000'000, ']') +
               "}";
    };
    return {"",
            "[]",
            "7",
            "{",
            "{}{}",
            std::string("{}\0{}", 5),
            "{\"a\":\"\xff\"}",
            "{\"a\":1e999}",
            "{\"hidden_size\":-1,\"format_version\":-1,\"weight_map\":-1}",
            deep("format_version"),
            deep("hidden_size"),
            deep("weight_map"),
            deep("linears"),
            deep("other"),
            R"({"format_version":1,"linears":{"a":{"stored_as":)" + std::string(100'000, '[')};
}

}  // namespace

TEST_CASE("hostile: mpo info refuses every file that breaks a rule, in one line") {
    const Stranger stranger;
    const TemporaryFolder folder;
    for (const auto& [name, lies] :
         {std::pair("lie.safetensors", safetensors_lies()), std::pair("lie.gguf", gguf_lies())})
        for (const auto& lie : lies) {
            INFO(lie.what);
            write_file(folder / name, lie.file);
            stranger.check(folder / name, 1);
        }
}

TEST_CASE("hostile: mpo info keeps its promise on files changed by chance") {
    const Stranger stranger;
    const TemporaryFolder folder;
    stranger.check(fixture("tiny_llama.gguf"), 0);
    stranger.check(fixture("every_dtype.safetensors"), 0, true);
    for (const auto& [name, copy] : {std::pair("every_dtype.safetensors", "m.safetensors"),
                                     std::pair("tiny_llama.gguf", "m.gguf")})
        check_mutations(stranger, read_file(fixture(name)), folder / copy, folder / copy, 600, 1);
}

TEST_CASE("hostile: mpo info keeps its promise on folders changed by chance") {
    const Stranger stranger;
    const TemporaryFolder folder;
    copy_compressed(folder / "m");
    stranger.check(folder / "m", 0);
    for (const char* name : {"config.json", "model.safetensors", compressed_config_file}) {
        const auto path = folder / "m" / name;
        check_mutations(stranger, read_file(path), path, folder / "m", 200, 2);
        for (const auto& text : hostile_json()) {
            INFO(name << ": " << text.substr(0, 60));
            const auto good = read_file(path);
            write_file(path, text);
            stranger.check(folder / "m", name == std::string("config.json") ? -1 : 1);
            write_file(path, good);
        }
    }
    std::filesystem::rename(folder / "m" / "model.safetensors", folder / "m" / "one.safetensors");
    std::filesystem::remove(folder / "m" / compressed_config_file);
    const SafetensorsFile shard(folder / "m" / "one.safetensors");
    std::string map;
    for (const auto& entry : shard.tensors())
        map += (map.empty() ? "\"" : ",\"") + entry.name + "\":\"one.safetensors\"";
    const auto index = folder / "m" / "model.safetensors.index.json";
    write_file(index, "{\"metadata\":{\"total_size\":1},\"weight_map\":{" + map + "}}");
    stranger.check(folder / "m", 0);
    check_mutations(stranger, read_file(index), index, folder / "m", 200, 3);
    for (const auto& text : hostile_json()) {
        INFO(text.substr(0, 60));
        write_file(index, text);
        stranger.check(folder / "m", 1);
    }
}

TEST_CASE("hostile: mpo info neither waits for a pipe nor reads a device") {
    const Stranger stranger;
    const TemporaryFolder folder;
    const auto pipe = folder / "pipe.gguf", zeros = folder / "zeros.safetensors";
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    stranger.check(pipe, 1);
    std::filesystem::create_symlink("/dev/zero", zeros);
    stranger.check(zeros, 1);
}

TEST_CASE("hostile: the largest tables of tensors stay below the limits of mpo info") {
    if (sanitized) return;
    const Stranger stranger;
    const TemporaryFolder folder;
    const auto check = [&](const std::string& name, const std::string& text, bool as_json) {
        INFO(name << ", " << text.size() << " bytes");
        write_file(folder / name, text);
        stranger.check(folder / name, 0, as_json);
    };
    const auto name_of = [](std::size_t k, std::size_t bytes) {
        const auto number = std::to_string(k);
        return std::string(bytes - number.size(), 'n') + number;
    };
    const auto header = [&](std::size_t name_bytes) {  // empty tensors, up to 10^8 bytes or max
        std::string text = "{";
        for (std::size_t k = 0; k < max_num_tensors && text.size() < 99'900'000; ++k)
            text += header_entry(name_of(k, name_bytes), "U8", "[0]", "[0,0]") + ',';
        text.back() = '}';
        return Bytes().string(text).data();
    };
    check("short.safetensors", header(7), false);
    check("long.safetensors", header(max_tensor_name_bytes), true);
    Bytes table = gguf_preamble(max_num_tensors, 0);
    for (std::size_t k = 0; k < max_num_tensors; ++k)
        table.text(gguf_tensor(name_of(k, 64), {0}, 0, 0).data());
    check("table.gguf", table.pad_to(32).data(), false);
}

TEST_CASE("hostile: the largest metadata stays below the limits of mpo info") {
    if (sanitized) return;
    const Stranger stranger;
    const TemporaryFolder folder;
    const auto check = [&](const std::string& name, const std::string& text, int status) {
        INFO(name << ", " << text.size() << " bytes");
        write_file(folder / name, text);
        stranger.check(folder / name, status);
    };
    const std::uint64_t count = (std::uint64_t{64} << 20) / 8;  // empty strings of one array
    Bytes arrays = gguf_preamble(0, 8);
    for (const char* key : {"a", "b", "c", "d", "e", "f", "g", "h"})
        arrays.string(key)
            .number(std::uint32_t{9})
            .text(gguf_array_of(8, count).data())
            .zeros(key[0] == 'a' ? count * 8 : 0);
    check("arrays.gguf", arrays.data(), 1);
    std::string pairs = R"({"__metadata__":{)";
    for (int k = 0; pairs.size() < 99'900'000; ++k) pairs += '"' + std::to_string(k) + "\":\"\",";
    pairs.back() = '}';
    check("pairs.safetensors", Bytes().string(pairs + '}').data(), 1);
    const std::string text(99'900'000, 'x');
    check("text.safetensors", Bytes().string("{\"" + text).data(), 1);
}

TEST_CASE("hostile: the largest JSON beside the weights stays below the limits of mpo info") {
    if (sanitized) return;
    const Stranger stranger;
    const TemporaryFolder folder;
    copy_compressed(folder / "m");
    const std::size_t config = 16u << 20, compressed = 64u << 20, index = 99'900'000;
    const auto check = [&](const char* name, const std::string& text, int status) {
        INFO(name << ", " << text.size() << " bytes: " << text.substr(0, 40));
        const auto path = folder / "m" / name;
        const std::string before = std::filesystem::exists(path) ? read_file(path) : "";
        write_file(path, text);
        stranger.check(folder / "m", status);
        write_file(path, before);
    };
    check("config.json", repeated("{\"x\":[0", ",[]", config / 3 - 10, "]}"), 0);
    std::string keys = "{\"k\":0";
    for (int k = 0; keys.size() < compressed - 100; ++k) keys += ",\"" + std::to_string(k) + "\":0";
    const std::string begin = R"({"format_version":1,"linears":{"a":)";
    check(compressed_config_file, repeated(begin + "[0", ",[]", compressed / 3 - 30, "]}}"), 1);
    check(compressed_config_file, begin + keys + "}}", 1);
    std::filesystem::rename(folder / "m" / "model.safetensors", folder / "m" / "f");
    std::string map = R"({"weight_map":{)";
    for (int k = 0; map.size() < index; ++k) map += '"' + std::to_string(k) + "\":\"f\",";
    map.back() = '}';
    check("model.safetensors.index.json", map + '}', 1);
}

#else

TEST_CASE("hostile: the command is not built here") {
    SUCCEED("MPO_BUILD_EXAMPLES is off");
}

#endif
