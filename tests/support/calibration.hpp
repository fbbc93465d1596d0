// What linears read, from Transformer itself, and its moments by plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "hashed_weights.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/model/calibration_windows.hpp"
#include "mpo/model/transformer.hpp"
#include "tolerance.hpp"

namespace mpo::test {

/// Inputs (tokens, in) of every linear, window by window.
using InputsByLinear = std::map<std::string, std::vector<Tensor<float>>>;

/// Windows of different lengths and weights out of a decoder's own tokens.
[[nodiscard]] inline std::vector<CalibrationWindow> windows_of(const TinyDecoder& decoder) {
    const auto& tokens = decoder.tokens;
    const auto vocab = decoder.config["vocab_size"].get<Index>();
    const auto cut = tokens.begin() + static_cast<Index>(tokens.size()) / 3;
    std::vector<CalibrationWindow> windows{
        {{tokens.begin(), cut}, 1}, {{cut, tokens.end()}, 0.5}, {{}, 2}};
    for (Index t = 0; t < 29; ++t)
        windows.back().tokens.push_back(t % 14 == 4 ? 3 : (t * t + 4) % vocab);
    return windows;
}

[[nodiscard]] inline InputsByLinear observed_inputs(const Transformer& model,
                                                    const std::vector<CalibrationWindow>& windows) {
    InputsByLinear result;
    for (const auto& window : windows) {
        const auto tokens = static_cast<Index>(window.tokens.size());
        auto cache = model.make_cache(tokens);
        Tensor<float> hidden({tokens, model.config().hidden_size});
        model.forward(window.tokens, cache, detail::rows_of(hidden),
                      [&](const std::string& linear, MatrixView<const float> X) {
                          Tensor<float> copy({X.rows, X.cols});
                          std::copy_n(X.data, X.size(), copy.data());
                          result[linear].push_back(std::move(copy));
                      });
    }
    return result;
}

/// sum of w a b^T over sum of w, by plain loops.
[[nodiscard]] inline Tensor<double> naive_moment(const std::vector<Tensor<float>>& A,
                                                 const std::vector<Tensor<float>>& B,
                                                 const std::vector<CalibrationWindow>& windows) {
    const Index n = A.front().extent(1);
    Tensor<double> M({n, n});
    double total = 0;
    for (std::size_t w = 0; w < A.size(); ++w)
        for (Index t = 0; t < A[w].extent(0); ++t) {
            total += windows[w].weight;
            for (Index i = 0; i < n; ++i)
                for (Index j = 0; j < n; ++j)
                    M(i, j) += windows[w].weight * A[w](t, i) * B[w](t, j);
        }
    for (Index k = 0; k < M.size(); ++k) M.data()[k] /= total;
    return M;
}

/// Largest difference over the largest element of b.
[[nodiscard]] inline double moments_apart(const Tensor<double>& a, const Tensor<double>& b) {
    if (a.shape() != b.shape()) return std::numeric_limits<double>::infinity();
    double most = 0, size = 0;
    for (Index k = 0; k < a.size(); ++k) {
        const double difference = std::abs(a.data()[k] - b.data()[k]);
        most = difference <= most ? most : difference;  // NaN wins
        size = (std::max)(size, std::abs(b.data()[k]));
    }
    return most / size;
}

/// How far sums over these rows may lie apart when they are summed in another order.
[[nodiscard]] inline double moment_rounding(const std::vector<Tensor<float>>& X) {
    Index tokens = 0;
    for (const auto& window : X) tokens += window.extent(0);
    return tolerance<double>(tokens, 1);
}

}  // namespace mpo::test
