// Our side of bench/peers/decoder.py: a checkpoint's decoder in float, timed as it asks, one line each on the standard
// input: "prefill N" (N tokens and the logits of all), "decode N" (one token behind N others, with its logits). Answers
// with the milliseconds of one call.
//
//   mpo_decoder_times MODEL THREADS
#include <iostream>
#include <span>
#include <sstream>
#include <string>

#include "mpo/core/parallel.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/transformer.hpp"
#include "support/decoding.hpp"
#include "support/pairs.hpp"

namespace {

using namespace mpo;

/// N tokens through the layers, then the head, 64 rows at a time.
[[nodiscard]] double prefill(const Transformer& model, Index count) {
    const auto tokens = bench::some_tokens(count, model.config().vocab_size);
    auto cache = model.make_cache(count);
    Tensor<float> hidden({count, model.config().hidden_size});
    Tensor<float> logits({64, model.config().vocab_size});
    return 1e3 * bench::seconds_of([&] {
               model.forward(tokens, cache, detail::rows_of(hidden));
               bench::run_head(model, hidden, logits);
           });
}

/// One token behind `context` others; the mean of eight.
[[nodiscard]] double decode(const Transformer& model, Index context) {
    constexpr Index count = 8;
    const auto tokens = bench::some_tokens(context + 1, model.config().vocab_size);
    const std::span<const Index> all(tokens);
    auto cache = model.make_cache(context + 1);
    if (context > 0) (void)model.forward(all.first(static_cast<std::size_t>(context)), cache);
    Tensor<float> hidden({1, model.config().hidden_size}), logits({1, model.config().vocab_size});
    return 1e3 / count * bench::seconds_of([&] {
               for (Index k = 0; k < count; ++k) {
                   model.forward(all.last(1), cache, detail::rows_of(hidden));
                   model.logits(detail::rows_of(hidden), detail::rows_of(logits));
                   cache.truncate(context);
               }
           });
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 3) {
        std::cerr << "usage: mpo_decoder_times MODEL THREADS\n";
        return 2;
    }
    set_num_threads(std::stoi(argv[2]));
    const EigenBackend backend;
    const Transformer model(argv[1], {}, backend);
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string what;
        Index count = 0;
        if (!(words >> what >> count) || (what != "prefill" && what != "decode")) {
            std::cerr << "decoder_times: cannot read: " << line << '\n';
            return 2;
        }
        std::cout << (what == "prefill" ? prefill(model, count) : decode(model, count))
                  << std::endl;
    }
    return 0;
} catch (const std::exception& error) {
    std::cerr << "decoder_times: " << error.what() << '\n';
    return 1;
}
