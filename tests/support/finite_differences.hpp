// Gradients against differences of the function itself, in double.
#pragma once

#include <cmath>
#include <cstdint>

#include "catch.hpp"
#include "mpo/core/random.hpp"
#include "naive.hpp"
#include "tolerance.hpp"

namespace mpo::test {

/// (8 (f(x + h u) - f(x - h u)) - (f(x + 2 h u) - f(x - 2 h u))) / (12 h), whose error is h^4 / 30 of the fifth
/// derivative along u. f() looks at x, which gets its bits back.
inline constexpr double difference_step = 1e-3;

template <class F>
[[nodiscard]] double derivative_along(Tensor<double>& x, const Tensor<double>& u, F&& f) {
    const auto before = x;
    const auto at = [&](double h) {
        for (Index i = 0; i < x.size(); ++i) x.data()[i] = before.data()[i] + h * u.data()[i];
        return f();
    };
    const double h = difference_step;
    const double result = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
    x = before;
    return result;
}

/// `gradient` is that of f by x: along three random directions of length 1, in which every element takes part,
/// and along the first, a middle and the last element.
template <class F>
void check_gradient(Tensor<double>& x, const Tensor<double>& gradient, F&& f) {
    const Index n = x.size();
    const double scale = naive::norm(gradient) + std::abs(f());
    const double limit = tolerance<double>(n + 64, scale, 8 / difference_step);
    const auto check = [&](const Tensor<double>& u) {
        double expected = 0;
        for (Index i = 0; i < n; ++i) expected += u.data()[i] * gradient.data()[i];
        CHECK(std::abs(derivative_along(x, u, f) - expected) <= limit);
    };
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        auto u = normal_tensor<double>(x.shape(), seed);
        const double length = naive::norm(u);
        for (Index i = 0; i < n; ++i) u.data()[i] /= length;
        check(u);
    }
    for (const Index i : {Index{0}, n / 2, n - 1}) {
        INFO("element " << i);
        Tensor<double> u(x.shape());
        u.data()[i] = 1;
        check(u);
    }
}

}  // namespace mpo::test
