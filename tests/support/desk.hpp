// The command `mpo` run by a shell beside small models: what it exits with, prints and leaves. Where there is a command.
#pragma once

#ifdef MPO_COMMAND

#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "hashed_weights.hpp"
#include "models.hpp"
#include "tokenizer_lies.hpp"

namespace mpo::test {

/// How a run of the command ended.
struct CommandResult {
    int status = 0;
    std::string out, err;
};

/// A small model in "model", and the command run beside it by a shell.
struct Desk {
    Desk() { write_model(folder / "model", small_weights()); }
    [[nodiscard]] CommandResult run(const std::string& arguments,
                                    const std::string& before = "") const {
        const std::string inside = "cd '" + folder.path().string() + "' && " + before + " '" +
                                   MPO_COMMAND + "' " + arguments;
        const int code = std::system(("{ " + inside + "; } > '" + (logs / "out").string() +
                                      "' 2> '" + (logs / "err").string() + "'")
                                         .c_str());
        return {WIFEXITED(code) ? WEXITSTATUS(code) : -1, read_file(logs / "out"),
                read_file(logs / "err")};
    }
    /// The command must fail so, with one line that has all the pieces, and leave nothing.
    void refuse(int status, const std::string& arguments, const std::vector<std::string>& pieces,
                const std::string& before = "") const {
        const auto names = folder.names();
        const auto result = run(arguments, before);
        INFO("mpo " << arguments << "\nstderr: " << result.err);
        CHECK(result.status == status);
        CHECK(result.out.empty());
        CHECK(result.err.starts_with("mpo: error: "));
        CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
        CHECK(result.err.ends_with("\n"));
        for (const auto& piece : pieces) {
            INFO("expected piece: " << piece);
            CHECK(result.err.find(piece) != std::string::npos);
        }
        CHECK(folder.names() == names);
    }
    TemporaryFolder folder, logs;
};

[[nodiscard]] inline bool contains(const std::string& text, const std::string& piece) {
    return text.find(piece) != std::string::npos;
}

/// "decoder", which runs, with the small vocabulary, and "text".
inline void add_decoder(const Desk& desk) {
    auto decoder = tiny_decoder("plain");
    decoder.config["vocab_size"] = 262;
    for (auto& [tensor, shape] : decoder.shapes)
        if (tensor == "model.embed_tokens.weight" || tensor == "lm_head.weight") shape[0] = 262;
    write_decoder(desk.folder / "decoder", decoder);
    write_file(desk.folder / "decoder/tokenizer.json", tokenizer_json(small_byte_level()));
    write_file(desk.folder / "text",
               "the ab and the other, then the ab again, as if there were no other");
}

}  // namespace mpo::test

#endif
