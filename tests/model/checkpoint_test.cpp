#include "mpo/model/checkpoint.hpp"

#include <cmath>
#include <limits>
#include <thread>

#include "mpo/core/random.hpp"
#include "mpo/io/safetensors_writer.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/gguf_bytes.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

constexpr ReadMode both_modes[] = {ReadMode::mapped, ReadMode::buffered};

template <class T>
[[nodiscard]] bool same(const Tensor<T>& a, const Tensor<T>& b) {
    return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

/// A GGUF file of this architecture with one F32 tensor "blk.0.<module>.weight" (rows, 2) whose row
/// r holds r and -r; 4 query heads and 2 key heads.
[[nodiscard]] Bytes one_tensor_file(const std::string& architecture, const std::string& name,
                                    std::uint64_t rows, const std::vector<Bytes>& extra = {}) {
    std::string data;
    for (std::uint64_t r = 0; r < rows; ++r)
        data += Bytes().number(static_cast<float>(r)).number(-static_cast<float>(r)).data();
    std::vector<Bytes> pairs{gguf_text("general.architecture", architecture),
                             gguf_u32(architecture + ".attention.head_count_kv", 2)};
    if (extra.empty()) pairs.push_back(gguf_u32(architecture + ".attention.head_count", 4));
    pairs.insert(pairs.end(), extra.begin(), extra.end());
    return gguf_file(pairs, {gguf_tensor(name, {2, rows}, 0, 0)}, data);
}

/// The first column of the only tensor.
[[nodiscard]] std::vector<int> row_order(const std::filesystem::path& path) {
    const Checkpoint checkpoint(path);
    const auto tensor = checkpoint.read<float>(checkpoint.tensors().at(0).name);  // (rows, 2)
    std::vector<int> rows;
    for (Index r = 0; r < tensor.extent(0); ++r) {
        CHECK(tensor(r, 1) == -tensor(r, 0));
        rows.push_back(static_cast<int>(tensor(r, 0)));
    }
    return rows;
}

void write_small_safetensors(const std::filesystem::path& path) {
    SafetensorsWriter writer(path);
    writer.append("a", Tensor<float>({2, 2}, {1, 2, 3, 4}), DType::bf16);
    writer.append("b", Tensor<float>({1}, {5}));
    writer.finish();
}

}  // namespace

TEST_CASE("a GGUF llama has Hugging Face names, and its rows in Hugging Face's order") {
    const SafetensorsFile expected(fixture("tiny_llama_expected.safetensors"));
    for (const auto mode : both_modes) {
        const Checkpoint checkpoint(fixture("tiny_llama.gguf"), mode);
        CHECK(checkpoint.format() == CheckpointFormat::gguf);
        REQUIRE(checkpoint.tensors().size() == expected.tensors().size());
        for (const auto& entry : expected.tensors()) {
            INFO(entry.name);
            REQUIRE(checkpoint.contains(entry.name));
            CHECK(same(checkpoint.read<float>(entry.name), expected.read<float>(entry.name)));
        }
        const auto& key = checkpoint.info("model.layers.1.self_attn.k_proj.weight");
        CHECK(key.stored_name == "blk.1.attn_k.weight");
        CHECK(key.shape == Shape{16, 32});
        CHECK(key.type == StoredType(PackedType::q4_1));
        CHECK(key.file == fixture("tiny_llama.gguf"));
        const auto raw = checkpoint.raw(key.name);  // blocks, rows in the new order
        Tensor<float> decoded(key.shape);
        decode(key.type, raw.data(), decoded.data(), decoded.size());
        CHECK(same(decoded, checkpoint.read<float>(key.name)));
    }
}

TEST_CASE("only llama's queries and keys are permuted, each by its own number of heads") {
    const TemporaryFolder folder;
    const auto order_of = [&](const std::string& architecture, const std::string& module) {
        write_file(folder / "m.gguf", one_tensor_file(architecture, "blk.0." + module, 16));
        return row_order(folder / "m.gguf");
    };
    std::vector<int> untouched(16);
    for (std::size_t k = 0; k < 16; ++k) untouched[k] = static_cast<int>(k);
    const std::vector<int> four_heads{0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15};
    const std::vector<int> two_heads{0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15};
    CHECK(order_of("llama", "attn_q.weight") == four_heads);
    CHECK(order_of("llama", "attn_q.bias") == four_heads);
    CHECK(order_of("llama", "attn_k.weight") == two_heads);
    CHECK(order_of("llama", "attn_v.weight") == untouched);
    CHECK(order_of("llama", "attn_output.weight") == untouched);
    CHECK(order_of("qwen2", "attn_q.weight") == untouched);
    CHECK(order_of("qwen2", "attn_k.weight") == untouched);
    CHECK(order_of("other", "attn_q.weight") == untouched);
}

TEST_CASE("names map where the scheme is known, and stay where it is not") {
    const std::vector<std::pair<std::string, std::string>> mapped{
        {"token_embd.weight", "model.embed_tokens.weight"},
        {"output_norm.weight", "model.norm.weight"},
        {"output.weight", "lm_head.weight"},
        {"blk.17.attn_norm.weight", "model.layers.17.input_layernorm.weight"},
        {"blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight"},
        {"blk.0.attn_k.bias", "model.layers.0.self_attn.k_proj.bias"},
        {"blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight"},
        {"blk.0.attn_output.weight", "model.layers.0.self_attn.o_proj.weight"},
        {"blk.0.attn_q_norm.weight", "model.layers.0.self_attn.q_norm.weight"},
        {"blk.0.attn_k_norm.weight", "model.layers.0.self_attn.k_norm.weight"},
        {"blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight"},
        {"blk.0.ffn_gate.weight", "model.layers.0.mlp.gate_proj.weight"},
        {"blk.0.ffn_up.weight", "model.layers.0.mlp.up_proj.weight"},
        {"blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight"}};
    for (const auto& [gguf, hugging_face] : mapped)
        for (const std::string architecture : {"llama", "qwen2", "qwen3"})
            CHECK(hugging_face_name(architecture, gguf) == hugging_face);
    CHECK(hugging_face_name("gemma", "blk.0.attn_q.weight") == "blk.0.attn_q.weight");
    for (const std::string name :
         {"rope_freqs.weight", "blk.0.ffn_gate_exps.weight", "blk.x.attn_q.weight", "blk.", "blk.0",
          "blk.0.attn_q", "blk..attn_q.weight.x", "", "attn_q.weight", "blk.0.output.weight",
          "blk.0.attn_q.scale", "token_embd"})
        CHECK(hugging_face_name("llama", name) == name);
}

TEST_CASE("hyperparameters of a GGUF file become a config.json that says the same") {
    const Checkpoint checkpoint(fixture("tiny_llama.gguf"));
    REQUIRE(checkpoint.hyperparameters());
    const auto& p = *checkpoint.hyperparameters();
    CHECK(p.model_type == "llama");
    CHECK(p.head_dim == 8);
    const std::string text = checkpoint.config_json(DType::f16);
    const std::vector<std::string> pieces{"\"architectures\": [\n    \"LlamaForCausalLM\"\n  ]",
                                          "\"model_type\": \"llama\"",
                                          "\"hidden_size\": 32",
                                          "\"intermediate_size\": 64",
                                          "\"num_hidden_layers\": 2",
                                          "\"num_attention_heads\": 4",
                                          "\"num_key_value_heads\": 2",
                                          "\"rms_norm_eps\": 1e-05",
                                          "\"rope_theta\": 50000.0",
                                          "\"vocab_size\": 33",
                                          "\"max_position_embeddings\": 128",
                                          "\"tie_word_embeddings\": true",
                                          "\"torch_dtype\": \"float16\"",
                                          "\"bos_token_id\": 1",
                                          "\"eos_token_id\": 2",
                                          "\"attention_bias\": false"};
    for (const auto& piece : pieces) {
        INFO(piece);
        CHECK(text.find(piece) != std::string::npos);
    }
    const auto again = parse_config(text, "config.json");
    CHECK(again.hidden_size == p.hidden_size);
    CHECK(again.num_key_value_heads == p.num_key_value_heads);
    CHECK(again.rms_norm_eps == p.rms_norm_eps);
    CHECK(again.rope_theta == p.rope_theta);
    CHECK(again.tied_embeddings == TiedEmbeddings::yes);
    CHECK(again.eos_token_ids == std::vector<Index>{2});
    CHECK(checkpoint.config_json().find("bfloat16") != std::string::npos);
    CHECK(checkpoint.config_json(DType::f32).find("float32") != std::string::npos);
}

TEST_CASE("per-layer head counts must agree; wrong heads and types are refused") {
    const TemporaryFolder folder;
    const auto path = folder / "m.gguf";
    const std::string key = "llama.attention.head_count";
    const auto heads = [&](const std::vector<std::int32_t>& counts) {
        Bytes pair;
        pair.string(key).number(std::uint32_t{9}).number(std::uint32_t{5});
        pair.number(std::uint64_t{counts.size()});
        for (const auto count : counts) pair.number(count);
        return pair;
    };
    const std::vector<std::pair<Bytes, bool>> cases{{heads({4, 4}), true},
                                                    {heads({4, 8}), false},
                                                    {heads({}), false},
                                                    {heads({-4}), false},
                                                    {gguf_text(key, "4"), false},
                                                    {gguf_pair(key, 6, 4.0f), false},
                                                    {gguf_pair(key, 10, ~std::uint64_t{0}), false},
                                                    {gguf_pair(key, 0, std::uint8_t{4}), true}};
    for (const auto& [pair, legal] : cases) {
        write_file(path, one_tensor_file("llama", "blk.0.attn_q.weight", 16, {pair}));
        if (legal)
            CHECK(Checkpoint(path).hyperparameters()->num_attention_heads == 4);
        else
            check_throws<FormatError>([&] { Checkpoint checkpoint(path); }, {path.string(), key});
    }
    write_file(path, one_tensor_file("llama", "blk.0.attn_q.weight", 12));  // 3 rows per head
    check_throws<FormatError>([&] { Checkpoint checkpoint(path); },
                              {"blk.0.attn_q.weight", "12 rows", "4 heads"});
    write_file(path, one_tensor_file("llama", "blk.0.attn_q.weight", 10));
    check_throws<FormatError>([&] { Checkpoint checkpoint(path); }, {"10 rows", "4 heads"});
    write_file(
        path, gguf_file({gguf_text("general.architecture", "llama")},
                        {gguf_tensor("blk.0.attn_q.weight", {2, 8}, 0, 0)}, std::string(64, '\0')));
    check_throws<FormatError>([&] { Checkpoint checkpoint(path); },
                              {"blk.0.attn_q.weight", "llama.attention.head_count"});
    write_file(path, one_tensor_file("llama", "x", 2,
                                     {gguf_text("llama.attention.layer_norm_rms_epsilon", "x")}));
    check_throws<FormatError>([&] { Checkpoint checkpoint(path); }, {"layer_norm_rms_epsilon"});
}

TEST_CASE("rows of a type of unknown size are not put in order: nobody knows where one ends") {
    const TemporaryFolder folder;
    const std::string data = "bytes as they lie, to the end";
    const std::uint64_t rows = std::uint64_t{1} << 40;  // walking over them would take an hour
    write_file(folder / "m.gguf",
               gguf_file({gguf_text("general.architecture", "llama"),
                          gguf_u32("llama.attention.head_count", 4)},
                         {gguf_tensor("blk.0.attn_q.weight", {1, rows}, 99, 0)}, data));
    const Checkpoint checkpoint(folder / "m.gguf");
    const auto& tensor = checkpoint.info("model.layers.0.self_attn.q_proj.weight");
    CHECK(tensor.shape == Shape{Index{1} << 40, 1});
    CHECK(tensor.permuted_heads == 0);
    const auto raw = checkpoint.raw(tensor.name);
    CHECK(std::string(reinterpret_cast<const char*>(raw.data()), raw.span().size()) == data);
}

TEST_CASE("an architecture that is no text is refused: it becomes a word of config.json") {
    const TemporaryFolder folder;
    for (const std::string name : {"\xff", "a\nb", "\x1b[2J"}) {
        write_file(folder / "m.gguf", gguf_file({gguf_text("general.architecture", name)}, {}, ""));
        check_throws<FormatError>([&] { Checkpoint checkpoint(folder / "m.gguf"); },
                                  {"m.gguf", "general.architecture", detail::in_quotes(name)});
    }
}

TEST_CASE("two GGUF names that map to one are refused") {
    const TemporaryFolder folder;
    write_file(folder / "m.gguf", gguf_file({gguf_text("general.architecture", "llama")},
                                            {gguf_tensor("output.weight", {1}, 0, 0),
                                             gguf_tensor("lm_head.weight", {1}, 0, 32)},
                                            std::string(36, '\0')));
    check_throws<FormatError>([&] { Checkpoint checkpoint(folder / "m.gguf"); },
                              {"'lm_head.weight'", "two tensors"});
}

TEST_CASE("tensors of unknown size are no reason to count elements beyond 2^63") {
    const TemporaryFolder folder;
    const std::uint64_t two62 = std::uint64_t{1} << 62;
    const auto file = [&](std::uint64_t last) {
        return gguf_file({}, {gguf_tensor("a", {two62}, 99, 0), gguf_tensor("b", {last}, 99, 32)},
                         std::string(64, 'x'));
    };
    write_file(folder / "m.gguf", file(two62 - 1));
    const Checkpoint checkpoint(folder / "m.gguf");
    CHECK(checkpoint.num_parameters() == std::numeric_limits<Index>::max());
    CHECK(checkpoint.bytes() == 64);
    write_file(folder / "m.gguf", file(two62));
    check_throws<FormatError>([&] { Checkpoint too_many(folder / "m.gguf"); },
                              {"m.gguf", "'b'", "4611686018427387904", "2^63"});
}

TEST_CASE("a GGUF file without an architecture lists its tensors under their own names") {
    const TemporaryFolder folder;
    write_file(folder / "m.gguf", gguf_file({}, {gguf_tensor("blk.0.attn_q.weight", {32}, 19, 0)},
                                            std::string(200, '\0')));
    write_file(folder / "o.gguf",
               gguf_file({}, {gguf_tensor("t", {256}, 19, 0)}, std::string(50, 'x')));
    check_throws<FormatError>([&] { Checkpoint checkpoint(folder / "m.gguf"); }, {"IQ1_S", "256"});
    const Checkpoint checkpoint(folder / "o.gguf");
    CHECK(!checkpoint.hyperparameters());
    CHECK(checkpoint.config_json().empty());
    CHECK(checkpoint.raw("t").size() == 50);
    check_throws<ArgumentError>([&] { static_cast<void>(checkpoint.read<float>("t")); },
                                {"o.gguf", "'t'", "IQ1_S"});
    SafetensorsWriter writer(folder / "out");
    check_throws<ArgumentError>([&] { checkpoint.copy("t", DType::bf16, writer); },
                                {"'t'", "IQ1_S"});
}

TEST_CASE("a folder is config, weights in one file or several, and what lies beside them") {
    const TemporaryFolder folder;
    const std::string config = "{ \"model_type\": \"llama\", \"hidden_size\": 8,\n\"x\": [1] }\n";
    write_file(folder / "config.json", config);
    if (GENERATE(true, false)) {
        write_small_safetensors(folder / "model.safetensors");
    } else {
        ShardedSafetensorsWriter writer(folder.path(), {.max_shard_bytes = 8});
        writer.append("a", Tensor<float>({2, 2}, {1, 2, 3, 4}), DType::bf16);
        writer.append("b", Tensor<float>({1}, {5}));
        writer.finish();
        CHECK(std::filesystem::exists(folder / "model.safetensors.index.json"));
    }
    for (const std::string name :
         {"tokenizer.json", "tokenizer.model", "merges.txt", "vocab.json", "generation_config.json",
          gguf_metadata_file, "notes.md", "mpo_config.json", ".hidden.json", "weights.bin"})
        write_file(folder / name, std::string("x"));
    std::filesystem::create_directory(folder / "folder.json");

    for (const auto mode : both_modes) {
        const Checkpoint checkpoint(folder.path(), mode);
        CHECK(checkpoint.format() == CheckpointFormat::safetensors);
        CHECK(checkpoint.path() == folder.path());
        CHECK(checkpoint.config_json() == config);
        CHECK(checkpoint.hyperparameters()->hidden_size == 8);
        CHECK(checkpoint.hyperparameters()->tied_embeddings == TiedEmbeddings::yes);  // no lm_head
        REQUIRE(checkpoint.tensors().size() == 2);
        CHECK(checkpoint.info("a").type == StoredType(DType::bf16));
        CHECK(checkpoint.read<double>("a")(1, 0) == 3);
        CHECK(checkpoint.read<float>("b")(0) == 5);
        std::vector<std::string> names;
        for (const auto& path : checkpoint.side_files()) names.push_back(path.filename().string());
        CHECK(names == std::vector<std::string>{"generation_config.json", "merges.txt",
                                                gguf_metadata_file, "tokenizer.json",
                                                "tokenizer.model", "vocab.json"});
        check_throws<ArgumentError>([&] { checkpoint.write_gguf_metadata(folder / "x.gguf"); },
                                    {folder.path().string(), "not a GGUF"});
        check_throws<ArgumentError>([&] { static_cast<void>(checkpoint.info("c")); },
                                    {"'c'", folder.path().string(), "2 tensors"});
    }
}

TEST_CASE("a lone safetensors file has tensors and nothing else") {
    const TemporaryFolder folder;
    write_small_safetensors(folder / "x.safetensors");
    const Checkpoint checkpoint(folder / "x.safetensors");
    CHECK(checkpoint.tensors().size() == 2);
    CHECK(checkpoint.config_json().empty());
    CHECK(!checkpoint.hyperparameters());
    CHECK(checkpoint.side_files().empty());
}

TEST_CASE("every field of a config.json is read, and a wrong type is refused by its key") {
    const auto parse = [](const std::string& text) { return parse_config(text, "c.json"); };
    const auto p = parse(R"({"model_type":"qwen2","hidden_size":64,"intermediate_size":128,
        "num_hidden_layers":3,"num_attention_heads":8,"num_key_value_heads":null,"vocab_size":100,
        "max_position_embeddings":512,"rms_norm_eps":1e-6,"rope_parameters":{"rope_theta":5e5},
        "tie_word_embeddings":false,"bos_token_id":null,"eos_token_id":[7,8],"other":{"a":[]}})");
    CHECK(p.model_type == "qwen2");
    CHECK(p.num_key_value_heads == 8);
    CHECK(p.head_dim == 8);
    CHECK(p.rms_norm_eps == 1e-6);
    CHECK(p.rope_theta == 5e5);
    CHECK(p.tied_embeddings == TiedEmbeddings::no);
    CHECK(p.bos_token_ids.empty());
    CHECK(p.eos_token_ids == std::vector<Index>{7, 8});
    CHECK(to_config_json(p, DType::f64).find("\"Qwen2ForCausalLM\"") != std::string::npos);
    CHECK(parse(to_config_json(p, DType::f64)).eos_token_ids == p.eos_token_ids);
    CHECK(parse(R"({"rope_theta":3})").rope_theta == 3);
    CHECK(parse("{}").tied_embeddings == TiedEmbeddings::unknown);
    for (const std::string text :
         {R"({"hidden_size":"8"})", R"({"hidden_size":-8})", R"({"hidden_size":8.5})",
          R"({"hidden_size":18446744073709551615})", R"({"hidden_size":[8]})"})
        check_throws<FormatError>([&] { static_cast<void>(parse(text)); },
                                  {"c.json", "'hidden_size'"});
    check_throws<FormatError>([&] { static_cast<void>(parse(R"({"rope_theta":"x"})")); },
                              {"'rope_theta'"});
    check_throws<FormatError>([&] { static_cast<void>(parse(R"({"model_type":1})")); },
                              {"'model_type'"});
    check_throws<FormatError>([&] { static_cast<void>(parse(R"({"tie_word_embeddings":1})")); },
                              {"'tie_word_embeddings'"});
    check_throws<FormatError>([&] { static_cast<void>(parse(R"({"eos_token_id":["x"]})")); },
                              {"'eos_token_id'"});
    const std::string deep(1'000'000, '['), end(1'000'000, ']');
    check_throws<FormatError>(
        [&] { static_cast<void>(parse("{\"vocab_size\":" + deep + end + "}")); },
        {"c.json", "nested more than 32", "byte 45"});
    check_throws<FormatError>([&] { static_cast<void>(parse(R"({"vocab_size":[[1]]})")); },
                              {"c.json", "'vocab_size'", "array"});
    check_throws<FormatError>(
        [&] { static_cast<void>(parse(R"({"vocab_size":1,"vocab_size":2})")); },
        {"c.json", "'vocab_size' at byte 16", "twice"});
    check_throws<FormatError>([&] { static_cast<void>(parse(std::string("{}\0{}", 5))); },
                              {"c.json", "byte 2", "NUL"});
    check_throws<FormatError>([&] { static_cast<void>(parse("[]")); }, {"c.json", "object"});
    check_throws<FormatError>([&] { static_cast<void>(parse("{")); }, {"c.json"});
}

TEST_CASE("copy stores numbers as asked, equal types byte for byte, and the rest untouched") {
    const TemporaryFolder folder;
    const std::string bytes(24, '\x7f');
    SafetensorsWriter source(folder / "in.safetensors");
    source.append("bf16", normal_tensor<float>({3, 2}, 1), DType::bf16);
    source.append("f32", Tensor<float>({2}, {1.5f, -2}));
    source.append("f64", Tensor<double>({1}, {1 + std::ldexp(1.0, -8) + std::ldexp(1.0, -40)}));
    source.append("i64", DType::i64, {3}, std::as_bytes(std::span(bytes)));
    source.append("f8", DType::f8_e4m3, {24}, std::as_bytes(std::span(bytes)));
    source.append("c64", Tensor<std::complex<float>>({1}, {{1, 2}}));
    source.append("large", Tensor<float>({1}, {3.4e38f}));
    source.finish();
    const Checkpoint checkpoint(folder / "in.safetensors");

    SafetensorsWriter writer(folder / "out.safetensors");
    for (const std::string name : {"bf16", "f32", "f64", "i64", "f8", "c64"})
        checkpoint.copy(name, DType::bf16, writer);
    check_throws<NumericalError>([&] { checkpoint.copy("large", DType::bf16, writer); },
                                 {"'large'"});
    writer.finish();
    const SafetensorsFile out(folder / "out.safetensors");
    const auto raw = [&](const std::string& name) {
        const auto stored = out.bytes(name);
        const auto before = checkpoint.raw(name);
        return std::equal(stored.span().begin(), stored.span().end(), before.span().begin(),
                          before.span().end());
    };
    CHECK(raw("bf16"));
    CHECK(raw("i64"));
    CHECK(raw("f8"));
    CHECK(raw("c64"));
    CHECK(out.info("i64").dtype == DType::i64);
    CHECK(out.info("f32").dtype == DType::bf16);
    CHECK(same(out.read<float>("f32"), checkpoint.read<float>("f32")));
    CHECK(out.read<double>("f64").data()[0] == 1 + std::ldexp(1.0, -7));  // rounded once
}

TEST_CASE("a GGUF checkpoint copied to a folder is the same checkpoint") {
    const TemporaryFolder folder;
    const Checkpoint source(fixture("tiny_llama.gguf"));
    ShardedSafetensorsWriter writer(folder.path(), {.max_shard_bytes = 20'000});
    for (const auto& tensor : source.tensors()) source.copy(tensor.name, DType::f32, writer);
    writer.finish();
    write_text_file(folder / "config.json", source.config_json(DType::f32));
    source.write_gguf_metadata(folder / gguf_metadata_file);

    const Checkpoint copy(folder.path());
    REQUIRE(copy.tensors().size() == source.tensors().size());
    for (const auto& tensor : source.tensors())
        CHECK(same(copy.read<float>(tensor.name), source.read<float>(tensor.name)));
    CHECK(copy.config_json() == source.config_json(DType::f32));
    CHECK(copy.hyperparameters()->rope_theta == source.hyperparameters()->rope_theta);
    REQUIRE(copy.side_files().size() == 1);
    CHECK(GgufFile(copy.side_files()[0]).find("tokenizer.ggml.tokens") != nullptr);
    CHECK(Checkpoint(copy.side_files()[0]).hyperparameters()->hidden_size == 32);
}

TEST_CASE("threads may read one checkpoint at once") {
    const SafetensorsFile expected(fixture("tiny_llama_expected.safetensors"));
    for (const auto mode : both_modes) {
        const Checkpoint checkpoint(fixture("tiny_llama.gguf"), mode);
        std::vector<int> wrong(4);
        std::vector<std::thread> threads;
        for (auto& count : wrong)
            threads.emplace_back([&] {
                for (const auto& tensor : checkpoint.tensors())
                    if (!same(checkpoint.read<float>(tensor.name),
                              expected.read<float>(tensor.name)))
                        ++count;
            });
        for (auto& thread : threads) thread.join();
        CHECK(wrong == std::vector<int>(4));
    }
}

TEST_CASE("what is no checkpoint is refused by path and reason") {
    const TemporaryFolder folder;
    const auto open = [&](const std::filesystem::path& path) {
        return [path] { Checkpoint c(path); };
    };
    check_throws<FileError>(open(folder / "none"), {"none", "No such file"});
    check_throws<FileError>(open(folder / "none.gguf"), {"none.gguf", "No such file"});
    check_throws<FileError>(open(folder.path()),
                            {folder.path().string(), "neither model.safetensors"});
    write_file(folder / "x.bin", std::string("x"));
    check_throws<FormatError>(open(folder / "x.bin"), {"x.bin", "neither a folder"});
    write_small_safetensors(folder / "model.safetensors");
    check_throws<FileError>(open(folder.path()), {"config.json", "No such file"});
    write_file(folder / "config.json", std::string("{"));
    check_throws<FormatError>(open(folder.path()), {"config.json"});
    write_file(folder / "config.json", std::string());
    check_throws<FormatError>(open(folder.path()), {"config.json"});
    std::filesystem::resize_file(folder / "config.json", (16u << 20) + 1);
    check_throws<FormatError>(open(folder.path()), {"config.json", "16777217", "16777216"});
    write_file(folder / "x.gguf", std::string("GGML"));
    check_throws<FormatError>(open(folder / "x.gguf"), {"x.gguf", "GGUF"});
}
