// The dense product that everything else is compared with, beside those of other libraries: Y (B, out) = X (B, in) W^T
// in float, W packed beforehand where the library can. Where ours is slow, every factor over dense flatters.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/core/random.hpp"
#include "mpo/linalg/weight_panels.hpp"
#include "support/matrices.hpp"
#include "support/onednn.hpp"
#include "support/openblas.hpp"
#include "support/pairs.hpp"
#include "support/program.hpp"

namespace {

using namespace mpo;
using bench::Bar;
using bench::Options;
using bench::Row;

const EigenBackend backend;

struct Point {
    Index out, in, batch;
};

enum class Peer { openblas, onednn, onednn_bf16 };

[[nodiscard]] std::string name_of(Peer peer) {
    return peer == Peer::openblas ? "openblas" : peer == Peer::onednn ? "onednn" : "onednn_bf16";
}
[[nodiscard]] const std::string& refusal_of(Peer peer) {
    return peer == Peer::openblas ? bench::openblas::refusal() : bench::onednn::refusal();
}

/// What a bar gathers from all points.
struct Total {
    Bar* bar = nullptr;
    std::vector<double> ratios = {};
};

[[nodiscard]] Row dense_row(const Point& point, Peer peer, Total* total, const Options& options) {
    set_num_threads(options.threads);
    const auto W = normal_tensor<float>({point.out, point.in}, 2);
    const auto X = normal_tensor<float>({point.batch, point.in}, 3);
    Tensor<float> ours({point.batch, point.out}), theirs({point.batch, point.out});
    const auto w = matrix<const float>(W.data(), point.out, point.in);
    const auto x = matrix<const float>(X.data(), point.batch, point.in);
    const WeightPanels panels(w, WeightStorage::f32);
    std::unique_ptr<bench::onednn::InnerProduct> product;
    std::function<void()> run;
    if (peer == Peer::openblas) {
        bench::openblas::set_threads(options.threads);
        run = [&] {
            bench::openblas::gemm<float>(x, transpose(w),
                                         matrix(theirs.data(), point.batch, point.out));
        };
    } else {
        bench::onednn::set_threads(options.threads);
        product = std::make_unique<bench::onednn::InnerProduct>(
            W.data(), point.out, point.in, point.batch, peer == Peer::onednn_bf16);
        run = [&] { product->apply(X.data(), theirs.data()); };
    }
    const auto seconds = bench::interleave(
        {.least_seconds = 2e-3},
        {{.run = [&] { panels.apply(x, matrix(ours.data(), point.batch, point.out), backend); }},
         {.run = run, .finish = bench::openblas::settle}});
    Row row{.seconds = bench::median(seconds[0]),
            .flops = 2.0 * static_cast<double>(point.out * point.in * point.batch),
            .bytes = static_cast<double>(panels.num_bytes()),
            .threads = options.threads};
    row.ratio = bench::median_interval(bench::ratios(seconds[1], seconds[0]));
    row.counters["peer_us"] = 1e6 * bench::median(seconds[1]);
    row.label = "ratio: " + name_of(peer) + " / ours";
    if (peer != Peer::onednn_bf16) {  // bfloat16 is another product
        double worst = 0;
        for (Index k = 0; k < ours.size(); ++k)
            worst =
                std::max(worst, std::abs(static_cast<double>(ours.data()[k] - theirs.data()[k])));
        row.counters["largest_difference"] = worst;
    }
    if (total != nullptr) {
        total->ratios.push_back(row.ratio.median);
        total->bar->measured(bench::median_interval(total->ratios));
        row.bars = {total->bar};
    }
    return row;
}

void declare_rows(const Options& options) {
    static std::map<Peer, Total> totals;
    for (const Peer peer : {Peer::openblas, Peer::onednn}) {
        totals[peer].bar =
            &bench::declare_bar({.name = "dense product beside " + name_of(peer),
                                 .limit = 1,
                                 .what = "theirs / ours, time, median of all points"});
        totals[peer].bar->note = refusal_of(peer);
    }
    for (const auto& [out, in] : bench::layer_shapes(options.size == bench::Size::quick))
        for (const Index batch : {1, 8, 32, 64, 512})
            for (const Peer peer : {Peer::openblas, Peer::onednn, Peer::onednn_bf16}) {
                if (!refusal_of(peer).empty()) continue;
                if (peer == Peer::onednn_bf16 && !bench::onednn::has_bf16_tiles()) continue;
                Total* total = peer == Peer::onednn_bf16 ? nullptr : &totals[peer];
                const Point point{out, in, batch};
                bench::add_row(
                    detail::concat("dense/", out, "x", in, "/B:", batch, "/", name_of(peer)),
                    options, [=, &options] { return dense_row(point, peer, total, options); });
            }
}

}  // namespace

int main(int argc, char** argv) {
    return mpo::bench::run_program(argc, argv, declare_rows);
}
