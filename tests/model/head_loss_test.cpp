#include "mpo/model/head_loss.hpp"

#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/matrices.hpp"
#include "support/models.hpp"
#include "support/naive.hpp"
#include "support/thread_count.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// A batch at a head: sizes, and how the teacher's masses lie.
struct Problem {
    Index positions, hidden, vocab, top;  // top 0: no teacher
    double alpha;
    double rest;       // mass of the teacher's rest
    double total = 1;  // of all its masses
};

/// Its numbers. Some weights are 0, and nothing at these positions is in its domain.
template <class T>
struct Batch {
    explicit Batch(const Problem& of, std::uint64_t seed = 3)
        : problem(of),
          hidden(normal_tensor<T>({of.positions, of.hidden}, seed)),
          W(normal_tensor<T>({of.vocab, of.hidden}, seed + 1)) {
        const auto masses = normal_tensor<double>({of.positions, (std::max)(of.top, Index{1})}, 9);
        for (Index t = 0; t < of.positions; ++t) {
            const bool left_out = of.positions > 2 && t % 3 == 1;
            weights.push_back(left_out ? 0.0f : 0.5f + static_cast<float>(t % 4));
            next.push_back(left_out ? -1 : (t * 5 + 2) % of.vocab);
            double sum = 0;
            for (Index k = 0; k < of.top; ++k) sum += std::exp(masses(t, k));
            for (Index k = 0; k < of.top; ++k) {
                const Index id = (t * 7 + k) % of.vocab;
                ids.push_back(left_out ? -7 : static_cast<std::int32_t>(id));
                const double p = (of.total - of.rest) * std::exp(masses(t, k)) / sum;
                log_p.push_back(static_cast<float>(std::log(p)));
            }
            if (of.top > 0) log_rest.push_back(static_cast<float>(std::log(of.rest)));
        }
    }

    [[nodiscard]] HeadTargets targets() const {
        HeadTargets result{next, weights, {}};
        if (problem.top > 0)
            result.teacher = {problem.positions, problem.top, ids, log_p, log_rest};
        return result;
    }
    [[nodiscard]] MatrixView<const T> hidden_view() const { return as_matrix(hidden.view()); }
    [[nodiscard]] HeadWeight<T> head() const { return HeadWeight<T>(as_matrix(W.view())); }

    Problem problem;
    Tensor<T> hidden, W;
    std::vector<Index> next;
    std::vector<float> weights;
    std::vector<std::int32_t> ids;
    std::vector<float> log_p, log_rest;
};

/// Sums and gradients.
template <class T>
struct Outcome {
    HeadLossSums sums;
    Tensor<T> dhidden, dW;
};

template <class T>
[[nodiscard]] Outcome<T> run(const Batch<T>& batch, const HeadWeight<T>& head,
                             const HeadLossOptions& options) {
    Outcome<T> result{{}, Tensor<T>(batch.hidden.shape()), Tensor<T>(batch.W.shape())};
    result.sums = head_loss(batch.hidden_view(), head, batch.targets(), options, cpu,
                            as_matrix(result.dhidden.view()), as_matrix(result.dW.view()));
    return result;
}
template <class T>
[[nodiscard]] Outcome<T> run(const Batch<T>& batch) {
    return run(batch, batch.head(), {.alpha = batch.problem.alpha});
}

/// All of it by definition: every logit kept, and dL/dz through the whole Jacobian of the softmax.
template <class T>
[[nodiscard]] Outcome<double> naive_loss(const Batch<T>& batch) {
    const auto& of = batch.problem;
    const auto H = naive::widen(batch.hidden), W = naive::widen(batch.W);
    const auto Z = naive::apply(W, H);  // (positions, vocab)
    Tensor<double> dZ(Z.shape());
    Outcome<double> result;
    for (Index t = 0; t < of.positions; ++t) {
        const auto at = static_cast<std::size_t>(t);
        const auto w = static_cast<double>(batch.weights[at]);
        if (w == 0) continue;
        double top = Z(t, 0), sum = 0;
        for (Index j = 0; j < of.vocab; ++j) top = (std::max)(top, Z(t, j));
        for (Index j = 0; j < of.vocab; ++j) sum += std::exp(Z(t, j) - top);
        std::vector<double> q, dq(static_cast<std::size_t>(of.vocab), 0.0);
        for (Index j = 0; j < of.vocab; ++j) q.push_back(std::exp(Z(t, j) - top) / sum);
        const auto next = static_cast<std::size_t>(batch.next[at]);
        dq[next] -= (1 - of.alpha) / q[next];
        std::vector<char> named(q.size(), 0);
        double divergence = 0;
        for (Index k = 0; k < of.top; ++k) {
            const auto place = at * static_cast<std::size_t>(of.top) + static_cast<std::size_t>(k);
            const auto id = static_cast<std::size_t>(batch.ids[place]);
            const double p = std::exp(static_cast<double>(batch.log_p[place]));
            divergence += p * (std::log(p) - std::log(q[id]));
            dq[id] -= of.alpha * p / q[id];
            named[id] = 1;
        }
        double q_rest = 0;
        for (std::size_t j = 0; j < q.size(); ++j) q_rest += named[j] ? 0 : q[j];
        if (of.top > 0 && of.rest > 0) {
            const double r = std::exp(static_cast<double>(batch.log_rest[at]));
            divergence += r * (std::log(r) - std::log(q_rest));
            for (std::size_t j = 0; j < q.size(); ++j)
                if (!named[j]) dq[j] -= of.alpha * r / q_rest;
        }
        for (std::size_t j = 0; j < q.size(); ++j)
            for (std::size_t i = 0; i < q.size(); ++i)
                dZ(t, static_cast<Index>(j)) += w * dq[i] * q[i] * ((i == j ? 1 : 0) - q[j]);
        result.sums += {w * divergence, -w * std::log(q[next]), w, 1, 0, 0};
    }
    result.dhidden = naive::product(dZ, W);
    result.dW = naive::product(naive::transpose(dZ), H);
    return result;
}

/// How far a result in T may lie from that in double: rounding of logits, which grow with the row's products.
template <class T>
[[nodiscard]] double rounding_of_loss(const Batch<T>& batch, double size) {
    const double logits = naive::norm(batch.hidden) * naive::norm(batch.W);
    return tolerance<T>(batch.problem.hidden, (1 + logits) * (1 + size));
}

template <class T>
void check_close(const Batch<T>& batch, const Outcome<T>& got, const Outcome<double>& expected) {
    const auto& sums = got.sums;
    const double loss = std::abs(expected.sums.divergence) + expected.sums.cross_entropy;
    CHECK(std::abs(sums.divergence - expected.sums.divergence) < rounding_of_loss(batch, loss));
    CHECK(std::abs(sums.cross_entropy - expected.sums.cross_entropy) <
          rounding_of_loss(batch, loss));
    CHECK(sums.weight == expected.sums.weight);
    CHECK(sums.positions == expected.sums.positions);
    CHECK(naive::distance(got.dhidden, expected.dhidden) <
          rounding_of_loss(batch, naive::norm(expected.dhidden)));
    CHECK(naive::distance(got.dW, expected.dW) < rounding_of_loss(batch, naive::norm(expected.dW)));
}

[[nodiscard]] std::vector<Problem> problems() {
    return {{5, 7, 11, 3, 0.7, 0.2},   {4, 3, 8, 8, 0.5, 0},  {3, 5, 13, 1, 1, 0.4},
            {1, 1, 2, 1, 0.3, 0.6},    {6, 4, 17, 5, 0.9, 0}, {7, 6, 19, 4, 0.6, 0.3, 1.25},
            {2, 1, 1, 1, 0.5, 0},      {5, 9, 23, 0, 0, 0},   {4, 2, 31, 30, 0.8, 1e-6},
            {3, 5, 1200, 7, 0.5, 0.1}, {9, 3, 16, 2, 0, 0.5}};
}

void label(const Problem& of) {
    UNSCOPED_INFO(of.positions << " positions, hidden " << of.hidden << ", vocab " << of.vocab
                               << ", top " << of.top << ", alpha " << of.alpha << ", rest "
                               << of.rest);
}

}  // namespace

TEST_CASE("head loss: loss and gradients are those of the definition") {
    for (const auto& problem : problems()) {
        label(problem);
        const Batch<double> exact(problem);
        check_close(exact, run(exact), naive_loss(exact));
        label(problem);
        const Batch<float> batch(problem);
        check_close(batch, run(batch), naive_loss(batch));
    }
}

TEST_CASE("head loss: gradients are the differences of the loss") {
    for (const auto& problem : problems()) {
        if (problem.vocab > 100) continue;
        label(problem);
        Batch<double> batch(problem);
        const auto got = run(batch);
        const double step = std::cbrt(std::numeric_limits<double>::epsilon());
        const auto loss = [&] {
            return head_loss(batch.hidden_view(), batch.head(), batch.targets(),
                             {.alpha = problem.alpha}, cpu)
                .loss(problem.alpha);
        };
        const auto largest_error = [&](Tensor<double>& at, const Tensor<double>& gradient) {
            double worst = 0;
            for (Index k = 0; k < at.size(); ++k) {
                const double x = at.data()[k];
                at.data()[k] = x + step;
                const double above = loss();
                at.data()[k] = x - step;
                const double below = loss();
                at.data()[k] = x;
                worst =
                    (std::max)(worst, std::abs((above - below) / (2 * step) - gradient.data()[k]));
            }
            return worst;
        };
        // Rounding eps / step and the third derivative times step^2 are both eps^(2/3).
        const double allowed = rounding_of_loss(batch, std::abs(loss())) / step;
        CHECK(largest_error(batch.hidden, got.dhidden) < allowed);
        CHECK(largest_error(batch.W, got.dW) < allowed);
    }
}

TEST_CASE("head loss: chunks, a packed head and a second run change nothing") {
    const Batch<float> batch({13, 8, 300, 6, 0.6, 0.2});
    const auto expected = naive_loss(batch);
    const HeadWeight<float> packed(as_matrix(batch.W.view()), cpu);
    for (const Index bytes : {Index{0}, Index{1}, Index{300 * 4 * 3}, Index{1} << 20})
        for (const bool seen : {true, false}) {
            INFO(bytes << " bytes, seen " << seen);
            HeadLossOptions options{.alpha = 0.6, .scale = 1, .max_workspace_bytes = bytes};
            const auto head = batch.head();
            const auto got = run(batch, seen ? head : packed, options);
            check_close(batch, got, expected);
            const auto again = run(batch, seen ? head : packed, options);
            CHECK(again.sums.divergence == got.sums.divergence);
            CHECK(naive::distance(again.dhidden, got.dhidden) == 0);
            CHECK(naive::distance(again.dW, got.dW) == 0);
            const ThreadCount threads(3);
            check_close(batch, run(batch, seen ? head : packed, options), expected);
        }
}

TEST_CASE(
    "head loss: gradients are scaled, that of W is added, that of hidden may take its place") {
    const Batch<double> batch({6, 5, 14, 3, 0.4, 0.2});
    const auto once = run(batch);
    auto hidden = batch.hidden;
    Tensor<double> dW(batch.W.shape());
    for (Index k = 0; k < dW.size(); ++k) dW.data()[k] = 1;
    const auto sums =
        head_loss(as_matrix(hidden.view()), batch.head(), batch.targets(),
                  {.alpha = 0.4, .scale = -2}, cpu, as_matrix(hidden.view()), as_matrix(dW.view()));
    CHECK(sums.divergence == once.sums.divergence);
    for (Index k = 0; k < hidden.size(); ++k)
        CHECK(hidden.data()[k] == Approx(-2 * once.dhidden.data()[k]).margin(1e-300));
    for (Index k = 0; k < dW.size(); ++k)
        CHECK(dW.data()[k] == Approx(1 - 2 * once.dW.data()[k]).margin(1e-300));
    const auto alone =
        head_loss(batch.hidden_view(), batch.head(), batch.targets(), {.alpha = 0.4}, cpu);
    CHECK(alone.divergence == once.sums.divergence);
    CHECK(alone.cross_entropy == once.sums.cross_entropy);
    CHECK(alone.loss(0.25) == 0.25 * alone.divergence + 0.75 * alone.cross_entropy);
}

TEST_CASE("head loss: without a teacher it is the cross-entropy, with one and alpha 0 too") {
    const Batch<float> with({8, 6, 50, 5, 0, 0.3});
    auto without = with;
    without.problem.top = 0;
    const auto a = run(with), b = run(without);
    CHECK(a.sums.divergence > 0);
    CHECK(b.sums.divergence == 0);
    check_close(without, a, [&] {
        auto expected = naive_loss(without);
        expected.sums.divergence = a.sums.divergence;
        return expected;
    }());
    check_close(without, b, naive_loss(without));
}

TEST_CASE(
    "head loss: the divergence is 0 where the student is the teacher, and needs no next token") {
    for (const Index top : {Index{1}, Index{5}, Index{40}}) {
        Batch<double> batch({4, 6, 40, top, 1, 0.5});
        const auto Z = naive::apply(batch.W, batch.hidden);
        std::fill(batch.weights.begin(), batch.weights.end(), 1.0f);
        batch.next.clear();
        batch.ids.clear();
        batch.log_p.clear();
        batch.log_rest.clear();
        for (Index t = 0; t < 4; ++t) {
            std::vector<Index> order(40);
            std::iota(order.begin(), order.end(), Index{0});
            std::sort(order.begin(), order.end(),
                      [&](Index a, Index b) { return Z(t, a) > Z(t, b); });
            double sum = 0, rest = 0;
            for (Index j = 0; j < 40; ++j) sum += std::exp(Z(t, j));
            for (Index k = 0; k < 40; ++k) {
                const double z = Z(t, order[static_cast<std::size_t>(k)]);
                if (k >= top) {
                    rest += std::exp(z);
                    continue;
                }
                batch.ids.push_back(static_cast<std::int32_t>(order[static_cast<std::size_t>(k)]));
                batch.log_p.push_back(static_cast<float>(z - std::log(sum)));
            }
            batch.log_rest.push_back(static_cast<float>(std::log(rest / sum)));
        }
        const auto got = run(batch);
        CHECK(std::abs(got.sums.divergence) < tolerance<float>(40, 4));
        CHECK(naive::norm(got.dhidden) < tolerance<float>(40, naive::norm(batch.W)));
        CHECK(got.sums.cross_entropy == 0);
        CHECK(got.sums.agreements == 4);
        CHECK(got.sums.positions == 4);
    }
}

TEST_CASE("head loss: agreements and hits count the largest logits") {
    Tensor<float> W({4, 4}), hidden({3, 4});
    for (Index k = 0; k < 4; ++k) W(k, k) = 1;
    for (Index t = 0; t < 3; ++t) hidden(t, t) = 2;  // the largest logit of position t is t
    const std::vector<Index> next{0, 3, 2};
    const std::vector<std::int32_t> ids{0, 1, 1, 0, 3, 2};
    const std::vector<float> log_p(6, std::log(0.25f)), log_rest(3, std::log(0.5f));
    const auto sums = head_loss(as_matrix(std::as_const(hidden).view()),
                                HeadWeight<float>(as_matrix(std::as_const(W).view())),
                                {next, {}, {3, 2, ids, log_p, log_rest}}, {.alpha = 0.5}, cpu);
    CHECK(sums.hits == 2);        // 0 and 2
    CHECK(sums.agreements == 2);  // 0 and 1
    CHECK(sums.weight == 3);
}

TEST_CASE("head loss: a rest far below the top keeps its logarithm") {
    Tensor<float> W({5, 1}), hidden({1, 1});
    hidden(0, 0) = 1;
    W(2, 0) = 150;  // float exponentials vanish 87 below their maximum
    W(0, 0) = 1;
    const std::vector<std::int32_t> ids{2};
    const std::vector<float> log_p{std::log(0.75f)}, log_rest{std::log(0.25f)};
    Tensor<float> dhidden({1, 1}), dW({5, 1});
    const auto sums = head_loss(as_matrix(std::as_const(hidden).view()),
                                HeadWeight<float>(as_matrix(std::as_const(W).view())),
                                {{}, {}, {1, 1, ids, log_p, log_rest}}, {.alpha = 1}, cpu,
                                as_matrix(dhidden.view()), as_matrix(dW.view()));
    const double others = std::exp(1.0) + 3, rest = std::log(others) - 150;
    const double expected = 0.75 * std::log(0.75) + 0.25 * (std::log(0.25) - rest);
    CHECK(std::abs(sums.divergence - expected) < tolerance<float>(1, 150));
    for (Index j = 0; j < 5; ++j) {
        const double share = (j == 0 ? std::exp(1.0) : 1.0) / others;
        CHECK(std::abs(dW(j, 0) - (j == 2 ? 0.25 : -0.25 * share)) < tolerance<float>(1, 1));
    }
}

TEST_CASE("head loss: what is no distribution, no token or no number is refused") {
    const Problem problem{4, 3, 9, 2, 0.5, 0.1};
    const auto refused = [&](auto change, const std::vector<std::string>& pieces, auto error,
                             HeadLossOptions options = {.alpha = 0.5}) {
        Batch<float> batch(problem);
        std::fill(batch.weights.begin(), batch.weights.end(), 1.0f);
        for (auto& next : batch.next) next = (std::max)(next, Index{0});
        for (std::size_t k = 0; k < batch.ids.size(); ++k)
            batch.ids[k] = static_cast<std::int32_t>(k % 2);
        change(batch);
        check_throws<decltype(error)>([&] { (void)run(batch, batch.head(), options); }, pieces);
    };
    const ArgumentError argument("");
    const NumericalError numerical("");
    const ShapeError shape("");
    const auto nothing = [](Batch<float>&) {};
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float infinity = std::numeric_limits<float>::infinity();
    using B = Batch<float>;
    refused([](B& b) { b.next[2] = 9; }, {"next token of position 2 is 9", "has 9"}, argument);
    refused([](B& b) { b.next[1] = -1; }, {"next token of position 1 is -1"}, argument);
    refused([](B& b) { b.ids[5] = 9; }, {"id 1", "position 2 is 9", "has 9"}, argument);
    refused([](B& b) { b.ids[0] = -2; }, {"id 0", "position 0 is -2"}, argument);
    refused([](B& b) { b.ids[7] = 0; }, {"id 0 occurs twice at position 3"}, argument);
    refused([&](B& b) { b.weights[3] = -1; }, {"weight of position 3", "-1"}, argument);
    refused([&](B& b) { b.weights[0] = nan; }, {"weight of position 0", "nan"}, argument);
    refused([&](B& b) { b.hidden(1, 2) = nan; }, {"position 1 holds nan at element 2"}, numerical);
    refused([&](B& b) { b.hidden(3, 0) = -infinity; }, {"position 3 holds -inf"}, numerical);
    refused([&](B& b) { b.W(8, 1) = nan; }, {"position 0", "not finite"}, numerical);
    refused([&](B& b) { b.W(8, 1) = infinity; }, {"not finite"}, numerical);
    refused([&](B& b) { b.log_p[2] = nan; }, {"id 0 at position 1 is nan"}, numerical);
    refused([&](B& b) { b.log_rest[1] = nan; }, {"rest at position 1 is nan"}, numerical);
    refused([](B& b) { b.next.pop_back(); }, {"4 next tokens, got 3"}, shape);
    refused([](B& b) { b.weights.pop_back(); }, {"4 weights, got 3"}, shape);
    refused([](B& b) { b.ids.pop_back(); }, {"8 ids of the teacher, got 7"}, shape);
    refused([](B& b) { b.log_rest.pop_back(); }, {"got 3"}, shape);
    refused([](B& b) { b.problem.top = 10; }, {"1 to 9", "got 10"}, shape);
    refused([](B& b) { b.problem.positions = 5; }, {"4 positions of the teacher, got 5"}, shape);
    refused([](B& b) { b.problem.top = 0; }, {"alpha = 0.5", "teacher"}, argument);
    refused([](B& b) { b.next.clear(); }, {"alpha = 0.5", "next tokens"}, argument);
    refused(nothing, {"alpha must be 0 to 1, got 1.5"}, argument, {.alpha = 1.5});
    refused(nothing, {"alpha must be 0 to 1, got nan"}, argument, {.alpha = nan});
    refused(nothing, {"scale must be finite"}, argument, {.alpha = 0.5, .scale = infinity});
    const Batch<float> all({1, 2, 2, 2, 1, 0.1});
    check_throws<ArgumentError>([&] { (void)run(all); }, {"rest at position 0", "0.1", "all 2"});
    const Batch<float> batch(problem);
    Tensor<float> wrong({3, 3}), dW({9, 3});
    const auto call = [&](MatrixView<float> dhidden, MatrixView<float> gradient) {
        (void)head_loss(batch.hidden_view(), batch.head(), batch.targets(), {.alpha = 0.5}, cpu,
                        dhidden, gradient);
    };
    check_throws<ShapeError>([&] { call(as_matrix(wrong.view()), {}); },
                             {"dhidden must be 4 x 3", "got 3 x 3"});
    check_throws<ArgumentError>([&] { call({}, as_matrix(dW.view())); }, {"dW is wanted"});
}
