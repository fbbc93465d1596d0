// A stranger's program with mpo::cuda, built without nvcc: on a device where there is one, else in words why not.
#include <iostream>

#include "mpo/cuda.hpp"
#include "mpo/mpo.hpp"

namespace {

template <class B>
double error_on(const B& backend) {
    const auto W = mpo::normal_tensor<float>({12, 20}, 1);
    const auto [op, report] = mpo::decompose(W, {.layout = {.out = {3, 4}, .in = {4, 5}}}, backend);
    const auto plan = mpo::make_plan(op, {}, backend);
    mpo::Tensor<float> X({1, 20}), Y({1, 12});
    plan.apply(X, Y);
    return report.relative_error;
}

}  // namespace

int main() {
    if (!mpo::cuda::available()) {
        std::cout << mpo::cuda::why_unavailable() << '\n';
        const mpo::EigenBackend cpu;
        return error_on(cpu) < 1e-5 ? 0 : 1;
    }
    const mpo::CudaBackend gpu;
    return error_on(gpu) < 1e-5 ? 0 : 1;
}
