// Laws of rounding in the metric of the inputs: values lie on their grids, the loss is theirs, errors are handed
// on as the inverse of the moments would, and nothing depends on scale, order of rows or blocks.
#include "mpo/model/quantize.hpp"

#include <set>

#include "mpo/linalg/eigen_backend.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/matrices.hpp"
#include "support/models.hpp"
#include "support/thread_count.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

[[nodiscard]] Quantized rounded(const Tensor<float>& W, const Tensor<double>& S,
                                const QuantizeOptions& options) {
    return quantize(W, as_matrix(S.view()), options, cpu);
}

/// S(i, j) = rho^|i - j| a_i a_j with a from 1/2 to 2, no two alike.
[[nodiscard]] Tensor<double> correlated(Index n, double rho) {
    Tensor<double> S({n, n});
    const auto strength = [&](Index k) {
        return std::pow(2.0, 2 * static_cast<double>(k * 37 % n) / static_cast<double>(n) - 1);
    };
    for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < n; ++j)
            S(i, j) =
                std::pow(rho, std::abs(static_cast<double>(i - j))) * strength(i) * strength(j);
    return S;
}

/// E[x x^T] over so many samples that share a few causes.
[[nodiscard]] Tensor<double> sampled(Index n, Index samples, std::uint64_t seed) {
    const Index causes = (n + 3) / 4;
    auto X = naive::product(normal_tensor<double>({n, causes}, seed),
                            normal_tensor<double>({causes, samples}, seed + 1));
    const auto noise = normal_tensor<double>({n, samples}, seed + 2);
    X = naive::combination(1 / static_cast<double>(samples), X, 0.3, noise);
    auto S = naive::product(X, naive::transpose(X));
    for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < i; ++j) S(i, j) = S(j, i);
    return S;
}

[[nodiscard]] Tensor<double> scaled_identity(Index n, double scale) {
    auto S = naive::identity<double>(n);
    for (Index k = 0; k < S.size(); ++k) S.data()[k] *= scale;
    return S;
}

[[nodiscard]] bool same_levels(const Quantized& a, const Quantized& b) {
    return std::equal(a.levels.data(), a.levels.data() + a.levels.size(), b.levels.data(),
                      b.levels.data() + b.levels.size()) &&
           naive::distance(a.values, b.values) == 0;
}

/// The combinations of everything but bits, group and damping.
[[nodiscard]] std::vector<QuantizeOptions> ways(QuantizeOptions options) {
    std::vector<QuantizeOptions> all;
    for (const auto order : {ColumnOrder::natural, ColumnOrder::descending})
        for (const auto grids : {GridChoice::span, GridChoice::fitted})
            for (const auto feedback : {Feedback::none, Feedback::later_columns}) {
                options.order = order;
                options.grids = grids;
                options.feedback = feedback;
                all.push_back(options);
            }
    return all;
}

void check_on_grids(const Quantized& q, const QuantizeOptions& options) {
    const Index m = q.values.extent(0), n = q.values.extent(1);
    const Index groups = (n + options.group - 1) / options.group;
    REQUIRE(q.levels.shape() == Shape{m, n});
    REQUIRE(q.scales.shape() == Shape{m, groups});
    REQUIRE(q.minima.shape() == Shape{m, groups});
    CHECK(q.bits_per_weight * static_cast<double>(n) ==
          Approx(static_cast<double>(options.bits * n + 32 * groups)));
    Index wrong = 0;
    for (Index i = 0; i < m; ++i) {
        std::vector<std::set<float>> values(static_cast<std::size_t>(groups));
        for (Index j = 0; j < n; ++j) {
            const Index g = j / options.group;
            const float expected =
                q.scales(i, g) * static_cast<float>(q.levels(i, j)) + q.minima(i, g);
            if (q.values(i, j) != expected || q.levels(i, j) >= 1 << options.bits) ++wrong;
            values[static_cast<std::size_t>(g)].insert(q.values(i, j));
        }
        for (Index g = 0; g < groups; ++g) {
            if (values[static_cast<std::size_t>(g)].size() > std::size_t{1} << options.bits)
                ++wrong;
            for (const float x : {q.scales(i, g), q.minima(i, g)})
                if (half_to_float(float_to_half(x)) != x) ++wrong;
            if (q.scales(i, g) < 0) ++wrong;
        }
    }
    CHECK(wrong == 0);
}

/// The inverse of a positive definite matrix, by elimination.
[[nodiscard]] Tensor<double> inverse(Tensor<double> H) {
    const Index n = H.extent(0);
    auto X = naive::identity<double>(n);
    for (Index k = 0; k < n; ++k) {
        const double pivot = H(k, k);
        for (Index j = 0; j < n; ++j) H(k, j) /= pivot, X(k, j) /= pivot;
        for (Index i = 0; i < n; ++i) {
            if (i == k) continue;
            const double factor = H(i, k);
            for (Index j = 0; j < n; ++j) H(i, j) -= factor * H(k, j), X(i, j) -= factor * X(k, j);
        }
    }
    return X;
}

/// Levels on the grids of `q` by OPTQ as it is written: the error of a column, divided by its element of the
/// inverse, goes to the others along the inverse's row, and the column leaves the inverse. The grids are
/// those of the weights 1 / element.
void check_against_optq(const Tensor<float>& W, const Tensor<double>& S,
                        const QuantizeOptions& options, const Quantized& q) {
    const Index m = W.extent(0), n = W.extent(1);
    auto H = S;
    double trace = 0;
    for (Index k = 0; k < n; ++k) trace += S(k, k);
    for (Index k = 0; k < n; ++k) H(k, k) += options.damping * trace / static_cast<double>(n);
    auto X = inverse(H);
    auto w = naive::widen(W);
    std::vector<Index> left;
    for (Index k = 0; k < n; ++k) left.push_back(k);
    Index differ = 0;
    std::vector<double> weights(left.size());
    while (!left.empty()) {
        auto next = left.begin();
        if (options.order == ColumnOrder::descending)
            next = std::max_element(left.begin(), left.end(),
                                    [&](Index a, Index b) { return S(a, a) < S(b, b); });
        const Index k = *next;
        left.erase(next);
        const auto row = X;
        weights[static_cast<std::size_t>(k)] = 1 / X(k, k);
        for (Index i = 0; i < m; ++i) {
            const detail::Grid grid{q.scales(i, k / options.group), q.minima(i, k / options.group)};
            const auto level = grid.nearest(w(i, k), (1 << options.bits) - 1);
            if (level != q.levels(i, k)) ++differ;
            const double error = (w(i, k) - static_cast<double>(grid.value(level))) / X(k, k);
            for (const Index j : left) w(i, j) -= error * X(k, j);
        }
        for (Index i = 0; i < n; ++i)
            for (Index j = 0; j < n; ++j) X(i, j) = row(i, j) - row(i, k) * row(k, j) / row(k, k);
    }
    CHECK(differ == 0);
    auto expected = q;
    detail::make_grids(W, weights, options, expected);
    CHECK(naive::distance(expected.scales, q.scales) == 0);
    CHECK(naive::distance(expected.minima, q.minima) == 0);
}

/// Elements (rows[i], columns[j]).
template <class T>
[[nodiscard]] Tensor<T> rearranged(const Tensor<T>& A, const std::vector<Index>& rows,
                                   const std::vector<Index>& columns) {
    Tensor<T> result({static_cast<Index>(rows.size()), static_cast<Index>(columns.size())});
    for (Index i = 0; i < result.extent(0); ++i)
        for (Index j = 0; j < result.extent(1); ++j)
            result(i, j) =
                A(rows[static_cast<std::size_t>(i)], columns[static_cast<std::size_t>(j)]);
    return result;
}

[[nodiscard]] std::vector<Index> first_indices(Index n) {
    std::vector<Index> all;
    for (Index k = 0; k < n; ++k) all.push_back(k);
    return all;
}

}  // namespace

TEST_CASE("quantize: values lie on grids of half precision, and the loss is theirs") {
    for (const auto& shape : std::vector<Shape>{{1, 1}, {3, 7}, {2, 33}, {17, 40}, {5, 130}})
        for (const auto& [bits, group] : std::vector<std::pair<int, Index>>{
                 {2, 32}, {3, 5}, {4, 32}, {5, 1}, {8, 1000}, {6, 64}}) {
            const auto W = normal_tensor<float>(shape, 201);
            for (const auto& S : {correlated(shape[1], 0.7), sampled(shape[1], 3, 202)})
                for (const auto& options : ways({.bits = bits, .group = group})) {
                    CAPTURE(shape, bits, group);
                    const auto q = rounded(W, S, options);
                    check_on_grids(q, options);
                    const auto E =
                        naive::combination(1.0, naive::widen(W), -1.0, naive::widen(q.values));
                    CHECK(std::abs(q.loss - naive::weighted_loss(E, S)) <=
                          tolerance<double>(W.size(),
                                            naive::norm(E) * naive::norm(E) * naive::norm(S)));
                }
        }
}

TEST_CASE("quantize: without feedback no level is nearer") {
    const auto W = normal_tensor<float>({9, 50}, 203);
    const auto S = correlated(50, 0.9);
    for (const int bits : {2, 3, 8})
        for (const auto grids : {GridChoice::span, GridChoice::fitted}) {
            const auto q = rounded(
                W, S, {.bits = bits, .group = 16, .grids = grids, .feedback = Feedback::none});
            Index wrong = 0;
            for (Index i = 0; i < 9; ++i)
                for (Index j = 0; j < 50; ++j) {
                    const detail::Grid grid{q.scales(i, j / 16), q.minima(i, j / 16)};
                    const auto off = [&](int level) {
                        return std::abs(W(i, j) - grid.value(static_cast<std::uint8_t>(level)));
                    };
                    for (int level = 0; level < 1 << bits; ++level)
                        if (off(level) < off(q.levels(i, j)) - tolerance<float>(1, 1)) ++wrong;
                }
            CHECK(wrong == 0);
        }
}

TEST_CASE("quantize: inputs that are independent and equal leave nothing to make good for") {
    const auto W = normal_tensor<float>({9, 70}, 204);
    for (const double scale : {1.0, 3e-7, 5e11})
        for (auto options : ways({.bits = 3, .group = 16})) {
            const auto q = rounded(W, scaled_identity(70, scale), options);
            options.feedback = Feedback::none;
            CHECK(same_levels(q, rounded(W, scaled_identity(70, 1), options)));
        }
}

TEST_CASE("quantize: errors are handed on as by the inverse of the moments") {
    for (const Index n : {1, 2, 7, 33, 90})
        for (const int bits : {2, 3, 4})
            for (const double damping : {0.01, 0.3})
                for (auto options : ways({.bits = bits, .group = 8, .damping = damping}))
                    for (const auto& S : {correlated(n, 0.9), sampled(n, n / 2 + 1, 205)}) {
                        if (options.feedback == Feedback::none) continue;
                        CAPTURE(n, bits, damping);
                        const auto W = normal_tensor<float>({11, n}, 206);
                        check_against_optq(W, S, options, rounded(W, S, options));
                    }
}

TEST_CASE("quantize: feedback takes correlated inputs below a share of rounding to nearest") {
    // D_k of these moments is 1 - rho^2 = 0.1 of S(k, k). Rounding to a fitted grid has errors that add up
    // to zero in a group, which such inputs like, and gains less
    for (const int bits : {2, 3, 4, 8})
        for (const auto& [grids, share] : std::vector<std::pair<GridChoice, double>>{
                 {GridChoice::span, 0.13}, {GridChoice::fitted, 0.33}})
            for (const auto order : {ColumnOrder::natural, ColumnOrder::descending}) {
                QuantizeOptions options{.bits = bits, .order = order, .grids = grids};
                const auto W = normal_tensor<float>({40, 128}, 207);
                const auto S = correlated(128, 0.95);
                const double loss = rounded(W, S, options).loss;
                options.feedback = Feedback::none;
                const double nearest = rounded(W, S, options).loss;
                CAPTURE(bits, static_cast<int>(grids), static_cast<int>(order), loss, nearest);
                CHECK(loss <= share * nearest);
            }
}

TEST_CASE("quantize: feedback loses no more than rounding to nearest") {
    for (std::uint64_t seed = 210; seed < 230; ++seed)
        for (const Index samples : {4, 30, 200})
            for (auto options : ways({.bits = 2 + static_cast<int>(seed % 3)})) {
                if (options.feedback == Feedback::none) continue;
                const auto W = normal_tensor<float>({12, 48}, seed);
                const auto S = sampled(48, samples, seed + 1);
                const double loss = rounded(W, S, options).loss;
                options.feedback = Feedback::none;
                CAPTURE(seed, samples);
                CHECK(loss <= rounded(W, S, options).loss);
            }
}

TEST_CASE("quantize: every bit more takes the loss down") {
    const auto W = normal_tensor<float>({20, 64}, 231);
    const auto S = correlated(64, 0.8);
    for (const auto& way : ways({})) {
        double before = std::numeric_limits<double>::infinity();
        for (int bits = 2; bits <= 8; ++bits) {
            auto options = way;
            options.bits = bits;
            const double loss = rounded(W, S, options).loss;
            CAPTURE(bits);
            CHECK(loss < before / 2);
            before = loss;
        }
    }
}

TEST_CASE("quantize: scales of W and S by powers of two change nothing but the scales") {
    auto W = normal_tensor<float>({9, 70}, 232);
    auto S = sampled(70, 40, 233);
    std::vector<Quantized> before;
    for (const auto& options : ways({.bits = 3})) before.push_back(rounded(W, S, options));
    for (Index k = 0; k < W.size(); ++k) W.data()[k] *= 8;
    for (Index k = 0; k < S.size(); ++k) S.data()[k] /= 128;
    std::size_t at = 0;
    for (const auto& options : ways({.bits = 3})) {
        const auto q = rounded(W, S, options);
        CHECK(std::equal(q.levels.data(), q.levels.data() + q.levels.size(),
                         before[at].levels.data()));
        CHECK(q.loss == before[at].loss / 2);
        Index wrong = 0;
        for (Index k = 0; k < W.size(); ++k)
            if (q.values.data()[k] != 8 * before[at].values.data()[k]) ++wrong;
        CHECK(wrong == 0);
        ++at;
    }
}

TEST_CASE("quantize: rows stand alone") {
    const auto W = normal_tensor<float>({40, 50}, 234);
    const auto S = correlated(50, 0.8);
    std::vector<Index> rows;
    for (Index i = 39; i >= 0; i -= 3) rows.push_back(i);
    const auto columns = first_indices(50);
    for (const auto& options : ways({.bits = 3})) {
        const auto all = rounded(W, S, options),
                   some = rounded(rearranged(W, rows, columns), S, options);
        CHECK(naive::distance(some.values, rearranged(all.values, rows, columns)) == 0);
    }
}

TEST_CASE("quantize: columns may change places within groups, and groups theirs") {
    const Index n = 64;
    const auto W = normal_tensor<float>({10, n}, 235);
    const auto S = correlated(n, 0.8);
    std::vector<Index> columns;
    for (const Index g : {3, 0, 2, 1})
        for (const Index k : {5, 9, 0, 15, 3, 7, 12, 1, 14, 2, 11, 4, 8, 13, 6, 10})
            columns.push_back(16 * g + k);
    const auto rows = first_indices(10);
    for (const auto& options : ways({.bits = 3, .group = 16})) {
        if (options.order == ColumnOrder::natural && options.feedback != Feedback::none) continue;
        const auto straight = rounded(W, S, options),
                   turned = rounded(rearranged(W, rows, columns), rearranged(S, columns, columns),
                                    options);
        CHECK(naive::distance(turned.values, rearranged(straight.values, rows, columns)) <=
              tolerance<float>(1, 0));
        CHECK(std::abs(turned.loss - straight.loss) <=
              tolerance<double>(10 * n, naive::norm(W) * naive::norm(W) * naive::norm(S)));
    }
}

TEST_CASE("quantize: inputs that never come are left out of the feedback") {
    const Index n = 80, live = 64;
    const auto W = normal_tensor<float>({10, n}, 236);
    auto S = correlated(n, 0.9);
    for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < n; ++j)
            if (i >= live || j >= live) S(i, j) = 0;
    const auto rows = first_indices(10), columns = first_indices(live);
    for (auto options : ways({.bits = 3, .group = 16})) {
        const auto q = rounded(W, S, options);
        auto alone = options;  // the same shift
        alone.damping *= static_cast<double>(live) / static_cast<double>(n);
        const auto part =
            rounded(rearranged(W, rows, columns), rearranged(S, columns, columns), alone);
        CHECK(naive::distance(rearranged(q.values, rows, columns), part.values) == 0);
        CHECK(std::abs(q.loss - part.loss) <= tolerance<double>(10 * n, part.loss));
        Index wrong = 0;
        for (Index i = 0; i < 10; ++i)
            for (Index j = live; j < n; ++j) {
                const detail::Grid grid{q.scales(i, 4), q.minima(i, 4)};
                if (grid.nearest(W(i, j), 7) != q.levels(i, j)) ++wrong;
            }
        CHECK(wrong == 0);
    }
}

TEST_CASE("quantize: no inputs at all, nothing lost, no damping needed") {
    const auto W = normal_tensor<float>({4, 40}, 237);
    for (auto options : ways({.bits = 3, .damping = 0})) {
        const auto q = rounded(W, Tensor<double>({40, 40}), options);
        CHECK(q.loss == 0);
        options.grids = GridChoice::span;  // no weights to fit by
        options.feedback = Feedback::none;
        CHECK(same_levels(q, rounded(W, scaled_identity(40, 1), options)));
    }
}

TEST_CASE("quantize: blocks and threads change no level") {
    const auto W = normal_tensor<float>({37, 150}, 238);
    const auto S = sampled(150, 100, 239);
    for (const auto& options : ways({.bits = 3})) {
        const auto whole =
            detail::quantize_in_blocks(W, as_matrix(S.view()), options, Index{150}, cpu);
        for (const Index block : {1, 7, 64, 149, 1000}) {
            CAPTURE(block);
            CHECK(same_levels(
                whole, detail::quantize_in_blocks(W, as_matrix(S.view()), options, block, cpu)));
        }
        for (const int threads : {1, 3}) {
            const ThreadCount count(threads);
            CHECK(same_levels(whole, rounded(W, S, options)));
        }
    }
}

TEST_CASE("quantize: numbers that lie on a grid stay where they are") {
    Random random(240);
    for (const int bits : {2, 4, 8}) {
        Tensor<float> W({6, 40});
        const Index last = (1 << bits) - 1;
        for (Index i = 0; i < 6; ++i)
            for (Index j = 0; j < 40; ++j) {
                const Index level = j % 8 < 2 ? j % 8 * last : random.below(last + 1);
                W(i, j) = 0.25F * static_cast<float>(level) - 3 * static_cast<float>(i);
            }
        for (const auto& options : ways({.bits = bits, .group = 8})) {
            const auto q = rounded(W, correlated(40, 0.9), options);
            CHECK(q.loss == 0);
            CHECK(naive::distance(q.values, W) == 0);
        }
    }
    const Tensor<float> tiny({1, 3}, {0, 2e-8F, 1e-8F});  // below what half precision holds
    for (const auto& options : ways({.bits = 2})) {
        const auto q = rounded(tiny, correlated(3, 0.9), options);
        CHECK(naive::norm(q.values) == 0);
        CHECK(q.levels(0, 1) == 0);
    }
    Tensor<float> constant({2, 5});  // groups without a span
    for (Index j = 0; j < 5; ++j) constant(0, j) = -1.5F;
    for (const auto& options : ways({.bits = 2, .group = 3}))
        CHECK(naive::distance(rounded(constant, correlated(5, 0.9), options).values, constant) ==
              0);
}

TEST_CASE("quantize: grids that are fitted lose less than those that span") {
    const Index m = 20, n = 96;
    auto W = normal_tensor<float>({m, n}, 241);
    for (Index i = 0; i < m; ++i) W(i, 7) *= 6;  // an outlier whose input is weak
    auto S = scaled_identity(n, 1);
    S(7, 7) = 1e-3;
    double shares[9] = {};
    for (const int bits : {2, 3, 4, 8}) {
        QuantizeOptions options{.bits = bits, .feedback = Feedback::none};
        const auto fitted = rounded(W, S, options);
        options.grids = GridChoice::span;
        const auto span = rounded(W, S, options);
        for (Index i = 0; i < m; ++i)
            for (Index g = 0; g < n; g += options.group) {
                const auto lost = [&](const Quantized& q) {
                    double sum = 0;
                    for (Index j = g; j < g + options.group; ++j)
                        sum += S(j, j) * std::pow(static_cast<double>(W(i, j)) -
                                                      static_cast<double>(q.values(i, j)),
                                                  2);
                    return sum;
                };
                CHECK(lost(fitted) <= lost(span));
            }
        shares[bits] = fitted.loss / span.loss;
    }
    CAPTURE(shares[2], shares[3], shares[4], shares[8]);
    CHECK(shares[2] < 0.5);
    CHECK(shares[3] < 0.6);
    CHECK(shares[4] < 0.8);
}

TEST_CASE("quantize: a refit is the least squares of its levels") {
    const std::vector<float> numbers{2, 2.5F, 3.5F, 2.5F, 3, 9.25F};
    const std::vector<double> weights{1, 3, 0.5, 2, 1, 0};
    const detail::GroupNumbers group{numbers.data(), weights.data(), 6, 3};
    const auto grid = group.refitted({0.46875F, 2.0625F});
    CHECK(grid.scale == 0.5F);  // 2, 2.5, 3, 3.5; the last number weighs nothing
    CHECK(grid.minimum == 2);
    CHECK(group.lost(grid) == 0);
    CHECK(group.lost({0.5F, 2.25F}) == Approx((1 + 3 + 0.5 + 2 + 1) / 16));
    CHECK(group.refitted({100, 0}).scale == 0);  // one level for all
}

TEST_CASE("quantize: what is no option, no matrix or no moment is refused") {
    const auto W = normal_tensor<float>({3, 5}, 242);
    const auto S = correlated(5, 0.5);
    const auto no_option = [&](const QuantizeOptions& options, const std::string& text) {
        check_throws<ArgumentError>([&] { (void)rounded(W, S, options); }, {"quantize: " + text});
    };
    no_option({.bits = 1}, "bits must be 2 to 8, got 1");
    no_option({.bits = 9}, "bits must be 2 to 8, got 9");
    no_option({.group = 0}, "group must be at least 1, got 0");
    no_option({.damping = -0.5}, "damping must be finite and >= 0, got -0.5");
    no_option({.damping = std::nan("")}, "damping must be finite and >= 0, got nan");
    no_option({.damping = HUGE_VAL}, "damping must be finite and >= 0, got inf");

    const auto view = as_matrix(S.view());
    const auto no_matrix = [&](const Tensor<float>& w, MatrixView<const double> moments,
                               const std::string& text) {
        check_throws<ShapeError>([&] { (void)quantize(w, moments, {}, cpu); }, {text});
    };
    no_matrix(Tensor<float>({0, 5}), view, "quantize: W is empty, 0 x 5");
    no_matrix(Tensor<float>({3, 0}), block(view, 0, 0, 0, 0), "quantize: W is empty, 3 x 0");
    no_matrix(Tensor<float>({5}), view, "expected rank 2");
    no_matrix(W, block(view, 0, 0, 5, 4), "quantize: W is 3 x 5, so S must be 5 x 5, got 5 x 4");
    no_matrix(W, block(view, 0, 0, 4, 5), "quantize: W is 3 x 5, so S must be 5 x 5, got 4 x 5");
    check_throws<ArgumentError>([&] { (void)quantize(W, transpose(view), {}, cpu); },
                                {"quantize: S must be row-major without gaps"});

    const auto no_moment = [&](const Tensor<float>& w, const Tensor<double>& moments,
                               const std::string& text) {
        for (const auto& options : ways({}))
            check_throws<NumericalError>([&] { (void)rounded(w, moments, options); }, {text});
    };
    for (const double poison : {std::nan(""), HUGE_VAL}) {
        auto w = W;
        w(1, 2) = static_cast<float>(poison);
        no_moment(w, S, "quantize: W, 3 x 5, holds NaN or Inf");
        auto s = S;
        s(3, 1) = poison;
        no_moment(W, s, "quantize: S(3, 1) is ");
    }
    auto s = S;
    s(3, 1) += 0.5;
    no_moment(W, s, "quantize: S is not symmetric");
    s = scaled_identity(5, 1);
    s(2, 2) = -0.001;  // which damping would hide
    no_moment(W, s, "quantize: S is not positive semidefinite");
}

TEST_CASE("quantize: singular moments need damping, and numbers half precision") {
    const auto W = normal_tensor<float>({3, 5}, 243);
    auto S = correlated(5, 0.5);
    CHECK(rounded(W, S, {.damping = 0}).loss > 0);
    for (Index k = 0; k < 5; ++k) S(k, 3) = S(3, k) = 0;
    for (const auto order : {ColumnOrder::natural, ColumnOrder::descending}) {
        check_throws<NumericalError>(
            [&] { (void)rounded(W, S, {.damping = 0, .order = order}); },
            {"quantize: S + 0 I is singular at column 3; damping must be larger"});
        CHECK(rounded(W, S, {.order = order}).loss > 0);
    }
    for (const auto& [bits, large] :
         std::vector<std::pair<int, float>>{{8, -7e4F}, {2, -7e4F}, {2, 3e5F}}) {
        auto bad = W;
        bad(1, 4) = large;
        for (const auto& options : ways({.bits = bits, .group = 3}))
            check_throws<NumericalError>([&] { (void)rounded(bad, S, options); },
                                         {"quantize: row 1 of W reaches from ",
                                          "in columns 3 to 4, half precision to 65504"});
        bad(1, 3) = bad(1, 4) = 7e4F;  // a group without a span
        check_throws<NumericalError>([&] { (void)rounded(bad, S, {.bits = 8, .group = 3}); },
                                     {"from 70000 to 70000 in columns 3 to 4"});
        bad(1, 3) = 0;  // in 255 steps
        const auto q = rounded(bad, S, {.bits = 8, .group = 3, .grids = GridChoice::span});
        CHECK(std::abs(q.values(1, 4) - 7e4F) <= std::ldexp(7e4F, -10));  // its steps are rounded
    }
}
