// Attention of whole windows at the shape of SmolLM2-135M, forward and backward, against the machine's rate of
// multiply-adds; and what a training step does between its products, against the time of these.
//
// Counted are the pairs of a position and a key that it sees: 4 d flops each forward, 10 d backward, where
// the scores are made again. Not counted: exponentials, packing, and what tiles on the diagonal do in vain.
#include <benchmark/benchmark.h>

#include <cmath>
#include <functional>
#include <string>

#include "mpo/core/parallel.hpp"
#include "mpo/core/random.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/attention_training.hpp"
#include "mpo/model/row_gradients.hpp"
#include "support/probe.hpp"
#include "support/program.hpp"

namespace {

using namespace mpo;
using bench::median_interval;
using bench::Options;
using bench::ratios;
using bench::Row;

const EigenBackend backend;

/// Activations of one layer and their derivatives.
struct Attention {
    AttentionShape shape;
    Tensor<float> q, k, v, dout, out, log_sum, dq, dk, dv;

    explicit Attention(const AttentionShape& of)
        : shape(of),
          q(normal_tensor<float>({of.rows(), of.heads * of.head_dim}, 1)),
          k(normal_tensor<float>({of.rows(), of.kv_heads * of.head_dim}, 2)),
          v(normal_tensor<float>(k.shape(), 3)),
          dout(normal_tensor<float>(q.shape(), 4)),
          out(q.shape()),
          log_sum({of.heads, of.rows()}),
          dq(q.shape()),
          dk(k.shape()),
          dv(k.shape()) {
        backend.scale(q.size(), 0.125f, q.data());
    }
    void forward() {
        attend_windows(shape, q.data(), k.data(), v.data(), out.data(), log_sum.data(), backend);
    }
    void backward() {
        attend_windows_backward(shape, q.data(), k.data(), v.data(), out.data(), log_sum.data(),
                                dout.data(), dq.data(), dk.data(), dv.data(), backend);
    }
    /// Pairs of a position and a key that it sees, times d.
    [[nodiscard]] double pairs() const {
        const auto length = static_cast<double>(shape.length);
        return static_cast<double>(shape.windows * shape.heads * shape.head_dim) * length *
               (length + 1) / 2;
    }
};

/// `run`, whose ratio is the share of the FMA rate.
[[nodiscard]] Row rate_row(const std::function<void()>& run, double flops, const Options& options) {
    const bench::FmaProbe<float> probe;
    const auto seconds =
        bench::interleave({.rounds = 15}, {{.run = run}, {.run = [&] { probe.run(); }}});
    Row row{.seconds = bench::median(seconds[0]), .flops = flops, .threads = options.threads};
    row.ratio = median_interval(ratios(seconds[1], seconds[0]));
    const double scale = flops / probe.flops(options.threads);
    for (double* x : {&row.ratio.median, &row.ratio.low, &row.ratio.high}) *x *= scale;
    row.label = "ratio: share of the FMA rate";
    return row;
}

[[nodiscard]] Row attention_row(bool forward, const Options& options) {
    set_num_threads(options.threads);
    Attention attention(
        {.windows = options.shape(4, 1), .length = 512, .heads = 9, .kv_heads = 3, .head_dim = 64});
    attention.forward();
    if (forward) return rate_row([&] { attention.forward(); }, 4 * attention.pairs(), options);
    return rate_row([&] { attention.backward(); }, 10 * attention.pairs(), options);
}

/// Both norms and the gate of a layer, forward and backward, of 2,048 tokens.
[[nodiscard]] Row rows_row(const Options& options) {
    set_num_threads(options.threads);
    const Index rows = options.shape(2048, 512), hidden = 576, inner = 1536;
    const auto x = normal_tensor<float>({rows, hidden}, 5);
    const auto gate = normal_tensor<float>({rows, inner}, 6);
    const auto up = normal_tensor<float>({rows, inner}, 7),
               weight = normal_tensor<float>({hidden}, 8);
    Tensor<float> y(x.shape()), dx(x.shape()), dweight(weight.shape());
    Tensor<float> h(gate.shape()), dgate(gate.shape()), dup(gate.shape());
    const auto run = [&] {
        for (int norm = 0; norm < 2; ++norm) {
            detail::normalize_rows_t(rows, hidden, x.data(), weight.data(), 1e-5f, y.data());
            detail::normalize_rows_backward(rows, hidden, x.data(), weight.data(), 1e-5f, x.data(),
                                            dx.data(), dweight.data());
        }
        detail::silu_multiply_rows_t(gate.size(), gate.data(), up.data(), h.data());
        detail::silu_multiply_rows_backward(gate.size(), gate.data(), up.data(), up.data(),
                                            dgate.data(), dup.data());
    };
    const double weights = static_cast<double>(hidden * (2 * 576 + 2 * 192 + 3 * inner));
    auto row = rate_row(run, 6 * weights * static_cast<double>(rows), options);
    row.flops = NAN;
    row.label = "ratio: the time of the layer's products at the FMA rate / time of its rows";
    return row;
}

void declare_rows(const Options& options) {
    bench::add_row("attention_training/forward", options,
                   [&options] { return attention_row(true, options); });
    bench::add_row("attention_training/backward", options,
                   [&options] { return attention_row(false, options); });
    bench::add_row("attention_training/rows", options, [&options] { return rows_row(options); });
}

}  // namespace

int main(int argc, char** argv) {
    return mpo::bench::run_program(argc, argv, declare_rows);
}
