// The two limits of a truncation: a tolerance, which is a guarantee for the whole matrix, and a cap
// on the bonds, which comes after it. The report says which of them was felt at each bond.

#include <cmath>
#include <iomanip>
#include <iostream>

#include "mpo/mpo.hpp"

namespace {

/// A product of two random 512 x 512 matrices whose columns fade as 0.97^k: fast decay, full rank.
[[nodiscard]] mpo::Tensor<double> fading_matrix(const mpo::EigenBackend& cpu) {
    auto A = mpo::normal_tensor<double>({512, 512}, 1);        // (out, k)
    const auto B = mpo::normal_tensor<double>({512, 512}, 2);  // (k, in)
    for (mpo::Index i = 0; i < 512; ++i)
        for (mpo::Index k = 0; k < 512; ++k) A(i, k) *= std::pow(0.97, static_cast<double>(k));
    mpo::Tensor<double> W({512, 512});  // (out, in)
    cpu.gemm(1.0, mpo::as_matrix(A.view()), mpo::as_matrix(B.view()), 0.0,
             mpo::as_matrix(W.view()));
    return W;
}

}  // namespace

int main() {
    const mpo::EigenBackend cpu;
    const auto W = fading_matrix(cpu);  // (out, in)
    const mpo::Layout layout{.out = {256, 2, 1}, .in = {1, 2, 256}};

    bool promises_kept = true;
    std::cout << "tolerance   cap    bonds         limit felt at each         relative error\n";
    for (const double tolerance : {1e-1, 1e-2, 1e-6})
        for (const mpo::Index cap : {mpo::Index{4096}, mpo::Index{100}}) {
            const auto [op, report] = mpo::decompose(
                W,
                {.layout = layout,
                 .truncation = {.max_bond_dim = cap, .max_relative_error = tolerance}},
                cpu);
            std::string bonds, limits;
            bool capped = false;
            for (const auto& bond : report.bonds) {
                bonds += std::to_string(bond.bond_dim) + " of " +
                         std::to_string(bond.useful_bond_dim) + "  ";
                limits += std::string(mpo::to_string(bond.limit)) + "  ";
                capped = capped || bond.limit == mpo::BindingLimit::bond_cap;
            }
            std::cout << std::left << std::setw(12) << tolerance << std::setw(7) << cap
                      << std::setw(28) << bonds << std::setw(24) << limits << std::setprecision(3)
                      << report.relative_error << '\n';
            // without a cap in the way the tolerance is a promise
            promises_kept = promises_kept && (capped || report.relative_error <= tolerance);
        }
    return promises_kept ? 0 : 1;
}
