// Three ways to the dominant column space: each basis holds all but the tail of the spectrum.
#include "mpo/linalg/range.hpp"

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/factorisation_conformance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

[[nodiscard]] detail::RangeRequest request_for(double norm, Index max_rank, double eps) {
    return {max_rank, eps * eps * norm * norm, norm * norm, 2e-3, 1};
}

/// Law: the columns are orthonormal, and any number of leading ones miss of A little more than the
/// best could.
template <class T, class B>
void check_range(const Tensor<T>& a, const std::vector<double>& sigma,
                 const detail::Range<T, B>& range, double excess, const B& backend) {
    const Index m = a.extent(0), n = a.extent(1), r = range.columns;
    CAPTURE(m, n, r);
    const double norm = tail_norm(sigma);
    REQUIRE((r >= 1 && r <= std::min(m, n)));
    REQUIRE(static_cast<Index>(range.singular_values.size()) >= r);
    const auto u = detail::fetch<T>(range.basis.data(), m, r, backend);
    CHECK(orthonormality_defect(u) <= tolerance<T>((m + n) * r, 1));
    const auto U = naive::widen(u), W = naive::widen(a);
    const auto C = naive::product(naive::adjoint(U), W);
    for (const Index leading : {Index{1}, (r + 1) / 2, r}) {
        auto kept = C;  // (r, n), rows from `leading` on zero
        std::fill(kept.data() + leading * n, kept.data() + r * n, Wide<T>{0});
        CHECK(naive::distance(naive::product(U, kept), W) <=
              (1 + excess) * tail_norm(sigma, leading) + tolerance<T>(m + n, norm));
    }
    if (range.projection)
        CHECK(naive::distance(C, detail::fetch<T>(range.projection->data(), r, n, backend)) <=
              tolerance<T>(m + n, norm));
    double squares = range.tail_squared;
    for (const double value : range.singular_values) squares += value * value;
    CHECK(std::abs(squares - norm * norm) <= tolerance<T>(m + n, norm * norm));
    CHECK(std::is_sorted(range.singular_values.rbegin(), range.singular_values.rend()));
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("every range holds all but the tail", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    for (const auto [m, n] : {MatrixSize{1, 1}, {1, 6}, {6, 1}, {13, 40}, {31, 31}, {43, 19}})
        for (const auto& sigma : {power_spectrum(std::min(m, n)), flat_spectrum(std::min(m, n)),
                                  exponential_spectrum(std::min(m, n))}) {
            const auto a = matrix_with_spectrum<T>(m, n, sigma, 111);
            const auto A = detail::send<T>(a, backend);
            const auto view = matrix<const T>(A.data(), m, n);
            check_range(a, sigma, detail::exact_range<T>(view, backend), 0, backend);
            for (const Index cap : {Index{1}, Index{5}, no_cap})
                for (const double eps : {0.0, 0.2}) {
                    CAPTURE(cap, eps);
                    const auto request = request_for(tail_norm(sigma), cap, eps);
                    const auto gram = detail::gram_range<T>(view, request, backend);
                    check_range(a, sigma, gram, 0, backend);
                    if (cap < no_cap) CHECK(gram.columns <= cap);
                    // the Gram matrix gives the projection where much is left out, of thin A alone
                    if (m <= n) CHECK_FALSE(gram.projection);
                    if (m > n && n > 5 && cap == 5 && sigma.back() == sigma.front())
                        CHECK(gram.projection);
                    const auto found = detail::RangeFinder<T, B>(view, request, backend).run();
                    if (eps == 0) REQUIRE(found);
                    if (found) check_range(a, sigma, *found, request.excess, backend);
                }
        }
}

TEMPLATE_LIST_TEST_CASE("a tolerance makes the sample grow", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    // 64 columns are drawn first, the tolerance needs about 80
    std::vector<double> sigma(80, 1.0);
    sigma.resize(190, 0.01);
    Tensor<T> a({190, 190});  // a diagonal matrix has the spectrum at no cost
    for (Index k = 0; k < 190; ++k)
        a(k, k) = static_cast<Real<T>>(sigma[static_cast<std::size_t>(k)]);
    const auto A = detail::send<T>(a, backend);
    const auto request = request_for(tail_norm(sigma), no_cap, 0.1);
    const auto range =
        detail::RangeFinder<T, B>(matrix<const T>(A.data(), 190, 190), request, backend).run();
    REQUIRE(range);
    CHECK(range->singular_values.size() > 64);
    CHECK(tail_norm(sigma, range->columns) <= 0.1 * tail_norm(sigma));
    check_range(a, sigma, *range, request.excess, backend);
}

TEMPLATE_LIST_TEST_CASE("columns wanted: the rank and a little more", "", BackendCases) {
    const std::vector<double> sigma = power_spectrum(200);
    for (const Index cap : {Index{1}, Index{7}, Index{64}, no_cap})
        for (const double eps : {0.0, 0.1, 0.5, 2.0}) {
            const auto request = request_for(tail_norm(sigma), cap, eps);
            const Index rank = choose_bond_dim(sigma, 0, request.allowed_squared, cap).bond_dim;
            const Index columns = detail::columns_wanted(sigma, 0, request);
            CHECK(columns >= rank);
            CHECK(columns <= std::min({Index{200}, cap, rank + 1 + rank / 16}));
        }
}

TEMPLATE_LIST_TEST_CASE("Gram spectra are right down to their resolution", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    const auto sigma = exponential_spectrum(40);
    const auto a = matrix_with_spectrum<T>(40, 57, sigma, 112);
    const auto A = detail::send<T>(a, backend);
    const auto found =
        detail::gram_spectrum<T>(matrix<const T>(A.data(), 40, 57), detail::KeepGram::no, backend);
    const double norm = tail_norm(sigma);
    for (std::size_t k = 0; k < sigma.size(); ++k)
        CHECK(std::abs(found.singular_values[k] * found.singular_values[k] - sigma[k] * sigma[k]) <=
              detail::gram_resolution<T, B>(40, norm * norm) + tolerance<T>(97, norm * sigma[k]));
    CHECK(orthonormality_defect(found.vectors) <= tolerance<GramScalar<B, T>>(40 * 40, 1));
}
