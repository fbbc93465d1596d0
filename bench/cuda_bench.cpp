// CudaBackend: apply of device-resident activations, in float and in bfloat16, against the dense product that it
// replaces, by cuBLAS on the same device; and a decomposition against the processor's. Rows appear where there is
// a device. No bars: nobody has measured one yet.
#include <cstdio>

#include "mpo/core/random.hpp"
#include "mpo/cuda.hpp"
#include "mpo/cuda/half_plan.hpp"
#include "mpo/linalg/orthonormalize.hpp"
#include "mpo/network/contract.hpp"
#include "mpo/network/decompose.hpp"
#include "support/matrices.hpp"
#include "support/program.hpp"

namespace {

using namespace mpo;
using bench::median_interval;
using bench::Options;
using bench::ratios;
using bench::Row;
using bench::Side;

constexpr Index leg = 64, width = leg * leg;

[[nodiscard]] const CudaBackend& device() {
    static const CudaBackend backend;
    return backend;
}

/// One call and the wait for it.
[[nodiscard]] Side waited(std::function<void()> run) {
    return {.run = [run = std::move(run)] {
        run();
        device().synchronize();
    }};
}

[[nodiscard]] Row apply_row(Index chi, Index batch, const Options& options) {
    const auto& gpu = device();
    const auto op = bench::random_mpo({{leg, leg}, {leg, leg}}, {1, chi, 1}, 1);
    const auto W = detail::send<float>(to_dense(op, gpu), gpu);                        // (out, in)
    const auto x = detail::send<float>(normal_tensor<float>({batch, width}, 3), gpu);  // (B, in)
    const auto y = gpu.allocate<float>(batch * width), dense_y = gpu.allocate<float>(batch * width);
    const auto plan =
        make_plan(op, {.batch = batch, .direction = SweepDirection::right_to_left}, gpu);
    const cuda::HalfPlan half(op, DType::bf16, {.direction = SweepDirection::right_to_left}, gpu);
    const auto x_half = gpu.allocate<float>(batch * width / 2);
    gpu.scale(x_half.size(), 0.0F, x_half.data());  // the values do not matter, NaN might
    const auto seconds = bench::interleave(
        {}, {waited([&] { plan.apply_resident(x.data(), y.data(), batch); }), waited([&] {
                 gpu.gemm(1.0F, matrix<const float>(x.data(), batch, width),
                          transpose(matrix<const float>(W.data(), width, width)), 0.0F,
                          matrix(dense_y.data(), batch, width));
             }),
             waited([&] { half.apply_resident(x_half.data(), y.data(), batch); })});
    Row row{.seconds = bench::median(seconds[0]),
            .flops = 2.0 * static_cast<double>(plan.multiply_adds_per_token() * batch),
            .bytes = static_cast<double>(sizeof(float)) *
                     static_cast<double>(op.num_parameters() + 2 * batch * width),
            .threads = options.threads,
            .ratio = median_interval(ratios(seconds[1], seconds[0])),
            .label = "ratio: dense by cuBLAS / apply"};
    row.counters["dense_cublas_ms"] = 1e3 * bench::median(seconds[1]);
    row.counters["dense_cublas_flops"] = 2.0 * static_cast<double>(batch * width) *
                                         static_cast<double>(width) / bench::median(seconds[1]);
    row.counters["bf16_ms"] = 1e3 * bench::median(seconds[2]);
    return row;
}

[[nodiscard]] Row decompose_row(Index size, Index chi, const Options& options) {
    const auto W = normal_tensor<float>({size, size}, 5);
    const DecomposeOptions how{.layout = balanced_layout(size, size, 2),
                               .truncation = {.max_bond_dim = chi}};
    const EigenBackend cpu;
    set_num_threads(options.threads);
    double there = 0, here = 0;
    const auto seconds = bench::interleave(
        {}, {waited([&] { there = decompose(W, how, device()).report.relative_error; }),
             {.run = [&] { here = decompose(W, how, cpu).report.relative_error; }}});
    Row row{.seconds = bench::median(seconds[0]),
            .error = there,
            .threads = options.threads,
            .ratio = median_interval(ratios(seconds[1], seconds[0])),
            .label = "ratio: EigenBackend / CudaBackend"};
    row.counters["cpu_ms"] = 1e3 * bench::median(seconds[1]);
    row.counters["cpu_error"] = here;
    return row;
}

void declare_rows(const Options& options) {
    if (!cuda::available()) {
        std::printf("cuda_bench: no rows, %s\n", cuda::why_unavailable().c_str());
        return;
    }
    for (const Index chi : {50, 100, 200})
        for (const Index batch : {1, 32, 512})
            bench::add_row(detail::concat("cuda/apply/64x64/chi:", chi, "/B:", batch), options,
                           [=] { return apply_row(chi, batch, options); });
    const Index size = options.shape(4096, 1024);
    bench::add_row(detail::concat("cuda/decompose/", size, "/chi:100"), options,
                   [=] { return decompose_row(size, 100, options); });
}

}  // namespace

int main(int argc, char** argv) {
    return bench::run_program(argc, argv, declare_rows);
}
