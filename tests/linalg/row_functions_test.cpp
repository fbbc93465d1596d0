#include "mpo/linalg/row_functions.hpp"

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "mpo/core/random.hpp"
#include "mpo/impl/row_kernel_inl.hpp"
#include "support/catch.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

constexpr float infinity = std::numeric_limits<float>::infinity();
const double rounding = tolerance<float>(1, 1, 4);

/// test(isa, n) for every instruction set of this processor and lengths around those of vectors.
void for_every(const std::function<void(detail::Isa, Index)>& test) {
    for (int isa = 0; isa <= static_cast<int>(detail::best_isa()); ++isa)
        for (const Index n : {1, 2, 15, 16, 17, 31, 48, 100, 1500}) {
            INFO("instruction set " << isa << ", " << n << " numbers");
            test(static_cast<detail::Isa>(isa), n);
        }
}

[[nodiscard]] bool near(double x, double expected, double scale, double factor = 1) {
    return std::abs(x - expected) <= factor * rounding * scale;
}

}  // namespace

TEST_CASE("row_functions: the exponential over its whole range") {
    for (int isa = 0; isa <= static_cast<int>(detail::best_isa()); ++isa)
        for (float x = -87.25f; x < 88; x += 0.0137f) {
            float y = x;
            (void)detail::exponentiate_on(static_cast<detail::Isa>(isa), 1, 0, &y);
            const double expected = std::exp(static_cast<double>(x));
            REQUIRE(std::abs(static_cast<double>(y) - expected) <= rounding / 2 * expected);
        }
    std::vector<float> special{-infinity, -200, -88, 0, std::numeric_limits<float>::quiet_NaN()};
    (void)detail::exponentiate(5, 0, special.data());
    CHECK(special[0] == 0);
    CHECK(special[1] == 0);
    CHECK(special[2] == 0);
    CHECK(special[3] == 1);
    CHECK(std::isnan(special[4]));
}

TEST_CASE("row_functions: rows are normalised by their root mean square") {
    for_every([](detail::Isa isa, Index n) {
        const auto x = normal_tensor<float>({n}, 1), w = normal_tensor<float>({n}, 2);
        Tensor<float> y({n + 1});
        detail::normalize_row_on(isa, n, x.data(), w.data(), 0.01f, y.data());
        double squares = 0;
        for (Index k = 0; k < n; ++k) squares += static_cast<double>(x(k)) * x(k);
        for (Index k = 0; k < n; ++k) {
            const double expected = static_cast<double>(x(k)) * w(k) /
                                    std::sqrt(squares / static_cast<double>(n) + 0.01);
            CHECK(near(y(k), expected, std::abs(expected), 4));
        }
        CHECK(y(n) == 0);  // nothing is written behind a row
    });
}

TEST_CASE("row_functions: gates, sums and rotations") {
    for_every([](detail::Isa isa, Index n) {
        const auto x = normal_tensor<float>({n}, 3), y = normal_tensor<float>({n}, 4);
        auto gate = x, sum = x;
        gate.data()[0] = -300;  // exp(300) overflows
        detail::silu_multiply_on(isa, n, gate.data(), y.data(), gate.data());
        detail::add_row_on(isa, n, y.data(), sum.data());
        CHECK(near(gate(0), 0, 1));
        for (Index k = 0; k < n; ++k) {
            const double g = x(k), expected = g / (1 + std::exp(-g)) * y(k);
            if (k > 0) CHECK(near(gate(k), expected, std::abs(expected)));
            CHECK(sum(k) == x(k) + y(k));
        }
        const auto angles = normal_tensor<float>({n}, 5);
        auto pairs = normal_tensor<float>({2 * n}, 6);
        const auto before = pairs;
        Tensor<float> cosines({n}), sines({n});
        for (Index k = 0; k < n; ++k) {
            cosines(k) = std::cos(angles(k));
            sines(k) = std::sin(angles(k));
        }
        detail::rotate_pairs_on(isa, n, cosines.data(), sines.data(), 0.5f, pairs.data());
        for (Index k = 0; k < n; ++k) {
            const double a = before(k), b = before(n + k), c = cosines(k), s = sines(k);
            CHECK(near(pairs(k), (a * c - b * s) / 2, std::abs(a) + std::abs(b)));
            CHECK(near(pairs(n + k), (b * c + a * s) / 2, std::abs(a) + std::abs(b)));
        }
    });
}

TEST_CASE("row_functions: derivatives of norms, gates and the softmax") {
    for_every([](detail::Isa isa, Index n) {
        const auto x = normal_tensor<float>({n}, 21), w = normal_tensor<float>({n}, 22);
        const auto d = normal_tensor<float>({n}, 23), start = normal_tensor<float>({n + 1}, 24);
        auto dx = start, dw = start, p = start, dp = start;
        double squares = 0, products = 0, size = 1, dot = 0;
        for (Index k = 0; k < n; ++k) {
            squares += static_cast<double>(x(k)) * x(k);
            products += static_cast<double>(x(k)) * w(k) * d(k);
            size += std::abs(static_cast<double>(x(k)) * w(k) * d(k));
            dot += static_cast<double>(x(k)) * d(k);
        }
        const double mean = squares / static_cast<double>(n) + 0.01, r = std::sqrt(mean);
        detail::normalize_row_gradient_on(isa, n, x.data(), w.data(), 0.01f, d.data(), dx.data(),
                                          dw.data());
        auto dgate = start, dup = start;
        detail::silu_multiply_gradient_on(isa, n, x.data(), w.data(), d.data(), dgate.data(),
                                          dup.data());
        detail::softmax_gradient_on(isa, n, 1.5f, 0.25f, p.data(), dp.data());
        CHECK(near(detail::dot_row_on(isa, n, x.data(), d.data()), dot,
                   std::sqrt(squares * static_cast<double>(n)), 2));
        for (Index k = 0; k < n; ++k) {
            const double along = products / static_cast<double>(n) / mean;
            const double expected_dx = start(k) + (w(k) * d(k) - x(k) * along) / r;
            const double scale = 1 + std::abs(w(k) * d(k) / r) + std::abs(x(k)) * size / mean / r;
            CHECK(near(dx(k), expected_dx, scale + std::abs(start(k)), 4));
            CHECK(near(dw(k), start(k) + d(k) * x(k) / r, 1 + std::abs(d(k) * x(k) / r), 4));
            const double g = x(k), s = 1 / (1 + std::exp(-g));
            CHECK(near(dgate(k), d(k) * w(k) * s * (1 + g * (1 - s)), std::abs(d(k) * w(k)), 4));
            CHECK(near(dup(k), d(k) * g * s, std::abs(d(k) * g * s), 4));
            const double share = std::exp(start(k) - 1.5);
            CHECK(near(p(k), share, share, 4));
            CHECK(near(dp(k), share * (start(k) - 0.25), share * (1 + std::abs(start(k))), 4));
        }
        for (const auto* row : {&dx, &dw, &p, &dp, &dgate, &dup})
            CHECK((*row)(n) == start(n));  // nor behind it
    });
}

TEST_CASE("row_functions: rows become columns") {
    for (const Index rows : {1, 4, 7, 33})
        for (const Index cols : {1, 4, 6, 35}) {
            const auto x = normal_tensor<float>({rows, cols + 3}, 25);
            Tensor<float> y({cols, rows + 2});
            detail::transpose_rows(rows, cols, x.data(), cols + 3, y.data(), rows + 2);
            for (Index c = 0; c < cols; ++c)
                for (Index r = 0; r < rows + 2; ++r) CHECK(y(c, r) == (r < rows ? x(r, c) : 0));
        }
}

TEST_CASE("row_functions: maxima, sums of exponentials and divergences") {
    for_every([](detail::Isa isa, Index n) {
        auto x = normal_tensor<float>({n}, 7), y = normal_tensor<float>({n}, 8);
        for (Index k = 0; k < n; ++k) x(k) = 8 * x(k) + 100;  // far from 0: shifted before exp
        double top = -1e30, sum = 0, other = 0, divergence = 0;
        for (Index k = 0; k < n; ++k) top = std::max(top, static_cast<double>(x(k)));
        for (Index k = 0; k < n; ++k) sum += std::exp(x(k) - top);
        for (Index k = 0; k < n; ++k) other += std::exp(static_cast<double>(y(k)));
        const double log_x = top + std::log(sum), log_y = std::log(other);
        for (Index k = 0; k < n; ++k)
            divergence += std::exp(x(k) - log_x) * (x(k) - log_x - (y(k) - log_y));
        CHECK(detail::row_maximum_on(isa, n, x.data()) == static_cast<float>(top));
        const auto shift = static_cast<float>(top);
        CHECK(near(detail::sum_of_exponentials_on(isa, n, shift, x.data()), sum, sum, 4));
        auto e = x;
        CHECK(near(detail::exponentiate_on(isa, n, shift, e.data()), sum, sum, 4));
        CHECK(near(e(n - 1), std::exp(x(n - 1) - top), 1));
        const double mean =
            detail::mean_difference_on(isa, n, static_cast<float>(log_x), x.data(), y.data());
        CHECK(near(mean + log_y - log_x, divergence, 200));
        CHECK(near(detail::log_sum_exp(n, x.data()), log_x, 1));
        CHECK(near(detail::divergence(n, x.data(), log_x, y.data(), log_y), divergence, 200));
        CHECK(detail::divergence(n, x.data(), log_x, x.data(), log_x) == 0);
    });
}

TEST_CASE("row_functions: a running softmax of panels is the softmax of all their rows") {
    for (int set = 0; set <= static_cast<int>(detail::best_isa()); ++set) {
        const auto isa = static_cast<detail::Isa>(set);
        constexpr Index keys = 40, first = 13;
        auto S = normal_tensor<float>({keys, 32}, 9);
        for (Index k = 0; k < S.size(); ++k) S.data()[k] *= 20;
        for (Index c = 0; c < 7; ++c)
            for (Index t = 5 + c; t < keys; ++t) S(t, c) = -infinity;  // masked behind some key
        const auto scores = S;
        std::vector<float> maximum(32, -infinity), sum(32, 0), rescale(32, 7);
        detail::absorb_panel_on(isa, first, S.data(), maximum.data(), sum.data(), rescale.data());
        for (const float x : rescale) CHECK(x == 0);
        detail::absorb_panel_on(isa, keys - first, S.data() + 32 * first, maximum.data(),
                                sum.data(), rescale.data());
        detail::scale_columns_on(isa, first, rescale.data(), S.data());
        for (Index c = 0; c < 32; ++c) {
            double top = -1e30, total = 0;
            for (Index t = 0; t < keys; ++t) top = std::max(top, static_cast<double>(scores(t, c)));
            for (Index t = 0; t < keys; ++t) total += std::exp(scores(t, c) - top);
            const auto at = static_cast<std::size_t>(c);
            CHECK(near(sum[at], total, total, 4));
            for (Index t = 0; t < keys; ++t)
                CHECK(near(S(t, c) / sum[at], std::exp(scores(t, c) - top) / total, 1));
        }
    }
}
