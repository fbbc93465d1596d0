// Gauges keep W and make cores orthonormal; truncation loses exactly what it reports.
#include "mpo/network/canonical.hpp"

#include <algorithm>
#include <limits>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/matrices.hpp"
#include "support/tolerance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// Law: `result` is the same matrix as W in the form it claims, and its centre carries the norm.
template <class T>
void check_gauge(const Mpo<T>& result, const Tensor<Wide<T>>& W, const Layout& layout) {
    const double size = naive::norm(W), allowed = sweep_rounding(result, size);
    CHECK(result.layout() == layout);
    CHECK(naive::distance(naive::to_dense(result), W) <= allowed);
    CHECK(naive::canonical_defect(result) <= sweep_rounding(result, 1));
    const auto& center = result.core(result.orthogonality_center());
    CHECK(std::abs(naive::norm(center) - size) <= allowed);
}

/// W as (o1 i1 .. ok ik, rest), entry by entry.
template <class W>
Tensor<W> unfolding(const Tensor<W>& matrix, const Layout& layout, Index k) {
    Index left = 1;
    for (Index j = 0; j < k; ++j)
        left *= layout.out[static_cast<std::size_t>(j)] * layout.in[static_cast<std::size_t>(j)];
    Tensor<W> A({left, matrix.size() / left});
    for (Index row = 0; row < matrix.extent(0); ++row)
        for (Index col = 0; col < matrix.extent(1); ++col) {
            const Shape o = naive::digits(row, layout.out), i = naive::digits(col, layout.in);
            Index at = 0;  // of the interleaved legs o1 i1 o2 i2 .., first slowest
            for (std::size_t j = 0; j < o.size(); ++j)
                at = (at * layout.out[j] + o[j]) * layout.in[j] + i[j];
            A.data()[at] = matrix(row, col);
        }
    return A;
}

/// Two sites whose one unfolding has the singular values sigma.
template <class T>
Mpo<T> two_sites(const Layout& layout, const std::vector<double>& sigma) {
    const Index m = layout.out[0] * layout.in[0], n = layout.out[1] * layout.in[1];
    auto M = matrix_with_spectrum<T>(m, n, sigma, 7);  // (o1 i1, o2 i2)
    Tensor<T> one({n, layout.out[1], layout.in[1], 1});
    for (Index k = 0; k < n; ++k) one.data()[k * n + k] = 1;
    std::vector<Tensor<T>> cores;
    cores.push_back(std::move(M).reshape({1, layout.out[0], layout.in[0], n}));
    cores.push_back(std::move(one));
    return Mpo<T>(std::move(cores));
}

/// Law: in the order of the sweep each bond drops as much as its equal share of the rest of eps^2
/// allows, and no more.
template <class T>
void check_shares(const Truncated<T>& result, const Truncation& truncation) {
    auto bonds = result.report.bonds;
    if (result.mpo.canonical_form() == CanonicalForm::right)
        std::reverse(bonds.begin(), bonds.end());
    const double slack = tolerance<double>(result.mpo.rows() * result.mpo.cols(), 1);
    double rest = truncation.max_relative_error * truncation.max_relative_error;
    for (std::size_t k = 0; k < bonds.size(); ++k) {
        const double share = rest / static_cast<double>(bonds.size() - k);
        CHECK(bonds[k].discarded_weight <= share + slack);
        const double sigma =
            bonds[k].singular_values[static_cast<std::size_t>(bonds[k].bond_dim) - 1] /
            result.report.norm;
        if (bonds[k].bond_dim > 1)
            CHECK(bonds[k].discarded_weight + sigma * sigma >= share - slack);
        rest -= bonds[k].discarded_weight;
    }
}

/// Laws that hold for every truncation: the error is what was lost and adds up over the bonds, both
/// limits are kept, and the result is canonical.
template <class T>
void check_truncation(const Truncated<T>& result, const Tensor<Wide<T>>& W,
                      const Truncation& truncation) {
    const auto& [op, report] = result;
    const double size = naive::norm(W), allowed = sweep_rounding(op, size);
    CHECK(std::abs(report.norm - size) <= allowed);
    const double error = naive::distance(naive::to_dense(op), W);
    CHECK(std::abs(error - report.relative_error * size) <= allowed);
    if (truncation.max_bond_dim >= op.rows() * op.cols())
        CHECK(error <= truncation.max_relative_error * size + allowed);
    double weights = 0;
    REQUIRE(report.bonds.size() == static_cast<std::size_t>(op.num_sites() - 1));
    for (std::size_t k = 0; k < report.bonds.size(); ++k) {
        const BondSpectrum& bond = report.bonds[k];
        weights += bond.discarded_weight;
        CHECK(bond.bond_dim == op.bond_dim(static_cast<Index>(k) + 1));
        CHECK(bond.bond_dim <= truncation.max_bond_dim);
        CHECK(bond.useful_bond_dim == useful_bond_dims(op.layout())[k + 1]);
        CHECK(bond.bond_dim <= bond.useful_bond_dim);
        CHECK(static_cast<Index>(bond.singular_values.size()) >= bond.bond_dim);
        CHECK(std::is_sorted(bond.singular_values.rbegin(), bond.singular_values.rend()));
    }
    CHECK(std::abs(std::sqrt(weights) - report.relative_error) <= tolerance<double>(12, 1));
    if (truncation.max_bond_dim >= op.rows() * op.cols()) check_shares(result, truncation);
    CHECK(naive::canonical_defect(op) <= sweep_rounding(op, 1));
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("canonical forms keep the matrix", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto& [layout, bonds] : awkward_chains()) {
        CAPTURE(to_string(layout), to_string(bonds));
        const auto mpo = random_mpo<T>(layout, bonds, 5);
        const auto W = naive::to_dense(mpo);
        const auto left = left_canonicalize(mpo, backend);
        const auto right = right_canonicalize(mpo, backend);
        CHECK(left.canonical_form() == CanonicalForm::left);
        CHECK(right.canonical_form() == CanonicalForm::right);
        check_gauge(left, W, layout);
        check_gauge(right, W, layout);

        const Shape useful = useful_bond_dims(layout);
        const Shape reduced = right_canonicalize(left, backend).bond_dims();
        for (std::size_t k = 0; k < useful.size(); ++k) CHECK(reduced[k] <= useful[k]);
    }
}

TEMPLATE_LIST_TEST_CASE("the centre moves from anywhere to anywhere", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto mpo = random_mpo<T>({{2, 3, 1, 2}, {3, 1, 2, 2}}, {1, 7, 3, 5, 1}, 6);
    const auto W = naive::to_dense(mpo);
    for (Index from = 0; from < 4; ++from) {
        const auto start = move_center(mpo, from, backend);
        for (Index to = 0; to < 4; ++to) {
            const auto moved = move_center(start, to, backend);
            CHECK(moved.orthogonality_center() == to);
            CHECK(moved.canonical_form() == (to == 0   ? CanonicalForm::right
                                             : to == 3 ? CanonicalForm::left
                                                       : CanonicalForm::mixed));
            check_gauge(moved, W, mpo.layout());
            for (Index k = 0; k < 4; ++k)  // only the cores on the way change
                if (k < std::min(from, to) || k > std::max(from, to))
                    CHECK(naive::distance(moved.core(k), start.core(k)) == 0);
        }
    }
}

TEMPLATE_LIST_TEST_CASE("truncate loses what it reports", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const std::vector<Truncation> limits = {{no_cap, 0}, {no_cap, 0.5}, {no_cap, 0.05},
                                            {1, 0},      {2, 0},        {3, 0.3},
                                            {no_cap, 2}, {1000, 0.1}};
    for (const auto& [layout, bonds] : awkward_chains()) {
        const auto mpo = random_mpo<T>(layout, bonds, 8);
        const auto W = naive::to_dense(mpo);
        for (const Truncation& limit : limits) {
            CAPTURE(to_string(layout), to_string(bonds), limit.max_bond_dim,
                    limit.max_relative_error);
            check_truncation(truncate(mpo, limit, backend), W, limit);
            // from the other end
            const auto right = truncate(right_canonicalize(mpo, backend), limit, backend);
            CHECK(right.mpo.canonical_form() ==
                  (layout.out.size() > 1 ? CanonicalForm::left : CanonicalForm::right));
            check_truncation(right, W, limit);
        }
    }
}

TEMPLATE_LIST_TEST_CASE("two sites are truncated optimally", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const Layout layout{{4, 3}, {5, 7}};  // unfolding 20 x 21
    for (const auto& sigma : {power_spectrum(20), exponential_spectrum(20), flat_spectrum(20),
                              rank_deficient_spectrum(20, 6)}) {
        const auto mpo = two_sites<T>(layout, sigma);
        const double size = tail_norm(sigma), allowed = sweep_rounding(mpo, size);
        for (const Index cap : {1, 2, 7, 19, 20}) {
            const auto [op, report] = truncate(mpo, {.max_bond_dim = cap}, backend);
            CHECK(op.bond_dim(1) <= cap);
            CHECK(std::abs(report.relative_error * size - tail_norm(sigma, cap)) <= allowed);
            const auto& spectrum = report.bonds.front().singular_values;
            REQUIRE(spectrum.size() == sigma.size());
            for (std::size_t k = 0; k < sigma.size(); ++k)
                CHECK(std::abs(spectrum[k] - sigma[k]) <= allowed);
            if (cap < 6) CHECK(report.bonds.front().limit == BindingLimit::bond_cap);
        }
        for (const double eps : {0.9, 0.3, 0.1, 0.01}) {  // no rank below would keep the tolerance
            const auto [op, report] = truncate(mpo, {.max_relative_error = eps}, backend);
            const Index kept = op.bond_dim(1);
            CHECK(tail_norm(sigma, kept) <= eps * size + allowed);
            if (kept > 1) CHECK(tail_norm(sigma, kept - 1) >= eps * size - allowed);
            CHECK(report.bonds.front().limit ==
                  (kept < 20 ? BindingLimit::tolerance : BindingLimit::none));
        }
    }
}

TEMPLATE_LIST_TEST_CASE("without truncation the spectra are those of the unfoldings", "",
                        BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto& [layout, bonds] : awkward_chains()) {
        CAPTURE(to_string(layout), to_string(bonds));
        const auto mpo = random_mpo<T>(layout, bonds, 12);
        const auto W = naive::to_dense(mpo);
        const auto [op, report] = truncate(mpo, {}, backend);
        for (Index k = 1; k < op.num_sites(); ++k) {
            const auto A = unfolding(W, layout, k);  // (left legs, right legs)
            const auto G = naive::product(A, naive::adjoint(A));
            double second = 0, fourth = 0;  // the moments of a spectrum are traces
            for (const double sigma :
                 report.bonds[static_cast<std::size_t>(k) - 1].singular_values) {
                second += sigma * sigma;
                fourth += sigma * sigma * sigma * sigma;
            }
            const double size = naive::norm(W), squared = size * size;
            CHECK(std::abs(second - squared) <= sweep_rounding(mpo, squared));
            CHECK(std::abs(fourth - naive::norm(G) * naive::norm(G)) <=
                  sweep_rounding(mpo, squared * squared));
        }
    }
}

TEMPLATE_LIST_TEST_CASE("a cap costs at most sqrt(N-1) times the least possible", "",
                        BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto& [layout, bonds] : awkward_chains()) {
        const auto mpo = random_mpo<T>(layout, bonds, 13);
        const auto full = truncate(mpo, {}, backend).report;
        for (const Index cap : {1, 2, 3}) {
            CAPTURE(to_string(layout), to_string(bonds), cap);
            const auto report = truncate(mpo, {.max_bond_dim = cap}, backend).report;
            double largest = 0, squares = 0;  // over the bonds: what each must lose by itself
            for (const auto& bond : full.bonds) {
                const auto count = static_cast<Index>(bond.singular_values.size());
                const double tail = tail_norm(bond.singular_values, std::min(cap, count));
                largest = std::max(largest, tail);
                squares += tail * tail;
            }
            const double error = report.relative_error * report.norm;
            CHECK(error >= largest - sweep_rounding(mpo, report.norm));
            CHECK(error <= std::sqrt(squares) + sweep_rounding(mpo, report.norm));
        }
    }
}

TEMPLATE_LIST_TEST_CASE("truncate finds the rank that is there", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto small = random_mpo<T>({{3, 4, 3}, {4, 2, 3}}, {1, 2, 3, 1}, 9);
    // the same matrix with bonds filled up by zeros
    std::vector<Tensor<T>> cores;
    for (Index k = 0; k < 3; ++k) {
        const auto& core = small.core(k);
        Tensor<T> wide({k == 0 ? 1 : core.extent(0) + 5, core.extent(1), core.extent(2),
                        k == 2 ? 1 : core.extent(3) + 5});
        naive::for_each_index(core.shape(), [&](const Shape& at) {
            naive::entry(wide.view(), at) = naive::entry(core.view(), at);
        });
        cores.push_back(std::move(wide));
    }
    const Mpo<T> mpo(std::move(cores));
    REQUIRE(mpo.bond_dims() == Shape{1, 7, 8, 1});
    const double eps = tolerance<T>(mpo.num_parameters(), 1);
    const auto [op, report] = truncate(mpo, {.max_relative_error = eps}, backend);
    CHECK(op.bond_dims() == small.bond_dims());
    CHECK(report.relative_error <= eps);
}

TEMPLATE_LIST_TEST_CASE("truncation is blind to the scale of the matrix", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto mpo = random_mpo<T>({{3, 2, 3}, {2, 3, 2}}, {1, 5, 6, 1}, 10);
    const Truncation limit{.max_bond_dim = 5, .max_relative_error = 0.4};
    const auto [plain, expected] = truncate(mpo, limit, backend);
    // three quarters of the exponent range: squares of such numbers over- and underflow
    const int exponent = std::numeric_limits<Real<T>>::max_exponent / 4 * 3;
    for (const int power : {-exponent, exponent}) {
        auto cores = mpo.cores();
        for (Index n = 0; n < cores[1].size(); ++n)
            cores[1].data()[n] *= static_cast<Real<T>>(std::ldexp(1.0, power));
        const auto [op, report] = truncate(Mpo<T>(cores), limit, backend);
        CHECK(op.bond_dims() == plain.bond_dims());
        CHECK(std::abs(report.relative_error - expected.relative_error) <= sweep_rounding(mpo, 1));
        CHECK(std::abs(std::ldexp(report.norm, -power) - expected.norm) <=
              sweep_rounding(mpo, expected.norm));
    }
}

TEMPLATE_LIST_TEST_CASE("the zero matrix has rank one", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    std::vector<Tensor<T>> cores;
    cores.emplace_back(Shape{1, 3, 2, 4});
    cores.emplace_back(Shape{4, 2, 2, 3});
    cores.emplace_back(Shape{3, 2, 5, 1});
    const auto [op, report] = truncate(Mpo<T>(cores), {}, backend);
    CHECK(op.bond_dims() == Shape{1, 1, 1, 1});
    CHECK(report.norm == 0);
    CHECK(report.relative_error == 0);
    CHECK(naive::norm(naive::to_dense(op)) == 0);
    CHECK(naive::canonical_defect(op) <= sweep_rounding(op, 1));
}

TEMPLATE_LIST_TEST_CASE("gauges and truncation refuse what they cannot do", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto mpo = random_mpo<T>({{2, 3}, {3, 2}}, {1, 4, 1}, 11);
    CHECK_THROWS_AS(move_center(mpo, 2, backend), ArgumentError);
    CHECK_THROWS_WITH(move_center(mpo, -1, backend),
                      "move_center: the centre of 2 sites must be in 0..1, got -1");
    CHECK_THROWS_AS(truncate(mpo, {.max_bond_dim = 0}, backend), ArgumentError);
    CHECK_THROWS_AS(truncate(mpo, {.max_relative_error = -0.1}, backend), ArgumentError);
    CHECK_THROWS_AS(truncate(mpo, {.max_relative_error = std::nan("")}, backend), ArgumentError);
    const Mpo<T> empty;
    CHECK_THROWS_AS(truncate(empty, {}, backend), ArgumentError);
    CHECK_THROWS_AS(move_center(empty, 0, backend), ArgumentError);
    CHECK_THROWS_AS(left_canonicalize(empty, backend), ArgumentError);
    CHECK_THROWS_AS(right_canonicalize(empty, backend), ArgumentError);

    using Limits = std::numeric_limits<Real<T>>;
    for (const Real<T> bad : {Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity()}) {
        auto cores = mpo.cores();
        cores[1].data()[3] = bad;
        CHECK_THROWS_AS(truncate(Mpo<T>(cores), {}, backend), NumericalError);
        CHECK_THROWS_WITH(truncate(Mpo<T>(cores), {}, backend),
                          "truncate: core 1 holds NaN or Inf");
    }
    auto cores = mpo.cores();  // finite cores whose product is not
    for (auto& core : cores)
        for (Index n = 0; n < core.size(); ++n) core.data()[n] *= std::sqrt(Limits::max());
    CHECK_THROWS_AS(truncate(Mpo<T>(cores), {}, backend), NumericalError);
}
