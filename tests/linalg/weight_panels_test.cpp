#include "mpo/linalg/weight_panels.hpp"

#include <cmath>
#include <limits>

#include "mpo/core/dtype.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/core/random.hpp"
#include "mpo/impl/panel_kernel_inl.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

const EigenBackend cpu;

/// W as the panels keep it.
[[nodiscard]] Tensor<float> kept(Tensor<float> W, WeightStorage storage) {
    for (Index k = 0; storage == WeightStorage::bf16 && k < W.size(); ++k)
        W.data()[k] = bfloat16_to_float(float_to_bfloat16(W.data()[k]));
    return W;
}

/// Largest difference of Y and X W^T over the norms of the rows that make it.
[[nodiscard]] double distance(const Tensor<float>& Y, const Tensor<float>& X,
                              const Tensor<float>& W) {
    double most = 0;
    for (Index b = 0; b < X.extent(0); ++b)
        for (Index o = 0; o < W.extent(0); ++o) {
            double sum = 0, x = 0, w = 0;
            for (Index i = 0; i < W.extent(1); ++i) {
                const double left = X(b, i), right = W(o, i);
                sum += left * right;
                x += left * left;
                w += right * right;
            }
            const double difference =
                std::abs(static_cast<double>(Y(b, o)) - sum) / std::sqrt(x * w);
            most = difference <= most ? most : difference;  // NaN wins
        }
    return most;
}

constexpr WeightStorage both[] = {WeightStorage::f32, WeightStorage::bf16};

}  // namespace

TEST_CASE("weight_panels: Y = X W^T for any sizes, storages and thread counts") {
    const int before = num_threads();
    for (const int threads : {1, 2, 3}) {
        set_num_threads(threads);
        for (const auto& [m, n] : {std::pair<Index, Index>{1, 1},
                                   {31, 7},
                                   {32, 64},
                                   {77, 53},
                                   {64, 1},
                                   {1, 40},
                                   {331, 129},
                                   {576, 576}})
            for (const auto storage : both)
                for (const Index batch : {1, 2, 3, 4, 5, 11, 16, 17, 70}) {
                    if (m > 400 && batch > 5) continue;
                    INFO(m << " x " << n << ", " << batch << " tokens, " << threads << " threads");
                    const auto W = normal_tensor<float>({m, n}, 1),
                               X = normal_tensor<float>({batch, n}, 2);
                    const WeightPanels panels(matrix(W.data(), m, n), storage);
                    Tensor<float> Y({batch, m},
                                    std::vector<float>(static_cast<std::size_t>(batch * m), NAN));
                    panels.apply(matrix(X.data(), batch, n), matrix(Y.data(), batch, m), cpu);
                    CHECK(distance(Y, X, kept(W, storage)) <= tolerance<float>(n, 1));
                }
    }
    set_num_threads(before);
}

TEST_CASE("weight_panels: rows come back as they went in, and strides are free") {
    const auto W = normal_tensor<float>({45, 19}, 3);
    Tensor<float> Wt({19, 45});
    cpu.permute<float>(permuted(W.view(), {1, 0}), Wt.data());
    for (const auto storage : both) {
        const auto expected = kept(W, storage);
        const WeightPanels a(matrix(W.data(), 45, 19), storage);
        const WeightPanels b(transpose(matrix<const float>(Wt.data(), 19, 45)), storage);
        CHECK(a.rows() == 45);
        CHECK(a.cols() == 19);
        CHECK(a.num_bytes() == 64 * 19 * (storage == WeightStorage::f32 ? 4 : 2));
        std::vector<float> row(19), same(19);
        for (Index o = 0; o < 45; ++o) {
            a.read_row(o, row.data());
            b.read_row(o, same.data());
            CHECK(std::equal(row.begin(), row.end(), expected.data() + o * 19));
            CHECK(row == same);
        }
    }
}

TEST_CASE("weight_panels: rows of X and Y may lie apart, and nothing between them is touched") {
    const auto W = normal_tensor<float>({40, 9}, 3), wide = normal_tensor<float>({20, 12}, 4);
    for (const auto storage : both)
        for (const Index batch : {3, 20}) {
            const WeightPanels panels(matrix(W.data(), 40, 9), storage);
            Tensor<float> X({batch, 9}), Y({batch, 40}), apart({batch, 43});
            for (Index b = 0; b < batch; ++b)
                for (Index i = 0; i < 9; ++i) X(b, i) = wide(b, i + 2);
            panels.apply(matrix(X.data(), batch, 9), matrix(Y.data(), batch, 40), cpu);
            panels.apply(block(matrix(wide.data(), batch, 12), 0, 2, batch, 9),
                         block(matrix(apart.data(), batch, 43), 0, 1, batch, 40), cpu);
            for (Index b = 0; b < batch; ++b)
                for (Index o = 0; o < 43; ++o)
                    CHECK(apart(b, o) == (o < 1 || o > 40 ? 0 : Y(b, o - 1)));
        }
}

TEST_CASE("weight_panels: several matrices together give what each gives alone") {
    const int before = num_threads();
    for (const int threads : {1, 3}) {
        set_num_threads(threads);
        for (const Index batch : {0, 1, 4, 9, 30}) {
            const auto X = normal_tensor<float>({batch, 700}, 2);
            std::vector<WeightPanels> weights;
            std::vector<const WeightPanels*> pointers;
            std::vector<Tensor<float>> alone, together;
            std::vector<MatrixView<float>> results;
            for (const Index rows : {33, 1, 500, 64}) {
                const auto W = normal_tensor<float>({rows, 700}, static_cast<std::uint64_t>(rows));
                weights.emplace_back(matrix(W.data(), rows, 700), both[rows % 2]);
                alone.emplace_back(Shape{batch, rows});
                together.emplace_back(Shape{batch, rows});
            }
            for (std::size_t k = 0; k < 4; ++k) {
                const Index rows = weights[k].rows();
                weights[k].apply(matrix(X.data(), batch, 700), matrix(alone[k].data(), batch, rows),
                                 cpu);
                pointers.push_back(&weights[k]);
                results.push_back(matrix(together[k].data(), batch, rows));
            }
            WeightPanels::apply_together(pointers, matrix(X.data(), batch, 700), results, cpu);
            for (std::size_t k = 0; k < 4; ++k)
                CHECK(std::equal(alone[k].data(), alone[k].data() + alone[k].size(),
                                 together[k].data()));
            results.pop_back();
            check_throws<ShapeError>(
                [&] {
                    WeightPanels::apply_together(pointers, matrix(X.data(), batch, 700), results,
                                                 cpu);
                },
                {"as many Y as W", "4, 3"});
        }
    }
    set_num_threads(before);
}

TEST_CASE("weight_panels: shapes that do not fit are refused, no tokens are fine") {
    const Tensor<float> W({4, 3}), X({2, 3});
    Tensor<float> Y({2, 4});
    const WeightPanels panels(matrix(W.data(), 4, 3), WeightStorage::f32);
    check_throws<ShapeError>(
        [&] { panels.apply(matrix(X.data(), 3, 2), matrix(Y.data(), 2, 4), cpu); },
        {"WeightPanels::apply", "3, 2, 4, 3, 2, 4"});
    CHECK_NOTHROW(panels.apply(matrix(X.data(), 0, 3), matrix(Y.data(), 0, 4), cpu));
    CHECK(WeightPanels().num_bytes() == 0);
}

TEST_CASE("weight_panels: the kernels of every instruction set agree") {
    for (int isa = 0; isa <= static_cast<int>(detail::best_isa()); ++isa)
        for (Index rows = 1; rows <= 9; ++rows)
            for (const Index steps : {0, 1, 3, 4, 17}) {
                const auto X = normal_tensor<float>({rows, steps}, 5),
                           P = normal_tensor<float>({steps, 40}, 6);
                Tensor<float> Y({rows, 33});
                for (int pass = 0; pass < 2; ++pass) {  // overwritten, then added to
                    detail::panel_product(rows, steps, X.data(), steps, P.data() + 3, 40, Y.data(),
                                          33, pass, static_cast<detail::Isa>(isa));
                    for (Index r = 0; r < rows; ++r) {
                        CHECK(Y(r, 32) == 0);
                        for (Index c = 0; c < 32; ++c) {
                            double sum = 0;
                            for (Index k = 0; k < steps; ++k)
                                sum += static_cast<double>(X(r, k)) * P(k, c + 3);
                            CHECK(std::abs(Y(r, c) - (pass + 1) * sum) <=
                                  tolerance<float>(steps + 1, 10));
                        }
                    }
                }
            }
}
