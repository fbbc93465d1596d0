// The bodies of model/evaluate.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/linalg/row_functions.hpp"
#include "mpo/model/evaluate.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE Estimate estimate(const std::vector<double>& samples) {
    const auto n = static_cast<double>(samples.size());
    double sum = 0, squares = 0;
    for (const double x : samples) sum += x;
    const double mean = sum / n;
    for (const double x : samples) squares += (x - mean) * (x - mean);
    return {mean, samples.size() < 2 ? 0 : std::sqrt(squares / (n - 1) / n)};
}

MPO_DETAIL_MODEL_INLINE double quantile(std::vector<double>& samples, double share) {
    const double place = share * static_cast<double>(samples.size() - 1);
    const auto low = static_cast<std::size_t>(place);
    const auto middle = samples.begin() + static_cast<std::ptrdiff_t>(low);
    std::nth_element(samples.begin(), middle, samples.end());
    if (middle + 1 == samples.end()) return *middle;
    const double above = *std::min_element(middle + 1, samples.end());
    return *middle + (place - static_cast<double>(low)) * (above - *middle);
}

MPO_DETAIL_MODEL_INLINE double negative_log_likelihood(const float* logits, double log_sum,
                                                       Index target, Index at) {
    const double nll = log_sum - static_cast<double>(logits[target]);
    if (!std::isfinite(nll))
        raise<NumericalError>({"evaluate: the probability of scored token ", at, " is no number"});
    return nll;
}

[[nodiscard]] inline Perplexity perplexity_of(const std::vector<double>& nll, Index tokens,
                                              const EvaluateOptions& options) {
    Perplexity result{
        tokens, static_cast<Index>(nll.size()), options.window, options.stride, estimate(nll), {},
        0};
    const double perplexity = std::exp(result.nll.mean);
    result.perplexity = {perplexity, perplexity * result.nll.standard_error};
    if (options.text_bytes > 0)
        result.bits_per_byte = result.nll.mean * static_cast<double>(nll.size()) /
                               (std::numbers::ln2 * static_cast<double>(options.text_bytes));
    return result;
}

[[nodiscard]] inline std::size_t count_scored(const std::vector<TextWindow>& windows) {
    Index count = 0;
    for (const auto& window : windows) count += window.end - window.scored;
    return static_cast<std::size_t>(count);
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE Perplexity perplexity(const Transformer& model,
                                              std::span<const Index> tokens,
                                              const EvaluateOptions& options) {
    const auto count = static_cast<Index>(tokens.size());
    const auto windows = detail::text_windows(tokens, options, model.config());
    const Index vocab = model.config().vocab_size;
    detail::WindowLogits logits(model, (std::min)(options.window, count));
    std::vector<double> nll(detail::count_scored(windows));
    detail::visit_scored(
        std::span(&logits, 1), tokens, windows, options, [&](Index row, Index target, Index at) {
            const float* x = logits.row(row);
            nll[static_cast<std::size_t>(at)] =
                detail::negative_log_likelihood(x, detail::log_sum_exp(vocab, x), target, at);
        });
    return detail::perplexity_of(nll, count, options);
}

MPO_DETAIL_MODEL_INLINE Comparison compare(const Transformer& model, const Transformer& reference,
                                           std::span<const Index> tokens,
                                           const EvaluateOptions& options) {
    const auto count = static_cast<Index>(tokens.size());
    const Index vocab = model.config().vocab_size;
    if (vocab != reference.config().vocab_size)
        detail::raise<ArgumentError>({"compare: the vocabularies of model and reference differ, ",
                                      vocab, " and ", reference.config().vocab_size, " tokens"});
    (void)detail::text_windows(tokens, options, reference.config());
    const auto windows = detail::text_windows(tokens, options, model.config());
    const Index window = (std::min)(options.window, count);
    detail::WindowLogits logits[] = {{model, window}, {reference, window}};
    const std::size_t scored = detail::count_scored(windows);
    std::vector<double> nll(scored), reference_nll(scored), kld(scored), same(scored);
    detail::visit_scored(logits, tokens, windows, options, [&](Index row, Index target, Index at) {
        const float *x = logits[0].row(row), *r = logits[1].row(row);
        const double log_sum = detail::log_sum_exp(vocab, x);
        const double reference_log_sum = detail::log_sum_exp(vocab, r);
        const auto k = static_cast<std::size_t>(at);
        nll[k] = detail::negative_log_likelihood(x, log_sum, target, at);
        reference_nll[k] = detail::negative_log_likelihood(r, reference_log_sum, target, at);
        kld[k] = (std::max)(0.0, detail::divergence(vocab, r, reference_log_sum, x, log_sum));
        same[k] = std::max_element(x, x + vocab) - x == std::max_element(r, r + vocab) - r;
    });
    Comparison result;
    result.model = detail::perplexity_of(nll, count, options);
    result.reference = detail::perplexity_of(reference_nll, count, options);
    result.kld = detail::estimate(kld);
    result.kld_median = detail::quantile(kld, 0.5);
    result.kld_99 = detail::quantile(kld, 0.99);
    result.kld_max = *std::max_element(kld.begin(), kld.end());
    result.same_top = detail::estimate(same);
    for (std::size_t k = 0; k < scored; ++k) nll[k] -= reference_nll[k];
    result.log_ppl_ratio = detail::estimate(nll);
    return result;
}

MPO_DETAIL_MODEL_INLINE ContinuationScore score_continuation(const Transformer& model,
                                                             std::span<const Index> context,
                                                             std::span<const Index> continuation) {
    if (context.empty() || continuation.empty())
        throw ArgumentError("score_continuation: context and continuation need a token each");
    std::vector<Index> tokens(context.begin(), context.end());
    tokens.insert(tokens.end(), continuation.begin(), continuation.end());
    const auto count = static_cast<Index>(tokens.size());
    const auto scored = static_cast<Index>(context.size());
    EvaluateOptions options;
    options.window = options.stride = count;
    auto windows = detail::text_windows(tokens, options, model.config());
    windows.front().scored = scored;
    detail::WindowLogits logits(model, count);
    const Index vocab = model.config().vocab_size;
    std::vector<double> nll(continuation.size()), first(continuation.size());
    detail::visit_scored(
        std::span(&logits, 1), tokens, windows, options, [&](Index row, Index target, Index at) {
            const float* x = logits.row(row);
            const auto k = static_cast<std::size_t>(at);
            nll[k] = detail::negative_log_likelihood(x, detail::log_sum_exp(vocab, x), target, at);
            first[k] = std::max_element(x, x + vocab) - x == target;
        });
    ContinuationScore result;
    for (std::size_t k = 0; k < nll.size(); ++k) {
        result.log_probability -= nll[k];
        result.greedy = result.greedy && first[k] == 1;
    }
    return result;
}

}  // namespace mpo
