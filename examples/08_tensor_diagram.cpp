// From a matrix to an MPO with diagrams alone: six legs, two truncated splits, a picture, and the result
// applied to a batch. The numbers are those of decompose and of its plan.

#include <cmath>
#include <iostream>

#include "mpo/diagram.hpp"
#include "mpo/mpo.hpp"

namespace {

/// norm(A - B) / norm(A)
[[nodiscard]] double distance(const mpo::Tensor<double>& A, const mpo::Tensor<double>& B) {
    double lost = 0, total = 0;
    for (mpo::Index k = 0; k < A.size(); ++k) {
        lost += (A.data()[k] - B.data()[k]) * (A.data()[k] - B.data()[k]);
        total += A.data()[k] * A.data()[k];
    }
    return std::sqrt(lost / total);
}

}  // namespace

int main() {
    const mpo::EigenBackend cpu;
    const auto W = mpo::normal_tensor<double>({216, 216}, 1);  // (out, in)
    const auto X = mpo::normal_tensor<double>({32, 216}, 2);   // (B, in)
    const mpo::Truncation cap{.max_bond_dim = 10};

    mpo::TensorDiagram<double> diagram;
    diagram.add("W", W, {"out", "in"})
        .split_leg("out", {"o1", "o2", "o3"}, {6, 6, 6})
        .split_leg("in", {"i1", "i2", "i3"}, {6, 6, 6});
    diagram.split("W", {"o1", "i1"}, {"C0", "rest", "b1"}, {.truncation = cap}, cpu);
    diagram.split("rest", {"b1", "o2", "i2"}, {"C1", "C2", "b2"}, {.truncation = cap}, cpu);
    std::cout << mpo::draw_text(diagram.wiring());
    const auto op =
        mpo::to_mpo(diagram, {{"C0", "o1", "i1"}, {"C1", "o2", "i2"}, {"C2", "o3", "i3"}});

    diagram.add("X", mpo::Tensor<double>(X).reshape({32, 6, 6, 6}), {"batch", "i1", "i2", "i3"});
    diagram.set_open({"batch", "o1", "o2", "o3"});
    const auto Y = diagram.contract(cpu).reshape({32, 216});  // (B, out)

    // the same in two calls
    const mpo::Layout layout{.out = {6, 6, 6}, .in = {6, 6, 6}};
    const auto known = mpo::decompose(W, {.layout = layout, .truncation = cap}, cpu).mpo;
    mpo::Tensor<double> Z({32, 216});
    mpo::make_plan(known, {.batch = 32}, cpu).apply(X, Z);

    const double matrices = distance(mpo::to_dense(known, cpu), mpo::to_dense(op, cpu));
    std::cout << "W, of 46656 parameters, in " << op.num_parameters()
              << "; as decompose: " << (matrices < 1e-12 ? "yes" : "no")
              << ", as its plan: " << (distance(Z, Y) < 1e-12 ? "yes" : "no") << '\n';
    return matrices < 1e-12 && distance(Z, Y) < 1e-12 ? 0 : 1;
}
