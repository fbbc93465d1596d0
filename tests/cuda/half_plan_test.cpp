// HalfPlan: the matrix within the rounding of 16 bits, half the bytes across the bus, a launch a site.
#include "mpo/cuda/half_plan.hpp"

#include "support/catch.hpp"
#include "support/fake_cuda/control.hpp"
#include "support/matrices.hpp"
#include "support/tolerance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// Rounding of one number, and of a chain: c units a site as in tolerance().
[[nodiscard]] double unit_of(DType type) {
    return type == DType::f16 ? 0x1p-10 : 0x1p-7;
}

}  // namespace

TEST_CASE("half plan: Y = X W^T within the rounding of 16 bits") {
    const CudaBackend backend;
    for (const auto& chain : awkward_chains())
        for (const auto type : {DType::f16, DType::bf16})
            for (const auto direction : {SweepDirection::automatic, SweepDirection::right_to_left,
                                         SweepDirection::left_to_right})
                for (const Index batch : {0, 1, 7}) {
                    CAPTURE(to_string(chain.layout), to_string(type), static_cast<int>(direction),
                            batch);
                    const auto op = random_mpo<float>(chain.layout, chain.bonds, 71);
                    const cuda::HalfPlan plan(op, type, {.direction = direction}, backend);
                    const auto X = normal_tensor<float>({batch, op.cols()}, 72);
                    Tensor<float> Y({batch, op.rows()});
                    plan.apply(X, Y);
                    double norms = naive::norm(X);
                    for (const auto& core : op.cores()) norms *= naive::norm(core);
                    const auto expected =
                        naive::product(naive::widen(X), naive::transpose(naive::to_dense(op)));
                    CHECK(naive::distance(Y, expected) <=
                          8 * unit_of(type) * std::sqrt(static_cast<double>(op.num_sites())) *
                              norms);
                }
}

TEST_CASE("half plan: X crosses the bus in two bytes a number, Y in four, a site is a launch") {
    if (FakeDevice::get() == nullptr) return;
    const auto& fake = *FakeDevice::get();
    const CudaBackend backend;
    const auto op = random_mpo<float>({{4, 3, 2}, {5, 3, 2}}, {1, 6, 4, 1}, 73);
    const cuda::HalfPlan plan(op, DType::bf16, {}, backend);
    const auto X = normal_tensor<float>({50, 30}, 74);
    Tensor<float> Y({50, 24});
    const auto before = fake.statistics();
    plan.apply(X, Y);
    const auto after = fake.statistics();
    CHECK(after.bytes_to_device - before.bytes_to_device == 2 * X.size());
    CHECK(after.bytes_to_host - before.bytes_to_host == 4 * Y.size());
    CHECK(after.products - before.products == 3);
}

TEST_CASE("half plan: a small workspace cuts the batch, the result stays") {
    const CudaBackend backend;
    const auto op = random_mpo<float>({{4, 3, 2}, {5, 3, 2}}, {1, 6, 4, 1}, 75);
    const auto X = normal_tensor<float>({9, 30}, 76);
    Tensor<float> whole({9, 24}), cut({9, 24});
    cuda::HalfPlan(op, DType::f16, {}, backend).apply(X, whole);
    cuda::HalfPlan(op, DType::f16, {.max_workspace_bytes = 1500}, backend).apply(X, cut);
    CHECK(naive::distance(whole, cut) <= tolerance<float>(9, naive::norm(whole)));
}

TEST_CASE("half plan: refusals name what is wrong") {
    const CudaBackend backend;
    const auto op = random_mpo<float>({{4}, {5}}, {1, 1}, 77);
    CHECK_THROWS_WITH(cuda::HalfPlan(op, DType::f32, {}, backend),
                      "HalfPlan: stored_as must be F16 or BF16, got F32");
    CHECK_THROWS_AS(cuda::HalfPlan(op, DType::f16, {.max_workspace_bytes = 4}, backend),
                    ArgumentError);
    auto cores = op.cores();
    cores[0](0, 1, 2, 0) = 1e6F;
    CHECK_THROWS_WITH(cuda::HalfPlan(Mpo<float>(cores), DType::f16, {}, backend),
                      "HalfPlan: 1 of 20 numbers of a core are beyond F16");
    const cuda::HalfPlan plan(op, DType::f16, {}, backend);
    Tensor<float> X({2, 5}), Y({2, 4}), wrong({2, 3});
    X(1, 1) = 1e6F;
    CHECK_THROWS_AS(plan.apply(X, Y), NumericalError);
    CHECK_THROWS_AS(plan.apply(X, wrong), ShapeError);
    CHECK_THROWS_AS(plan.apply(wrong, Y), ShapeError);
}
