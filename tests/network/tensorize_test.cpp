// tensorize: the errors it states are the errors it made, its limits hold, nothing that it lists beats
// what it chose, planted structure is found, and noise is left alone.
#include "mpo/network/tensorize.hpp"

#include <functional>
#include <limits>
#include <string>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/matrices.hpp"
#include "support/tolerance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

template <class T>
[[nodiscard]] double sweep_rounding(const Tensor<T>& W) {
    return tolerance<T>(4 * (W.extent(0) + W.extent(1)), 1);
}

[[nodiscard]] double judged(const TensorizeCandidate& candidate) {
    return candidate.weighted_error.value_or(*candidate.relative_error);
}

/// The criterion, stated a second time: `a` beats `b`.
template <class T>
[[nodiscard]] bool beats(const TensorizeCandidate& a, const TensorizeCandidate& b,
                         const TensorizeOptions<T>& options) {
    const double floor = 8 * static_cast<double>(std::numeric_limits<Real<T>>::epsilon());
    if (options.tolerance) {
        if (*a.relative_error > *options.tolerance) return false;
        const auto x = static_cast<double>(a.parameters), y = static_cast<double>(b.parameters);
        return x * (1 + options.slack) < y;
    }
    return judged(a) * (1 + options.slack) < judged(b) && judged(b) > floor;
}

/// Laws of every candidate that is listed.
template <class T>
void check_candidate(const TensorizeCandidate& candidate, const TensorizeOptions<T>& options,
                     Index dense) {
    CAPTURE(to_string(candidate.layout), to_string(candidate.bonds), to_string(candidate.standing),
            candidate.why);
    CHECK(!candidate.why.empty());
    CHECK(candidate.parameters == num_parameters(candidate.layout, candidate.bonds));
    CHECK(candidate.multiply_adds ==
          multiply_adds_of_best_sweep(candidate.layout, candidate.bonds));
    CHECK(candidate.flops_ratio ==
          static_cast<double>(candidate.multiply_adds) / static_cast<double>(dense));
    if (!candidate.relative_error) return;
    CHECK(candidate.flops_ratio <= options.max_flops_ratio);
    CHECK(candidate.parameters < dense);
    if (options.budget)
        CHECK(static_cast<double>(candidate.parameters) <=
              *options.budget * static_cast<double>(dense));
    CHECK(candidate.weighted_error.has_value() == options.second_moments.has_value());
}

/// Laws of every answer.
template <class T, class B>
TensorizeVerdict check_tensorize(const Tensor<T>& W, const TensorizeOptions<T>& options,
                                 const B& backend) {
    const auto [layer, verdict] = tensorize(W, options, backend);
    INFO(to_string(verdict, 100));
    const auto wide = naive::widen(W);
    const double norm = naive::norm(wide);
    const auto result = naive::to_dense(layer.mpo());
    const double error = norm > 0 ? naive::distance(wide, result) / norm : 0;
    CHECK(std::abs(error - *verdict.winner.relative_error) <= sweep_rounding(W));
    CHECK(layer.mpo().layout() == verdict.winner.layout);
    CHECK(layer.mpo().bond_dims() == verdict.winner.bonds);
    CHECK(verdict.winner.standing == Standing::won);
    CHECK(verdict.dense_parameters == W.size());
    CHECK(!verdict.why.empty());
    CHECK(verdict.num_decompositions <= options.max_decompositions);
    CHECK(verdict.num_estimates <= options.max_estimates);
    if (verdict.advice == Advice::keep_dense) {
        CHECK(verdict.winner.layout == Layout{{W.extent(0)}, {W.extent(1)}});
        CHECK(naive::distance(wide, result) == 0);
    } else {
        check_candidate(verdict.winner, options, W.size());
        if (options.tolerance) CHECK(error <= *options.tolerance + sweep_rounding(W));
    }
    for (const auto& candidate : verdict.runners_up) {
        check_candidate(candidate, options, W.size());
        CHECK(candidate.standing != Standing::won);
        if (!candidate.relative_error) continue;
        if (verdict.advice == Advice::compress)
            CHECK(!beats(candidate, verdict.winner, options));
        else
            CHECK((options.budget || *candidate.relative_error > *options.tolerance));
    }
    return verdict;
}

/// The matrix of a random chain, rounded to T.
template <class T>
[[nodiscard]] Tensor<T> planted(const Layout& layout, const Shape& bonds, std::uint64_t seed) {
    return naive::narrow<T>(naive::to_dense(random_mpo<T>(layout, bonds, seed)));
}

/// Law: a chain that W is made of comes out, bond by bond.
template <class T, class B>
void check_found(const Layout& layout, const Shape& bonds, double budget, const B& backend) {
    const auto W = planted<T>(layout, bonds, 7);
    for (const bool by_budget : {true, false}) {
        TensorizeOptions<T> options;
        if (by_budget)
            options.budget = budget;
        else
            options.tolerance = 64 * sweep_rounding(W);
        const auto verdict = check_tensorize(W, options, backend);
        INFO(to_string(verdict, 100));
        CHECK(verdict.advice == Advice::compress);
        CHECK(*verdict.winner.relative_error <= sweep_rounding(W));
        CHECK(verdict.winner.layout == layout);
        CHECK(verdict.winner.bonds == bonds);
    }
}

template <class T>
void check_refused(const TensorizeOptions<T>& options, const std::string& numbers) {
    const EigenBackend cpu;
    std::string message = "nothing was thrown";
    try {
        (void)tensorize(normal_tensor<T>({6, 4}, 1), options, cpu);
    } catch (const ArgumentError& error) {
        message = error.what();
    } catch (const ShapeError& error) {
        message = error.what();
    }
    CAPTURE(message, numbers);
    CHECK(message.find("tensorize: ") == 0);
    CHECK(message.find(numbers) != std::string::npos);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("tensorize: its statements hold, whatever the matrix", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    std::vector<Tensor<T>> matrices;
    for (const auto& [m, n] : {std::pair<Index, Index>{1, 1}, {1, 12}, {12, 1}, {7, 5}, {24, 36}})
        matrices.push_back(normal_tensor<T>({m, n}, 3));
    matrices.push_back(matrix_with_spectrum<T>(32, 24, exponential_spectrum(24), 4));
    matrices.push_back(matrix_with_spectrum<T>(16, 48, power_spectrum(16), 5));
    matrices.emplace_back(Shape{8, 6});  // zero
    for (const auto& W : matrices) {
        CAPTURE(to_string(W.shape()));
        for (const double budget : {0.02, 0.3, 0.8, 1.0}) {
            check_tensorize<T>(W, {.budget = budget}, backend);
            check_tensorize<T>(W, {.budget = budget, .max_flops_ratio = 0.9}, backend);
        }
        for (const double tolerance : {0.0, 0.05, 0.5}) {
            check_tensorize<T>(W, {.tolerance = tolerance}, backend);
            check_tensorize<T>(W, {.tolerance = tolerance, .max_flops_ratio = 1.5}, backend);
        }
    }
}

TEMPLATE_LIST_TEST_CASE("tensorize: planted structure is found exactly", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    check_found<T>(low_rank_layout(24, 36), {1, 3, 1}, 0.4, backend);
    check_found<T>({{4, 6}, {6, 6}}, {1, 1, 1}, 0.4, backend);    // a Kronecker product
    check_found<T>({{1, 24}, {4, 9}}, {1, 2, 1}, 0.55, backend);  // a leg of size 1
    check_found<T>({{12, 2}, {2, 18}}, {1, 3, 1}, 0.4, backend);  // opposed, one way
    check_found<T>({{2, 12}, {18, 2}}, {1, 3, 1}, 0.4, backend);  // and the other
    check_found<T>({{4, 2, 2}, {2, 2, 4}}, {1, 3, 3, 1}, 0.35, backend);
    check_found<T>({{2, 4, 4}, {4, 2, 4}}, {1, 1, 1, 1}, 0.5, backend);  // bonds could be full
}

TEST_CASE("tensorize: opposed legs win where they are the cheapest of equals") {
    const EigenBackend cpu;
    const auto W = normal_tensor<float>({64, 64}, 8);  // no unfolding of noise is better
    const Layout balanced{{8, 8}, {8, 8}}, opposed{{32, 2}, {2, 32}};
    TensorizeOptions<float> options{.budget = 0.5, .slack = 0.05};
    options.layouts = {balanced, mirrored(opposed), opposed};
    options.max_decompositions = 3;
    const auto verdict = check_tensorize(W, options, cpu);
    INFO(to_string(verdict));
    CHECK(verdict.num_decompositions == 3);
    CHECK((verdict.winner.layout == opposed || verdict.winner.layout == mirrored(opposed)));
    for (const auto& other : verdict.runners_up) {
        CHECK(other.standing == Standing::more_multiply_adds);
        CHECK(other.parameters == verdict.winner.parameters);
        if (other.layout == balanced)
            CHECK(other.multiply_adds == 4 * verdict.winner.multiply_adds);
    }
}

TEST_CASE("tensorize: noise is left alone, and the layer is W itself") {
    const EigenBackend cpu;
    const auto W = normal_tensor<double>({24, 16}, 9);
    const auto verdict = check_tensorize<double>(W, {.tolerance = 1e-2}, cpu);
    INFO(to_string(verdict));
    CHECK(verdict.advice == Advice::keep_dense);
    CHECK(verdict.why.find("do not compress") == 0);
    CHECK(verdict.why.find("0.01") != std::string::npos);
    CHECK(verdict.runners_up.front().standing == Standing::misses_tolerance);

    const auto whole = check_tensorize<double>(W, {.budget = 1.0}, cpu);
    CHECK(whole.advice == Advice::keep_dense);
    CHECK(whole.why.find("within the budget") != std::string::npos);
}

TEST_CASE("tensorize: limits that nothing keeps are named") {
    const EigenBackend cpu;
    const auto W = normal_tensor<float>({24, 16}, 10);
    const auto slow = check_tensorize<float>(W, {.budget = 0.5, .max_flops_ratio = 0.05}, cpu);
    CHECK(slow.advice == Advice::keep_dense);
    CHECK(slow.why.find("max_flops_ratio = 0.05") != std::string::npos);
    CHECK(slow.num_decompositions == 0);
    CHECK(slow.runners_up.front().standing == Standing::over_flops_ratio);
    for (const auto& candidate : slow.runners_up) CHECK(!candidate.relative_error);

    const auto large = check_tensorize<float>(W, {.budget = 0.02}, cpu);
    CHECK(large.advice == Advice::keep_dense);
    CHECK(large.why.find("into 7 parameters") != std::string::npos);
    for (const auto& candidate : large.runners_up)
        CHECK(candidate.standing == Standing::over_parameters);

    const auto fast = check_tensorize<float>(W, {.budget = 0.5, .max_flops_ratio = 0.3}, cpu);
    CHECK(fast.advice == Advice::compress);
    CHECK(fast.winner.flops_ratio <= 0.3);
}

TEST_CASE("tensorize: the search stops where it is told to") {
    const EigenBackend cpu;
    const auto W = normal_tensor<float>({24, 36}, 11);
    const auto one = check_tensorize<float>(
        W, {.budget = 0.3, .max_estimates = 0, .max_decompositions = 1}, cpu);
    CHECK(one.num_decompositions == 1);
    CHECK(one.num_estimates == 0);
    CHECK(one.winner.layout == low_rank_layout(24, 36));
    const auto few = check_tensorize<float>(
        W, {.budget = 0.3, .max_estimates = 5, .max_decompositions = 3}, cpu);
    CHECK(few.num_decompositions <= 3);
    CHECK(few.num_estimates == 5);

    // besides low rank the one with the smallest estimate is decomposed
    auto two = check_tensorize<float>(W, {.budget = 0.3, .max_decompositions = 2}, cpu);
    INFO(to_string(two, 100));
    CHECK(two.num_decompositions == 2);
    two.runners_up.push_back(two.winner);
    double decomposed = 0, others = std::numeric_limits<double>::infinity();
    for (const auto& candidate : two.runners_up) {
        if (!candidate.estimated_error || candidate.layout == low_rank_layout(24, 36)) continue;
        if (candidate.relative_error)
            decomposed = *candidate.estimated_error;
        else
            others = std::min(others, *candidate.estimated_error);
    }
    CHECK(decomposed > 0);
    CHECK(decomposed <= others);
}

TEST_CASE("tensorize: the same seed gives the same answer, and strides do not matter") {
    const EigenBackend cpu;
    const auto W = normal_tensor<float>({24, 36}, 12);
    const auto Wt = naive::narrow<float>(naive::transpose(naive::widen(W)));  // (in, out)
    const TensorizeOptions<float> options{.budget = 0.4};
    const auto first = tensorize(W, options, cpu), second = tensorize(W, options, cpu);
    CHECK(to_string(first.verdict, 1000) == to_string(second.verdict, 1000));
    const auto view = permuted(Wt.view(), {1, 0});
    const auto third = tensorize(view, options, cpu);
    CHECK(to_string(first.verdict, 1000) == to_string(third.verdict, 1000));
    for (Index k = 0; k < first.layer.mpo().num_sites(); ++k)
        CHECK(naive::distance(first.layer.mpo().core(k), third.layer.mpo().core(k)) == 0);
}

TEMPLATE_LIST_TEST_CASE("tensorize: second moments judge by the error of the outputs", "",
                        BackendCases) {
    using T = typename TestType::T;
    using Big = Wide<T>;
    const typename TestType::Backend backend;
    // low rank is the better one in norm; but what it drops is all that the inputs ever touch
    const auto W = matrix_with_spectrum<T>(16, 24, power_spectrum(16), 13);
    const auto inputs = naive::widen(normal_tensor<T>({5, 24}, 14));
    const auto S = naive::narrow<T>(
        naive::product(naive::transpose(inputs), naive::conjugate(inputs)));  // (in, in)
    TensorizeOptions<T> options{.budget = 0.4};
    options.second_moments = S.view();
    const auto [layer, verdict] = tensorize(W, options, backend);
    check_tensorize(W, options, backend);
    const auto outputs = [&](const Tensor<Big>& weight) {
        return naive::norm(naive::apply(weight, inputs));
    };
    const auto rest = naive::combination<Big>(1, naive::widen(W), -1, naive::to_dense(layer.mpo()));
    const double expected = outputs(rest) / outputs(naive::widen(W));
    CHECK(std::abs(*verdict.winner.weighted_error - expected) <=
          tolerance<T>(W.size(), 1 / expected));

    Tensor<T> identity({24, 24});
    for (Index k = 0; k < 24; ++k) identity(k, k) = T{1};
    options.second_moments = identity.view();
    const auto plain = check_tensorize(W, options, backend);
    CHECK(std::abs(*plain.winner.weighted_error - *plain.winner.relative_error) <=
          tolerance<T>(W.size(), 1 / *plain.winner.relative_error));
}

TEST_CASE("tensorize: options that mean nothing are refused with their numbers") {
    using Options = TensorizeOptions<float>;
    check_refused<float>(Options{}, "got 0");
    check_refused<float>(Options{.budget = 0.5, .tolerance = 0.1}, "got 2");
    check_refused<float>(Options{.budget = 0.0}, "got 0");
    check_refused<float>(Options{.budget = 1.25}, "1.25");
    check_refused<float>(Options{.budget = std::nan("")}, "nan");
    check_refused<float>(Options{.tolerance = -0.5}, "-0.5");
    check_refused<float>(Options{.tolerance = std::numeric_limits<double>::infinity()}, "inf");
    check_refused<float>(Options{.budget = 0.5, .max_flops_ratio = 0}, "max_flops_ratio");
    check_refused<float>(Options{.budget = 0.5, .slack = -1}, "-1");
    check_refused<float>(Options{.budget = 0.5, .max_sites = 1}, "got 1");
    check_refused<float>(Options{.budget = 0.5, .max_sites = 13}, "13");
    check_refused<float>(Options{.budget = 0.5, .max_estimates = -2}, "-2");
    check_refused<float>(Options{.budget = 0.5, .max_decompositions = 0}, "max_decompositions");
    check_refused<float>(Options{.budget = 0.5, .batch = 0}, "batch must be at least 1, got 0");
    check_refused<float>(Options{.budget = 0.5, .layouts = {{{3, 3}, {2, 2}}}}, "9");
    const auto odd = normal_tensor<float>({5}, 1), square = normal_tensor<float>({5, 5}, 1);
    check_refused<float>(Options{.budget = 0.5, .bias = odd.view()}, "6");
    check_refused<float>(Options{.budget = 0.5, .second_moments = square.view()}, "4 x 4");
    Tensor<float> negative({4, 4});
    for (Index k = 0; k < 4; ++k) negative(k, k) = -1;
    check_refused<float>(Options{.budget = 0.5, .second_moments = negative.view()},
                         "positive semidefinite");
}

TEST_CASE("tensorize: what is no matrix of numbers is refused") {
    const EigenBackend cpu;
    auto W = normal_tensor<double>({6, 4}, 1);
    W(3, 2) = std::nan("");
    CHECK_THROWS_AS(tensorize(W, {.budget = 0.5}, cpu), NumericalError);
    CHECK_THROWS_AS(tensorize(Tensor<double>({0, 4}), {.budget = 0.5}, cpu), ShapeError);
    CHECK_THROWS_AS(tensorize(Tensor<double>({4}), {.budget = 0.5}, cpu), ShapeError);
}
