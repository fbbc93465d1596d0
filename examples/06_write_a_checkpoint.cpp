// Writes a small synthetic checkpoint, one tensor after the other, and reads it back.
//
//   06_write_a_checkpoint [FOLDER]     a new folder; without one a temporary folder that goes away
//
// The weights are random with singular values that fall as k^-0.8, about as those of trained models
// do: enough to try every command on, and useless as a language model.

#include <cmath>
#include <filesystem>
#include <iostream>
#include <string>

#include "mpo/model.hpp"

namespace {

using mpo::Index;

constexpr Index layers = 4, hidden = 256, intermediate = 704, keys = 128, vocabulary = 2048;

/// (out, in) = A diag(k^-0.8) B with random A, B.
[[nodiscard]] mpo::Tensor<float> random_weight(Index out, Index in, std::uint64_t seed) {
    const Index rank = std::min(out, in);
    auto A = mpo::normal_tensor<float>({out, rank}, seed);           // (out, k)
    const auto B = mpo::normal_tensor<float>({rank, in}, seed + 1);  // (k, in)
    for (Index i = 0; i < out; ++i)
        for (Index k = 0; k < rank; ++k)
            A(i, k) *= 0.02f * std::pow(static_cast<float>(k + 1), -0.8f);
    mpo::Tensor<float> W({out, in});  // (out, in)
    mpo::EigenBackend{}.gemm(1.0f, mpo::as_matrix(A.view()), mpo::as_matrix(B.view()), 0.0f,
                             mpo::as_matrix(W.view()));
    return W;
}

void write_checkpoint(const std::filesystem::path& folder) {
    mpo::OutputFolder output(folder);
    mpo::SafetensorsWriter writer(output.path() / "model.safetensors");
    std::uint64_t seed = 1;
    const auto add = [&](const std::string& name, Index out, Index in) {
        writer.append(name + ".weight", random_weight(out, in, seed += 2), mpo::DType::bf16);
    };
    const auto add_norm = [&](const std::string& name) {
        writer.append(name + ".weight",
                      mpo::Tensor<float>({hidden}, std::vector<float>(hidden, 1.0f)),
                      mpo::DType::bf16);
    };
    add("model.embed_tokens", vocabulary, hidden);
    for (Index layer = 0; layer < layers; ++layer) {
        const std::string prefix = "model.layers." + std::to_string(layer);
        add_norm(prefix + ".input_layernorm");
        add(prefix + ".self_attn.q_proj", hidden, hidden);
        add(prefix + ".self_attn.k_proj", keys, hidden);
        add(prefix + ".self_attn.v_proj", keys, hidden);
        add(prefix + ".self_attn.o_proj", hidden, hidden);
        add_norm(prefix + ".post_attention_layernorm");
        add(prefix + ".mlp.gate_proj", intermediate, hidden);
        add(prefix + ".mlp.up_proj", intermediate, hidden);
        add(prefix + ".mlp.down_proj", hidden, intermediate);
    }
    add_norm("model.norm");
    writer.finish();
    mpo::Hyperparameters model{"llama", hidden, intermediate, layers, 4, 2, 64, vocabulary, 512};
    model.rms_norm_eps = 1e-5;
    model.rope_theta = 10000;
    model.tied_embeddings = mpo::TiedEmbeddings::yes;
    mpo::write_text_file(output.path() / "config.json",
                         mpo::to_config_json(model, mpo::DType::bf16));
    output.commit();
}

}  // namespace

int main(int argc, char** argv) {
    const bool temporary = argc < 2;
    const std::filesystem::path folder =
        temporary ? std::filesystem::temp_directory_path() /
                        ("mpo_example_06_" + std::to_string(std::random_device{}()))
                  : std::filesystem::path(argv[1]);
    try {
        write_checkpoint(folder);
        const mpo::Checkpoint checkpoint(folder);
        const auto& first = checkpoint.tensors().front();
        std::cout << "synthetic checkpoint: " << checkpoint.tensors().size()
                  << " tensors, the first " << first.name << " (" << mpo::to_string(first.shape)
                  << ", " << mpo::to_string(first.type) << ")\n";
        if (temporary) std::filesystem::remove_all(folder);
        return checkpoint.tensors().size() == 2 + 9 * layers ? 0 : 1;
    } catch (const mpo::Error& error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
