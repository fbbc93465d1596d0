#include "mpo/model/row_gradients.hpp"

#include <cmath>
#include <vector>

#include "mpo/core/random.hpp"
#include "support/catch.hpp"
#include "support/finite_differences.hpp"
#include "support/naive.hpp"
#include "support/same_bits.hpp"
#include "support/thread_count.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// Distance of what float made from what double made, in units of what rounding may do.
[[nodiscard]] double rounding_of(const Tensor<float>& x, const Tensor<double>& expected) {
    return naive::distance(x, expected) / tolerance<float>(x.size(), naive::norm(expected), 2);
}

constexpr double norm_epsilon = 0.01;

struct NormGradients {
    template <class T>
    static std::vector<Tensor<T>> run(const std::vector<Tensor<T>>& in) {
        const Index n = in[0].size();
        std::vector<Tensor<T>> out(2, Tensor<T>({n}));
        detail::normalize_row_backward<T>(n, in[0].data(), in[1].data(),
                                          static_cast<T>(norm_epsilon), in[2].data(), out[0].data(),
                                          out[1].data());
        return out;
    }
};

struct SiluGradients {
    template <class T>
    static std::vector<Tensor<T>> run(const std::vector<Tensor<T>>& in) {
        const Index n = in[0].size();
        std::vector<Tensor<T>> out(2, Tensor<T>({n}));
        detail::silu_multiply_backward<T>(n, in[0].data(), in[1].data(), in[2].data(),
                                          out[0].data(), out[1].data());
        return out;
    }
};

/// The same numbers in float and in double.
template <class Gradients>
void compare_precisions() {
    for (const Index n : {1, 2, 15, 16, 17, 100, 577}) {
        INFO(n << " numbers");
        std::vector<Tensor<float>> narrow;
        std::vector<Tensor<double>> wide;
        for (std::uint64_t seed = 1; seed <= 3; ++seed) {
            narrow.push_back(normal_tensor<float>({n}, seed));
            wide.push_back(naive::widen(narrow.back()));
        }
        const auto found = Gradients::run(narrow);
        const auto expected = Gradients::run(wide);
        for (std::size_t k = 0; k < found.size(); ++k) {
            const double scale = naive::norm(expected[k]) + naive::norm(wide[2]);
            CHECK(naive::distance(found[k], expected[k]) <= tolerance<float>(n, scale));
        }
    }
}

}  // namespace

TEST_CASE("row gradients: RMSNorm against differences") {
    for (const Index n : {1, 2, 7, 16, 65}) {
        INFO(n << " numbers");
        auto x = normal_tensor<double>({n}, 11), w = normal_tensor<double>({n}, 12);
        const auto dy = normal_tensor<double>({n}, 13);
        Tensor<double> y({n});
        const auto f = [&] {
            detail::normalize_row_t<double>(n, x.data(), w.data(), norm_epsilon, y.data());
            return naive::inner(y, dy);
        };
        const auto gradients = NormGradients::run<double>({x, w, dy});
        check_gradient(x, gradients[0], f);
        check_gradient(w, gradients[1], f);
    }
}

TEST_CASE("row gradients: SwiGLU against differences") {
    for (const Index n : {1, 2, 7, 16, 65}) {
        INFO(n << " numbers");
        auto gate = normal_tensor<double>({n}, 14), up = normal_tensor<double>({n}, 15);
        for (Index i = 0; i < n; ++i) gate(i) *= 3;
        const auto dh = normal_tensor<double>({n}, 16);
        Tensor<double> h({n});
        const auto f = [&] {
            detail::silu_multiply_t<double>(n, gate.data(), up.data(), h.data());
            return naive::inner(h, dh);
        };
        const auto gradients = SiluGradients::run<double>({gate, up, dh});
        check_gradient(gate, gradients[0], f);
        check_gradient(up, gradients[1], f);
    }
}

TEST_CASE("row gradients: float has the derivatives of double") {
    compare_precisions<NormGradients>();
    compare_precisions<SiluGradients>();
}

TEST_CASE("row gradients: gates far from zero") {
    const std::vector<float> gates{-1e30f, -300,   -88, -87, -30, -1e-30f,
                                   0,      1e-30f, 30,  88,  300, 1e30f};
    for (const float gate : gates) {
        INFO(gate);
        const float up = 0.75f, dh = 2;
        const double g = gate, s = g < -700 ? 0 : 1 / (1 + std::exp(-g));
        float dgate = 0, dup = 0;
        detail::silu_multiply_backward<float>(1, &gate, &up, &dh, &dgate, &dup);
        const double rounding = tolerance<float>(1, 1);
        CHECK(std::abs(dgate - 1.5 * s * (1 + g * (1 - s))) <= rounding);
        CHECK(std::abs(dup - 2 * g * s) <= rounding * (1 + std::abs(2 * g * s)));
    }
}

TEST_CASE("row gradients: training computes forward what inference does") {
    for (const Index n : {1, 15, 16, 33, 576}) {
        const auto x = normal_tensor<float>({n}, 21), w = normal_tensor<float>({n}, 22);
        Tensor<float> y({n}), expected({n});
        detail::normalize_row_t<float>(n, x.data(), w.data(), 1e-5f, y.data());
        detail::normalize_row(n, x.data(), w.data(), 1e-5f, expected.data());
        CHECK(same_bits(y, expected));
        const auto gate = x;
        expected = gate;
        detail::silu_multiply(n, expected.data(), w.data());
        detail::silu_multiply_t<float>(n, gate.data(), w.data(), y.data());
        CHECK(same_bits(y, expected));
        CHECK(same_bits(gate, x));
        Tensor<double> wide({n});
        detail::silu_multiply_t<double>(n, naive::widen(x).data(), naive::widen(w).data(),
                                        wide.data());
        CHECK(rounding_of(y, wide) <= 1);
        detail::normalize_row_t<float>(n, x.data(), w.data(), 1e-5f, y.data());
        detail::normalize_row_t<double>(n, naive::widen(x).data(), naive::widen(w).data(), 1e-5,
                                        wide.data());
        CHECK(rounding_of(y, wide) <= 1);
    }
}

TEST_CASE("row gradients: derivatives are written over what is read, or added") {
    const Index n = 37;
    const auto gate = normal_tensor<float>({n}, 23), up = normal_tensor<float>({n}, 24);
    const auto dh = normal_tensor<float>({n}, 25);
    const auto expected = SiluGradients::run<float>({gate, up, dh});
    auto dgate = gate, dup = up;
    detail::silu_multiply_backward<float>(n, dgate.data(), dup.data(), dh.data(), dgate.data(),
                                          dup.data());
    CHECK(same_bits(dgate, expected[0]));
    CHECK(same_bits(dup, expected[1]));

    const auto once = NormGradients::run<float>({gate, up, dh});
    auto dx = dh, dweight = up;
    detail::normalize_row_backward<float>(n, gate.data(), up.data(), 0.01f, dh.data(), dx.data(),
                                          dweight.data());
    auto alone = dh;
    detail::normalize_row_backward<float>(n, gate.data(), up.data(), 0.01f, dh.data(), alone.data(),
                                          nullptr);
    CHECK(same_bits(alone, dx));
    for (Index i = 0; i < n; ++i) {
        CHECK(std::abs(dx(i) - (dh(i) + once[0](i))) <= tolerance<float>(1, 4));
        CHECK(std::abs(dweight(i) - (up(i) + once[1](i))) <= tolerance<float>(1, 4));
    }
}

TEST_CASE("row gradients: many rows are one row after another, on any number of threads") {
    for (const Index rows : {1, 63, 64, 65, 1000}) {
        INFO(rows << " rows");
        const Index n = 97;
        const auto x = normal_tensor<float>({rows, n}, 31),
                   dy = normal_tensor<float>({rows, n}, 32);
        const auto w = normal_tensor<float>({n}, 33);
        Tensor<float> y({rows, n}), dx({rows, n}), dweight({n});
        Tensor<double> sum({n});
        for (Index r = 0; r < rows; ++r) {
            detail::normalize_row_t<float>(n, x.data() + r * n, w.data(), 0.01f, y.data() + r * n);
            Tensor<float> part({n});
            detail::normalize_row_backward<float>(n, x.data() + r * n, w.data(), 0.01f,
                                                  dy.data() + r * n, dx.data() + r * n,
                                                  part.data());
            for (Index i = 0; i < n; ++i) sum(i) += static_cast<double>(part(i));
        }
        std::vector<Tensor<float>> weights;
        for (const int threads : {1, 2, 3, 7}) {
            const ThreadCount count(threads);
            Tensor<float> all_y({rows, n}), all_dx({rows, n}), all({n});
            detail::normalize_rows_t<float>(rows, n, x.data(), w.data(), 0.01f, all_y.data());
            detail::normalize_rows_backward<float>(rows, n, x.data(), w.data(), 0.01f, dy.data(),
                                                   all_dx.data(), all.data());
            CHECK(same_bits(all_y, y));
            CHECK(same_bits(all_dx, dx));
            CHECK(naive::distance(all, sum) <= tolerance<float>(rows, naive::norm(sum) + 1));
            weights.push_back(all);
            CHECK(same_bits(all, weights.front()));
            Tensor<float> frozen_dx({rows, n});
            detail::normalize_rows_backward<float>(rows, n, x.data(), w.data(), 0.01f, dy.data(),
                                                   frozen_dx.data(), nullptr);
            CHECK(same_bits(frozen_dx, dx));
            Tensor<float> h({rows, n}), one_h({rows, n}), dgate({rows, n}), dup({rows, n});
            detail::silu_multiply_rows_t<float>(rows * n, x.data(), dy.data(), h.data());
            detail::silu_multiply_t<float>(rows * n, x.data(), dy.data(), one_h.data());
            CHECK(same_bits(h, one_h));
            detail::silu_multiply_rows_backward<float>(rows * n, x.data(), dy.data(), y.data(),
                                                       dgate.data(), dup.data());
            Tensor<float> one_dgate({rows, n}), one_dup({rows, n});
            detail::silu_multiply_backward<float>(rows * n, x.data(), dy.data(), y.data(),
                                                  one_dgate.data(), one_dup.data());
            CHECK(same_bits(dgate, one_dgate));
            CHECK(same_bits(dup, one_dup));
        }
    }
}

TEST_CASE("row gradients: rotating back is the transpose of rotating") {
    for (const Index d : {2, 6, 32, 66}) {
        const Index heads = 3, count = 5;
        const auto frequencies = rotary_frequencies(d, 100, {});
        const RotaryAngles<double> angles(frequencies, 2, count);
        const RotaryTable table(frequencies, 2, count);
        for (Index p = 0; p < count; ++p) {
            INFO("d = " << d << ", position " << p);
            const auto x = normal_tensor<float>({heads * d}, 41),
                       y = normal_tensor<float>({heads * d}, 42);
            auto forward = naive::widen(x), back = naive::widen(y);
            angles.rotate(p, heads, 0.3, forward.data());
            angles.rotate_back(p, heads, 0.3, back.data());
            const double limit = tolerance<double>(heads * d, naive::norm(x) * naive::norm(y));
            CHECK(std::abs(naive::inner(forward, naive::widen(y)) -
                           naive::inner(naive::widen(x), back)) <= limit);
            CHECK(naive::distance(forward, naive::widen(x)) > 0.1);  // it does turn
            auto narrow = x, narrow_back = y;
            table.rotate(p, heads, 0.3f, narrow.data());
            table.rotate_back(p, heads, 0.3f, narrow_back.data());
            CHECK(rounding_of(narrow, forward) <= 1);
            CHECK(rounding_of(narrow_back, back) <= 1);
        }
    }
}
