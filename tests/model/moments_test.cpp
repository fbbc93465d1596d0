#include "mpo/model/moments.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "mpo/core/parallel.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/matrices.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

const EigenBackend backend;

struct Rows {
    Tensor<float> dense, compressed;
    std::vector<double> weights;
};

[[nodiscard]] Rows some_rows(Index tokens, Index n, std::uint64_t seed) {
    Rows rows{
        normal_tensor<float>({tokens, n}, seed), normal_tensor<float>({tokens, n}, seed + 1), {}};
    for (Index t = 0; t < tokens; ++t) {
        rows.weights.push_back(0.25 * static_cast<double>((t + static_cast<Index>(seed)) % 5));
        for (Index i = 0; i < n; ++i)  // the flows are relatives
            rows.compressed(t, i) = rows.dense(t, i) + rows.compressed(t, i) / 8;
    }
    return rows;
}

/// Positions with a weight.
[[nodiscard]] Index counted(const Rows& rows) {
    const auto zeros = std::count(rows.weights.begin(), rows.weights.end(), 0.0);
    return rows.dense.extent(0) - static_cast<Index>(zeros);
}

/// sum of w a b^T over sum of w, by plain loops in long double.
[[nodiscard]] Tensor<double> naive_moment(const Tensor<float>& A, const Tensor<float>& B,
                                          const std::vector<double>& weights) {
    const Index n = A.extent(1);
    Tensor<double> M({n, n});
    for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < n; ++j) {
            long double sum = 0, total = 0;
            for (Index t = 0; t < A.extent(0); ++t) {
                const long double w = weights.empty() ? 1 : weights[static_cast<std::size_t>(t)];
                sum += w * A(t, i) * B(t, j);
                total += w;
            }
            M(i, j) = static_cast<double>(sum / total);
        }
    return M;
}

[[nodiscard]] double largest_entry(const Tensor<double>& a) {
    double most = 0;
    for (Index k = 0; k < a.size(); ++k) most = std::max(most, std::abs(a.data()[k]));
    return most;
}
/// Largest difference over the largest element of b.
[[nodiscard]] double moment_distance(const Tensor<double>& a, const Tensor<double>& b) {
    if (a.shape() != b.shape()) return std::numeric_limits<double>::infinity();
    double most = 0;
    for (Index k = 0; k < a.size(); ++k) {
        const double difference = std::abs(a.data()[k] - b.data()[k]);
        most = difference <= most ? most : difference;  // NaN wins
    }
    return most / largest_entry(b);
}
[[nodiscard]] bool symmetric(const Tensor<double>& S) {
    for (Index i = 0; i < S.extent(0); ++i)
        for (Index j = 0; j < i; ++j)
            if (S(i, j) != S(j, i)) return false;
    return true;
}
[[nodiscard]] double sum_rounding(Index tokens) {
    return tolerance<double>(tokens, 1);
}

[[nodiscard]] MatrixView<const float> view(const Tensor<float>& X) {
    return as_matrix(X.view());
}

[[nodiscard]] InputMoments accumulated(const Rows& rows, MomentFlows flows,
                                       const std::string& name = "a.linear") {
    InputMoments moments({name}, rows.dense.extent(1), flows);
    if (flows == MomentFlows::dense)
        moments.add(view(rows.dense), rows.weights, backend);
    else
        moments.add(view(rows.dense), view(rows.compressed), rows.weights, backend);
    return moments;
}

void add_sink_row(InputMoments& moments, const Rows& rows, Index t, double weight, double energy) {
    const auto n = static_cast<std::size_t>(rows.dense.extent(1));
    const auto at = static_cast<std::size_t>(t) * n;
    const std::span<const float> dense(rows.dense.data() + at, n),
        compressed(rows.compressed.data() + at, n);
    const bool both = moments.flows() == MomentFlows::both;
    moments.add_sink(dense, both ? compressed : std::span<const float>(), weight, energy);
}

}  // namespace

TEST_CASE("moments: they are the plain sums, of one flow and of both, weighted or not") {
    struct Size {
        Index tokens, n;
    };
    for (const auto& [tokens, n] :
         {Size{1, 1}, Size{7, 3}, Size{40, 13}, Size{5, 193}, Size{1100, 31}, Size{64, 400}}) {
        INFO(tokens << " x " << n);
        auto rows = some_rows(tokens, n, 3);
        for (const bool weighted : {true, false}) {
            if (!weighted) rows.weights.clear();
            const auto moments = accumulated(rows, MomentFlows::both);
            const auto S = moments.second_moment(backend), C = moments.compressed_moment(backend);
            CHECK(symmetric(S));
            CHECK(symmetric(C));
            const double slack = sum_rounding(tokens);
            CHECK(moment_distance(S, naive_moment(rows.dense, rows.dense, rows.weights)) < slack);
            CHECK(moment_distance(C, naive_moment(rows.compressed, rows.compressed, rows.weights)) <
                  slack);
            CHECK(moment_distance(moments.cross_moment(backend),
                                  naive_moment(rows.dense, rows.compressed, rows.weights)) < slack);
            CHECK(moments.tokens() == counted(rows));
            const auto one = accumulated(rows, MomentFlows::dense);
            CHECK(moment_distance(one.second_moment(backend), S) == 0);
            CHECK(moment_distance(one.compressed_moment(backend), S) == 0);
            CHECK(moment_distance(one.cross_moment(backend), S) == 0);
        }
    }
}

TEST_CASE("moments: a small variance beside a large mean survives, as it would not in float") {
    // x = (1, 1 + e_t): S00 - 2 S01 + S11 = E[e^2], 1e-12 of the elements
    Tensor<float> X({512, 2});
    double expected = 0;
    for (Index t = 0; t < 512; ++t) {
        X(t, 0) = 1;
        X(t, 1) = 1 + static_cast<float>(t % 9 - 4) * std::numeric_limits<float>::epsilon();
        const double e = static_cast<double>(X(t, 1)) - 1;
        expected += e * e / 512;
    }
    InputMoments moments({"a.linear"}, 2, MomentFlows::dense);
    moments.add(view(X), {}, backend);
    const auto S = moments.second_moment(backend);
    CHECK(std::abs(S(0, 0) - 2 * S(0, 1) + S(1, 1) - expected) < sum_rounding(512));
    CHECK(expected > 4 * sum_rounding(1));
}

TEST_CASE("moments: two halves merge to the whole, and pieces of any length add up") {
    const Index n = 29;
    const auto rows = some_rows(97, n, 11);
    auto whole = accumulated(rows, MomentFlows::both);
    for (const Index cut : {1, 40, 96}) {
        InputMoments parts[] = {{{"a.linear"}, n, MomentFlows::both},
                                {{"a.linear"}, n, MomentFlows::both}};
        for (Index t = 0; t < 97;) {
            const Index length = std::min<Index>(t < cut ? cut - t : 97 - t, 1 + t % 7);
            const auto first = static_cast<std::size_t>(t),
                       count = static_cast<std::size_t>(length);
            parts[t < cut ? 0 : 1].add(block(view(rows.dense), t, 0, length, n),
                                       block(view(rows.compressed), t, 0, length, n),
                                       std::span(rows.weights).subspan(first, count), backend);
            t += length;
        }
        parts[0].merge(parts[1]);
        CHECK(parts[0].tokens() == whole.tokens());
        CHECK(std::abs(parts[0].weight() - whole.weight()) < sum_rounding(97) * whole.weight());
        CHECK(moment_distance(parts[0].second_moment(backend), whole.second_moment(backend)) <
              sum_rounding(97));
        CHECK(moment_distance(parts[0].compressed_moment(backend),
                              whole.compressed_moment(backend)) < sum_rounding(97));
        CHECK(moment_distance(parts[0].cross_moment(backend), whole.cross_moment(backend)) <
              sum_rounding(97));
    }
}

TEST_CASE("moments: any thread count gives the same bits") {
    const auto rows = some_rows(300, 250, 5);
    const int threads = num_threads();
    set_num_threads(1);
    const auto one = accumulated(rows, MomentFlows::both);
    set_num_threads(3);
    const auto three = accumulated(rows, MomentFlows::both);
    set_num_threads(threads);
    CHECK(moment_distance(one.second_moment(backend), three.second_moment(backend)) == 0);
    CHECK(moment_distance(one.cross_moment(backend), three.cross_moment(backend)) == 0);
}

TEST_CASE("moments: the term of the sinks, by hand") {
    const Index n = 7, sinks = 3;
    const auto rows = some_rows(50, n, 21), strange = some_rows(sinks, n, 23);
    const std::vector<double> weights{2, 1, 3}, states{50, 1e6, 4e8};
    const double energy = 31;
    for (const auto flows : {MomentFlows::dense, MomentFlows::both})
        for (const double g : {0.0, 1.0, default_sink_weight}) {
            auto moments = accumulated(rows, flows);
            const auto plain = moments.second_moment(backend);
            moments.add_output_energy(energy);
            for (Index p = 0; p < sinks; ++p) {
                const auto at = static_cast<std::size_t>(p);
                add_sink_row(moments, strange, p, weights[at], states[at]);
            }
            CHECK(moments.sinks() == sinks);
            CHECK(moments.tokens() == counted(rows) + 3);
            double total = 0;
            for (const double w : rows.weights) total += w;
            CHECK(std::abs(moments.mean_output_energy() - energy / total) < sum_rounding(1));
            auto S = plain;
            auto X = naive_moment(rows.dense, rows.compressed, rows.weights);
            for (Index p = 0; p < sinks; ++p) {
                const auto at = static_cast<std::size_t>(p);
                const double w = g * energy / total / 6 * weights[at] / states[at];
                for (Index i = 0; i < n; ++i)
                    for (Index j = 0; j < n; ++j) {
                        S(i, j) += w * strange.dense(p, i) * strange.dense(p, j);
                        X(i, j) += w * strange.dense(p, i) * strange.compressed(p, j);
                    }
            }
            CHECK(moment_distance(moments.second_moment(backend, g), S) < sum_rounding(60));
            CHECK(symmetric(moments.second_moment(backend, g)));
            if (flows == MomentFlows::both)
                CHECK(moment_distance(moments.cross_moment(backend, g), X) < sum_rounding(60));
            InputMoments half({"a.linear"}, n, flows);  // sinks may all lie in one half
            half.merge(moments);
            CHECK(moment_distance(half.second_moment(backend, g), S) < sum_rounding(60));
        }
}

TEST_CASE("moments: matrices made in place are those made beside the sums") {
    const auto rows = some_rows(40, 11, 31);
    for (const auto flows : {MomentFlows::dense, MomentFlows::both}) {
        auto moments = accumulated(rows, flows);
        moments.add_output_energy(3);
        add_sink_row(moments, rows, 7, 1, 900);
        const auto S = moments.second_moment(backend, 2), C = moments.compressed_moment(backend, 2),
                   X = moments.cross_moment(backend, 2);
        const auto all = std::move(moments).matrices(backend, 2);
        CHECK(moment_distance(all.second, S) == 0);
        if (flows == MomentFlows::dense) {
            CHECK(all.compressed.size() == 0);
            CHECK(all.cross.size() == 0);
        } else {
            CHECK(moment_distance(all.compressed, C) == 0);
            CHECK(moment_distance(all.cross, X) == 0);
        }
    }
}

TEST_CASE("moments: fewer positions than inputs work and say so") {
    const auto of = [](Index tokens, const std::vector<double>& weights) {
        auto rows = some_rows(tokens, 5, 1);
        rows.weights = weights;
        return accumulated(rows, MomentFlows::dense);
    };
    CHECK(of(4, {}).certainly_singular());
    CHECK(largest_entry(of(4, {}).second_moment(backend)) > 0);
    CHECK_FALSE(of(5, {}).certainly_singular());
    CHECK(of(5, {1, 1, 0, 1, 1}).certainly_singular());
}

TEST_CASE("moments: NaN and Inf name the linear and the position, and add nothing") {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
          -std::numeric_limits<float>::infinity()}) {
        auto rows = some_rows(9, 4, 2);
        auto moments = accumulated(rows, MomentFlows::both, "model.layers.7.mlp.down_proj");
        const auto before = moments.second_moment(backend);
        const std::vector<std::string> says{"model.layers.7.mlp.down_proj", "position 6",
                                            "element 3"};
        auto broken = rows;
        broken.compressed(6, 3) = bad;
        const auto add = [&] {
            moments.add(view(broken.dense), view(broken.compressed), broken.weights, backend);
        };
        check_throws<NumericalError>(add, says);
        std::swap(broken.dense, broken.compressed);
        check_throws<NumericalError>(add, says);
        CHECK(moments.tokens() == counted(rows));
        CHECK(moment_distance(moments.second_moment(backend), before) == 0);
        check_throws<NumericalError>([&] { add_sink_row(moments, broken, 6, 1, 1); },
                                     {"down_proj", "element 3"});
        CHECK(moments.sinks() == 0);
    }
}

TEST_CASE("moments: what does not belong together is refused") {
    using Names = std::vector<std::string>;
    check_throws<ArgumentError>([] { (void)InputMoments(Names{}, 3, MomentFlows::dense); },
                                {"at least one linear", "0 and 3"});
    check_throws<ArgumentError>([] { (void)InputMoments(Names{"a"}, 0, MomentFlows::dense); },
                                {"1 and 0"});
    const auto rows = some_rows(6, 4, 8);
    auto one = accumulated(rows, MomentFlows::dense), both = accumulated(rows, MomentFlows::both);
    check_throws<ArgumentError>([&] { one.merge(both); }, {"a.linear", "both flows"});
    check_throws<ArgumentError>(
        [&] { one.merge(accumulated(rows, MomentFlows::dense, "b.linear")); },
        {"b.linear", "a.linear"});
    check_throws<ArgumentError>(
        [&] { one.merge(accumulated(some_rows(6, 5, 8), MomentFlows::dense)); },
        {"5 inputs", "4 inputs"});
    check_throws<ArgumentError>([&] { both.add(view(rows.dense), {}, backend); }, {"both flows"});
    check_throws<ArgumentError>([&] { one.add(view(rows.dense), view(rows.dense), {}, backend); },
                                {"dense flow alone"});
    const auto other = some_rows(5, 4, 8);
    check_throws<ShapeError>([&] { both.add(view(rows.dense), view(other.dense), {}, backend); },
                             {"6 positions", "5 in the compressed"});
    check_throws<ShapeError>([&] { one.add(view(some_rows(6, 5, 8).dense), {}, backend); },
                             {"a.linear", "4 numbers", "got 5"});
    check_throws<ArgumentError>([&] { one.add(view(rows.dense), other.weights, backend); },
                                {"6 positions", "5 weights"});
    const std::vector<double> negative{1, 1, 1, -1, 1, 1};
    check_throws<ArgumentError>([&] { one.add(view(rows.dense), negative, backend); },
                                {"position 3", "-1"});
    const InputMoments empty({"a.linear"}, 4, MomentFlows::dense);
    check_throws<ArgumentError>([&] { (void)empty.second_moment(backend); },
                                {"a.linear", "0 positions"});
    check_throws<ArgumentError>([&] { (void)one.second_moment(backend, -1); }, {">= 0", "-1"});
    check_throws<NumericalError>([&] { add_sink_row(one, rows, 0, 1, 0); }, {"energy 0"});
    check_throws<ShapeError>([&] { one.add_sink({}, {}, 1, 1); }, {"4 inputs", "got 0"});
    check_throws<NumericalError>(
        [&] { one.add_output_energy(std::numeric_limits<double>::quiet_NaN()); }, {"a.linear"});
    auto sums = one.sums();
    sums.dense = Tensor<double>({4, 3});
    check_throws<ShapeError>([&] { (void)InputMoments(sums); }, {"4 x 4"});
}
