// decoder_logits MODEL IDS OUT: the logits of a model after every token of a file of ids, as the tensor
// "logits" (tokens, vocab) of a safetensors file. What tests/oracles/compare_decoder.py compares.
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <vector>

#include "mpo/io/safetensors_writer.hpp"
#include "mpo/model/transformer.hpp"

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "decoder_logits: needs MODEL IDS OUT\n");
        return 2;
    }
    try {
        std::ifstream file(argv[2]);
        const std::vector<mpo::Index> ids{std::istream_iterator<mpo::Index>(file), {}};
        const mpo::EigenBackend cpu;
        const mpo::Transformer model(argv[1], {}, cpu);
        auto cache = model.make_cache(static_cast<mpo::Index>(ids.size()));
        mpo::SafetensorsWriter writer(argv[3]);
        writer.append("logits", model.logits(model.forward(ids, cache)));
        writer.finish();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "decoder_logits: %s\n", error.what());
        return 1;
    }
    return 0;
}
