#include "mpo/model/evaluate.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "mpo/model/generate.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/hashed_weights.hpp"
#include "support/models.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

[[nodiscard]] Transformer open(const std::string& name, const ChangeTensor& change = {}) {
    const TemporaryFolder folder;
    write_decoder(folder / "model", tiny_decoder(name), change);
    TransformerOptions options;
    options.read_mode = ReadMode::buffered;  // the folder goes away
    return Transformer(folder / "model", options, cpu);
}

[[nodiscard]] std::vector<double> log_softmax(const float* x, Index n) {
    double top = -std::numeric_limits<double>::infinity(), sum = 0;
    for (Index k = 0; k < n; ++k) top = std::max(top, static_cast<double>(x[k]));
    for (Index k = 0; k < n; ++k) sum += std::exp(static_cast<double>(x[k]) - top);
    std::vector<double> result;
    for (Index k = 0; k < n; ++k) result.push_back(static_cast<double>(x[k]) - top - std::log(sum));
    return result;
}

/// -log p of every token but the first, all behind the whole text before them.
[[nodiscard]] std::vector<double> naive_nll(const Tensor<float>& logits,
                                            const std::vector<Index>& tokens) {
    std::vector<double> nll;
    for (std::size_t k = 0; k + 1 < tokens.size(); ++k) {
        const float* row = logits.data() + static_cast<Index>(k) * logits.extent(1);
        nll.push_back(-log_softmax(row, logits.extent(1))[static_cast<std::size_t>(tokens[k + 1])]);
    }
    return nll;
}

[[nodiscard]] double mean(const std::vector<double>& samples) {
    double sum = 0;
    for (const double x : samples) sum += x;
    return sum / static_cast<double>(samples.size());
}

[[nodiscard]] double deviation(const std::vector<double>& samples) {
    double sum = 0;
    for (const double x : samples) sum += (x - mean(samples)) * (x - mean(samples));
    return std::sqrt(sum / static_cast<double>(samples.size() - 1));
}

[[nodiscard]] Tensor<float> logits_of(const Transformer& model, const std::vector<Index>& tokens) {
    auto cache = model.make_cache(static_cast<Index>(tokens.size()));
    return model.logits(model.forward(tokens, cache));
}

[[nodiscard]] EvaluateOptions windows(Index window, Index stride) {
    EvaluateOptions options;
    options.window = window;
    options.stride = stride;
    return options;
}

const double rounding = tolerance<float>(1000, 1);

}  // namespace

TEST_CASE("evaluate: perplexity is that of numpy's logits") {
    const auto tokens = tiny_decoder("long").tokens;
    const SafetensorsFile fixtures(fixture("decoder_logits.safetensors"));
    const auto nll = naive_nll(fixtures.read<float>("long"), tokens);
    auto options = windows(301, 301);
    options.text_bytes = 900;
    const auto result = perplexity(open("long"), tokens, options);
    CHECK(result.tokens == 301);
    CHECK(result.scored == 300);
    CHECK(std::abs(result.nll.mean - mean(nll)) < rounding);
    CHECK(std::abs(result.nll.standard_error - deviation(nll) / std::sqrt(300.0)) < rounding);
    CHECK(result.perplexity.mean == Approx(std::exp(result.nll.mean)));
    CHECK(result.perplexity.standard_error ==
          Approx(result.perplexity.mean * result.nll.standard_error));
    CHECK(result.bits_per_byte == Approx(300 * result.nll.mean / std::log(2.0) / 900));
}

TEST_CASE("evaluate: every window scores what none before it scored, behind its own context") {
    const auto tokens = tiny_decoder("long").tokens;
    const auto model = open("long");
    const auto naive = [&](Index window, Index stride) {
        std::vector<double> nll;
        std::set<Index> seen{0};
        for (Index begin = 0; begin < 301; begin += stride) {
            const Index end = std::min<Index>(301, begin + window);
            const std::vector<Index> part(tokens.begin() + begin, tokens.begin() + end);
            const auto all = naive_nll(logits_of(model, part), part);
            for (Index t = begin + 1; t < end; ++t)
                if (seen.insert(t).second)
                    nll.push_back(all[static_cast<std::size_t>(t - begin - 1)]);
            if (end == 301) break;
        }
        return nll;
    };
    for (const auto& [window, stride] :
         {std::pair<Index, Index>{100, 100}, {100, 99}, {70, 13}, {300, 300}, {2, 1}, {512, 512}}) {
        INFO(window << " " << stride);
        const auto expected = naive(window, stride);
        const auto result = perplexity(model, tokens, windows(window, stride));
        CHECK(result.scored == static_cast<Index>(expected.size()));
        CHECK(std::abs(result.nll.mean - mean(expected)) < rounding);
        if (stride < window) CHECK(result.scored == 300);
    }
}

TEST_CASE("evaluate: two models side by side") {
    const auto tokens = tiny_decoder("linear_rope").tokens;
    const auto model = open("linear_rope"), reference = open("plain");
    const auto x = logits_of(model, tokens), r = logits_of(reference, tokens);
    std::vector<double> kld, same, ratio;
    for (Index k = 0; k + 1 < 50; ++k) {
        const auto q = log_softmax(x.data() + k * 40, 40), p = log_softmax(r.data() + k * 40, 40);
        double divergence = 0;
        for (std::size_t i = 0; i < 40; ++i) divergence += std::exp(p[i]) * (p[i] - q[i]);
        kld.push_back(divergence);
        same.push_back(std::max_element(p.begin(), p.end()) - p.begin() ==
                       std::max_element(q.begin(), q.end()) - q.begin());
        const auto target = static_cast<std::size_t>(tokens[static_cast<std::size_t>(k) + 1]);
        ratio.push_back(p[target] - q[target]);
    }
    const auto result = compare(model, reference, tokens);
    CHECK(std::abs(result.kld.mean - mean(kld)) < rounding);
    CHECK(std::abs(result.kld.standard_error - deviation(kld) / 7) < rounding);
    CHECK(result.same_top.mean == Approx(mean(same)));
    CHECK(std::abs(result.log_ppl_ratio.mean - mean(ratio)) < rounding);
    CHECK(std::abs(result.log_ppl_ratio.standard_error - deviation(ratio) / 7) < rounding);
    CHECK(result.log_ppl_ratio.mean ==
          Approx(std::log(result.model.perplexity.mean / result.reference.perplexity.mean)));
    std::sort(kld.begin(), kld.end());
    CHECK(std::abs(result.kld_median - kld[24]) < rounding);
    CHECK(std::abs(result.kld_max - kld[48]) < rounding);
    CHECK(std::abs(result.kld_99 - (kld[47] + 0.52 * (kld[48] - kld[47]))) < rounding);

    const auto itself = compare(reference, reference, tokens);
    CHECK(itself.kld_max == 0);
    CHECK(itself.same_top.mean == 1);
    CHECK(itself.log_ppl_ratio.mean == 0);
    const auto json = nlohmann::json::parse(to_json(result));
    CHECK(json["kld_mean"] == result.kld.mean);
    CHECK(json["reference"]["perplexity"] == result.reference.perplexity.mean);
}

TEST_CASE("evaluate: a continuation has the sum of its tokens' log-probabilities") {
    const auto tokens = tiny_decoder("plain").tokens;
    const auto model = open("plain");
    const auto nll = naive_nll(logits_of(model, tokens), tokens);
    const std::span<const Index> all(tokens);
    const auto score = score_continuation(model, all.first(9), all.subspan(9));
    CHECK(std::abs(score.log_probability + nll[8] + nll[9] + nll[10] + nll[11]) < rounding);
    CHECK(!score.greedy);
    GenerateOptions options;
    options.max_tokens = 3;
    const auto best = generate(model, tokens, options).tokens;
    CHECK(score_continuation(model, tokens, best).greedy);
    check_throws<ArgumentError>([&] { (void)score_continuation(model, {}, best); },
                                {"a token each"});
}

TEST_CASE("evaluate: bad input is refused before anything is computed") {
    const auto model = open("plain");
    const std::vector<Index> text{1, 2, 3, 4, 5};
    const auto evaluate = [&](const std::vector<Index>& tokens, const EvaluateOptions& options) {
        return [&model, tokens, options] { (void)perplexity(model, tokens, options); };
    };
    check_throws<ArgumentError>(evaluate({}, {}), {"at least 2 tokens", "got 0"});
    check_throws<ArgumentError>(evaluate({7}, {}), {"at least 2 tokens", "got 1"});
    check_throws<ArgumentError>(evaluate({1, 40}, {}), {"token 1 of the text is 40", "has 40"});
    check_throws<ArgumentError>(evaluate({-1, 4}, {}), {"token 0 of the text is -1"});
    check_throws<ArgumentError>(evaluate(text, windows(513, 1)), {"2 to 512", "got 513"});
    check_throws<ArgumentError>(evaluate(text, windows(1, 1)), {"got 1"});
    check_throws<ArgumentError>(evaluate(text, windows(4, 0)), {"stride", "got 0"});
    check_throws<ArgumentError>(evaluate(text, windows(4, 5)), {"stride", "got 5"});
    const auto other = open("tied");
    check_throws<ArgumentError>([&] { (void)compare(model, other, text); },
                                {"vocabularies", "40", "45"});
    auto options = windows(2, 2);
    std::vector<Index> done;
    options.progress = [&](Index at, Index of) {
        CHECK(of == 5);
        done.push_back(at);
        return at < 4 ? ProgressReply::go_on : ProgressReply::cancel;
    };
    check_throws<Cancelled>(evaluate(text, options), {"after 4 of 5"});
    CHECK(done == std::vector<Index>{2, 4});
    const auto overflowing = open("plain", [](const std::string& name, Tensor<float> W) {
        for (Index k = 0; name == "lm_head.weight" && k < W.size(); ++k) W.data()[k] *= 3e38f;
        return W;
    });
    check_throws<NumericalError>([&] { (void)perplexity(overflowing, text); }, {"scored token"});
}

TEST_CASE("generate: the most probable token each time, until the text ends") {
    const auto model = open("group_3");
    std::vector<Index> text{5, 3, 1};
    GenerateOptions options;
    options.max_tokens = 40;
    const auto result = generate(model, text, options);
    REQUIRE(result.tokens.size() == 40);
    CHECK(result.end == GenerateEnd::max_tokens);
    for (const Index token : result.tokens) {  // no cache, no loop: the last row of all logits
        const auto logits = logits_of(model, text);
        const float* row = logits.data() + (logits.extent(0) - 1) * logits.extent(1);
        REQUIRE(token == std::max_element(row, row + logits.extent(1)) - row);
        text.push_back(token);
    }
    options.stop_tokens = {result.tokens[7]};
    const auto stopped = generate(model, std::span<const Index>(text).first(3), options);
    CHECK(stopped.end == GenerateEnd::stop_token);
    CHECK(stopped.tokens.size() <= 7);
    options.on_token = [](Index) { return ProgressReply::cancel; };
    CHECK(generate(model, std::span<const Index>(text).first(3), options).end ==
          GenerateEnd::cancelled);
    GenerateOptions endless;
    endless.max_tokens = 600;
    const auto full = generate(model, text, endless);
    CHECK(full.end == GenerateEnd::context_full);
    CHECK(full.tokens.size() == 512 - text.size());
}

TEST_CASE("generate: draws follow the temperature and stay within top_p") {
    const auto model = open("plain");
    const std::vector<Index> prompt{1, 2, 3};
    const auto logits = logits_of(model, prompt);
    std::vector<float> scaled(logits.data() + 80, logits.data() + 120);
    for (float& x : scaled) x /= 0.7f;
    const auto log_p = log_softmax(scaled.data(), 40);
    std::vector<Index> order(40);
    for (std::size_t k = 0; k < 40; ++k) order[k] = static_cast<Index>(k);
    std::sort(order.begin(), order.end(), [&](Index a, Index b) {
        return log_p[static_cast<std::size_t>(a)] > log_p[static_cast<std::size_t>(b)];
    });
    GenerateOptions options;
    options.max_tokens = 1;
    options.temperature = 0.7;
    const auto counts = [&](double top_p) {
        options.top_p = top_p;
        std::vector<double> count(40);
        for (options.seed = 0; options.seed < 4000; ++options.seed)
            ++count[static_cast<std::size_t>(generate(model, prompt, options).tokens.at(0))];
        return count;
    };
    for (const double top_p : {1.0, 0.6, 1e-9}) {
        const auto count = counts(top_p);
        double mass = 0;
        std::size_t kept = 0;
        while (kept < 40 && mass < top_p)
            mass += std::exp(log_p[static_cast<std::size_t>(order[kept++])]);
        for (std::size_t k = 0; k < 40; ++k) {
            const auto token = static_cast<std::size_t>(order[k]);
            const double expected = k < kept ? 4000 * std::exp(log_p[token]) / mass : 0;
            CHECK(std::abs(count[token] - expected) <= 5 * std::sqrt(expected));  // five deviations
        }
    }
    options.max_tokens = 20;
    options.top_p = 0.9;
    CHECK(generate(model, prompt, options).tokens == generate(model, prompt, options).tokens);
}

TEST_CASE("generate: options outside their domain are refused") {
    const auto model = open("plain");
    const std::vector<Index> prompt{1}, too_long(513, 1);
    const auto with = [&](auto&& set) {
        GenerateOptions options;
        set(options);
        return [&, options] { (void)generate(model, prompt, options); };
    };
    check_throws<ArgumentError>(with([](auto& o) { o.temperature = -1; }), {"temperature", "-1"});
    check_throws<ArgumentError>(with([](auto& o) { o.top_p = 0; }), {"top_p", "got 0"});
    check_throws<ArgumentError>(with([](auto& o) { o.max_tokens = -2; }), {"max_tokens", "-2"});
    check_throws<ArgumentError>([&] { (void)generate(model, {}); }, {"1 to 512", "got 0"});
    check_throws<ArgumentError>([&] { (void)generate(model, too_long); }, {"1 to 512", "got 513"});
}
