// Every method on every kind of spectrum: the loss is what it says, the limits hold, nothing much
// better exists.
#include "mpo/linalg/low_rank.hpp"

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/factorisation_conformance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

constexpr LowRankMethod every_method[] = {LowRankMethod::automatic, LowRankMethod::exact,
                                          LowRankMethod::gram, LowRankMethod::randomized};

template <class T>
struct Sample {
    Tensor<T> matrix;           // (m, n)
    std::vector<double> sigma;  // where known, else empty
};

/// One matrix of every kind of spectrum.
template <class T>
[[nodiscard]] std::vector<Sample<T>> samples(Index m, Index n) {
    const Index s = std::min(m, n);
    std::vector<Sample<T>> all{{normal_tensor<T>({m, n}, 61), {}}};
    for (const auto& sigma : {power_spectrum(s), exponential_spectrum(s), flat_spectrum(s),
                              rank_deficient_spectrum(s, (s + 2) / 3)})
        all.push_back({matrix_with_spectrum<T>(m, n, sigma, 62), sigma});
    return all;
}

/// Limits for a matrix of this norm and short side: none, caps, tolerances (some finer than T
/// resolves), both.
template <class T>
[[nodiscard]] std::vector<LowRankOptions> limits(Index s, double norm) {
    std::vector<LowRankOptions> all(1);
    for (const Index cap : {Index{1}, (s + 7) / 8, (s + 1) / 2, s, s + 5})
        all.push_back({.max_rank = cap});
    for (const double eps : {2.0, 0.5, 0.1, 1e-2, 1e-4, 1e-7, 1e-9, 1e-12, 1e-15})
        all.push_back({.allowed_squared = eps * eps * norm * norm});
    all.push_back({.max_rank = 3, .allowed_squared = 0.09 * norm * norm});
    all.push_back({.max_rank = (s + 1) / 2, .allowed_squared = 1e-4 * norm * norm});
    return all;
}

/// Law: the reported limit is the one that decided.
template <class L>
void check_limit(const L& result, Index s, const LowRankOptions& options) {
    CHECK(result.rank >= 1);
    CHECK(result.rank <= std::min(s, options.max_rank));
    switch (result.limit) {
        case BindingLimit::none:
            CHECK(result.rank == s);
            break;
        case BindingLimit::bond_cap:
            CHECK(result.rank == options.max_rank);
            CHECK(result.rank < s);
            break;
        case BindingLimit::tolerance:
            CHECK(result.rank < s);
            CHECK(result.discarded_squared <= options.allowed_squared);
            break;
    }
}

/// Law: no rank below would do, and no other U of this rank would do much better. G: what Gram matrices
/// are summed in.
template <class T, class G, class L>
void check_optimal(const L& result, double made, const std::vector<double>& sigma,
                   const LowRankOptions& options) {
    const double norm = tail_norm(sigma), best = tail_norm(sigma, result.rank);
    const double rounding = tolerance<T>(static_cast<Index>(sigma.size()), norm);
    // what a Gram matrix does not resolve, where it was asked for by name
    const double blind = options.method == LowRankMethod::gram
                             ? tolerance<G>(static_cast<Index>(sigma.size()), norm * norm)
                             : 0;
    const double slack = result.method == LowRankMethod::randomized ? 1 + options.excess : 1;
    CHECK(made >= best - rounding);
    if (result.limit != BindingLimit::tolerance)
        CHECK(made <= slack * best + rounding + std::sqrt(blind));
    if (result.limit == BindingLimit::bond_cap)
        CHECK(best >= std::sqrt(options.allowed_squared) / slack - rounding);
    if (result.limit == BindingLimit::tolerance && result.rank > 1)
        CHECK(slack * tail_norm(sigma, result.rank - 1) + rounding + std::sqrt(blind) >=
              std::sqrt(options.allowed_squared));
}

/// Of a loss that is the square of a measured residual, or, where it is above 1e4 eps norm^2, the
/// difference of two squared norms.
template <class T>
[[nodiscard]] double loss_rounding(Index k, double lost, double norm) {
    const double eps = std::numeric_limits<Real<T>>::epsilon(), share = lost / norm;
    return tolerance<T>(k, norm * norm) * (2 * share + std::min(1.0, share * share / (1e4 * eps)));
}

template <class T, class B>
void check_low_rank(const Sample<T>& sample, const LowRankOptions& options, const B& backend) {
    const auto& a = sample.matrix;
    const Index m = a.extent(0), n = a.extent(1), s = std::min(m, n);
    const double norm = naive::norm(a);
    CAPTURE(m, n, sample.sigma.empty() ? 0.0 : sample.sigma.back(), options.max_rank,
            std::sqrt(options.allowed_squared) / norm, to_string(options.method));
    const Placed<T, B> A(as_batch(a), {}, backend);
    const auto result = low_rank<T>(A.constant(), options, backend);
    CAPTURE(to_string(result.method), result.rank, to_string(result.limit),
            std::sqrt(result.discarded_squared) / norm, result.power_iterations);
    CHECK(A.untouched());
    check_limit(result, s, options);
    if (result.rank < 1 || result.rank > s) return;
    const auto u = detail::fetch<T>(result.left.data(), m, result.rank, backend);
    const auto c = detail::fetch<T>(result.right.data(), result.rank, n, backend);
    CHECK(orthonormality_defect(u) <= tolerance<T>((m + n) * result.rank, 1));
    const auto W = naive::widen(a), U = naive::widen(u);
    const double lost = naive::distance(naive::product(U, naive::widen(c)), W);
    CHECK(std::abs(result.discarded_squared - lost * lost) <= loss_rounding<T>(m + n, lost, norm));
    CHECK(naive::distance(naive::product(naive::adjoint(U), W), c) <= tolerance<T>(m + n, norm));
    CHECK(std::abs(result.norm_squared - norm * norm) <=
          tolerance<GramScalar<B, T>>(m * n, norm * norm));
    const auto& found = result.singular_values;
    REQUIRE(static_cast<Index>(found.size()) >= result.rank);
    CHECK(std::is_sorted(found.rbegin(), found.rend()));
    if (!sample.sigma.empty())
        check_optimal<T, GramScalar<B, T>>(result, lost, sample.sigma, options);
    if (!sample.sigma.empty() && result.method == LowRankMethod::exact)
        for (std::size_t k = 0; k < found.size(); ++k)
            CHECK(std::abs(found[k] - sample.sigma[k]) <= tolerance<T>(s, norm));
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("low_rank keeps its word on small matrices", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto [m, n] :
         {MatrixSize{1, 1}, {1, 7}, {7, 1}, {2, 3}, {11, 29}, {23, 23}, {41, 17}})
        for (const auto& sample : samples<T>(m, n))
            for (auto options : limits<T>(std::min(m, n), naive::norm(sample.matrix)))
                for (const auto method : every_method) {
                    options.method = method;
                    check_low_rank<T>(sample, options, backend);
                }
}

TEMPLATE_LIST_TEST_CASE("low_rank keeps its word where sampling pays", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto [m, n] : {MatrixSize{80, 110}, {100, 84}})
        for (const auto& sample : samples<T>(m, n)) {
            const double norm = naive::norm(sample.matrix);
            for (LowRankOptions options :
                 {LowRankOptions{.max_rank = 5}, LowRankOptions{.max_rank = 24},
                  LowRankOptions{.allowed_squared = 0.04 * norm * norm},
                  LowRankOptions{.allowed_squared = 1e-4 * norm * norm},
                  LowRankOptions{.max_rank = 20, .allowed_squared = 0.01 * norm * norm}})
                for (const auto method : {LowRankMethod::automatic, LowRankMethod::randomized}) {
                    options.method = method;
                    check_low_rank<T>(sample, options, backend);
                }
        }
}

TEMPLATE_LIST_TEST_CASE("low_rank resolves what double resolves", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    std::vector<double> sigma;  // a decade a value, as far down as T holds anything
    while (sigma.empty() || sigma.back() > 10 * std::numeric_limits<Real<T>>::epsilon())
        sigma.push_back(std::pow(10.0, -static_cast<double>(sigma.size())));
    const auto s = static_cast<Index>(sigma.size());
    const Sample<T> sample{matrix_with_spectrum<T>(24, 19, sigma, 63), sigma};
    const double norm = naive::norm(sample.matrix);
    for (Index kept = 1; kept < s; ++kept) {
        const double between = 3 * sigma[static_cast<std::size_t>(kept)];
        CAPTURE(kept);
        check_low_rank<T>({sample.matrix, {}}, {.allowed_squared = between * between}, backend);
        const Placed<T, typename TestType::Backend> A(as_batch(sample.matrix), {}, backend);
        const auto result =
            low_rank<T>(A.constant(), {.allowed_squared = between * between}, backend);
        CHECK(result.rank == kept);
        CHECK(std::abs(std::sqrt(result.discarded_squared) - tail_norm(sigma, kept)) <=
              tolerance<T>(24, norm) +
                  std::sqrt(loss_rounding<T>(24, tail_norm(sigma, kept), norm)));
    }
}

TEMPLATE_LIST_TEST_CASE("low_rank of a zero matrix has rank one", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    for (const auto [m, n] : {MatrixSize{1, 1}, {1, 4}, {5, 1}, {6, 4}})
        for (const auto method : every_method) {
            const Placed<T, B> A(Tensor<T>({1, m, n}), {}, backend);
            const auto result = low_rank<T>(A.constant(), {.method = method}, backend);
            CHECK(result.rank == 1);
            CHECK(result.discarded_squared == 0);
            CHECK(result.limit ==
                  (std::min(m, n) > 1 ? BindingLimit::tolerance : BindingLimit::none));
            CHECK(orthonormality_defect(detail::fetch<T>(result.left.data(), m, 1, backend)) == 0);
            CHECK(naive::norm(detail::fetch<T>(result.right.data(), 1, n, backend)) == 0);
        }
}

TEMPLATE_LIST_TEST_CASE("the same seed gives the same bits", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    const Placed<T, B> A(normal_tensor<T>({1, 60, 70}, 64), {}, backend);
    const auto left = [&](std::uint64_t seed) {
        const auto result = low_rank<T>(
            A.constant(),
            {.max_rank = 5, .method = LowRankMethod::randomized, .excess = 0.1, .seed = seed},
            backend);
        REQUIRE(result.method == LowRankMethod::randomized);
        return detail::fetch<T>(result.left.data(), 60, 5, backend);
    };
    CHECK(naive::distance(left(3), left(3)) == 0);
    CHECK(naive::distance(left(3), left(4)) > 0);
}

namespace {

/// EigenBackend that adds up the flops of its products.
class CountingBackend : public EigenBackend {
  public:
    template <Scalar T>
    void gemm(T alpha, std::type_identity_t<MatrixView<const T>> A,
              std::type_identity_t<MatrixView<const T>> B, T beta, MatrixView<T> C) const {
        count(2, A.rows, A.cols, B.cols);
        EigenBackend::gemm(alpha, A, B, beta, C);
    }
    template <Scalar T>
    void syrk(MatrixView<const T> A, MatrixView<GramScalar<T>> G) const {
        count(1, A.rows, A.cols, A.rows);
        EigenBackend::syrk(A, G);
    }
    [[nodiscard]] double flops() const { return flops_; }

  private:
    void count(int each, Index m, Index k, Index n) const {
        flops_ += each * static_cast<double>(m) * static_cast<double>(k) * static_cast<double>(n);
    }
    mutable double flops_ = 0;
};

}  // namespace

TEST_CASE("a tolerance on a flat spectrum makes sampling give up, and soon") {
    const Index s = 320;
    Tensor<float> one({s, s});
    for (Index k = 0; k < s; ++k) one(k, k) = 1;
    for (const auto& a : {one, normal_tensor<float>({s, s}, 65)})
        for (const double eps : {1e-2, 0.2}) {
            const double norm = naive::norm(a);
            CAPTURE(norm, eps);
            LowRankOptions options{.allowed_squared = eps * eps * norm * norm,
                                   .method = LowRankMethod::exact};
            const auto A = as_matrix(a.view());
            const CountingBackend exact, sampled;
            const auto expected = low_rank<float>(A, options, exact);
            options.method = LowRankMethod::randomized;
            const auto result = low_rank<float>(A, options, sampled);
            CHECK(result.method == LowRankMethod::exact);
            CHECK(result.rank == expected.rank);
            // an attempt: a few samples of 64 columns; the SVD it gives way to, about 20 s^3
            CHECK(sampled.flops() - exact.flops() <= 4.0 * s * s * s);
        }
}

TEST_CASE("a cap keeps sampling cheap where the tolerance is out of reach") {
    const Index s = 320;
    const auto a = normal_tensor<float>({s, s}, 68);
    const double norm = naive::norm(a);
    const CountingBackend backend;
    const auto result = low_rank<float>(
        as_matrix(a.view()), {.max_rank = 60, .allowed_squared = 1e-4 * norm * norm}, backend);
    CHECK(result.method == LowRankMethod::randomized);
    CHECK(result.rank == 60);
    CHECK(result.limit == BindingLimit::bond_cap);
}

TEMPLATE_LIST_TEST_CASE("low_rank refuses what it cannot do", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    const Placed<T, B> A(normal_tensor<T>({1, 6, 5}, 66), {}, backend);
    const auto a = A.constant();
    const double nan = std::nan("");
    CHECK_THROWS_AS(low_rank<T>(block(a, 0, 0, 0, 5), {}, backend), ShapeError);
    CHECK_THROWS_WITH(low_rank<T>(block(a, 0, 0, 6, 0), {}, backend),
                      "low_rank: A is empty, 6 x 0");
    for (const auto& options : {LowRankOptions{.max_rank = 0},
                                {.max_rank = -3},
                                {.allowed_squared = -1e-9},
                                {.allowed_squared = nan},
                                {.excess = 0},
                                {.excess = -1},
                                {.excess = nan},
                                {.norm_squared = -1.0},
                                {.norm_squared = nan}})
        CHECK_THROWS_AS(low_rank<T>(a, options, backend), ArgumentError);
    check_refusal<ArgumentError>(
        [&] { (void)low_rank<T>(a, {.max_rank = -3, .allowed_squared = 77}, backend); }, -3, 77);
    // neither a gap nor another order is copied silently
    CHECK_THROWS_AS(low_rank<T>(block(a, 0, 0, 6, 4), {}, backend), ArgumentError);
    CHECK_THROWS_AS(low_rank<T>(transpose(a), {}, backend), ArgumentError);
    CHECK_THROWS_AS(low_rank<T>({a.data, 6, 5, 5, 2}, {}, backend), ArgumentError);
    if constexpr (is_complex<T>)
        CHECK_THROWS_AS(low_rank<T>(adjoint(transpose(a)), {}, backend), ArgumentError);
    using Limits = std::numeric_limits<Real<T>>;
    for (const auto poison : {Limits::quiet_NaN(), Limits::infinity()})
        for (const auto method : every_method) {
            auto bad = normal_tensor<T>({1, 6, 5}, 67);
            bad.data()[17] = poison;
            const Placed<T, B> broken(bad, {}, backend);
            CHECK_THROWS_AS(low_rank<T>(broken.constant(), {.method = method}, backend),
                            NumericalError);
        }
}
