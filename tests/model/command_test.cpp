// The command `mpo` as a script sees it: exit status, stdout, stderr, files.

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "mpo/model/compressed.hpp"
#include "mpo/version.hpp"
#include "support/catch.hpp"
#include "support/desk.hpp"
#include "support/files.hpp"
#include "support/hashed_weights.hpp"
#include "support/models.hpp"
#include "support/tokenizer_lies.hpp"

#ifdef MPO_COMMAND

using namespace mpo;
using namespace mpo::test;

TEST_CASE("mpo: version and help go to stdout") {
    const Desk desk;
    const auto version = desk.run("--version");
    CHECK(version.status == 0);
    CHECK(version.out == detail::concat("mpo ", MPO_VERSION_MAJOR, ".", MPO_VERSION_MINOR, ".",
                                        MPO_VERSION_PATCH, "\n"));
    for (const char* sub : {"", "info ", "compress ", "reconstruct ", "tokenize ", "make-choices ",
                            "evaluate ", "generate ", "profile ", "heal "}) {
        const auto help = desk.run(std::string(sub) + "--help");
        CHECK(help.status == 0);
        CHECK(help.err.empty());
        CHECK(contains(help.out, "Usage: mpo"));
    }
}

TEST_CASE("mpo: from a model to a compressed one and back") {
    const Desk desk;
    const auto compressed = desk.run("compress model -o small --budget 0.5 --json report.json");
    INFO(compressed.err);
    REQUIRE(compressed.status == 0);
    for (const char* piece : {"gate", "35x24", "low rank", "not yet a usable model"})
        CHECK(contains(compressed.out, piece));
    CHECK(std::count(compressed.err.begin(), compressed.err.end(), '\n') == 14);
    CHECK(contains(compressed.err, "compress 14/14 model.layers.1."));
    const auto report = nlohmann::json::parse(read_file(desk.folder / "report.json"));
    CHECK(report["linears"].size() == 14);
    CHECK(report["dtype"] == "BF16");

    const auto info = desk.run("info small --json");
    CHECK(info.status == 0);
    const auto described = nlohmann::json::parse(info.out);
    CHECK(described["format"] == "safetensors");
    CHECK(described["compressed_linears"].size() == 14);
    CHECK(described["parameters"] == report["model_parameters"]);
    CHECK(described["bytes"] == report["model_bytes"]);
    for (std::size_t k = 0; k < 14; ++k)
        for (const char* key : {"stored_as", "parameters", "bonds", "relative_error"})
            CHECK(described["compressed_linears"][k][key] == report["linears"][k][key]);
    CHECK(described["hyperparameters"]["hidden_size"] == 24);
    CHECK(contains(desk.run("info small").out, "model.layers.0.mlp.up_proj"));

    const auto dense = desk.run("reconstruct small -o dense --dtype f32 --threads 1");
    CHECK(dense.status == 0);
    CHECK(contains(dense.out, "14 of them made from cores"));
    const auto tensors = nlohmann::json::parse(desk.run("info dense --json").out)["tensors"];
    CHECK(tensors.size() == small_weights().size());
    for (const auto& tensor : tensors) {
        CHECK(tensor["dtype"] == "F32");
        CHECK(tensor["shape"] == small_weights().at(tensor["name"]).shape());
    }
}

TEST_CASE("mpo compress: every option arrives") {
    const Desk desk;
    const auto result = desk.run(
        "compress model -o small --max-bond-dim 2 --form mpo --sites 3 --layout q=6x4:4x6 "
        "--layout 'down=4*6:5*7' --only 'layers\\.0' --skip 'v_proj$' --dtype f32 --seed 3 "
        "--threads 1 --json -");
    INFO(result.err);
    REQUIRE(result.status == 0);
    const auto report = nlohmann::json::parse(result.out);  // and nothing else is on stdout
    CHECK(report["linears"].size() == 6);
    CHECK(report["dtype"] == "F32");
    for (const auto& linear : report["linears"]) {
        const std::string kind = linear["kind"];
        CHECK(linear["layout"]["out"].size() == (kind == "q" || kind == "down" ? 2 : 3));
        CHECK(linear["form"] == "mpo");
    }
    CHECK(desk.run("compress model -o b --budget-bytes 4000").status == 0);
    CHECK(desk.run("compress model -o t --tolerance 0.3 --form low-rank --dtype f16").status == 0);
    CHECK(contains(desk.run("info t").out, "24x1 : 1x24"));
    CHECK(contains(desk.run("info t").out, "gauge_fixed"));
    for (const auto& [argument, expected] :
         {std::pair{"cores", "cores"}, std::pair{"gauge-fixed", "gauge_fixed"}}) {
        const auto stored =
            desk.run(std::string("compress model -o ") + argument +
                     " --budget 0.5 --form low-rank --json - --stored-as " + argument);
        REQUIRE(stored.status == 0);
        const auto written = nlohmann::json::parse(stored.out);
        for (const auto& linear : written["linears"]) CHECK(linear["stored_as"] == expected);
    }
}

TEST_CASE("mpo compress: a page and JSON of the same run, with the command that made them") {
    const Desk desk;
    const auto result = desk.run(
        "compress model -o small --budget 0.5 --only 'layers' --json a.json --report a.html");
    INFO(result.err);
    REQUIRE(result.status == 0);
    CHECK(contains(result.out, "not yet a usable model"));
    const auto json = nlohmann::json::parse(read_file(desk.folder / "a.json"));
    CHECK(json["made_by"]["command"] ==
          "mpo compress model -o small --budget 0.5 --only layers --json a.json --report a.html");
    const auto page = read_file(desk.folder / "a.html");
    const std::string begin = "<script type=\"application/json\" id=\"mpo-report\">";
    const auto at = page.find(begin) + begin.size();
    CHECK(nlohmann::json::parse(page.substr(at, page.find("</script>") - at)) == json);

    const auto quoted = desk.run("compress model -o b --budget 0.5 --skip 'it'\\''s' --report -");
    CHECK(quoted.out.starts_with("<!DOCTYPE html>"));  // and nothing else is on stdout
    CHECK(quoted.out.ends_with("</html>\n"));
    CHECK(contains(quoted.out, "--skip &#39;it&#39;\\&#39;&#39;s&#39; --report"));
}

TEST_CASE("mpo compress: a page that could not be finished does not exist") {
    const Desk desk;
    const std::string arguments = "compress model -o x --max-bond-dim 1 --report old.html";
    REQUIRE(desk.run(arguments).status == 0);
    const auto blocks = (read_file(desk.folder / "old.html").size() - 1) / 512;
    REQUIRE(blocks * 512 > read_file(desk.folder / "x" / "model.safetensors").size());
    std::filesystem::remove_all(desk.folder / "x");
    write_file(desk.folder / "old.html", "old");
    const auto result = desk.run(arguments, "ulimit -f " + std::to_string(blocks) + " &&");
    INFO(result.err);
    CHECK(result.status == 1);
    CHECK(contains(result.err, "mpo: error: write old.html"));
    CHECK(read_file(desk.folder / "old.html") == "old");
    CHECK(desk.folder.names() == std::vector<std::string>{"model", "old.html", "x"});
}

TEST_CASE("mpo: says honestly when the result is larger than its source") {
    const Desk desk;
    const auto result = desk.run("compress '" + fixture("tiny_llama.gguf").string() +
                                 "' -o small --budget 0.9 --dtype f32");
    CHECK(result.status == 0);
    CHECK(contains(result.out, "takes more bytes than its source"));
    CHECK(contains(result.out, " as F32 against "));
}

TEST_CASE("mpo: wrong usage is status 2 and one line") {
    const Desk desk;
    desk.refuse(2, "", {"subcommand"});
    desk.refuse(2, "frobnicate", {"subcommand"});
    desk.refuse(2, "info", {"model", "required"});
    desk.refuse(2, "compress model --budget 0.5", {"--output", "required"});
    desk.refuse(2, "compress model -o x", {"--budget", "--tolerance"});
    desk.refuse(2, "compress model -o x --budget 0.5 --tolerance 0.1", {"--budget"});
    desk.refuse(2, "compress model -o x --budget half", {"budget", "half"});
    desk.refuse(2, "compress model -o x --budget 0.5 --form tree", {"--form", "tree"});
    desk.refuse(2, "compress model -o x --budget 0.5 --stored-as x", {"--stored-as", "x"});
    desk.refuse(2, "compress model -o x --budget 0.5 --dtype f64", {"--dtype", "f64"});
    desk.refuse(2, "compress model -o x --budget 0.5 --layout z=2:2", {"--layout", "z=2:2"});
    desk.refuse(2, "compress model -o x --budget 0.5 --layout q", {"--layout", "'q'"});
    desk.refuse(2, "compress model -o x --budget 0.5 --layout q=2x2", {"--layout", "'2x2'"});
    desk.refuse(2, "compress model -o x --budget 0.5 --json - --report -", {"--report", "--json"});
    desk.refuse(2, "compress model -o x --budget 0.5 --json a --report a", {"--report", "--json"});
    desk.refuse(2, "compress model -o x --budget 0.5 --no-such-option", {"--no-such-option"});
}

TEST_CASE("mpo: bad input is status 1, one line, and nothing half-written") {
    const Desk desk;
    desk.refuse(1, "info nowhere.gguf", {"nowhere.gguf", "No such file"});
    desk.refuse(1, "info nowhere", {"nowhere"});
    desk.refuse(1, "compress model -o model --budget 0.5", {"model", "exists already"});
    desk.refuse(1, "compress model -o no/where --budget 0.5", {"No such file"});
    for (const char* budget : {"0", "-1", "1.5", "nan"})
        desk.refuse(1, std::string("compress model -o x --budget ") + budget, {"budget", budget});
    desk.refuse(1, "compress model -o x --tolerance -0.5", {"tolerance", "-0.5"});
    desk.refuse(1, "compress model -o x --max-bond-dim 0", {"max_bond_dim", "got 0"});
    desk.refuse(1, "compress model -o x --budget 0.5 --layout q=5x5:4x6",
                {"5*5 = 25", "24", "q_proj"});
    desk.refuse(1, "compress model -o x --budget 0.5 --only '('", {"regular expression"});
    desk.refuse(1, "compress model -o x --budget 0.5 --threads 0", {"threads", "got 0"});
    desk.refuse(1, "compress model -o x --budget 0.5 --json no/where.json", {"no/"});
    desk.refuse(1, "compress model -o x --budget 0.5 --report no/where.html", {"no/"});
    desk.refuse(1, "reconstruct model -o x", {compressed_config_file});
    desk.refuse(1, "info model --json > /dev/full", {"stdout"});

    write_file(desk.folder / "cut.safetensors",
               read_file(desk.folder / "model" / "model.safetensors").substr(0, 500));
    desk.refuse(1, "compress cut.safetensors -o x --budget 0.5", {"cut.safetensors", "byte"});

    REQUIRE(desk.run("compress model -o small --budget 0.5").status == 0);
    auto config = read_file(desk.folder / "small" / compressed_config_file);
    config.replace(config.find("\"gauge_fixed\""), 13, "\"blobs\"");
    write_file(desk.folder / "small" / compressed_config_file, config);
    desk.refuse(1, "reconstruct small -o x", {"stored_as", "blobs"});
    desk.refuse(1, "info small", {"stored_as", "blobs"});
}

TEST_CASE("mpo compress: a full disk is a message, not a corpse") {
    const Desk desk;
    const auto result = desk.run("compress model -o x --budget 0.9", "ulimit -f 32 &&");
    CHECK(result.status == 1);
    CHECK(contains(result.err, "mpo: error: write "));
    CHECK(contains(result.err, "model.safetensors"));
    CHECK(desk.folder.names() == std::vector<std::string>{"model"});
}

TEST_CASE("mpo compress: a failure in the middle ends in one line with the tensor's name") {
    const Desk desk;
    auto weights = small_weights();
    weights.at("model.layers.1.mlp.gate_proj.weight")(1, 2) = std::nanf("");
    write_model(desk.folder / "nan", weights);
    const auto result = desk.run("compress nan -o x --budget 0.5");
    CHECK(result.status == 1);
    CHECK(result.out.empty());
    const auto error = result.err.find("mpo: error: ");  // after the progress of other linears
    REQUIRE(error != std::string::npos);
    CHECK(result.err.find('\n', error) == result.err.size() - 1);
    CHECK(contains(result.err, "model.layers.1.mlp.gate_proj.weight"));
    CHECK(contains(result.err, "W(1, 2)"));
    CHECK(desk.folder.names() == std::vector<std::string>{"model", "nan"});
}

TEST_CASE("mpo compress: a signal leaves all of the result, or nothing") {
    const Desk desk;
    const auto result = desk.run(
        "compress model -o x --budget 0.5 --threads 1 & job=$!; kill -TERM $job; wait $job");
    const std::vector<std::string> nothing{"model"}, all{"model", "x"};
    CHECK(desk.folder.names() == (result.status == 0 ? all : nothing));
}

TEST_CASE("mpo tokenize: ids of every line, and back") {
    const Desk desk;
    write_file(desk.folder / "t.gguf", tokenizer_gguf(small_byte_level()));
    write_file(desk.folder / "model/tokenizer.json", tokenizer_json(small_byte_level()));
    const std::string text = " the</s>\n\n\xff\tab";
    write_file(desk.folder / "text", text);
    for (const char* model : {"t.gguf", "model", "model/tokenizer.json"}) {
        const auto ids = desk.run(std::string("tokenize ") + model + " --text text");
        CHECK(ids.status == 0);
        CHECK(ids.out == "258 60 47 115 62\n\n255 9 259\n");
        write_file(desk.folder / "ids", ids.out);
        CHECK(desk.run(std::string("tokenize ") + model + " --decode ids").out == text + "\n");
    }
    CHECK(desk.run("tokenize t.gguf --text text --special").out == "258 261\n\n255 9 259\n");
    desk.refuse(2, "tokenize t.gguf", {"--text", "--decode"});
    desk.refuse(2, "tokenize t.gguf --text text --decode text", {"--text", "--decode"});
    desk.refuse(1, "tokenize t.gguf --text none", {"open none"});
    desk.refuse(1, "tokenize none.gguf --text text", {"none.gguf"});
    write_file(desk.folder / "bad", "258\n12 x3\n");
    CHECK(desk.run("tokenize t.gguf --decode bad").err ==
          "mpo: error: bad line 2: 'x3' is no token id\n");
    write_file(desk.folder / "bad", "262");
    desk.refuse(1, "tokenize t.gguf --decode bad", {"token 262", "262 tokens", "t.gguf"});
}

TEST_CASE("mpo make-choices: a file of items, or none") {
    const Desk desk;
    write_file(desk.folder / "t.gguf", tokenizer_gguf(small_byte_level()));
    std::string text;
    for (int k = 0; k < 600; ++k)
        text += " w" + std::string(1, static_cast<char>('a' + k % 23)) + "x the";
    write_file(desk.folder / "text", text);
    const auto made = desk.run(
        "make-choices t.gguf --text text -o c.jsonl --context 20 --continuation 30 --items 6 "
        "--seed 2");
    INFO(made.err);
    CHECK(made.status == 0);
    CHECK(contains(made.out, "c.jsonl: 6 items, the true continuation"));
    const auto lines = read_file(desk.folder / "c.jsonl");
    CHECK(std::count(lines.begin(), lines.end(), '\n') == 6);
    const auto item = nlohmann::json::parse(lines.substr(0, lines.find('\n')));
    CHECK(item["choices"].size() == 4);
    CHECK(item["kind"] == "true continuation of held-out text against three sampled ones");
    desk.refuse(2, "make-choices t.gguf --text text", {"--output"});
    desk.refuse(1, "make-choices t.gguf --text text -o x --context 9000", {"9000 + 24"});
    desk.refuse(1, "make-choices t.gguf --text none -o x", {"none"});
}

TEST_CASE("mpo compress --text: the language before and after, in the forms of the same size") {
    const Desk desk;
    add_decoder(desk);
    const std::string texts = "--text text --window 16 --max-tokens 40";
    const auto result = desk.run(
        "compress decoder -o small --budget 0.6 --form mpo --json a.json --report a.html " + texts);
    INFO(result.err);
    REQUIRE(result.status == 0);
    for (const char* piece : {"as compressed", "all low rank", "perplexity"})
        CHECK(contains(result.out, piece));
    CHECK(!contains(result.out, "all MPO"));  // this is what was chosen
    CHECK(contains(result.err, "evaluate 40/40 text all low rank"));
    CHECK(contains(read_file(desk.folder / "a.html"), "What it did to the language"));
    const auto report = nlohmann::json::parse(read_file(desk.folder / "a.json"));
    CHECK(contains(report["notes"].dump(), "times the source's"));
    const auto text = report["texts"][0];
    const auto evaluated =
        desk.run("evaluate small --reference decoder --json - " + texts);  // and nothing else
    INFO(evaluated.err);
    const auto one = nlohmann::json::parse(evaluated.out)["texts"][0];
    CHECK(one["kld_mean"] == text["compressed"]["kld_mean"]);
    auto dense = text["dense"];
    CHECK(dense["cost"]["batches"][0]["batch"] == 1);
    CHECK(dense["cost"]["bytes"] == report["model_bytes_before"]);
    CHECK(text["compressed"]["cost"]["parameters"] == report["model_parameters"]);
    dense.erase("cost");
    CHECK(one["reference"] == dense);
    CHECK(desk.folder.names() ==
          std::vector<std::string>{"a.html", "a.json", "decoder", "model", "small", "text"});
    const std::string x = "compress decoder -o x --budget 0.5 ";
    desk.refuse(1, x + "--text none", {"open none"});
    desk.refuse(1, x + "--text text --window 9999", {"9999", "context of the model, got"});
    desk.refuse(1, "compress model -o x --budget 0.5 --text text", {"tokenizer.json"});
}

TEST_CASE(
    "mpo compress --calibrate: losses, winners, the sceptic's baseline and its cost; a profile") {
    const Desk desk;
    add_decoder(desk);
    std::string words;
    for (int k = 0; k < 40; ++k) words += "the ab and the other, then ";
    write_file(desk.folder / "words", words);
    const std::string calibrate = "--calibrate words --calibration-windows 4 --window 16 ",
                      run = "compress decoder -o small --budget 0.6 " + calibrate;
    const auto result = desk.run(run + "--text text --max-tokens 40");
    INFO(result.err << result.out);
    REQUIRE(result.status == 0);
    for (const char* piece : {"loss mean", "plain MPO", "layouts of q: ", "as compressed",
                              "uniform low rank", "ms/1", "ms/512", "calibrated on 64 tokens"})
        CHECK(contains(result.out, piece));
    CHECK(!contains(result.out, "without calibration is not"));
    CHECK(contains(result.err, "compress as uniform low rank 14/14"));
    CHECK(contains(result.err, "evaluate 40/40 text uniform low rank"));
    CHECK(desk.folder.names() ==
          std::vector<std::string>{"decoder", "model", "small", "text", "words"});
    const auto profile = desk.run(
        "profile decoder --calibrate words --windows 4 --probe-windows 1 --window 16 --json p");
    INFO(profile.err);
    REQUIRE(profile.status == 0);
    const std::string x = "compress decoder -o x --budget 0.6 ";
    CHECK(desk.run(x + calibrate + "--profile p --floor 0.8").status == 0);
    const auto bounded = desk.run("compress decoder -o z --budget 0.9 " + calibrate +
                                  "--profile p --max-flops-ratio 1 --json z.json");
    INFO(bounded.err);
    REQUIRE(bounded.status == 0);
    const auto written = nlohmann::json::parse(read_file(desk.folder / "z.json"));
    CHECK(written.at("linears").size() == 14);
    for (const auto& linear : written.at("linears")) {
        if (linear["form"] == "dense") continue;
        const Index m = linear["shape"][0], n = linear["shape"][1], rank = m * n / (m + n);
        const double share = linear["calibration"]["share"];
        CHECK(share * static_cast<double>(m * n) < static_cast<double>(rank * (m + n - rank) + 1));
    }
    desk.refuse(2, x + "--profile p", {"--calibrate"});
    desk.refuse(2, x + calibrate + "--floor 0.5", {"--profile"});
    const std::string y = "compress decoder -o y --budget 0.6 " + calibrate;
    desk.refuse(1, y + "--profile none", {"none"});
    desk.refuse(1, y + "--profile p --floor 2", {"floor", "2"});
    auto other = nlohmann::json::parse(read_file(desk.folder / "p"));
    other["fingerprint"] = "0123456789abcdef";
    write_file(desk.folder / "q", other.dump());
    desk.refuse(1, y + "--profile q", {"another model", "0123456789abcdef"});
}

TEST_CASE("mpo compress --resume: what it keeps goes with success, and is not mistaken") {
    const Desk desk;
    add_decoder(desk);
    const std::string how = " --budget 0.6 --calibrate text --window 16 --calibration-windows 2";
    for (const char* output : {"one", "two --resume", "three/ --resume"}) {
        const auto result = desk.run("compress decoder -o " + std::string(output) + how);
        INFO(result.err);
        CHECK(result.status == 0);
    }
    CHECK(contents(desk.folder / "one") == contents(desk.folder / "two"));
    CHECK(contents(desk.folder / "one") == contents(desk.folder / "three"));
    CHECK(desk.folder.names() ==
          std::vector<std::string>{"decoder", "model", "one", "text", "three", "two"});
    std::filesystem::create_directory(desk.folder / "four.resume");
    write_file(desk.folder / "four.resume" / "letter", "dear");
    desk.refuse(1, "compress decoder -o four --resume" + how, {"four.resume", "something else"});
    CHECK(read_file(desk.folder / "four.resume" / "letter") == "dear");
    desk.refuse(2, "compress decoder -o five --budget 0.6 --resume", {"--calibrate"});
}

TEST_CASE("mpo evaluate: texts and items beside a reference; bad ones are one line") {
    const Desk desk;
    add_decoder(desk);
    write_file(desk.folder / "c", R"({"context": "the", "choices": [" ab", " the"], "answer": 0})");
    const auto result = desk.run(
        "evaluate decoder --reference decoder --text text --window 16 --stride 8 --choices c");
    INFO(result.err);
    REQUIRE(result.status == 0);
    for (const char* piece :
         {"windows of 16 tokens, 8 apart", "100.00 %", "c: 1 items, acc ", "McNemar p = 1"})
        CHECK(contains(result.out, piece));
    write_file(desk.folder / "bad", "{\"context\": \"a\"}");
    write_file(desk.folder / "empty", "");
    write_file(desk.folder / "one", "a");
    desk.refuse(1, "evaluate decoder --choices c --choices bad", {"bad line 1", "choices"});
    desk.refuse(1, "evaluate decoder --text empty", {"empty: the text is empty"});
    desk.refuse(1, "evaluate decoder --text one", {"one: a text must have at least 2 tokens"});
    desk.refuse(1, "evaluate decoder --text text --tokenizer none.gguf", {"none.gguf"});
    desk.refuse(1, "evaluate model --text text", {"tokenizer.json"});
    auto other = small_byte_level();
    std::swap(other.tokens[3], other.tokens[7]);
    std::filesystem::copy(desk.folder / "decoder", desk.folder / "other");
    write_file(desk.folder / "other/tokenizer.json", tokenizer_json(other));
    desk.refuse(1, "evaluate decoder --reference other --text text", {"vocabularies", "token 3"});
    desk.refuse(2, "evaluate decoder", {"--text", "--choices"});
    desk.refuse(2, "evaluate --text text", {"model", "required"});
}

TEST_CASE("mpo profile: every linear alone, and after an interrupt the rest of them") {
    const Desk desk;
    add_decoder(desk);
    const std::string options = "--calibrate text --windows 2 --probe-windows 1 --window 10 ";
    const auto whole = desk.run("profile decoder --json - " + options);
    INFO(whole.err);
    REQUIRE(whole.status == 0);
    auto expected = nlohmann::json::parse(whole.out);
    CHECK(expected["linears"].size() == 14);
    CHECK(contains(whole.err, "profile 14/14 model.layers.1.mlp.down_proj"));

    auto half = expected;  // what a run leaves that was stopped behind the first layer
    half["linears"].erase(half["linears"].begin() + 7, half["linears"].end());
    write_file(desk.folder / "p.json.state", half.dump());
    desk.refuse(1, "profile decoder --json p.json --sizes 0.5 " + options,
                {"p.json.state", "other sizes"});
    desk.refuse(1,
                "profile decoder --json p.json --calibrate text --windows 1 --probe-windows 1 "
                "--window 10",
                {"p.json.state", "other texts or windows"});
    const auto rest = desk.run("profile decoder --json p.json --report p.html " + options);
    INFO(rest.err);
    REQUIRE(rest.status == 0);
    CHECK(contains(rest.err, "profile 7/7 model.layers.1.mlp.down_proj"));
    CHECK_FALSE(contains(rest.err, "layers.0."));
    for (const char* piece : {"gate", "48x32", "14 linears alone, each at 3 sizes, on 10 tokens"})
        CHECK(contains(rest.out, piece));
    const auto resumed = nlohmann::json::parse(read_file(desk.folder / "p.json"));
    CHECK(resumed["linears"].size() == 14);
    for (std::size_t k = 0; k < 14; ++k) CHECK(resumed["linears"][k] == expected["linears"][k]);
    CHECK(contains(read_file(desk.folder / "p.html"), "Divergence by block and kind"));
    CHECK(desk.folder.names() ==
          std::vector<std::string>{"decoder", "model", "p.html", "p.json", "text"});

    desk.refuse(1, "profile decoder --calibrate text", {"too few for 14 windows of 512"});
    desk.refuse(1, "profile decoder --sizes 0.5,0.4 " + options, {"sizes must ascend"});
    desk.refuse(1, "profile model " + options, {"tokenizer.json"});
    desk.refuse(2, "profile decoder", {"--calibrate"});
}

TEST_CASE("mpo generate: the same words for the same seed") {
    const Desk desk;
    add_decoder(desk);
    const std::string run = "generate decoder --prompt 'the ab' --max-tokens 12 ";
    const auto greedy = desk.run(run);
    INFO(greedy.err);
    CHECK(greedy.status == 0);
    CHECK(greedy.out == desk.run(run + "--threads 1").out);
    const auto drawn = desk.run(run + "--temperature 2 --top-p 0.95 --seed 5");
    CHECK(drawn.out == desk.run(run + "--temperature 2 --top-p 0.95 --seed 5").out);
    CHECK(drawn.out != greedy.out);
    desk.refuse(1, "generate decoder --prompt ''", {"prompt is empty"});
    desk.refuse(1, run + "--temperature -1", {"temperature", "-1"});
    desk.refuse(1, run + "--top-p 0", {"top_p"});
    desk.refuse(2, "generate decoder", {"--prompt", "required"});
}

#else

TEST_CASE("mpo: the command is not built here") {
    SUCCEED("MPO_BUILD_EXAMPLES is off");
}

#endif
