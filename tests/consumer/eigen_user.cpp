// An Eigen project's dense layer replaced by an MPO: with matrices by columns, Eigen's default, and, where the project
// defines EIGEN_DEFAULT_TO_ROW_MAJOR, by rows.
#include <Eigen/Core>
#include <iostream>

#include "mpo/eigen.hpp"
#include "mpo/mpo.hpp"

#ifdef EIGEN_DEFAULT_TO_ROW_MAJOR
static_assert(Eigen::MatrixXf::IsRowMajor);
#else
static_assert(!Eigen::MatrixXf::IsRowMajor);
#endif

int main() {
    const mpo::EigenBackend cpu;
    Eigen::MatrixXf W(6, 10);  // (out, in)
    for (Eigen::Index i = 0; i < W.rows(); ++i)
        for (Eigen::Index j = 0; j < W.cols(); ++j)
            W(i, j) =
                1.0F / static_cast<float>(1 + i + 3 * j);  // no symmetry: an order mixed up shows
    const auto [op, report] = mpo::decompose(
        mpo::as_view(W),
        {.layout = {.out = {2, 3}, .in = {5, 2}}, .truncation = {.max_relative_error = 1e-6}}, cpu);
    const auto plan = mpo::make_plan(op, {.batch = 4}, cpu);

    float worst = 0;
    if constexpr (Eigen::MatrixXf::IsRowMajor) {
        const Eigen::MatrixXf X = Eigen::MatrixXf::Random(4, 10);  // (B, in)
        Eigen::MatrixXf Y(4, 6);                                   // (B, out)
        plan.apply(mpo::as_view(X), mpo::as_view(Y));
        worst = (Y - X * W.transpose()).cwiseAbs().maxCoeff();
    } else {
        const Eigen::MatrixXf X = Eigen::MatrixXf::Random(10, 4);  // (in, B)
        Eigen::MatrixXf Y(6, 4);                                   // (out, B)
        plan.apply(mpo::as_view(X.transpose()), mpo::as_view(Y.transpose()));
        worst = (Y - W * X).cwiseAbs().maxCoeff();
    }
    std::cout << (Eigen::MatrixXf::IsRowMajor ? "by rows" : "by columns") << ", bond "
              << op.bond_dim(1) << ": off by at most " << worst << '\n';
    return worst < 1e-5F ? 0 : 1;
}
