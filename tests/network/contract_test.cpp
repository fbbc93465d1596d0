// A plan applies the matrix that its MPO stands for, within the memory it was given.
#include "mpo/network/contract.hpp"

#include <thread>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/factorisation_conformance.hpp"
#include "support/metered_backend.hpp"
#include "support/scalars.hpp"
#include "support/thread_count.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

constexpr SweepDirection both_directions[] = {SweepDirection::right_to_left,
                                              SweepDirection::left_to_right};

/// Chains of 1 to 5 sites, wide and tall, besides the awkward ones.
[[nodiscard]] std::vector<Chain> chains() {
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
    for (const auto& [layout, bonds] : chains()) {
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
    for (const auto& [layout, bonds] : chains()) {
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

TEMPLATE_LIST_TEST_CASE("the cheaper direction is found by counting", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    int leftwards = 0, rightwards = 0;
    for (const auto& [layout, bonds] : chains()) {
        const auto plan = make_plan(random_mpo<T>(layout, bonds, 95), {}, backend);
        const Index right_to_left = multiply_adds_right_to_left(layout, bonds);
        const Index left_to_right = multiply_adds_left_to_right(layout, bonds);
        CHECK(plan.multiply_adds_per_token() == std::min(right_to_left, left_to_right));
        CHECK(plan.direction() != SweepDirection::automatic);
        (plan.direction() == SweepDirection::right_to_left ? leftwards : rightwards) += 1;
    }
    CHECK(leftwards > 0);
    CHECK(rightwards > 0);
    CHECK(to_string(SweepDirection::automatic) == "automatic");
    CHECK(to_string(SweepDirection::right_to_left) == "right_to_left");
    CHECK(to_string(SweepDirection::left_to_right) == "left_to_right");
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
