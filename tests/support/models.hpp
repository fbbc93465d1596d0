// A checkpoint of the LLaMA family small enough to check by hand, and what is in a folder.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "files.hpp"
#include "matrices.hpp"
#include "mpo/io/safetensors_writer.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/checkpoint.hpp"

namespace mpo::test {

inline const EigenBackend cpu;

/// The decoder linears of one layer: module and shape (out, in). 12 and 24 have many divisors, 15 and
/// 35 few.
[[nodiscard]] inline std::vector<std::pair<std::string, Shape>> small_linears() {
    return {{"self_attn.q_proj", {24, 24}}, {"self_attn.k_proj", {12, 24}},
            {"self_attn.v_proj", {12, 24}}, {"self_attn.o_proj", {24, 24}},
            {"mlp.gate_proj", {35, 24}},    {"mlp.up_proj", {35, 24}},
            {"mlp.down_proj", {24, 35}}};
}

using Weights = std::map<std::string, Tensor<float>>;

/// Two layers, embeddings and norms, with the spectra of trained weights.
[[nodiscard]] inline Weights small_weights() {
    Weights weights;
    std::uint64_t seed = 1;
    weights["model.embed_tokens.weight"] = normal_tensor<float>({10, 24}, 99);  // (vocab, hidden)
    weights["model.norm.weight"] = normal_tensor<float>({24}, 98);
    for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
        weights[std::string(layer) + "input_layernorm.weight"] = normal_tensor<float>({24}, 97);
        for (const auto& [module, shape] : small_linears())
            weights[layer + module + ".weight"] = matrix_with_spectrum<float>(
                shape[0], shape[1], power_spectrum(std::min(shape[0], shape[1])), seed += 2);
    }
    return weights;
}

/// A folder with model.safetensors, config.json and a tokenizer.
inline void write_model(const std::filesystem::path& folder, const Weights& weights,
                        DType dtype = DType::f32) {
    std::filesystem::create_directory(folder);
    SafetensorsWriter writer(folder / "model.safetensors");
    for (const auto& [name, tensor] : weights) writer.append(name, tensor, dtype);
    writer.finish();
    write_file(folder / "config.json", R"({"model_type": "llama", "hidden_size": 24})");
    write_file(folder / "tokenizer.json", R"({"a": 1})");
}

/// Every regular file below a folder with its contents.
[[nodiscard]] inline std::map<std::string, std::string> contents(
    const std::filesystem::path& folder) {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        files[entry.path().filename().string()] = read_file(entry.path());
    return files;
}

[[nodiscard]] inline bool same_values(const Tensor<float>& a, const Tensor<float>& b) {
    return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

}  // namespace mpo::test
