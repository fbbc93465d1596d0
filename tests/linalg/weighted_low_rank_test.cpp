// The optimum in the metric of the inputs: the curve is what A B really loses, nothing beats it, and
// moments that are none are refused.
#include "mpo/linalg/weighted_low_rank.hpp"

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/factorisation_conformance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

[[nodiscard]] double trace_of(const auto& S) {
    double sum = 0;
    for (Index k = 0; k < S.extent(0); ++k) sum += std::real(S(k, k));
    return sum;
}

/// A loss in T may be off by this: rounding of A and B, which enters squared, and of the Gram matrix.
template <class T, class G>
[[nodiscard]] double loss_rounding(const Tensor<T>& w, const Tensor<G>& s) {
    const Index k = w.extent(0) + w.extent(1);
    const double size = naive::norm(w) * std::sqrt(trace_of(s)), error = tolerance<T>(k, size);
    return error * error + tolerance<G>(k * k, size * size);
}

/// W (m, n) and S (n, n) in backend memory.
template <class T, class B>
struct Weighted {
    using G = GramScalar<B, T>;
    Placed<T, B> W;
    Placed<G, B> S;

    Weighted(const Tensor<T>& w, const Tensor<G>& s, const B& backend)
        : W(as_batch(w), {}, backend), S(as_batch(s), {}, backend) {}
    [[nodiscard]] auto spectrum(const B& backend) const {
        return weighted_spectrum<T>(W.constant(), S.constant(), backend);
    }
    [[nodiscard]] auto low_rank(const Truncation& truncation, const B& backend) const {
        return weighted_low_rank<T>(W.constant(), S.constant(), truncation, backend);
    }
};

/// Second moments: of equal inputs, of correlated ones, of fewer samples than inputs, of one sample, of
/// none but zeros, of inputs of which one is dead.
template <class G>
[[nodiscard]] std::vector<Tensor<G>> moments(Index n) {
    std::vector<Tensor<G>> all{naive::narrow<G>(naive::identity<Wide<G>>(n))};
    for (const auto& values :
         {power_spectrum(n), exponential_spectrum(n), rank_deficient_spectrum(n, (n + 1) / 2),
          rank_deficient_spectrum(n, 1)})
        all.push_back(hermitian<G>(values, 71));
    all.emplace_back(Shape{n, n});
    all.push_back(all[1]);
    for (Index k = 0; k < n; ++k) all.back()(k, n / 2) = all.back()(n / 2, k) = G{0};
    return all;
}

constexpr MatrixSize sizes[] = {{1, 1},   {1, 7},   {7, 1},   {2, 3},
                                {11, 29}, {13, 13}, {14, 12}, {31, 12}};

/// W' = U_r diag(sigma_r) V_r^H L^-1 for S = L L^H: the route that inverts a factor, in double.
template <class W>
class Whitened {
  public:
    Whitened(const Tensor<W>& a, const Tensor<W>& s)
        : L_(s), U_({a.extent(0), side(a)}), C_({side(a), a.extent(1)}) {
        const EigenBackend host_backend;
        REQUIRE(host_backend.cholesky(as_matrix(L_.view())) == s.extent(0));
        sigma_.resize(static_cast<std::size_t>(side(a)));
        const auto M = naive::product(a, L_);
        host_backend.svd<W>(as_matrix(M.view()), as_matrix(U_.view()), sigma_.data(),
                            as_matrix(C_.view()));
        for (Index k = 0; k < C_.extent(0); ++k)
            for (Index j = C_.extent(1) - 1; j >= 0; --j) {  // x L = sigma_k v^H, backwards
                W sum = C_(k, j) * sigma_[static_cast<std::size_t>(k)];
                for (Index i = j + 1; i < C_.extent(1); ++i) sum -= C_(k, i) * L_(i, j);
                C_(k, j) = sum / L_(j, j);
            }
    }
    [[nodiscard]] const std::vector<double>& sigma() const { return sigma_; }
    [[nodiscard]] Tensor<W> approximation(Index rank) const {
        auto kept = C_;
        std::fill(kept.data() + rank * C_.extent(1), kept.data() + kept.size(), W{0});
        return naive::product(U_, kept);
    }

  private:
    [[nodiscard]] static Index side(const Tensor<W>& a) {
        return std::min(a.extent(0), a.extent(1));
    }
    Tensor<W> L_, U_, C_;
    std::vector<double> sigma_;
};

template <class T, class B>
void check_curve(const Tensor<T>& w, const Tensor<GramScalar<B, T>>& s, const B& backend) {
    const Index m = w.extent(0), n = w.extent(1), side = std::min(m, n);
    const Weighted<T, B> problem(w, s, backend);
    const auto spectrum = problem.spectrum(backend);
    CHECK(problem.W.untouched());
    CHECK(problem.S.untouched());
    const auto W = naive::widen(w);
    const auto S = naive::widen(s);
    const double total = naive::weighted_loss(W, S), slack = loss_rounding(w, s);
    CAPTURE(m, n, total, slack);
    REQUIRE(spectrum.losses.size() == static_cast<std::size_t>(side + 1));
    REQUIRE(spectrum.eigenvalues.size() == static_cast<std::size_t>(side));
    REQUIRE((spectrum.columns >= 1 && spectrum.columns <= side));
    CHECK(std::abs(spectrum.losses.front() - total) <= slack);
    CHECK(spectrum.losses.back() == 0);
    CHECK(spectrum.resolution <= tolerance<GramScalar<B, T>>((m + n) * (m + n), 2 * total));
    for (Index rank = 1; rank <= side; ++rank) {
        CAPTURE(rank);
        const auto r = static_cast<std::size_t>(rank);
        CHECK(spectrum.losses[r] + spectrum.eigenvalues[r - 1] == spectrum.losses[r - 1]);
        CHECK(spectrum.eigenvalues[r - 1] >= (rank < side ? spectrum.eigenvalues[r] : 0));
        const auto result =
            weighted_low_rank<T>(problem.W.constant(), spectrum, {.max_bond_dim = rank}, backend);
        REQUIRE(result.rank == std::min(rank, spectrum.columns));
        CHECK(result.loss == spectrum.losses[static_cast<std::size_t>(result.rank)]);
        const auto a = detail::fetch<T>(result.left.data(), m, result.rank, backend);
        const auto b = detail::fetch<T>(result.right.data(), result.rank, n, backend);
        const auto A = naive::widen(a);
        CHECK(orthonormality_defect(a) <= tolerance<T>((m + n) * rank, 1));
        CHECK(naive::distance(naive::product(naive::adjoint(A), W), b) <=
              tolerance<T>(m + n, naive::norm(w)));
        const auto rest =
            naive::combination(Wide<T>{1}, W, Wide<T>{-1}, naive::product(A, naive::widen(b)));
        CHECK(std::abs(naive::weighted_loss(rest, S) - spectrum.losses[r]) <= slack);
    }
}

/// What weighted_spectrum says to W and S; "" where it takes them.
template <class E, class T, class G, class B>
[[nodiscard]] std::string refusal(const Tensor<T>& w, const Tensor<G>& s, const B& backend) {
    try {
        (void)Weighted<T, B>(w, s, backend).spectrum(backend);
    } catch (const E& error) {
        return error.what();
    }
    return "";
}

[[nodiscard]] bool says(const std::string& text, std::string_view part) {
    UNSCOPED_INFO(text);
    return text.find(part) != std::string::npos;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("weighted_low_rank loses what its curve says", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    for (const auto [m, n] : sizes)
        for (const auto& s : moments<GramScalar<B, T>>(n)) {
            check_curve<T, B>(normal_tensor<T>({m, n}, 72), s, backend);
            check_curve<T, B>(
                matrix_with_spectrum<T>(m, n, rank_deficient_spectrum(std::min(m, n), 1), 73), s,
                backend);
        }
}

TEMPLATE_LIST_TEST_CASE("weighted_low_rank is never above the whitened route", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    using G = GramScalar<B, T>;
    const B backend;
    for (const auto [m, n] : sizes) {
        const auto w = normal_tensor<T>({m, n}, 74);
        const auto s = hermitian<G>(power_spectrum(n), 75);
        const auto W = naive::widen(w);
        const auto S = naive::widen(s);
        const Whitened<Wide<T>> whitened(W, S);
        const auto spectrum = Weighted<T, B>(w, s, backend).spectrum(backend);
        for (Index rank = 1; rank <= std::min(m, n); ++rank) {
            CAPTURE(m, n, rank);
            const double loss = spectrum.losses[static_cast<std::size_t>(rank)],
                         tail = tail_norm(whitened.sigma(), rank);
            const auto rest =
                naive::combination(Wide<T>{1}, W, Wide<T>{-1}, whitened.approximation(rank));
            CHECK(loss <= naive::weighted_loss(rest, S) + loss_rounding(w, s));
            CHECK(std::abs(loss - tail * tail) <= loss_rounding(w, s));
        }
    }
}

TEMPLATE_LIST_TEST_CASE("weighted_low_rank for S = I is the truncated SVD", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    using G = GramScalar<B, T>;
    const B backend;
    for (const auto [m, n] : sizes) {
        const auto sigma = exponential_spectrum(std::min(m, n));
        const auto w = matrix_with_spectrum<T>(m, n, sigma, 76);
        const auto one = naive::narrow<G>(naive::identity<Wide<G>>(n));
        const Weighted<T, B> problem(w, one, backend);
        for (Index rank = 1; rank <= std::min(m, n); ++rank) {
            CAPTURE(m, n, rank);
            const auto result = problem.low_rank({.max_bond_dim = rank}, backend);
            const double best = tail_norm(sigma, rank);
            CHECK(std::abs(std::sqrt(result.loss) - best) <=
                  tolerance<T>(m + n, tail_norm(sigma)) + 2 * std::sqrt(tolerance<G>(m + n, 1)));
            const auto product = naive::product(
                naive::widen(detail::fetch<T>(result.left.data(), m, result.rank, backend)),
                naive::widen(detail::fetch<T>(result.right.data(), result.rank, n, backend)));
            CHECK(naive::distance(product, w) <= best + tolerance<T>(m + n, tail_norm(sigma)));
        }
    }
}

TEMPLATE_LIST_TEST_CASE("weighted_low_rank chooses the rank from its curve", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    for (const auto [m, n] : {MatrixSize{9, 14}, {17, 8}}) {
        const Weighted<T, B> problem(normal_tensor<T>({m, n}, 77),
                                     hermitian<GramScalar<B, T>>(power_spectrum(n), 78), backend);
        const auto losses = problem.spectrum(backend).losses;
        for (Index rank = 1; rank < std::min(m, n); ++rank) {
            const auto r = static_cast<std::size_t>(rank);
            const double between = (losses[r] + losses[r - 1]) / 2;
            const Truncation tolerance_only{.max_relative_error =
                                                std::sqrt(between / losses.front())};
            const auto result = problem.low_rank(tolerance_only, backend);
            CHECK(result.rank == rank);
            CHECK(result.loss <= between);
            CHECK(result.limit == BindingLimit::tolerance);
            auto tighter = tolerance_only;
            tighter.max_bond_dim = std::max<Index>(1, rank - 1);
            const auto capped = problem.low_rank(tighter, backend);
            CHECK(capped.rank == tighter.max_bond_dim);
            CHECK(capped.limit == (rank > 1 ? BindingLimit::bond_cap : BindingLimit::tolerance));
        }
        const auto whole = problem.low_rank({}, backend);
        CHECK(whole.rank == std::min(m, n));
        CHECK(whole.loss == 0);
        CHECK(whole.limit == BindingLimit::none);
    }
}

TEMPLATE_LIST_TEST_CASE("weighted_low_rank of no loss at all has rank one", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    using G = GramScalar<B, T>;
    const B backend;
    for (const auto [m, n] : {MatrixSize{4, 6}, {9, 3}})
        for (const bool no_inputs : {true, false}) {
            const Weighted<T, B> problem(
                no_inputs ? normal_tensor<T>({m, n}, 79) : Tensor<T>({m, n}),
                no_inputs ? Tensor<G>({n, n}) : hermitian<G>(power_spectrum(n), 80), backend);
            const auto result = problem.low_rank({}, backend);
            CHECK(result.rank == 1);
            CHECK(result.loss == 0);
            CHECK(result.limit == BindingLimit::tolerance);
            CHECK(orthonormality_defect(detail::fetch<T>(result.left.data(), m, 1, backend)) <=
                  tolerance<T>(m, 1));
            CHECK(problem.spectrum(backend).losses.front() == 0);
        }
}

TEST_CASE("weighted_low_rank works a panel at a time") {
    const EigenBackend backend;
    const Index m = 960, n = 1100;  // more than 2^20 elements each: the last rows are another panel
    Tensor<float> w({m, n});
    Tensor<double> s({n, n});
    for (Index k = 0; k < m; ++k) w(k, k) = static_cast<float>(m - k);
    for (Index k = 0; k < n; ++k) s(k, k) = 2;
    const auto curve = weighted_spectrum<float>(as_matrix(w.view()), as_matrix(s.view()), backend);
    double loss = 0;  // of rank m - k: 2 (1 + 4 + .. + k^2)
    for (Index k = 1; k <= m; ++k) {
        loss += 2.0 * static_cast<double>(k * k);
        REQUIRE(std::abs(curve.losses[static_cast<std::size_t>(m - k)] - loss) <=
                tolerance<double>(m, curve.losses.front()));
    }
    s(1090, 3) = 1;
    const auto text = refusal<NumericalError>(w, s, backend);
    CHECK(says(text, "S(3, 1090) and S(1090, 3) differ by 1,"));
}

TEMPLATE_LIST_TEST_CASE("weighted_low_rank refuses what is no second moment", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    using G = GramScalar<B, T>;
    const B backend;
    const auto refused = [&](const auto& w, const auto& s) {
        return refusal<NumericalError>(w, s, backend);
    };
    const double eps = std::numeric_limits<Real<T>>::epsilon();
    for (const auto [m, n] : {MatrixSize{4, 5}, {9, 5}}) {  // wide and tall
        CAPTURE(m, n);
        const auto w = normal_tensor<T>({m, n}, 81);
        const auto good = hermitian<G>({1, 1, 0.5, 0.25, 0.25}, 82);
        CHECK(refused(w, good).empty());
        for (const double poison : {std::nan(""), HUGE_VAL}) {
            auto s = good;
            s(3, 1) = static_cast<Real<G>>(poison);
            CHECK(says(refused(w, s), "weighted_spectrum: S(3, 1) is "));
            auto bad = w;
            bad(2, 4) = static_cast<Real<T>>(poison);
            CHECK(says(refused(bad, good), "holds NaN or Inf"));
        }
        auto s = good;
        s(3, 1) += static_cast<Real<G>>(0.5);
        CHECK(says(refused(w, s), "S(1, 3) and S(3, 1) differ by 0.5, rounding allows"));
        s(3, 1) = good(3, 1) + static_cast<G>(static_cast<Real<G>>(5 * eps));  // the trace is 3
        CHECK(refused(w, s).empty());
        if constexpr (is_complex<T>) {
            s = good;
            s(2, 2) += G(0, static_cast<Real<G>>(0.25));
            CHECK(says(refused(w, s), "S is not Hermitian, S(2, 2) and S(2, 2) differ by 0.5,"));
        }
        // below zero, by more and by less than rounding explains
        CHECK(says(refused(w, hermitian<G>({1, 1, 0.5, 0.25, -0.25}, 83)),
                   "S is not positive semidefinite, its smallest eigenvalue is -0.25"));
        CHECK(
            says(refused(w, hermitian<G>({1, 1, 0.5, 0.25, -500 * eps}, 83)), "rounding allows -"));
        CHECK(refused(w, hermitian<G>({1, 1, 0.5, 0.25, -3 * eps}, 83)).empty());
        s = Tensor<G>({n, n});  // no trace, and still not zero
        s(0, 1) = s(1, 0) = G{1};
        CHECK(says(refused(w, s), "its smallest eigenvalue is -1, rounding allows -0"));
        s = Tensor<G>({n, n});
        for (Index k = 0; k < n; ++k)
            s(k, k) = std::pow((std::numeric_limits<Real<G>>::max)(), Real<G>(0.9));
        CHECK(says(refused(w, s), "norm(W S W^H)^2 is beyond "));
    }
}

TEMPLATE_LIST_TEST_CASE("weighted_low_rank refuses shapes and limits", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    using G = GramScalar<B, T>;
    const B backend;
    const Weighted<T, B> problem(normal_tensor<T>({6, 5}, 84), hermitian<G>({1, 1, 1, 1, 0.5}, 85),
                                 backend);
    const auto w = problem.W.constant();
    const auto s = problem.S.constant();
    CHECK_THROWS_WITH(weighted_spectrum<T>(block(w, 0, 0, 0, 5), s, backend),
                      "weighted_spectrum: W is empty, 0 x 5");
    CHECK_THROWS_AS(weighted_spectrum<T>(block(w, 0, 0, 6, 0), s, backend), ShapeError);
    CHECK_THROWS_WITH(weighted_spectrum<T>(w, block(s, 0, 0, 5, 4), backend),
                      "weighted_spectrum: W is 6 x 5, so S must be 5 x 5, got 5 x 4");
    CHECK_THROWS_AS(weighted_spectrum<T>(w, block(s, 0, 0, 4, 5), backend), ShapeError);
    CHECK_THROWS_AS(weighted_spectrum<T>(block(w, 0, 0, 6, 4), block(s, 0, 0, 4, 4), backend),
                    ArgumentError);
    CHECK_THROWS_AS(weighted_spectrum<T>(matrix(w.data, 7, 4), block(s, 0, 0, 4, 4), backend),
                    ArgumentError);
    CHECK_THROWS_AS(weighted_spectrum<T>(w, transpose(s), backend), ArgumentError);
    const double nan = std::nan("");
    for (const auto& truncation : {Truncation{.max_bond_dim = 0},
                                   {.max_bond_dim = -2},
                                   {.max_relative_error = -0.1},
                                   {.max_relative_error = nan}}) {
        CHECK_THROWS_AS(problem.low_rank(truncation, backend), ArgumentError);
        CHECK_THROWS_AS(weighted_low_rank<T>(w, problem.spectrum(backend), truncation, backend),
                        ArgumentError);
    }
    const auto spectrum = problem.spectrum(backend);
    CHECK_THROWS_WITH(weighted_low_rank<T>(matrix(w.data, 5, 5), spectrum, {}, backend),
                      "weighted_low_rank: W is 5 x 5, the spectrum is of a 6 x 5 matrix");
    CHECK_THROWS_AS(weighted_low_rank<T>(transpose(matrix(w.data, 5, 6)), spectrum, {}, backend),
                    ArgumentError);
}

namespace {

/// EigenBackend that remembers the sides of its eigenproblems.
class RecordingBackend : public EigenBackend {
  public:
    template <Scalar T>
    void eigh(MatrixView<T> G, Real<T>* values) const {
        sides.push_back(G.rows);
        EigenBackend::eigh(G, values);
    }
    mutable std::vector<Index> sides;
};

}  // namespace

TEST_CASE("weighted_low_rank solves the eigenproblems of the shorter side") {
    const auto sides = [](Index m, Index n, const Tensor<double>& s) {
        const RecordingBackend backend;
        (void)Weighted<float, RecordingBackend>(normal_tensor<float>({m, n}, 86), s, backend)
            .spectrum(backend);
        return backend.sides;
    };
    for (const auto& values : {power_spectrum(9), rank_deficient_spectrum(9, 3)}) {
        const auto s = hermitian<double>(values, 87);
        CHECK(sides(4, 9, s) == std::vector<Index>{4});
        CHECK(sides(11, 9, s) == std::vector<Index>{11});
        CHECK(sides(12, 9, s) == std::vector<Index>{9, 9});
    }
}
