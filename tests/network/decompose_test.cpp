// decompose: the error it reports is the error it made, the tolerance holds for the whole MPO, and
// neither strides nor scale nor shape of W matter.
#include "mpo/network/decompose.hpp"

#include <cstring>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/factorisation_conformance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

constexpr LowRankMethod every_method[] = {LowRankMethod::automatic, LowRankMethod::exact,
                                          LowRankMethod::gram, LowRankMethod::randomized};

/// One site to the most there can be; legs of 1, primes, wide and tall; plain low rank.
[[nodiscard]] std::vector<Layout> every_layout() {
    return {{{5}, {3}},
            {{1}, {1}},
            {{1, 1, 1}, {1, 1, 1}},
            {{7, 1}, {1, 11}},  // plain low rank
            {{6, 4}, {5, 3}},
            {{3, 8}, {8, 3}},
            {{2, 1, 13}, {3, 1, 2}},
            {{1, 1, 12}, {12, 1, 1}},
            {{2, 3, 2, 2}, {3, 1, 2, 2}},
            {{5, 2, 2}, {2, 2, 7}},
            {{2, 1, 2, 1, 2, 1, 1, 1, 2, 1, 1, 1}, {1, 2, 1, 3, 1, 1, 1, 2, 1, 1, 2, 1}}};
}

/// Relative to norm(W): what rounding may add to the error of a decomposition.
template <class T>
[[nodiscard]] double rounding_of(const Layout& layout) {
    return tolerance<T>(num_sites(layout) * (rows(layout) + cols(layout)), 1);
}

/// The same of its square, where that is a difference of squared norms (above 1e4 eps).
template <class T>
[[nodiscard]] double squared_rounding(const Layout& layout, double error) {
    const double eps = std::numeric_limits<Real<T>>::epsilon(), unit = rounding_of<T>(layout);
    return unit * (2 * error + unit + std::min(1.0, error * error / (1e4 * eps)));
}

/// Law: each bond's report is true in itself.
void check_bond(const BondSpectrum& bond, Index bond_dim, Index useful, double share,
                const Truncation& limits) {
    CHECK(bond.bond_dim == bond_dim);
    CHECK(bond.useful_bond_dim == useful);
    CHECK(bond.bond_dim <= std::min(useful, limits.max_bond_dim));
    CHECK(static_cast<Index>(bond.singular_values.size()) >= bond.bond_dim);
    CHECK(std::is_sorted(bond.singular_values.rbegin(), bond.singular_values.rend()));
    CHECK(bond.discarded_weight >= 0);
    if (bond.limit == BindingLimit::bond_cap) CHECK(bond.bond_dim == limits.max_bond_dim);
    if (bond.limit == BindingLimit::tolerance) CHECK(bond.discarded_weight <= share);
    if (bond.limit == BindingLimit::none) CHECK(bond.discarded_weight == 0);
}

/// Laws of every decomposition W -> result. G: what norms are summed in.
template <class G, class T>
void check_decomposition(const Tensor<T>& w, const Decomposition<T>& result,
                         const DecomposeOptions& options) {
    const auto& [op, report] = result;
    const Layout& layout = options.layout;
    const auto sites = num_sites(layout);
    const Truncation& limits = options.truncation;
    const auto W = naive::widen(w);
    const double norm = naive::norm(W);
    REQUIRE(op.layout() == layout);
    REQUIRE(op.canonical_form() == CanonicalForm::left);
    REQUIRE(static_cast<Index>(report.bonds.size()) == sites - 1);
    REQUIRE(report.methods.size() == report.bonds.size());
    CHECK(report.error_kind == ErrorKind::exact);
    CHECK(std::abs(report.norm - norm) <= tolerance<G>(w.size(), norm));

    const double error = naive::distance(naive::to_dense(op), W) / norm;
    CAPTURE(error, report.relative_error);
    CHECK(std::abs(report.relative_error * report.relative_error - error * error) <=
          squared_rounding<T>(layout, error));
    CHECK(naive::canonical_defect(op) <= tolerance<T>(op.num_parameters(), 1));

    double weights = 0, budget = limits.max_relative_error * limits.max_relative_error;
    bool capped = false;
    for (Index k = 0; k + 1 < sites; ++k) {
        CAPTURE(k);
        const auto& bond = report.bonds[static_cast<std::size_t>(k)];
        CHECK(report.methods[static_cast<std::size_t>(k)] != LowRankMethod::automatic);
        const double share = budget / static_cast<double>(sites - 1 - k);
        check_bond(bond, op.bond_dim(k + 1),
                   useful_bond_dims(layout)[static_cast<std::size_t>(k) + 1],
                   share + tolerance<double>(4, share), limits);
        weights += bond.discarded_weight;
        budget = std::max(0.0, budget - bond.discarded_weight);
        capped = capped || bond.limit == BindingLimit::bond_cap;
    }
    CHECK(std::abs(std::sqrt(weights) - report.relative_error) <= tolerance<double>(sites, 1));
    if (!capped) {
        CHECK(report.relative_error <= limits.max_relative_error * (1 + tolerance<double>(1, 1)));
        CHECK(error <= limits.max_relative_error + rounding_of<T>(layout));
    }
}

/// Decomposes and checks.
template <class T, class B>
Decomposition<T> checked(const Tensor<T>& w, const DecomposeOptions& options, const B& backend) {
    CAPTURE(to_string(options.layout), options.truncation.max_bond_dim,
            options.truncation.max_relative_error, to_string(options.method));
    auto result = decompose(w, options, backend);
    check_decomposition<GramScalar<B, T>>(w, result, options);
    return result;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("decompose reports the error it makes", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto& layout : every_layout()) {
        const Index m = rows(layout), n = cols(layout), s = std::min(m, n);
        for (const auto& w :
             {normal_tensor<T>({m, n}, 71), matrix_with_spectrum<T>(m, n, power_spectrum(s), 72),
              matrix_with_spectrum<T>(m, n, exponential_spectrum(s), 73),
              matrix_with_spectrum<T>(m, n, rank_deficient_spectrum(s, (s + 2) / 3), 74)})
            for (const auto method : every_method)
                for (const Truncation limits : {Truncation{},
                                                {1, 0},
                                                {3, 0},
                                                {no_cap, 0.3},
                                                {no_cap, 1e-2},
                                                {no_cap, 1e-5},
                                                {no_cap, 1e-12},
                                                {no_cap, 3},
                                                {2, 0.3},
                                                {1000, 0.05}})
                    (void)checked<T>(w, {layout, limits, method}, backend);
    }
}

TEMPLATE_LIST_TEST_CASE("decompose where sampling pays", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const Layout layout{{9, 10}, {10, 9}};  // unfolding 90 x 90
    for (const auto& sigma : {power_spectrum(90), exponential_spectrum(90), flat_spectrum(90)}) {
        const auto unfolding = matrix_with_spectrum<T>(90, 90, sigma, 75);  // (o1 i1, o2 i2)
        Tensor<T> w({90, 90});
        for (Index r = 0; r < 90; ++r)
            for (Index c = 0; c < 90; ++c)
                w(r, c) = unfolding(r / 10 * 10 + c / 9, r % 10 * 9 + c % 9);
        for (const auto method : every_method)
            for (const Truncation limits : {Truncation{8, 0}, {no_cap, 0.2}, {12, 0.05}}) {
                const DecomposeOptions options{layout, limits, method};
                const auto result = checked<T>(w, options, backend);
                const Index kept = result.mpo.bond_dim(1);
                const double best = tail_norm(sigma, kept) / tail_norm(sigma);
                const double slack = rounding_of<T>(layout);
                CHECK(result.report.relative_error <=
                      (1 + options.excess) * best + std::sqrt(squared_rounding<T>(layout, best)));
                if (result.report.bonds.front().limit == BindingLimit::tolerance)
                    CHECK((1 + options.excess) * tail_norm(sigma, kept - 1) / tail_norm(sigma) +
                              slack >=
                          limits.max_relative_error);
            }
    }
}

TEMPLATE_LIST_TEST_CASE("a small tolerance finds a small MPO again", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto small = random_mpo<T>({{3, 4, 3}, {4, 2, 3}}, {1, 2, 3, 1}, 76);
    const auto w = naive::narrow<T>(naive::to_dense(small));
    for (const auto method : {LowRankMethod::automatic, LowRankMethod::exact}) {
        const double eps = tolerance<T>(w.size(), 1);
        const auto result = checked<T>(w, {small.layout(), {no_cap, eps}, method}, backend);
        CHECK(result.mpo.bond_dims() == small.bond_dims());
        for (const auto& bond : result.report.bonds) CHECK(bond.limit == BindingLimit::tolerance);
    }
}

TEMPLATE_LIST_TEST_CASE("caps beyond use are lowered, limits are named", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const Layout layout{{2, 3, 2}, {2, 2, 3}};  // useful bonds 4, 6
    const auto w = normal_tensor<T>({12, 12}, 77);
    const auto limits_felt = [&](const Truncation& limits) {
        const auto result = checked<T>(w, {layout, limits}, backend);
        return std::vector{result.report.bonds[0].limit, result.report.bonds[1].limit};
    };
    using enum BindingLimit;
    CHECK(decompose(w, {layout, {1000, 0}}, backend).mpo.bond_dims() == Shape{1, 4, 6, 1});
    CHECK(limits_felt({1000, 0}) == std::vector{none, none});
    CHECK(limits_felt({6, 0}) == std::vector{none, none});
    CHECK(limits_felt({5, 0}) == std::vector{none, bond_cap});
    CHECK(limits_felt({2, 0}) == std::vector{bond_cap, bond_cap});
    CHECK(limits_felt({1000, 0.9}) == std::vector{tolerance, tolerance});
    CHECK(limits_felt({2, 1e-3}) == std::vector{bond_cap, bond_cap});
    CHECK(to_string(ErrorKind::exact) == "exact");
    CHECK(to_string(ErrorKind::bound) == "bound");
}

TEMPLATE_LIST_TEST_CASE("W may carry any strides and stays as it is", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const Index m = 12, n = 15;
    const DecomposeOptions options{{{4, 3}, {3, 5}}, {4, 0}};
    const auto w = normal_tensor<T>({m, n}, 78);
    const auto expected = decompose(w, options, backend);
    for (const Shape& strides : {Shape{n, 1}, {1, m}, {2 * n + 1, 2}, {-n, -1}, {-1, m}, {n, -1}}) {
        CAPTURE(to_string(strides));
        std::vector<T> memory(static_cast<std::size_t>(5 * m * n), not_a_number<T>());
        const TensorView<T> view(memory.data() + 2 * m * n, {m, n}, strides);
        for (Index i = 0; i < m; ++i)
            for (Index j = 0; j < n; ++j) view(i, j) = w(i, j);
        const auto before = memory;
        const auto result = decompose(view, options, backend);
        for (Index k = 0; k < 2; ++k)
            CHECK(naive::distance(result.mpo.core(k), expected.mpo.core(k)) == 0);
        CHECK(result.report.relative_error == expected.report.relative_error);
        CHECK(std::memcmp(memory.data(), before.data(), memory.size() * sizeof(T)) == 0);
    }
    // a constant view, and one row as every row
    CHECK(decompose(w.view(), options, backend).mpo.bond_dims() == expected.mpo.bond_dims());
    const TensorView<const T> repeated(w.data(), {m, n}, {0, 1});
    CHECK(decompose(repeated, {options.layout, {no_cap, rounding_of<T>(options.layout)}}, backend)
              .mpo.bond_dims() == Shape{1, 3, 1});
}

TEMPLATE_LIST_TEST_CASE("the same seed gives the same MPO, bit by bit", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto w = normal_tensor<T>({64, 64}, 79);
    const auto cores = [&](std::uint64_t seed) {
        const auto result =
            decompose(w, {{{8, 8}, {8, 8}}, {6, 0}, LowRankMethod::randomized, 0.1, seed}, backend);
        REQUIRE(result.report.methods.front() == LowRankMethod::randomized);
        return result.mpo.cores();
    };
    const auto first = cores(5), second = cores(5), other = cores(6);
    for (std::size_t k = 0; k < 2; ++k) CHECK(naive::distance(first[k], second[k]) == 0);
    CHECK(naive::distance(first[0], other[0]) > 0);
}

TEMPLATE_LIST_TEST_CASE("decompose is blind to the scale of W", "", BackendCases) {
    using T = typename TestType::T;
    using R = Real<T>;
    const typename TestType::Backend backend;
    const auto w = normal_tensor<T>({12, 12}, 80);
    const DecomposeOptions options{{{2, 3, 2}, {2, 2, 3}}, {3, 0}};
    for (const auto method : every_method) {
        auto with_method = options;
        with_method.method = method;
        const auto plain = decompose(w, with_method, backend);
        // to the ends of the normal numbers, a few bits left for the growth of sums
        const int end = std::numeric_limits<R>::max_exponent - 12;
        for (const int power : {-end, -end / 2, end / 2, end}) {
            CAPTURE(power, to_string(method));
            const auto scale = static_cast<R>(std::ldexp(1.0, power));
            auto scaled = w;
            for (Index k = 0; k < w.size(); ++k) scaled.data()[k] *= scale;
            const auto result = decompose(scaled, with_method, backend);
            CHECK(result.mpo.bond_dims() == plain.mpo.bond_dims());
            CHECK(std::abs(result.report.relative_error - plain.report.relative_error) <=
                  rounding_of<T>(options.layout));
            CHECK(std::abs(std::ldexp(result.report.norm, -power) - plain.report.norm) <=
                  rounding_of<T>(options.layout) * plain.report.norm);
            CHECK(naive::canonical_defect(result.mpo) <= rounding_of<T>(options.layout));
            auto cores = result.mpo.cores();
            for (Index k = 0; k < cores.back().size(); ++k) cores.back().data()[k] /= scale;
            CHECK(std::abs(naive::distance(naive::to_dense(Mpo<T>(cores)), w) -
                           plain.report.relative_error * plain.report.norm) <=
                  rounding_of<T>(options.layout) * plain.report.norm);
        }
    }
    auto denormal = w;  // what is left of numbers below the smallest normal one
    for (Index k = 0; k < w.size(); ++k)
        denormal.data()[k] *= std::numeric_limits<R>::min() / static_cast<R>(1 << 10);
    const auto result = decompose(denormal, {{{2, 6}, {6, 2}}, {}}, backend);
    const double norm = naive::norm(naive::to_dense(result.mpo));
    CHECK(std::isfinite(norm));
    CHECK(result.report.norm > 0);
    CHECK(result.report.relative_error <= rounding_of<T>(options.layout));
}

TEMPLATE_LIST_TEST_CASE("decompose of zero, of one number", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto method : every_method) {
        const auto zero = decompose(Tensor<T>({6, 10}), {{{2, 3}, {5, 2}}, {}, method}, backend);
        CHECK(zero.mpo.bond_dims() == Shape{1, 1, 1});
        CHECK(zero.report.norm == 0);
        CHECK(zero.report.relative_error == 0);
        CHECK(naive::norm(naive::to_dense(zero.mpo)) == 0);
        CHECK(naive::canonical_defect(zero.mpo) == 0);
        const auto one = decompose(Tensor<T>({1, 1}, {T(-3)}), {{{1}, {1}}, {}, method}, backend);
        CHECK(one.mpo.core(0)(0, 0, 0, 0) == T(-3));
        CHECK(one.report.bonds.empty());
    }
}

TEMPLATE_LIST_TEST_CASE("decompose refuses, with numbers", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto w = normal_tensor<T>({12, 10}, 81);
    const Layout good{{4, 3}, {2, 5}};
    const auto call = [&](const DecomposeOptions& options) {
        return [&w, &backend, options] { (void)decompose(w, options, backend); };
    };
    check_refusal<ShapeError>(call({{{4, 4}, {2, 5}}}), 16, 12);
    check_refusal<ShapeError>(call({{{4, 3}, {3, 5}}}), 15, 10);
    check_refusal<ShapeError>(call({{{4, 3}, {10}}}), 2, 1);
    check_refusal<ArgumentError>(call({{{12, 1, 0}, {10, 1, 1}}}), 12, 0);
    check_refusal<ArgumentError>(call({{{-4, -3}, {2, 5}}}), -4, -3);
    check_refusal<ArgumentError>(call({{{}, {}}}), 12, 0);
    check_refusal<ArgumentError>(call({{Shape(13, 1), Shape(13, 1)}}), 12, 13);
    check_refusal<ArgumentError>(call({good, {0, 0}}), 1, 0);
    check_refusal<ArgumentError>(call({good, {-7, 0}}), 1, -7);
    check_refusal<ArgumentError>(call({good, {5, -3}}), 0, -3);
    for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()})
        CHECK_THROWS_AS(call({good, {5, bad}})(), ArgumentError);
    CHECK_THROWS_AS(call({.layout = good, .excess = 0})(), ArgumentError);
    CHECK_THROWS_WITH(decompose(Tensor<T>({0, 5}), {good}, backend),
                      "decompose: W is empty, 0 x 5");
    CHECK_THROWS_WITH(decompose(Tensor<T>({5, 0}), {good}, backend),
                      "decompose: W is empty, 5 x 0");
    CHECK_THROWS_AS(decompose(Tensor<T>({12}), {good}, backend), ShapeError);
    CHECK_THROWS_AS(decompose(Tensor<T>({2, 6, 10}), {good}, backend), ShapeError);
}

TEMPLATE_LIST_TEST_CASE("NaN and Inf in W are found, and named with their place", "",
                        BackendCases) {
    using T = typename TestType::T;
    using Limits = std::numeric_limits<Real<T>>;
    const typename TestType::Backend backend;
    std::vector<T> poisons{T(Limits::quiet_NaN()), T(Limits::infinity()), T(-Limits::infinity())};
    if constexpr (is_complex<T>)
        for (const auto bad : {Limits::quiet_NaN(), Limits::infinity()})
            poisons.emplace_back(1, bad);
    for (const T poison : poisons)
        for (const Index at : {0, 47, 119})
            for (const Layout& layout : {Layout{{12}, {10}}, {{4, 3}, {2, 5}}}) {
                CAPTURE(poison, at, to_string(layout));
                auto w = normal_tensor<T>({12, 10}, 82);
                w.data()[at] = poison;
                const auto message = detail::concat("W(", at / 10, ", ", at % 10, ") of 12 x 10");
                try {
                    (void)decompose(w, {layout}, backend);
                    FAIL("nothing was thrown");
                } catch (const NumericalError& error) {
                    CAPTURE(error.what());
                    CHECK(std::string(error.what()).find(message) != std::string::npos);
                }
            }
}
