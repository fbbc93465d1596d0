// The bodies of model/generate.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/random.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/linalg/row_functions.hpp"
#include "mpo/model/generate.hpp"
#include "mpo/model/kv_cache.hpp"

namespace mpo {
namespace detail {

/// Draws tokens from logits.
class Sampler {
  public:
    explicit Sampler(const GenerateOptions& options) : options_(options), random_(options.seed) {
        if (!(options.temperature >= 0) || !std::isfinite(options.temperature))
            raise<ArgumentError>(
                {"generate: temperature must be finite and >= 0, got ", options.temperature});
        if (!(options.top_p > 0 && options.top_p <= 1))
            raise<ArgumentError>(
                {"generate: top_p must be above 0 and at most 1, got ", options.top_p});
        if (options.max_tokens < 0)
            raise<ArgumentError>({"generate: max_tokens must be >= 0, got ", options.max_tokens});
    }

    /// The next token; the logits are overwritten. Throws NumericalError where one is NaN.
    [[nodiscard]] Index draw(Tensor<float>& logits) {
        const Index n = logits.size();
        float* x = logits.data();
        for (Index k = 0; k < n; ++k)
            if (!std::isfinite(x[k]))
                raise<NumericalError>({"generate: the logit of token ", k, " is ", x[k]});
        if (options_.temperature == 0) return std::max_element(x, x + n) - x;
        for (Index k = 0; k < n; ++k)
            x[k] = static_cast<float>(static_cast<double>(x[k]) / options_.temperature);
        const double total = static_cast<double>(exponentiate(n, row_maximum(n, x), x));
        auto kept = candidates(x, n, total);
        double mass = 0;
        std::size_t count = 0;
        while (count < kept.size() && mass < options_.top_p * total)
            mass += static_cast<double>(x[kept[count++]]);
        double left = random_.uniform() * mass;
        for (std::size_t k = 0; k + 1 < count; ++k) {
            left -= static_cast<double>(x[kept[k]]);
            if (left < 0) return kept[k];
        }
        return kept[count - 1];
    }

  private:
    /// Tokens by falling probability. Where top_p is below 1 those that cannot be of the set are left
    /// out: the n - 1 least probable ones have at most 1 - top_p together unless each has its share.
    [[nodiscard]] std::vector<Index> candidates(const float* weights, Index n, double total) const {
        const double least =
            n > 1 ? (1 - options_.top_p) * total / static_cast<double>(n - 1) : 0.0;
        std::vector<Index> kept;
        for (Index k = 0; k < n; ++k)
            if (static_cast<double>(weights[k]) >= least) kept.push_back(k);
        if (kept.empty()) kept.push_back(std::max_element(weights, weights + n) - weights);
        std::stable_sort(kept.begin(), kept.end(),
                         [&](Index a, Index b) { return weights[a] > weights[b]; });
        return kept;
    }

    const GenerateOptions& options_;
    Random random_;
};

}  // namespace detail

MPO_DETAIL_MODEL_INLINE Generated generate(const Transformer& model, std::span<const Index> prompt,
                                           const GenerateOptions& options) {
    detail::Sampler sampler(options);
    const Index context = model.config().max_positions, length = static_cast<Index>(prompt.size());
    if (length < 1 || length > context)
        detail::raise<ArgumentError>({"generate: the prompt must have 1 to ", context,
                                      " tokens, the context of the model, got ", length});
    const Index room = (std::min)(options.max_tokens, context - length);
    auto cache = model.make_cache(length + room);
    Generated result;
    auto hidden = model.forward(prompt, cache);
    Tensor<float> logits({1, model.config().vocab_size});
    const auto& stops = options.stop_tokens;
    while (static_cast<Index>(result.tokens.size()) < room) {
        const Index last = hidden.extent(0) - 1, width = hidden.extent(1);
        model.logits(matrix<const float>(hidden.data() + last * width, 1, width),
                     detail::rows_of(logits));
        const Index token = sampler.draw(logits);
        if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
            result.end = GenerateEnd::stop_token;
            return result;
        }
        result.tokens.push_back(token);
        if (options.on_token && options.on_token(token) == ProgressReply::cancel) {
            result.end = GenerateEnd::cancelled;
            return result;
        }
        if (static_cast<Index>(result.tokens.size()) < room)
            hidden = model.forward(std::span<const Index>(&token, 1), cache);
    }
    if (room < options.max_tokens) result.end = GenerateEnd::context_full;
    return result;
}

}  // namespace mpo
