#include "mpo/model/transformer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "mpo/core/parallel.hpp"
#include "mpo/model/attention.hpp"
#include "mpo/model/progress.hpp"
#include "mpo/network/algebra.hpp"
#include "mpo/network/decompose.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/gguf_bytes.hpp"
#include "support/hashed_weights.hpp"
#include "support/models.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

[[nodiscard]] double largest(const Tensor<float>& a) {
    double most = 0;
    for (Index k = 0; k < a.size(); ++k)
        most = std::max(most, std::abs(static_cast<double>(a.data()[k])));
    return most;
}

/// Largest difference over the largest element of b; infinite where shapes differ.
[[nodiscard]] double distance(const Tensor<float>& a, const Tensor<float>& b) {
    if (a.shape() != b.shape()) return std::numeric_limits<double>::infinity();
    double most = 0;
    for (Index k = 0; k < a.size(); ++k) {
        const double difference = std::abs(static_cast<double>(a.data()[k]) - b.data()[k]);
        most = difference <= most ? most : difference;  // NaN wins
    }
    return most / largest(b);
}

/// How far logits of one model may lie apart when they are summed in another order.
[[nodiscard]] double reordered(const TransformerConfig& config) {
    const Index steps = config.num_layers * (config.hidden_size + config.intermediate_size);
    return tolerance<float>(steps, 1);
}

[[nodiscard]] Tensor<float> logits_from(const Transformer& model,
                                        const std::vector<Index>& tokens) {
    auto cache = model.make_cache(static_cast<Index>(tokens.size()));
    return model.logits(model.forward(tokens, cache));
}

/// A decoder in a folder of its own.
struct Written {
    explicit Written(const std::string& name, const ChangeTensor& change = {})
        : decoder(tiny_decoder(name)) {
        write_decoder(path, decoder, change);
    }
    [[nodiscard]] Transformer open(const TransformerOptions& options = {}) const {
        return Transformer(path, options, cpu);
    }
    /// Writes config.json again with another value; null removes the field.
    void set(const std::string& field, const nlohmann::ordered_json& value) {
        if (value.is_null())
            decoder.config.erase(field);
        else
            decoder.config[field] = value;
        write_file(path / "config.json", decoder.config.dump());
    }
    TemporaryFolder folder;
    std::filesystem::path path = folder / "model";
    TinyDecoder decoder;
};

/// Drops or replaces the one tensor of that name.
[[nodiscard]] ChangeTensor only(const std::string& wanted,
                                const std::function<Tensor<float>(Tensor<float>)>& change) {
    return [=](const std::string& name, Tensor<float> tensor) {
        return name == wanted ? change(std::move(tensor)) : std::move(tensor);
    };
}

}  // namespace

TEST_CASE("transformer: twenty decoders give numpy's logits") {
    const SafetensorsFile expected(fixture("decoder_logits.safetensors"));
    const auto decoders = tiny_decoders();
    REQUIRE(decoders.size() == 20);
    for (const auto& decoder : decoders) {
        INFO(decoder.name);
        const TemporaryFolder folder;
        write_decoder(folder / "model", decoder);
        CHECK(std::filesystem::exists(folder / "model" / "model.safetensors.index.json") ==
              (decoder.shards > 1));
        const Transformer model(folder / "model", {}, cpu);
        CHECK(distance(logits_from(model, decoder.tokens), expected.read<float>(decoder.name)) <
              2e-5);
    }
}

TEST_CASE("transformer: chunks, single tokens and other thread counts give the same logits") {
    const Written written("long");
    const auto model = written.open();
    const auto& tokens = written.decoder.tokens;
    const auto whole = logits_from(model, tokens);
    TransformerOptions tight;
    tight.max_workspace_bytes = 64 << 10;
    const auto chunked = written.open(tight);
    CHECK(chunked.chunk_tokens() < 150);
    CHECK(chunked.chunk_tokens() > 1);
    CHECK(distance(logits_from(chunked, tokens), whole) < reordered(model.config()));

    auto cache = model.make_cache(512);
    Tensor<float> stepwise(whole.shape());
    const std::span<const Index> all(tokens);
    for (std::size_t k = 0, step = 1; k < tokens.size(); k += step) {
        step = k == 100 ? 7 : 1;  // a few tokens in one call, behind others
        const auto row = model.logits(model.forward(all.subspan(k, step), cache));
        std::copy_n(row.data(), row.size(),
                    stepwise.data() + static_cast<Index>(k) * row.extent(1));
    }
    CHECK(cache.length() == static_cast<Index>(tokens.size()));
    CHECK(distance(stepwise, whole) < reordered(model.config()));

    cache.truncate(20);  // what lies behind is forgotten
    const auto again = model.logits(model.forward(all.subspan(20, 250), cache));
    double most = 0;
    for (Index k = 0; k < again.size(); ++k)
        most = std::max(most, std::abs(static_cast<double>(again.data()[k]) -
                                       whole.data()[20 * whole.extent(1) + k]));
    CHECK(most < reordered(model.config()) * largest(whole));

    const int threads = num_threads();
    set_num_threads(threads == 1 ? 2 : 1);
    CHECK(distance(logits_from(model, tokens), whole) < reordered(model.config()));
    set_num_threads(threads);
}

TEST_CASE("transformer: bfloat16 weights in memory are those of the file") {
    const Written written("sharded_bf16");
    TransformerOptions wide;
    wide.precision = WeightPrecision::f32;
    const auto narrow = written.open(), model = written.open(wide);
    CHECK(2 * narrow.dense_bytes() == model.dense_bytes());
    const auto& tokens = written.decoder.tokens;
    CHECK(distance(logits_from(narrow, tokens), logits_from(model, tokens)) <
          reordered(model.config()));
}

TEST_CASE("transformer: a compressed checkpoint is the dense one of the same matrices") {
    const Written written("group_2");
    const auto& shapes = written.decoder.shapes;
    std::vector<CompressedLinear> linears;
    std::vector<Mpo<float>> chains;
    for (const auto& [name, shape] : shapes) {  // low rank, two sites, and dense ones among them
        if (name.find("proj.weight") == std::string::npos || linears.size() == 9) continue;
        const Index m = shape[0], n = shape[1];
        const Layout layout =
            linears.size() % 2 == 0 ? low_rank_layout(m, n) : Layout{{m / 8, 8}, {8, n / 8}};
        const auto W = hashed_tensor(name, shape, written.decoder.seed);
        chains.push_back(
            decompose(W, {.layout = layout, .truncation = {.max_bond_dim = 12}}, cpu).mpo);
        linears.push_back({name.substr(0, name.size() - 7), layout, chains.back().bond_dims(),
                           DType::f32, "F32", shape, 0, ErrorKind::exact});
    }
    const auto at = [&](const std::string& name) {
        const auto found = std::find_if(linears.begin(), linears.end(), [&](const auto& linear) {
            return linear.name + ".weight" == name;
        });
        return found - linears.begin();
    };
    const auto dense = written.folder / "dense", small = written.folder / "small";
    write_decoder(dense, written.decoder, [&](const std::string& name, Tensor<float> W) {
        const auto k = static_cast<std::size_t>(at(name));
        return k < chains.size() ? to_dense(chains[k], cpu) : std::move(W);
    });
    std::filesystem::create_directory(small);
    std::filesystem::copy_file(dense / "config.json", small / "config.json");
    write_file(small / compressed_config_file, to_compressed_config(linears));
    SafetensorsWriter writer(small / "model.safetensors");
    for (const auto& [name, shape] : shapes) {
        const auto k = static_cast<std::size_t>(at(name));
        if (k == chains.size())
            writer.append(name, hashed_tensor(name, shape, written.decoder.seed));
        for (Index site = 0; k < chains.size() && site < chains[k].num_sites(); ++site)
            writer.append(core_name(linears[k].name, site), chains[k].core(site));
    }
    writer.finish();
    const Transformer model(small, {}, cpu), twin(dense, {}, cpu);
    CHECK(model.layers()[0].up.form() == WeightForm::mpo);
    CHECK(model.layers()[1].up.form() == WeightForm::dense);
    CHECK(model.layers()[0].up.num_parameters() == chains[5].num_parameters());
    CHECK(distance(logits_from(model, written.decoder.tokens),
                   logits_from(twin, written.decoder.tokens)) < reordered(model.config()));
}

TEST_CASE("transformer: an observer hears of every linear with its inputs") {
    const Written written("plain");
    const auto model = written.open();
    const auto& tokens = written.decoder.tokens;
    auto cache = model.make_cache(13);
    Tensor<float> hidden({13, 32});
    std::vector<std::string> names;
    model.forward(tokens, cache, matrix(hidden.data(), 13, 32),
                  [&](const std::string& name, MatrixView<const float> X) {
                      names.push_back(name);
                      CHECK(X.rows == 13);
                      CHECK(X.cols == (name.ends_with("down_proj") ? 48 : 32));
                  });
    REQUIRE(names.size() == 14);
    CHECK(names[0] == "model.layers.0.self_attn.q_proj");
    CHECK(names[13] == "model.layers.1.mlp.down_proj");

    TransformerOptions tight;
    tight.max_workspace_bytes = 1;  // a chunk is one token: the second one fails
    const auto failing = written.open(tight);
    cache.truncate(0);
    const auto stop = [&](const std::string&, MatrixView<const float>) {
        if (names.size() == 30) throw Cancelled("enough");
        names.emplace_back();
    };
    CHECK_THROWS_AS(failing.forward(tokens, cache, matrix(hidden.data(), 13, 32), stop), Cancelled);
    CHECK(cache.length() == 0);
}

TEST_CASE("transformer: what would be another decoder is refused by name") {
    struct Lie {
        const char* field;
        nlohmann::ordered_json value;
        std::vector<std::string> message;
    };
    const nlohmann::ordered_json yarn{{"rope_type", "yarn"}, {"factor", 4.0}};
    const nlohmann::ordered_json longrope{
        {"rope_type", "linear"}, {"factor", 2.0}, {"short_factor", 1}};
    const Lie lies[] = {
        {"model_type", "gemma2", {"gemma2", "llama, mistral, qwen2"}},
        {"hidden_act", "gelu", {"hidden_act", "gelu", "\"silu\""}},
        {"rope_scaling", yarn, {"yarn"}},
        {"rope_scaling", longrope, {"rope_scaling.short_factor"}},
        {"rope_interleaved", true, {"rope_interleaved", "must be false"}},
        {"partial_rotary_factor", 0.5, {"partial_rotary_factor", "0.5"}},
        {"use_sliding_window", true, {"use_sliding_window"}},
        {"sliding_window", 64, {"sliding_window", "64"}},
        {"attn_logit_softcapping", 50.0, {"attn_logit_softcapping", "may change the mathematics"}},
        {"num_local_experts", 8, {"num_local_experts"}},
        {"layer_types",
         {"full_attention", "sliding_attention"},
         {"layer_types", "sliding_attention"}},
        {"quantization_config", {{"bits", 4}}, {"quantization_config"}},
        {"attention_bias", true, {"q_proj.bias", "missing"}},
        {"mlp_bias", true, {"gate_proj.bias", "missing"}},
        {"num_key_value_heads", 3, {"4 heads are no multiple of 3"}},
        {"head_dim", 7, {"head_dim must be even, got 7"}},
        {"rms_norm_eps", nullptr, {"rms_norm_eps"}},
        {"max_position_embeddings", nullptr, {"max_position_embeddings"}},
        {"num_hidden_layers", 3, {"promises 3 layers", "model.layers.2.input_layernorm.weight"}},
        {"num_hidden_layers", 1, {"model.layers.1.", "no place in this decoder"}},
        {"intermediate_size", 50, {"gate_proj.weight", "50 x 32", "48 x 32"}},
        {"tie_word_embeddings", false, {}},
    };
    for (const auto& lie : lies) {
        INFO(lie.field << " = " << lie.value);
        Written written("plain");
        written.set(lie.field, lie.value);
        if (lie.message.empty())
            CHECK_NOTHROW(written.open());
        else
            check_throws<FormatError>([&] { (void)written.open(); }, lie.message);
    }
    Written harmless("plain");
    harmless.set("use_mrope", false);  // switched off is as good as absent
    harmless.set("transformers_version", "4.40");
    CHECK_NOTHROW(harmless.open());
}

TEST_CASE("transformer: missing, misshapen, poisoned and foreign tensors are refused by name") {
    const std::string down = "model.layers.1.mlp.down_proj.weight";
    const Written missing("plain", only(down, [](auto) { return Tensor<float>(); }));
    check_throws<FormatError>([&] { (void)missing.open(); }, {down, "is missing"});
    const Written wrong("plain", only(down, [](auto) { return Tensor<float>({48, 32}); }));
    check_throws<FormatError>([&] { (void)wrong.open(); }, {down, "32 x 48", "48 x 32"});
    const Written poisoned("plain", only(down, [](Tensor<float> W) {
                               W.data()[7] = std::numeric_limits<float>::quiet_NaN();
                               return W;
                           }));
    check_throws<NumericalError>([&] { (void)poisoned.open(); }, {down, "nan", "element 7"});

    Written foreign("plain");
    foreign.decoder.shapes.emplace_back("model.layers.0.self_attn.q_norm.weight", Shape{8});
    write_decoder(foreign.folder / "foreign", foreign.decoder);
    check_throws<FormatError>([&] { (void)Transformer(foreign.folder / "foreign", {}, cpu); },
                              {"q_norm.weight", "no place in this decoder"});
    check_throws<FormatError>(
        [&] { (void)Transformer(foreign.path / "model.safetensors", {}, cpu); },
        {"holds no config.json"});
}

TEST_CASE("transformer: tokens that do not fit are refused, and the cache stays as it was") {
    const Written written("plain");
    const auto model = written.open();
    auto cache = model.make_cache(5);
    const auto take = [&](const std::vector<Index>& tokens) { (void)model.forward(tokens, cache); };
    take({1, 2, 3});
    check_throws<ArgumentError>([&] { take({}); }, {"no tokens"});
    check_throws<ArgumentError>([&] { take({4, 40}); }, {"token 1 is 40", "vocabulary has 40"});
    check_throws<ArgumentError>([&] { take({-1}); }, {"token 0 is -1"});
    check_throws<ArgumentError>([&] { take({1, 2, 3}); }, {"3 tokens behind 3", "of 5"});
    check_throws<ArgumentError>([&] { (void)model.make_cache(513); }, {"513", "512"});
    CHECK(cache.length() == 3);
    take({4, 5});
    CHECK(cache.length() == 5);
    CHECK(logits_from(model, {7}).extent(0) == 1);  // one token is a text
    auto other = Written("deep").open().make_cache(5);
    const std::vector<Index> one{1};
    check_throws<ShapeError>([&] { (void)model.forward(one, other); }, {"another model"});
}

TEST_CASE("transformer: a GGUF llama gives the logits of its Hugging Face twin") {
    const TemporaryFolder folder;
    const Checkpoint gguf(fixture("tiny_llama.gguf"));
    std::filesystem::create_directory(folder / "twin");
    write_file(folder / "twin" / "config.json", gguf.config_json(DType::f32));
    std::filesystem::copy_file(fixture("tiny_llama_expected.safetensors"),
                               folder / "twin" / "model.safetensors");
    const Transformer ours(fixture("tiny_llama.gguf"), {}, cpu), twin(folder / "twin", {}, cpu);
    const std::vector<Index> tokens{3, 1, 4, 1, 5, 2, 6};
    CHECK(distance(logits_from(ours, tokens), logits_from(twin, tokens)) == 0);
}

TEST_CASE("transformer: metadata of a GGUF that would make another decoder are refused by name") {
    const TemporaryFolder folder;
    const auto message = [&](const Bytes& extra) {
        std::vector<Bytes> pairs{gguf_text("general.architecture", "llama"),
                                 gguf_u32("llama.embedding_length", 64),
                                 gguf_u32("llama.attention.head_count", 2), extra};
        write_file(folder / "a.gguf", gguf_file(pairs, {}, ""));
        return message_of<FormatError>([&] { (void)Transformer(folder / "a.gguf", {}, cpu); });
    };
    const auto says = [](const std::string& text, const std::string& piece) {
        INFO(text);
        return text.find(piece) != std::string::npos;
    };
    CHECK(says(message(gguf_u32("llama.expert_count", 8)), "'llama.expert_count' is not known"));
    CHECK(says(message(gguf_text("llama.pooling", "x")), "'llama.pooling' is not known"));
    CHECK(says(message(gguf_u32("llama.rope.dimension_count", 16)), "must be the 32 elements"));
    CHECK(says(message(gguf_u32("llama.attention.value_length", 16)), "must be the 32 elements"));
    for (const char* harmless : {"llama.expert_count", "general.file_type"})  // none, not ours
        CHECK(says(message(gguf_u32(harmless, 0)), "'intermediate_size' must be at least 1"));
}

TEST_CASE("transformer: divisors of frequencies do what the scaling they came from does") {
    auto decoder = tiny_decoder("llama3_rope");
    const auto stretched = rotary_frequencies(16, 500000, {"llama3", 8, 1, 4, 16});
    const auto plain = rotary_frequencies(16, 500000, {});
    decoder.config["rope_scaling"] = {{"rope_type", gguf_rope_divisors}};
    decoder.shapes.emplace_back("rope_freqs.weight", Shape{8});
    const TemporaryFolder folder;
    const auto write = [&](float first) {
        write_decoder(folder / "model", decoder, [&](const std::string& name, Tensor<float> W) {
            if (name != "rope_freqs.weight") return W;
            for (Index j = 0; j < 8; ++j) {
                const auto at = static_cast<std::size_t>(j);
                W(j) = static_cast<float>(plain[at] / stretched[at]);
            }
            W(0) *= first;
            return W;
        });
    };
    write(1);
    const auto expected =
        SafetensorsFile(fixture("decoder_logits.safetensors")).read<float>(decoder.name);
    CHECK(distance(logits_from(Transformer(folder / "model", {}, cpu), decoder.tokens), expected) <
          2e-5);
    const auto open = [&] { (void)Transformer(folder / "model", {}, cpu); };
    write(-1);
    check_throws<FormatError>(open, {"rope_freqs.weight", "above 0", "-1"});
    decoder.dtype = DType::bf16;
    write(1);
    check_throws<FormatError>(open, {"rope_freqs.weight", "8 numbers of F32", "BF16"});
    decoder.shapes.pop_back();
    write(1);
    check_throws<FormatError>(open, {"rope_freqs.weight", "is missing"});
}

TEST_CASE("transformer: its pieces refuse what does not fit") {
    check_throws<ArgumentError>([] { (void)rotary_frequencies(7, 1e4, {}); }, {"even", "7"});
    check_throws<ArgumentError>([] { (void)rotary_frequencies(8, 0, {}); }, {"theta", "0"});
    check_throws<ArgumentError>(
        [] {
            (void)rotary_frequencies(8, 1e4, {"linear", 0, 0, 0, 0});
        },
        {"factor must be > 0"});
    check_throws<ArgumentError>(
        [] {
            (void)rotary_frequencies(8, 1e4, {"llama3", 8, 4, 4, 9});
        },
        {"low_freq_factor < high_freq_factor", "4, 4 and 9"});
    check_throws<ArgumentError>([] { (void)KvCache(1, 1, 8, 0); }, {"1, 1, 8 and 0"});
    KvCache cache(1, 2, 8, 4);
    check_throws<ArgumentError>([&] { cache.truncate(1); }, {"0 to 0", "got 1"});
    std::vector<float> row(24);
    check_throws<ShapeError>([&] { attend(row.data(), 1, 3, cache, 0, row.data(), cpu); },
                             {"3 heads", "multiple of the 2"});
    const Tensor<float> W({3, 2}), X({4, 3});
    Tensor<float> Y({4, 3});
    check_throws<ShapeError>(
        [&] { (void)Linear("some.module", matrix(W.data(), 3, 2), Tensor<float>({2}), {}, cpu); },
        {"some.module", "3 elements", "2"});
    const Linear linear("some.module", matrix(W.data(), 3, 2), {}, {}, cpu);
    check_throws<ShapeError>([&] { linear.apply(matrix(X.data(), 4, 3), matrix(Y.data(), 4, 3)); },
                             {"some.module", "X (B, 2)", "4 x 3"});
    const auto config = Written("plain").open().config();
    check_throws<ShapeError>([&] { (void)Transformer(config, TransformerWeights(), {}, cpu); },
                             {"the embedding must be 40 x 32"});
}

TEST_CASE("transformer: scalings and divisors of a GGUF reach config.json") {
    const TemporaryFolder folder;
    const auto config = [&](const std::vector<Bytes>& extra, const std::vector<float>& divisors) {
        std::vector<Bytes> pairs{gguf_text("general.architecture", "llama"),
                                 gguf_u32("llama.embedding_length", 64),
                                 gguf_u32("llama.attention.head_count", 2),
                                 gguf_pair("llama.rope.freq_base", 6, 500000.0f)};
        pairs.insert(pairs.end(), extra.begin(), extra.end());
        std::string data;
        for (const float x : divisors) data += Bytes().number(x).data();
        std::vector<Bytes> tensors;
        if (!divisors.empty())
            tensors = {gguf_tensor("rope_freqs.weight", {divisors.size()}, 0, 0)};
        write_file(folder / "a.gguf", gguf_file(pairs, tensors, data));
        return nlohmann::json::parse(Checkpoint(folder / "a.gguf").config_json());
    };
    CHECK(!config({}, {}).contains("rope_scaling"));
    CHECK(!config({gguf_text("llama.rope.scaling.type", "none")}, {}).contains("rope_scaling"));
    const auto factor = gguf_pair("llama.rope.scaling.factor", 6, 4.0f);
    CHECK(config({factor}, {})["rope_scaling"] ==
          nlohmann::json{{"rope_type", "linear"}, {"factor", 4.0}});
    const auto yarn = config({factor, gguf_text("llama.rope.scaling.type", "yarn"),
                              gguf_u32("llama.rope.scaling.original_context_length", 4096)},
                             {})["rope_scaling"];
    CHECK(yarn == nlohmann::json{{"rope_type", "yarn"},
                                 {"factor", 4.0},
                                 {"original_max_position_embeddings", 4096}});

    const RopeScaling usual{"llama3", 32, 1, 4, 8192};
    const auto stretched = rotary_frequencies(32, 500000, usual);
    const auto plain = rotary_frequencies(32, 500000, {});
    std::vector<float> divisors;
    for (std::size_t j = 0; j < 16; ++j)
        divisors.push_back(static_cast<float>(plain[j] / stretched[j]));
    CHECK(config({}, divisors)["rope_scaling"] ==
          nlohmann::json{{"rope_type", "llama3"},
                         {"factor", 32.0},
                         {"low_freq_factor", 1.0},
                         {"high_freq_factor", 4.0},
                         {"original_max_position_embeddings", 8192}});
    divisors[3] = 2;
    CHECK(config({}, divisors)["rope_scaling"]["rope_type"] == gguf_rope_divisors);
}
