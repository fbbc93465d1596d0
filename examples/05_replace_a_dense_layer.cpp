// A program that uses Eigen has a dense layer y = W x + b, column-major as Eigen likes it. An MPO takes
// its place behind the same call: the matrices of Eigen are seen where they lie, nothing is copied.

#include <Eigen/Core>
#include <cmath>
#include <iomanip>
#include <iostream>

#include "mpo/eigen.hpp"
#include "mpo/mpo.hpp"

namespace {

using Eigen::MatrixXf, Eigen::VectorXf;

/// What the program has: Y (out, B) = W (out, in) X (in, B) + b, one column per token.
struct DenseLayer {
    MatrixXf W;
    VectorXf b;

    [[nodiscard]] MatrixXf operator()(const MatrixXf& X) const { return (W * X).colwise() + b; }
};

/// What takes its place: the same call, the same shapes. Const calls are safe from many threads.
class MpoLayer {
  public:
    MpoLayer(const DenseLayer& dense, const mpo::DecomposeOptions& options,
             const mpo::EigenBackend& cpu)
        : decomposition_(mpo::decompose(mpo::as_view(dense.W), options, cpu)),
          plan_(mpo::make_plan(decomposition_.mpo, {.batch = 64}, cpu)),
          b_(dense.b) {}

    [[nodiscard]] MatrixXf operator()(const MatrixXf& X) const {
        MatrixXf Y(b_.size(), X.cols());  // (out, B) in columns is (B, out) in rows
        plan_.apply(mpo::as_view(X.transpose()), mpo::as_view(Y.transpose()));
        Y.colwise() += b_;
        return Y;
    }
    [[nodiscard]] const mpo::Mpo<float>& weight() const { return decomposition_.mpo; }
    [[nodiscard]] double weight_error() const { return decomposition_.report.relative_error; }
    [[nodiscard]] mpo::Index multiply_adds() const { return plan_.multiply_adds_per_token(); }

  private:
    mpo::Decomposition<float> decomposition_;
    mpo::Plan<float, mpo::EigenBackend> plan_;
    VectorXf b_;
};

/// Blurs an image of 32 x 32 pixels along its diagonal: W[(row, column), (row', column')].
[[nodiscard]] DenseLayer motion_blur() {
    DenseLayer layer{MatrixXf(1024, 1024), VectorXf::Constant(1024, 0.1f)};
    for (int out = 0; out < 1024; ++out)
        for (int in = 0; in < 1024; ++in) {
            const auto down = static_cast<float>(out / 32 - in / 32);
            const auto right = static_cast<float>(out % 32 - in % 32);
            const float along = down + right, across = down - right;
            layer.W(out, in) = 0.02f * std::exp(-along * along / 72 - across * across / 9);
        }
    return layer;
}

void print_row(const std::string& name, mpo::Index parameters, mpo::Index multiply_adds,
               double weight_error, double output_error) {
    std::cout << std::left << std::setw(24) << name << std::right << std::setw(10) << parameters
              << std::setw(15) << multiply_adds << std::setprecision(2) << std::setw(13)
              << weight_error << std::setw(13) << output_error << '\n';
}

}  // namespace

int main() {
    const mpo::EigenBackend cpu;
    const DenseLayer dense = motion_blur();
    const MatrixXf X = MatrixXf::Random(1024, 64);  // (in, B)
    const MatrixXf Y = dense(X);                    // (out, B)

    std::cout << "layer                   parameters  multiply-adds   error of W   error of Y\n";
    print_row("dense 1024x1024", dense.W.size(), dense.W.size(), 0, 0);
    bool good = true;
    for (const double tolerance : {1e-1, 1e-2, 1e-3})
        for (const auto& layout :
             {mpo::Layout{{32, 32}, {32, 32}}, mpo::low_rank_layout(1024, 1024)}) {
            const MpoLayer layer(
                dense, {.layout = layout, .truncation = {.max_relative_error = tolerance}}, cpu);
            const double error = (layer(X) - Y).norm() / Y.norm();
            print_row(
                mpo::to_string(layout) + ", bond " + std::to_string(layer.weight().bond_dim(1)),
                layer.weight().num_parameters(), layer.multiply_adds(), layer.weight_error(),
                error);
            good = good && layer.weight_error() <= tolerance && error <= 2 * tolerance;
        }
    return good ? 0 : 1;
}
