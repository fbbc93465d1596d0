// The way back: gradients of the input and of every core, against the dense matrix's and against finite
// differences, within the memory that a plan was given.
#include "mpo/network/sweep.hpp"

#include <atomic>
#include <memory>

#include "mpo/network/contract.hpp"
#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/factorisation_conformance.hpp"
#include "support/metered_backend.hpp"
#include "support/scalars.hpp"
#include "support/sweep_directions.hpp"
#include "support/thread_count.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// Chains whose steps carry columns along, and chains whose steps do not.
[[nodiscard]] std::vector<Chain> chains_both_ways() {
    auto all = awkward_chains();
    all.push_back({{{6, 2}, {2, 7}}, {1, 3, 1}});
    all.push_back({{{2, 3, 4, 1, 2}, {3, 1, 2, 4, 2}}, {1, 3, 7, 5, 3, 1}});
    return all;
}

template <class T>
struct Gradients {
    Tensor<T> dX;
    std::vector<Tensor<T>> dcores;
};

/// dX = dY conj(W); dcore[e] = sum over W of (dY^T conj(X)) conj(dW / dcore[e]), entry by entry.
template <class T>
[[nodiscard]] Gradients<Wide<T>> expected_gradients(const Mpo<T>& mpo, const Tensor<T>& X,
                                                    const Tensor<T>& dY) {
    using W = Wide<T>;
    const auto dense = naive::to_dense(mpo);
    const Index batch = X.extent(0), out = dense.extent(0), in = dense.extent(1);
    Gradients<W> result{Tensor<W>({batch, in}), {}};
    Tensor<W> dW({out, in});
    for (Index b = 0; b < batch; ++b)
        for (Index o = 0; o < out; ++o)
            for (Index i = 0; i < in; ++i) {
                result.dX(b, i) += W(dY(b, o)) * conjugated(dense(o, i));
                dW(o, i) += W(dY(b, o)) * conjugated(W(X(b, i)));
            }
    for (Index k = 0; k < mpo.num_sites(); ++k) {
        Tensor<W> dcore(mpo.core(k).shape());
        for (Index e = 0; batch > 0 && e < dcore.size(); ++e) {
            auto cores = mpo.cores();
            auto& unit = cores[static_cast<std::size_t>(k)];
            std::fill_n(unit.data(), unit.size(), T{0});
            unit.data()[e] = T{1};
            const auto change = naive::to_dense(Mpo<T>(cores));
            for (Index j = 0; j < dW.size(); ++j)
                dcore.data()[e] += dW.data()[j] * conjugated(change.data()[j]);
        }
        result.dcores.push_back(std::move(dcore));
    }
    return result;
}

/// An input, the gradient of its output, and what must come of them.
template <class T>
struct GradientCase {
    Tensor<T> X, dY;
    Gradients<Wide<T>> expected;
};

template <class T>
[[nodiscard]] GradientCase<T> case_of(const Mpo<T>& mpo, Index batch) {
    auto X = normal_tensor<T>({batch, mpo.cols()}, 31),
         dY = normal_tensor<T>({batch, mpo.rows()}, 32);
    auto expected = expected_gradients(mpo, X, dY);
    return {std::move(X), std::move(dY), std::move(expected)};
}

template <class T>
[[nodiscard]] std::vector<Tensor<T>> cores_of_ones(const Mpo<T>& mpo) {
    std::vector<Tensor<T>> ones;
    for (const auto& core : mpo.cores()) {
        ones.emplace_back(core.shape());
        std::fill_n(ones.back().data(), ones.back().size(), T{1});
    }
    return ones;
}

/// Law: the gradients of a plan are those of the dense matrix, core gradients added to what was there.
template <class T, class B>
void check_gradient(const Plan<T, B>& plan, const Mpo<T>& mpo, const GradientCase<T>& input,
                    bool with_tape) {
    const auto& [X, dY, expected] = input;
    const Index batch = X.extent(0);
    CAPTURE(batch, with_tape);
    auto dcores = cores_of_ones(mpo);
    Tensor<T> dX({batch, mpo.cols()}), Y({batch, mpo.rows()});
    std::fill_n(dX.data(), dX.size(), not_a_number<T>());
    typename Plan<T, B>::Tape tape;
    if (with_tape) plan.apply(X, Y, tape);
    plan.gradient(X, dY, dX, dcores, with_tape ? &tape : nullptr);
    double size = naive::norm(naive::widen(X)) + naive::norm(naive::widen(dY));
    size *= size;
    for (const auto& core : mpo.cores()) size *= 1 + naive::norm(core);
    const double most = tolerance<T>(mpo.num_parameters() + batch, 1 + size);
    CHECK(naive::distance(dX, expected.dX) <= most);
    for (std::size_t k = 0; k < dcores.size(); ++k) {
        for (Index e = 0; e < dcores[k].size(); ++e) dcores[k].data()[e] -= T{1};
        CAPTURE(k);
        CHECK(naive::distance(dcores[k], expected.dcores[k]) <= most);
    }
}

/// The plans by way of the matrix that the limit admits: one for every cut.
template <class T, class B>
[[nodiscard]] std::vector<Plan<T, B>> plans_by_tiles(const Mpo<T>& mpo, Index bytes,
                                                     const B& backend) {
    const PlanOptions options{.batch = 9, .max_workspace_bytes = bytes, .with_gradient = true};
    auto candidates = plan_candidates(mpo.layout(), mpo.bond_dims(),
                                      detail::question_of(options, static_cast<Index>(sizeof(T))),
                                      default_machine_table());
    std::vector<Plan<T, B>> plans;
    for (std::size_t k = 0; k < candidates.size(); ++k) {
        if (candidates[k].form != PlanForm::tiles || !candidates[k].admissible) continue;
        std::swap(candidates[0], candidates[k]);
        plans.emplace_back(mpo, candidates, options, backend);
    }
    return plans;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("gradients are those of the dense matrix", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto& [layout, bonds] : chains_both_ways()) {
        const auto mpo = random_mpo<T>(layout, bonds, 33);
        CAPTURE(to_string(layout), to_string(bonds));
        auto plans = plans_by_tiles(mpo, Index{1} << 20, backend);
        for (const auto direction : both_directions)
            plans.push_back(make_plan(
                mpo, {.batch = 9, .direction = direction, .with_gradient = true}, backend));
        CHECK(static_cast<Index>(plans.size()) == mpo.num_sites() + 1);
        for (const Index batch : {0, 1, 21}) {
            const auto input = case_of(mpo, batch);
            for (const auto& plan : plans) {
                CAPTURE(to_string(plan.choice().form), to_string(plan.choice().groups),
                        to_string(plan.direction()));
                for (const bool with_tape : {false, true})
                    check_gradient(plan, mpo, input, with_tape);
            }
        }
    }
}

TEMPLATE_LIST_TEST_CASE("gradients make do with little memory and any number of threads", "",
                        EveryScalar) {
    using T = TestType;
    const auto mpo = random_mpo<T>({{3, 5, 3}, {5, 3, 1}}, {1, 3, 3, 1}, 34);
    const auto few = case_of(mpo, 7), more = case_of(mpo, 20);
    for (const int threads : {1, 2, 5}) {
        const ThreadCount count(threads);
        for (const auto direction : both_directions) {
            bool refused = false, sliced = false, whole = false;
            for (Index bytes = 64; bytes < Index{1} << 22; bytes = bytes * 5 / 2) {
                CAPTURE(threads, to_string(direction), bytes);
                const MeteredBackend backend;
                const PlanOptions options{.batch = 97,
                                          .max_workspace_bytes = bytes,
                                          .direction = direction,
                                          .with_gradient = true};
                try {
                    const auto plan = make_plan(mpo, options, backend);
                    const auto X = normal_tensor<T>({97, 15}, 35),
                               dY = normal_tensor<T>({97, 45}, 36);
                    Tensor<T> dX({97, 15});
                    auto dcores = cores_of_ones(mpo);
                    const Index packed = backend.bytes();
                    plan.gradient(X, dY, dX, dcores);
                    // the result itself and its copy in the order of the cores are no workspace
                    const Index results = 2 * mpo.num_parameters() * static_cast<Index>(sizeof(T));
                    CHECK(backend.bytes() - packed <= bytes + results);
                    check_gradient(plan, mpo, few, true);
                    check_gradient(plan, mpo, more, false);
                    (plan.chunk_tokens() > 1 ? whole : sliced) = true;
                } catch (const ArgumentError& error) {
                    refused = true;
                    CHECK_FALSE(sliced);
                    CHECK(std::string(error.what()).find("max_workspace_bytes = ") !=
                          std::string::npos);
                }
            }
            CHECK((refused && sliced && whole));
        }
    }
}

TEMPLATE_LIST_TEST_CASE("gradients by way of the matrix keep to the workspace", "", EveryScalar) {
    using T = TestType;
    for (const auto& [layout, bonds] :
         {Chain{{{3, 5}, {5, 3}}, {1, 4, 1}}, Chain{{{3, 5, 3}, {5, 3, 1}}, {1, 3, 3, 1}}}) {
        const auto mpo = random_mpo<T>(layout, bonds, 41);
        const auto input = case_of(mpo, 20);
        const Index results = 2 * mpo.num_parameters() * static_cast<Index>(sizeof(T));
        Index fewest = mpo.num_sites(), most = 0;  // cuts that a limit admits
        for (Index bytes = 64; bytes < Index{1} << 22; bytes = bytes * 5 / 4) {
            const MeteredBackend backend;
            const auto plans = plans_by_tiles(mpo, bytes, backend);
            for (const auto& plan : plans) {
                CAPTURE(bytes, to_string(plan.choice().groups));
                Tensor<T> dX(input.X.shape());
                auto dcores = cores_of_ones(mpo);
                const Index packed = backend.bytes();
                plan.gradient(input.X, input.dY, dX, dcores);
                // handed out in all, not at a time; of two sites the two agree
                if (mpo.num_sites() == 2) CHECK(backend.bytes() - packed <= bytes + results);
                check_gradient(plan, mpo, input, false);
            }
            fewest = (std::min)(fewest, static_cast<Index>(plans.size()));
            most = (std::max)(most, static_cast<Index>(plans.size()));
        }
        CHECK(fewest == 0);
        CHECK(most == mpo.num_sites() - 1);
    }
}

TEST_CASE("a plan with gradient takes the way that is cheaper forth and back together") {
    const EigenBackend backend;
    const auto wide = random_mpo<float>({{8, 8, 8}, {8, 8, 8}}, {1, 60, 60, 1}, 44);
    const auto narrow = random_mpo<float>({{8, 8, 8}, {8, 8, 8}}, {1, 2, 2, 1}, 45);
    const PlanOptions options{.batch = 512, .with_gradient = true};
    CHECK(make_plan(wide, options, backend).choice().form == PlanForm::tiles);
    CHECK(make_plan(narrow, options, backend).choice().form == PlanForm::sweep);
}

TEST_CASE("gradients are slopes: finite differences of |Y|^2 / 2") {
    const EigenBackend backend;
    const auto mpo = random_mpo<double>({{3, 2, 2}, {2, 2, 3}}, {1, 4, 3, 1}, 37);
    const auto X = normal_tensor<double>({5, 12}, 38);
    const auto loss = [&](const Mpo<double>& at, const Tensor<double>& input) {
        const auto plan = make_plan(at, {.batch = 5}, backend);
        Tensor<double> Y({5, 12});
        plan.apply(input, Y);
        return naive::norm(Y) * naive::norm(Y) / 2;
    };
    for (const auto direction : both_directions) {
        const auto plan =
            make_plan(mpo, {.batch = 5, .direction = direction, .with_gradient = true}, backend);
        Tensor<double> Y({5, 12}), dX({5, 12});
        plan.apply(X, Y);
        std::vector<Tensor<double>> dcores;
        for (const auto& core : mpo.cores()) dcores.emplace_back(core.shape());
        plan.gradient(X, Y, dX, dcores);
        const double h = 1e-5;
        for (std::size_t k = 0; k < 3; ++k)
            for (Index e = 0; e < dcores[k].size(); ++e) {
                auto up = mpo.cores(), down = mpo.cores();
                up[k].data()[e] += h;
                down[k].data()[e] -= h;
                const double slope =
                    (loss(Mpo<double>(up), X) - loss(Mpo<double>(down), X)) / (2 * h);
                CAPTURE(k, e, slope);
                CHECK(std::abs(slope - dcores[k].data()[e]) <= 1e-6 * (1 + std::abs(slope)));
            }
        for (Index e = 0; e < dX.size(); ++e) {
            auto up = X, down = X;
            up.data()[e] += h;
            down.data()[e] -= h;
            const double slope = (loss(mpo, up) - loss(mpo, down)) / (2 * h);
            CHECK(std::abs(slope - dX.data()[e]) <= 1e-6 * (1 + std::abs(slope)));
        }
    }
}

TEST_CASE("a gradient refuses, with numbers") {
    const EigenBackend backend;
    const auto mpo = random_mpo<float>({{3, 4}, {5, 2}}, {1, 3, 1}, 39);  // W (12, 10)
    const auto plan = make_plan(mpo, {.with_gradient = true}, backend);
    const Tensor<float> X({7, 10}), dY({7, 12});
    Tensor<float> dX({7, 10}), wrong({7, 11}), Y({6, 12});
    auto dcores = cores_of_ones(mpo);
    check_refusal<ShapeError>([&] { plan.gradient(wrong, dY, dX, dcores); }, 10, 11);
    check_refusal<ShapeError>([&] { plan.gradient(X, wrong, dX, dcores); }, 12, 11);
    check_refusal<ShapeError>([&] { plan.gradient(X, dY, wrong, dcores); }, 10, 11);
    auto fewer = dcores;
    fewer.pop_back();
    check_refusal<ShapeError>([&] { plan.gradient(X, dY, dX, fewer); }, 2, 1);
    Plan<float, EigenBackend>::Tape tape;
    plan.apply(Tensor<float>({6, 10}), Y, tape);
    check_refusal<ArgumentError>([&] { plan.gradient(X, dY, dX, dcores, &tape); }, 6, 7);
    const auto forth_only = make_plan(mpo, {}, backend);
    CHECK_THROWS_AS(forth_only.gradient(X, dY, dX, dcores), ArgumentError);
}
