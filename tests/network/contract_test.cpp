// A plan applies the matrix that its MPO stands for, within the memory it was given.
#include "mpo/network/contract.hpp"

#include <thread>

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

/// Chains of 1 to 5 sites, wide and tall, besides the awkward ones.
[[nodiscard]] std::vector<Chain> chains_to_apply() {
    auto all = awkward_chains();
    all.push_back({{{32, 1}, {1, 24}}, {1, 5, 1}});
    all.push_back({{{5, 7}, {7, 5}}, {1, 17, 1}});
    all.push_back({{{1, 8}, {8, 1}}, {1, 4, 1}});
    all.push_back({{{2, 3, 4, 1, 2}, {3, 1, 2, 4, 2}}, {1, 3, 7, 5, 3, 1}});
    return all;
}

/// Law: Y = X W^T for every token, and no token more.
template <class T, class B>
void check_apply(const Plan<T, B>& plan, const Mpo<T>& mpo, const Tensor<Wide<T>>& W, Index batch) {
    CAPTURE(batch, plan.chunk_tokens(), plan.workspace_bytes_per_thread());
    const auto X = normal_tensor<T>({batch, W.extent(1)}, 91);
    const auto before = X;
    Tensor<T> Y({batch + 1, W.extent(0)});  // Y of apply is NaN, the row behind it a guard
    std::fill_n(Y.data(), Y.size(), not_a_number<T>());
    plan.apply(X.view(), TensorView<T>(Y.data(), {batch, W.extent(0)}));
    const auto result = naive::widen(TensorView<const T>(Y.data(), {batch, W.extent(0)}));
    const auto expected = naive::apply(W, naive::widen(X));
    double size = naive::norm(naive::widen(X));
    for (const auto& core : mpo.cores()) size *= naive::norm(core);
    CHECK(naive::distance(result, expected) <= tolerance<T>(mpo.num_parameters(), size));
    for (Index k = 0; k < W.extent(0); ++k) CHECK(std::isnan(std::real(Y(batch, k))));
    CHECK(naive::distance(X, before) == 0);
}

/// Bytes that the smallest workspace needs, as the refusal of 0 bytes states; 0 where none is.
template <class T, class B>
[[nodiscard]] Index least_workspace(const Mpo<T>& mpo, SweepDirection direction, const B& backend) {
    try {
        (void)make_plan(mpo, {.max_workspace_bytes = 0, .direction = direction}, backend);
        return 0;
    } catch (const ArgumentError& error) {
        const std::string message = error.what();
        CHECK(message.find("max_workspace_bytes = 0") != std::string::npos);
        return std::stol(message.substr(message.rfind(' ')));
    }
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("a plan applies its matrix, either way", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto& [layout, bonds] : chains_to_apply()) {
        const auto mpo = random_mpo<T>(layout, bonds, 92);
        const auto W = naive::to_dense(mpo);
        for (const auto direction : both_directions)
            for (const Index expected_batch : {1, 33}) {
                CAPTURE(to_string(layout), to_string(bonds), to_string(direction), expected_batch);
                const PlanOptions options{.batch = expected_batch, .direction = direction};
                const auto plan = make_plan(mpo, options, backend);
                CHECK(plan.rows() == W.extent(0));
                CHECK(plan.cols() == W.extent(1));
                CHECK(plan.direction() == direction);
                CHECK(plan.multiply_adds_per_token() ==
                      (direction == SweepDirection::right_to_left
                           ? multiply_adds_right_to_left(layout, bonds)
                           : multiply_adds_left_to_right(layout, bonds)));
                CHECK(plan.workspace_bytes_per_thread() <= options.max_workspace_bytes);
                for (const Index batch : {0, 1, 2, 7, 33, 70}) check_apply(plan, mpo, W, batch);
            }
    }
}

TEMPLATE_LIST_TEST_CASE("large batches are cut into chunks", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto mpo = random_mpo<T>({{4, 3}, {3, 5}}, {1, 7, 1}, 93);
    const auto W = naive::to_dense(mpo);
    for (const auto direction : both_directions)
        for (const int threads : {1, 2, 3}) {
            const ThreadCount count(threads);
            const PlanOptions options{.batch = 4099, .direction = direction};
            const auto plan = make_plan(mpo, options, backend);
            CHECK(plan.workspace_bytes_per_thread() <= options.max_workspace_bytes);
            check_apply(plan, mpo, W, 4099);
        }
}

TEMPLATE_LIST_TEST_CASE("a plan makes do with the workspace it is given", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto& [layout, bonds] : chains_to_apply()) {
        const auto mpo = random_mpo<T>(layout, bonds, 94);
        const auto W = naive::to_dense(mpo);
        for (const auto direction : both_directions) {
            const Index least = least_workspace(mpo, direction, backend);
            if (least == 0) {  // a single core needs none
                CHECK(mpo.num_sites() == 1);
                continue;
            }
            const Index leg =
                direction == SweepDirection::right_to_left ? layout.in.front() : layout.out.front();
            CAPTURE(to_string(layout), to_string(bonds), to_string(direction), least);
            check_refusal<ArgumentError>(
                [&] {
                    (void)make_plan(mpo, {.max_workspace_bytes = least - 1, .direction = direction},
                                    backend);
                },
                least - 1, least);
            // from one slice of the leading leg over whole tokens to several
            for (const Index bytes : {least, least + 1, 2 * least, leg * least - 1, leg * least,
                                      3 * leg * least, 20 * leg * least + 7}) {
                if (bytes < least) continue;
                CAPTURE(bytes);
                const PlanOptions options{
                    .batch = 9, .max_workspace_bytes = bytes, .direction = direction};
                const auto plan = make_plan(mpo, options, backend);
                CHECK(plan.workspace_bytes_per_thread() <= options.max_workspace_bytes);
                check_apply(plan, mpo, W, 5);
            }
        }
    }
}

TEMPLATE_LIST_TEST_CASE("all threads together stay within the workspace", "", EveryScalar) {
    using T = TestType;
    const EigenBackend plain;
    const auto mpo = random_mpo<T>({{3, 5, 3}, {5, 3, 1}}, {1, 3, 3, 1}, 101);
    const auto X = normal_tensor<T>({97, 15}, 102);
    for (const int threads : {1, 2, 3, 5})
        for (const auto direction : both_directions) {
            const ThreadCount count(threads);
            const Index least = least_workspace(mpo, direction, plain);
            for (const Index bytes : {least, least + 1, 2 * least, 3 * least + 1, 15 * least,
                                      31 * least, 400 * least}) {
                CAPTURE(threads, to_string(direction), least, bytes);
                const MeteredBackend backend;
                const auto plan = make_plan(
                    mpo, {.batch = 97, .max_workspace_bytes = bytes, .direction = direction},
                    backend);
                const Index packed = backend.bytes();
                Tensor<T> Y({97, 45});
                for (int repeat = 0; repeat < 3; ++repeat) plan.apply(X, Y);
                CHECK(backend.bytes() - packed <= bytes);
            }
        }
}

TEMPLATE_LIST_TEST_CASE("every way that is considered applies the matrix", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    int forms[3] = {};
    for (const auto& [layout, bonds] : chains_to_apply()) {
        if (layout.out.size() > 5) continue;  // 12 sites of one leg each: the same again
        const auto mpo = random_mpo<T>(layout, bonds, 95);
        const auto W = naive::to_dense(mpo);
        for (const Index batch : {1, 40}) {
            const PlanOptions options{.batch = batch, .dense_cache = DenseCache::allow};
            const auto plan = make_plan(mpo, options, backend);
            CAPTURE(to_string(layout), to_string(bonds), plan.explain());
            auto candidates = plan.candidates();
            CHECK(candidates.size() >= (layout.out.size() > 1 ? 4 : 1));
            for (std::size_t k = 0; k < candidates.size(); ++k) {
                CHECK(candidates[k].admissible);
                CHECK(candidates[k].seconds >= plan.choice().seconds);
                auto forced = candidates;
                std::swap(forced[0], forced[k]);
                const Plan<T, typename TestType::Backend> other(mpo, forced, options, backend);
                CAPTURE(to_string(other.choice().form), to_string(other.choice().groups),
                        to_string(other.direction()));
                CHECK(other.steps().empty() == (other.choice().form == PlanForm::tiles));
                check_apply(other, mpo, W, 7);
                check_apply(other, mpo, W, batch);
                forms[static_cast<int>(other.choice().form)] += 1;
            }
        }
    }
    for (const int times : forms) CHECK(times > 0);
}

TEMPLATE_LIST_TEST_CASE("every way keeps to the workspace, or is ruled out", "", EveryScalar) {
    using T = TestType;
    const auto mpo = random_mpo<T>({{3, 5, 3}, {5, 3, 1}}, {1, 3, 3, 1}, 101);
    const auto W = naive::to_dense(mpo);
    const auto X = normal_tensor<T>({97, 15}, 102);
    int ruled_out = 0, kept = 0;
    for (const int threads : {1, 2, 5})
        for (Index bytes = 40; bytes < 200'000; bytes = bytes * 7 / 4) {
            const ThreadCount count(threads);
            const MeteredBackend backend;
            const PlanOptions options{.batch = 97, .max_workspace_bytes = bytes};
            const auto question = detail::question_of(options, static_cast<Index>(sizeof(T)));
            auto candidates = plan_candidates(mpo.layout(), mpo.bond_dims(), question,
                                              detail::table_of(options, threads));
            for (std::size_t k = 0; k < candidates.size(); ++k) {
                auto forced = candidates;
                std::swap(forced[0], forced[k]);
                if (!forced[0].admissible) {
                    ++ruled_out;
                    continue;
                }
                CAPTURE(threads, bytes, to_string(forced[0].form), to_string(forced[0].groups));
                const Plan<T, MeteredBackend> plan(mpo, forced, options, backend);
                const Index added =
                    std::max<Index>(0, forced[0].factor_bytes -
                                           mpo.num_parameters() * static_cast<Index>(sizeof(T)));
                CHECK(plan.workspace_bytes_per_thread() * plan.max_workers() + added <= bytes);
                const Index before = backend.bytes();
                Tensor<T> Y({97, 45});
                for (int repeat = 0; repeat < 3; ++repeat) plan.apply(X, Y);
                CHECK(backend.bytes() - before + added <= bytes);
                check_apply(plan, mpo, W, 5);
                ++kept;
            }
        }
    CHECK(ruled_out > 10);
    CHECK(kept > 10);
}

TEST_CASE("a plan carries more tokens at once where its cores are far larger than a cache") {
    const EigenBackend backend;
    const auto mpo = random_mpo<float>({{2, 512}, {2, 512}}, {1, 32, 1}, 106);  // 34 MB
    const Index token = 2 * 32 * 512 * 4;  // bytes between the cores
    for (const Index bytes : {Index{1} << 26, Index{1} << 20}) {
        const auto plan = make_plan(mpo,
                                    {.batch = 400,
                                     .max_workspace_bytes = bytes,
                                     .direction = SweepDirection::right_to_left},
                                    backend);
        CHECK(plan.workspace_bytes_per_thread() * plan.max_workers() <= bytes);
        const Index fits_cache = EigenBackend::cached_bytes / token;
        CHECK((plan.chunk_tokens() > 3 * fits_cache) == (bytes > (Index{1} << 20)));
    }
    CHECK(detail::bytes_of_chunk({{16, 1024, 64, 1}}, 4, 1 << 19) == 1 << 19);
    CHECK(detail::bytes_of_chunk({{16, 8192, 1024, 1}}, 4, 1 << 19) == 1 << 21);
    CHECK(detail::bytes_of_chunk({{16, 8192, 1024, 1}, {1, 16, 8192, 64}}, 8, 1 << 19) ==
          (8192 * 1024 + 16 * 8192) / 2);
}

TEST_CASE("plan: the choice follows the batch, and W is kept only where that is allowed") {
    const EigenBackend backend;
    const auto balanced = random_mpo<float>({{32, 32}, {32, 32}}, {1, 64, 1}, 103);
    const auto choice = [&](Index batch, DenseCache cache) {
        return make_plan(balanced, {.batch = batch, .dense_cache = cache}, backend).choice();
    };
    // a sweep needs 4 times the multiply-adds of W: worth it only while making W is not
    CHECK(choice(1, DenseCache::forbid).form == PlanForm::sweep);
    CHECK(choice(4096, DenseCache::forbid).form == PlanForm::tiles);
    CHECK(choice(4096, DenseCache::allow).form == PlanForm::dense);
    const auto low_rank = random_mpo<float>({{1024, 1}, {1, 1024}}, {1, 8, 1}, 104);
    for (const Index batch : {1, 64, 4096}) {
        const auto plan =
            make_plan(low_rank, {.batch = batch, .dense_cache = DenseCache::allow}, backend);
        CHECK(plan.choice().form == PlanForm::sweep);
        CHECK(plan.multiply_adds_per_token() == 2 * 8 * 1024);
    }
    const auto opposed = random_mpo<float>({{16, 64}, {64, 16}}, {1, 16, 1}, 105);
    CHECK(make_plan(opposed, {.batch = 8}, backend).direction() == SweepDirection::left_to_right);
    const auto mirror = random_mpo<float>({{64, 16}, {16, 64}}, {1, 16, 1}, 105);
    CHECK(make_plan(mirror, {.batch = 8}, backend).direction() == SweepDirection::right_to_left);

    const auto words = make_plan(balanced, {.batch = 4096}, backend).explain();
    CAPTURE(words);
    for (const char* word : {"tiles (1 1)", "<- chosen", "dense_cache is forbidden",
                             "the dense matrix would be", "with as many parameters"})
        CHECK(words.find(word) != std::string::npos);
    CHECK(to_string(SweepDirection::automatic) == "automatic");
    CHECK(to_string(SweepDirection::right_to_left) == "right_to_left");
    CHECK(to_string(SweepDirection::left_to_right) == "left_to_right");
}

TEMPLATE_LIST_TEST_CASE("a plan set takes the plan of the batch", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    const auto mpo = random_mpo<T>({{8, 8}, {8, 8}}, {1, 16, 1}, 106);
    const auto W = naive::to_dense(mpo);
    const PlanSet<T, B> set(mpo, {512, 1, 16, 2}, {.dense_cache = DenseCache::allow}, backend);
    CHECK(set.size() >= 1);
    CHECK(set.size() <= 4);
    for (const Index batch : {1, 2, 16, 512}) {
        const auto alone =
            make_plan(mpo, {.batch = batch, .dense_cache = DenseCache::allow}, backend);
        CHECK(set.plan_for(batch).choice().form == alone.choice().form);
        CHECK(set.plan_for(batch).choice().groups == alone.choice().groups);
        check_apply(set.plan_for(batch), mpo, W, batch);
    }
    CHECK(&set.plan_for(100'000) == &set.plan_for(512));
    CHECK_THROWS_AS((PlanSet<T, B>(mpo, {}, {}, backend)), ArgumentError);

    const auto tuned = make_plan(mpo, {.batch = 5, .autotune = true}, backend);
    check_apply(tuned, mpo, W, 5);
}

TEMPLATE_LIST_TEST_CASE("one plan serves many threads", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto mpo = random_mpo<T>({{4, 3, 2}, {3, 5, 2}}, {1, 5, 4, 1}, 96);
    const auto X = normal_tensor<T>({200, 30}, 97);
    for (const auto direction : both_directions) {
        const auto plan = make_plan(mpo, {.batch = 50, .direction = direction}, backend);
        Tensor<T> alone({200, 24});
        plan.apply(X, alone);
        std::vector<Tensor<T>> results(5, Tensor<T>({200, 24}));
        {
            std::vector<std::thread> callers;
            for (auto& Y : results)
                callers.emplace_back([&] {
                    for (int repeat = 0; repeat < 10; ++repeat) plan.apply(X, Y);
                });
            for (auto& caller : callers) caller.join();
        }
        for (const auto& Y : results) CHECK(naive::distance(Y, alone) == 0);
    }
}

TEMPLATE_LIST_TEST_CASE("a plan moves, and its MPO may go", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    auto mpo = random_mpo<T>({{3, 4}, {5, 2}}, {1, 3, 1}, 98);
    const auto W = naive::to_dense(mpo);
    std::vector<Plan<T, B>> plans;
    plans.push_back(make_plan(mpo, {}, backend));
    const auto kept = mpo;
    mpo = random_mpo<T>({{2}, {2}}, {1, 1}, 99);
    plans.push_back(make_plan(mpo, {}, backend));
    check_apply(plans.front(), kept, W, 6);
    const Plan<T, B> moved = std::move(plans.front());
    check_apply(moved, kept, W, 6);
}

TEMPLATE_LIST_TEST_CASE("a plan refuses, with numbers", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto mpo = random_mpo<T>({{3, 4}, {5, 2}}, {1, 3, 1}, 100);  // W (12, 10)
    check_refusal<ArgumentError>([&] { (void)make_plan(mpo, {.batch = 0}, backend); }, 1, 0);
    check_refusal<ArgumentError>([&] { (void)make_plan(mpo, {.batch = -5}, backend); }, 1, -5);
    check_refusal<ArgumentError>(
        [&] { (void)make_plan(mpo, {.max_workspace_bytes = -8}, backend); }, -8, -8);

    const auto plan = make_plan(mpo, {}, backend);
    std::vector<T> x(1000), y(1000);
    const auto X = [&](Shape shape, Shape strides) {
        return TensorView<const T>(x.data(), std::move(shape), std::move(strides));
    };
    const auto Y = [&](Shape shape, Shape strides) {
        return TensorView<T>(y.data(), std::move(shape), std::move(strides));
    };
    const auto good_x = X({7, 10}, {10, 1});
    const auto good_y = Y({7, 12}, {12, 1});
    check_refusal<ShapeError>([&] { plan.apply(X({7, 11}, {11, 1}), good_y); }, 10, 11);
    check_refusal<ShapeError>([&] { plan.apply(good_x, Y({7, 13}, {13, 1})); }, 12, 13);
    check_refusal<ShapeError>([&] { plan.apply(good_x, Y({6, 12}, {12, 1})); }, 7, 6);
    check_refusal<ShapeError>([&] { plan.apply(X({10}, {1}), good_y); }, 10, 12);
    check_refusal<ShapeError>([&] { plan.apply(good_x, Y({1, 7, 12}, {84, 12, 1})); }, 10, 84 / 7);
    check_refusal<ArgumentError>([&] { plan.apply(X({7, 10}, {23, 1}), good_y); }, 23, 12);
    check_refusal<ArgumentError>([&] { plan.apply(good_x, Y({7, 12}, {12, 2})); }, 10, 2);
    check_refusal<ArgumentError>([&] { plan.apply(X({7, 10}, {1, 7}), good_y); }, 7, 12);
    // strides of extents of 1 do not matter
    plan.apply(X({1, 10}, {99, 1}), Y({1, 12}, {-5, 1}));
}
