#include "mpo/model/decoder_block.hpp"

#include <map>

#include "mpo/model/transformer.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/hashed_weights.hpp"
#include "support/models.hpp"
#include "support/same_bits.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

[[nodiscard]] Tensor<float> copy_of(MatrixView<const float> A) {
    Tensor<float> copy({A.rows, A.cols});
    std::copy_n(A.data, A.size(), copy.data());
    return copy;
}

}  // namespace

TEST_CASE("decoder block: its stages in order are the decoder, bit for bit") {
    for (const char* name : {"group_3", "qwen2", "prime_sizes", "long"}) {
        INFO(name);
        const auto decoder = tiny_decoder(name);
        const TemporaryFolder folder;
        write_decoder(folder / "model", decoder);
        const Transformer model(folder / "model", {}, cpu);
        const auto& config = model.config();
        const Index tokens = static_cast<Index>(decoder.tokens.size());
        Tensor<float> expected({tokens, config.hidden_size});
        std::map<std::string, Tensor<float>> inputs;
        auto cache = model.make_cache(tokens);
        model.forward(decoder.tokens, cache, detail::rows_of(expected),
                      [&](const std::string& linear, MatrixView<const float> X) {
                          inputs[linear] = copy_of(X);
                      });

        Tensor<float> x({tokens, config.hidden_size});
        const auto W = hashed_tensor("model.embed_tokens.weight",
                                     {config.vocab_size, config.hidden_size}, decoder.seed);
        const WeightPanels embedding(as_matrix(W.view()), decoder.dtype == DType::bf16
                                                              ? WeightStorage::bf16
                                                              : WeightStorage::f32);
        for (Index t = 0; t < tokens; ++t)
            embedding.read_row(decoder.tokens[static_cast<std::size_t>(t)],
                               x.data() + t * config.hidden_size);
        detail::Activations a(config, tokens);
        const RotaryTable table(config.rotary, 0, tokens);
        KvCache one(1, config.num_kv_heads, config.head_dim, tokens);
        for (const auto& layer : model.layers()) {
            const detail::BlockLinears linears(layer);
            detail::attention_inputs(layer, config, detail::rows_of(x), a);
            CHECK(same_bits(a.normed, inputs.at(layer.v.name())));
            detail::output_inputs(linears, config, {table, one, 0}, a, cpu);
            CHECK(same_bits(a.attended, inputs.at(layer.o.name())));
            detail::apply_linears({linears.o}, a.attended, {&a.update}, {});
            detail::add_rows(a.update, detail::rows_of(x));
            detail::mlp_inputs(layer, config, detail::rows_of(x), a);
            CHECK(same_bits(a.normed, inputs.at(layer.up.name())));
            detail::down_inputs(linears, a);
            CHECK(same_bits(a.gate, inputs.at(layer.down.name())));
            detail::apply_linears({linears.down}, a.gate, {&a.update}, {});
            detail::add_rows(a.update, detail::rows_of(x));
        }
        const auto norm = Checkpoint(folder / "model").read<float>("model.norm.weight");
        detail::normalize_rows(detail::rows_of(x), norm, config, detail::rows_of(x));
        CHECK(same_bits(x, expected));
    }
}

TEST_CASE("decoder block: four stages, two of which write to the residual stream") {
    Index writers = 0;
    for (const auto stage : block_stages) writers += writes_residual(stage) ? 1 : 0;
    CHECK(block_stages.size() == 4);
    CHECK(writers == 2);
    CHECK(writes_residual(BlockStage::output));
    CHECK(writes_residual(BlockStage::down));
}
