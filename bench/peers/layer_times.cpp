// Our side of bench/peers/layers.py: times layers as it asks for them, one line each on the standard input:
//
//   LAYOUT CHI BATCH THREADS    "64x64 : 64x64 64 32 2"
//
// Answers with a line: milliseconds of the plan's apply and of the dense product of this backend, each the mean over
// some 50 ms, and the multiply-adds of both per row.
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/core/random.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/network/contract.hpp"
#include "mpo/network/layout.hpp"
#include "support/matrices.hpp"
#include "support/pairs.hpp"

namespace {

using namespace mpo;
const EigenBackend backend;

/// Mean milliseconds of a call, over some 50 ms.
template <class Run>
[[nodiscard]] double milliseconds(const Run& run) {
    double spent = 0;
    Index calls = 0;
    for (; spent < 0.05; ++calls) spent += bench::seconds_of(run);
    return 1e3 * spent / static_cast<double>(calls);
}

/// "64x64" as legs.
[[nodiscard]] Shape legs(const std::string& text) {
    Shape result;
    std::istringstream numbers(text);
    for (std::string one; std::getline(numbers, one, 'x');) result.push_back(std::stoll(one));
    return result;
}

/// A line's layer, kept for the next question.
struct Layer {
    Tensor<float> X, Y, W;
    Plan<float, EigenBackend> plan;

    Layer(const Mpo<float>& op, Index batch)
        : X(normal_tensor<float>({batch, cols(op.layout())}, 3)),
          Y({batch, rows(op.layout())}),
          W(normal_tensor<float>({rows(op.layout()), cols(op.layout())}, 4)),
          plan(make_plan(op, {.batch = batch}, backend)) {}
    void apply() { plan.apply(X, Y); }
    void dense() {
        const auto view = [](auto& t) { return matrix(t.data(), t.extent(0), t.extent(1)); };
        backend.gemm(1.0f, matrix(std::as_const(X).data(), X.extent(0), X.extent(1)),
                     transpose(matrix(std::as_const(W).data(), W.extent(0), W.extent(1))), 0.0f,
                     view(Y));
    }
};

}  // namespace

int main() try {
    std::string line, known;
    std::vector<Layer> layer;
    while (std::getline(std::cin, line)) {
        std::istringstream words(line);
        std::string out, colon, in;
        Index chi = 0, batch = 0;
        int threads = 0;
        if (!(words >> out >> colon >> in >> chi >> batch >> threads) || colon != ":") {
            std::cerr << "layer_times: cannot read: " << line << '\n';
            return 2;
        }
        set_num_threads(threads);
        if (line != known) {
            const Layout layout{legs(out), legs(in)};
            Shape bonds(layout.out.size() + 1, chi);
            bonds.front() = bonds.back() = 1;
            layer.clear();
            layer.emplace_back(bench::random_mpo(layout, bonds, 1), batch);
            known = line;
            layer[0].apply();
            layer[0].dense();
        }
        const double ours = milliseconds([&] { layer[0].apply(); });
        const double dense = milliseconds([&] { layer[0].dense(); });
        std::cout << ours << ' ' << dense << ' ' << layer[0].plan.multiply_adds_per_token() << ' '
                  << layer[0].W.size() << std::endl;
    }
    return 0;
} catch (const std::exception& error) {
    std::cerr << "layer_times: " << error.what() << '\n';
    return 1;
}
