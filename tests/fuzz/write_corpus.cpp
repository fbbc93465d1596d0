// write_corpus FOLDER: the files that the fuzz targets begin with, one folder per target: what the unit
// tests refuse rule by rule, and something legal of every kind.

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "fuzz/tiny_moments.hpp"
#include "mpo/model/compressed.hpp"
#include "support/gguf_lies.hpp"
#include "support/safetensors_lies.hpp"
#include "support/tokenizer_lies.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

constexpr std::size_t max_bytes = 4096;  // larger inputs make slow targets

void write(const std::filesystem::path& folder, const std::string& data) {
    if (data.size() > max_bytes) return;
    std::filesystem::create_directories(folder);
    static int number = 0;
    std::ofstream file(folder / ("seed_" + std::to_string(number++)), std::ios::binary);
    file.write(data.data(), static_cast<std::streamsize>(data.size()));
    if (!file.flush()) throw FileError("write_corpus: cannot write to " + folder.string());
}

[[nodiscard]] std::string read(const std::string& name) {
    std::ifstream file(std::filesystem::path(MPO_FIXTURES_DIR) / name, std::ios::binary);
    if (!file) throw FileError("write_corpus: cannot read the fixture " + name);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// A llama of one layer whose tensors are tiny, with a tokenizer.
[[nodiscard]] std::vector<Bytes> llama_pairs() {
    const auto array = [](const std::string& key, std::uint32_t type, std::uint64_t count,
                          const Bytes& elements) {
        return Bytes()
            .string(key)
            .number(std::uint32_t{9})
            .text(gguf_array_of(type, count).text(elements.data()).data());
    };
    const Bytes tokens = Bytes()
                             .string("<s>")
                             .string(
                                 "\xe2\x96\x81"
                                 "a")
                             .string("<0x0A>");
    return {gguf_text("general.architecture", "llama"),
            gguf_u32("llama.embedding_length", 4),
            gguf_u32("llama.block_count", 1),
            gguf_u32("llama.attention.head_count", 2),
            gguf_u32("llama.attention.head_count_kv", 1),
            gguf_pair("llama.attention.layer_norm_rms_epsilon", 6, 1e-5f),
            gguf_pair("llama.rope.freq_base", 6, 10000.0f),
            gguf_text("tokenizer.ggml.model", "llama"),
            array("tokenizer.ggml.tokens", 8, 3, tokens),
            array("tokenizer.ggml.scores", 6, 3, Bytes().number(0.0f).number(-1.0f).number(-2.0f)),
            array("tokenizer.ggml.token_type", 5, 3, Bytes().number(3).number(1).number(6)),
            array("tokenizer.ggml.merges", 8, 1, Bytes().string("a b")),
            gguf_u32("tokenizer.ggml.bos_token_id", 1),
            gguf_u32("tokenizer.ggml.eos_token_id", 2)};
}

void write_gguf(const std::filesystem::path& folder) {
    for (const auto& lie : gguf_lies()) write(folder / "gguf", lie.file.data());
    const std::string data(256, '\1');
    const std::vector<Bytes> tensors{gguf_tensor("blk.0.attn_q.weight", {4, 4}, 0, 0),
                                     gguf_tensor("blk.0.ffn_up.weight", {32, 2}, 2, 64),
                                     gguf_tensor("opaque", {32}, 20, 128),
                                     gguf_tensor("unknown", {5}, 99, 160)};
    write(folder / "gguf", gguf_file(llama_pairs(), tensors, data).data());
    write(folder / "gguf", gguf_file({gguf_u32("general.alignment", 64)}, {}, data, 64).data());
    const auto pairs = llama_pairs();
    Bytes metadata;
    for (const auto& pair : pairs) metadata.text(pair.data());
    write(folder / "gguf_metadata", static_cast<char>(pairs.size()) + metadata.data());
    for (const auto& lies : {lying_values(), lying_arrays()})
        for (const auto& lie : lies)
            if (lie.file.size() > 24)
                write(folder / "gguf_metadata", '\1' + lie.file.data().substr(24));
}

/// The vocabulary without most of its bytes.
[[nodiscard]] Vocabulary tiny(Vocabulary vocabulary) {
    Vocabulary result = vocabulary;
    result.tokens.clear(), result.types.clear(), result.scores.clear();
    for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
        const auto& token = vocabulary.tokens[id];
        const bool rare = (token.size() <= 2 || token.starts_with("<0x")) && id % 16 != 0;
        if (rare && std::string_view("theab").find(token) == std::string_view::npos) continue;
        result.tokens.push_back(token);
        result.types.push_back(vocabulary.types[id]);
        if (!vocabulary.scores.empty()) result.scores.push_back(vocabulary.scores[id]);
    }
    return result;
}

void write_tokenizers(const std::filesystem::path& folder) {
    for (auto vocabulary : {small_byte_level(), small_sentencepiece()})
        for (const auto kind : {PreTokenizer::gpt2, PreTokenizer::smollm, PreTokenizer::llama_bpe,
                                PreTokenizer::qwen2}) {
            vocabulary.pre_tokenizer = kind;
            vocabulary.bos = 0, vocabulary.eos = 1;
            const auto pairs = tokenizer_pairs(tiny(vocabulary));
            Bytes metadata;
            for (const auto& pair : pairs) metadata.text(pair.data());
            write(folder / "gguf_metadata", static_cast<char>(pairs.size()) + metadata.data());
        }
    for (const auto& lie : lying_tokenizer_metadata())
        write(folder / "gguf_metadata", lie.file.data()[16] + lie.file.data().substr(24));
    write(folder / "tokenizer", tokenizer_json(small_byte_level()));
    write(folder / "tokenizer", tokenizer_json(tiny(small_byte_level())));
    for (const auto& lie : lying_tokenizer_json()) write(folder / "tokenizer", lie.file.data());
}

void write_json(const std::filesystem::path& folder) {
    const CompressedLinear linear{"l",    {{3, 2}, {2, 2}}, {1, 3, 1}, DType::f32,
                                  "Q4_1", {6, 4},           0.25,      ErrorKind::bound};
    const auto config = to_compressed_config({linear});
    write(folder / "compressed", config);
    auto fixed = linear;
    fixed.stored_as = StoredAs::gauge_fixed;
    fixed.center = 1;
    write(folder / "compressed", to_compressed_config({fixed}));
    write(folder / "compressed", R"({"format_version":1,"linears":{}})" + std::string(1, '\0') +
                                     with_header("{}", 0).data());
    write(folder / "compressed", read("compressed_v1/mpo_config.json"));
    write(folder / "config", read("compressed_v1/config.json"));
    write(folder / "config", R"({"weight_map":{"x":"a","y":"a","z":"b"},"metadata":{"n":[1]}})");
    write(folder / "config", R"({"rope_parameters":{"rope_theta":1e4},"eos_token_id":[1,2]})");
    for (const auto& lies : {broken_header_texts(), lying_names(), lying_entries()})
        for (const auto& lie : lies)
            for (const char* target : {"config", "compressed"})
                write(folder / target, lie.file.data().substr(8));
}

/// Of one flow without sinks, and of both with two.
void write_moments(const std::filesystem::path& folder) {
    const auto config = fuzz::tiny_config();
    const auto path = std::filesystem::temp_directory_path() / "mpo_write_corpus.safetensors";
    const EigenBackend backend;
    const Tensor<float> X({4, 2}, {1, 2, -3, 4, 0, 1, 2, 2});
    const Tensor<float> Y({2, 3}, {1, 0, 2, -1, 4, 1});
    InputMoments one(linears_of(0, BlockStage::attention), 2, MomentFlows::dense);
    one.add(as_matrix(X.view()), {}, backend);
    InputMoments both(linears_of(0, BlockStage::down), 3, MomentFlows::both);
    both.add(as_matrix(Y.view()), as_matrix(Y.view()), {}, backend);
    both.add_output_energy(2);
    for (int k = 0; k < 2; ++k) both.add_sink({Y.data() + 3 * k, 3}, {Y.data(), 3}, 1, 1e4);
    MomentsWriter writer(path, config);
    writer.append(one);
    writer.append(both);
    writer.finish({2, 8, {{0, BlockStage::down, 1, 0, 100, 1}}});
    std::ifstream file(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    std::filesystem::remove(path);
    write(folder / "moments", bytes);
    for (const std::size_t cut : {bytes.size() - 1, bytes.size() - 16, std::size_t{9}})
        write(folder / "moments", bytes.substr(0, cut));
}

}  // namespace

int main(int argc, char** argv) {
    try {
        if (argc != 2) throw ArgumentError("write_corpus: needs the folder to write to");
        const std::filesystem::path folder = argv[1];
        for (const auto& lie : safetensors_lies()) write(folder / "safetensors", lie.file.data());
        write(folder / "safetensors", read("every_dtype.safetensors"));
        write_gguf(folder);
        write_json(folder);
        write_tokenizers(folder);
        write_moments(folder);
        return 0;
    } catch (const std::exception& error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
