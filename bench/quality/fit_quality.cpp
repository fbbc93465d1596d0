// What the fit and the search buy on a checkpoint: laws and shares over all of its linears, none of them a time.
//
//   mpo_fit_quality fits|search|layer MODEL TEXT...
//
// Moments of 24 windows of 512 tokens of each text, dense flow; shares kept are of the numbers stored gauge-fixed.
//   fits    every linear, half of its numbers, balanced legs on two and on three sites: the loss of plain TT-SVD
//           over that of the fit
//   search  ten linears drawn by a seed, 0.5 and 0.3 of their numbers: what search_fit found over the best of all
//           layouts that it enumerates, each fitted to the end
//   layer   the linears of layer 14 at 0.8, 0.5 and 0.3: low rank in closed form, balanced and opposed legs
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "fits.hpp"

namespace {

using namespace mpo;

const EigenBackend cpu;

/// Middle, smallest and largest.
void print_spread(const std::string& what, std::vector<double> values) {
    std::sort(values.begin(), values.end());
    std::cout << "MEDIAN " << what << ": " << values[values.size() / 2] << " (" << values.front()
              << " to " << values.back() << ", " << values.size() << " linears)\n";
}

class FitQuality {
  public:
    void fit_balanced(const std::string& name, const Tensor<float>& W, const Tensor<double>& S) {
        const Index m = W.extent(0), n = W.extent(1);
        for (const Index sites : {2, 3}) {
            auto options = bench::keeping(0.5, balanced_layout(m, n, sites));
            options.max_sweeps = 4;
            auto plain = options;
            plain.start = FitStart::plain;
            plain.max_sweeps = 0;
            const double before = fit(W, S, plain, cpu).report.loss;
            const auto report = fit(W, S, options, cpu).report;
            ++fits_;
            for (std::size_t k = 1; k < report.losses.size(); ++k)
                if (!(report.losses[k] <= report.losses[k - 1])) ++rises_;
            const auto kind = linear_kind(name);
            ratios_[concat_name(kind ? to_string(*kind) : name, sites)].push_back(before /
                                                                                  report.loss);
            std::cout << name << ' ' << sites << " sites: plain " << before / report.total
                      << ", fitted " << report.relative_loss() << std::endl;
        }
    }

    void search(const std::string& name, const Tensor<float>& W, const Tensor<double>& S) {
        const Index m = W.extent(0), n = W.extent(1);
        for (const double keep : {0.5, 0.3}) {
            FitSearchOptions<float> options;
            options.max_parameters = static_cast<Index>(keep * static_cast<double>(m * n));
            const auto found = search_fit(W, S, options, cpu);
            double best = found.best.report.relative_loss();
            std::string layout = to_string(found.best.mpo.layout());
            std::cout << name << " kept " << keep << ": search " << best << ' ' << layout;
            const double searched = best;
            for (const auto& candidate : found.candidates) {
                if (candidate.layout == low_rank_layout(m, n)) continue;  // in its closed form
                auto all = options.fit;
                all.layout = candidate.layout;
                all.max_bond_dim =
                    *std::max_element(candidate.bonds.begin(), candidate.bonds.end());
                const double loss = fit(W, S, all, cpu).report.relative_loss();
                if (loss < best) best = loss, layout = to_string(candidate.layout);
            }
            std::cout << ", all " << found.candidates.size() << ": " << best << ' ' << layout
                      << ", over it " << searched / best << std::endl;
            searches_.push_back(searched / best);
        }
    }

    /// A row of losses for every share that is kept.
    void compare_forms(const std::string& name, const Tensor<float>& W, const Tensor<double>& S) {
        const Index m = W.extent(0), n = W.extent(1);
        for (const double keep : {0.8, 0.5, 0.3}) {
            std::cout << name << " kept " << keep << ':';
            const auto add = [&](const std::string& form, const Layout& layout) {
                auto options = bench::keeping(keep, layout);
                options.max_sweeps = 8;
                std::cout << ' ' << form << ' ' << fit(W, S, options, cpu).report.relative_loss()
                          << std::flush;
            };
            add("low rank", low_rank_layout(m, n));
            add("balanced", balanced_layout(m, n, 2));
            for (const Index f : {2, 4})
                if (const auto layout = opposed_layout(m, n, f))
                    add("f = " + std::to_string(f), *layout);
            std::cout << std::endl;
        }
    }

    void print() const {
        for (const auto& [what, ratios] : ratios_) print_spread("plain / fitted, " + what, ratios);
        if (fits_ > 0) std::cout << fits_ << " fits, sweeps that raised a loss: " << rises_ << '\n';
        if (!searches_.empty()) print_spread("search / all layouts", searches_);
    }

  private:
    [[nodiscard]] static std::string concat_name(std::string_view kind, Index sites) {
        return std::string(kind) + ", " + std::to_string(sites) + " sites";
    }

    std::map<std::string, std::vector<double>> ratios_;
    std::vector<double> searches_;
    Index fits_ = 0, rises_ = 0;
};

/// `count` of 0 .. size - 1, in order.
[[nodiscard]] std::vector<Index> drawn(Index count, Index size, std::uint64_t seed) {
    std::vector<std::pair<float, Index>> keyed;
    const auto keys = normal_tensor<float>({size}, seed);
    for (Index k = 0; k < size; ++k) keyed.emplace_back(keys(k), k);
    std::sort(keyed.begin(), keyed.end());
    std::vector<Index> chosen;
    for (Index k = 0; k < (std::min)(count, size); ++k)
        chosen.push_back(keyed[static_cast<std::size_t>(k)].second);
    std::sort(chosen.begin(), chosen.end());
    return chosen;
}

void run(const std::string& part, const std::string& model, const std::vector<std::string>& paths) {
    if (part != "fits" && part != "search" && part != "layer")
        throw ArgumentError("fits, search or layer, not '" + part + "'");
    const Tokenizer tokenizer = read_tokenizer(model);
    const auto config = transformer_config(Checkpoint(model));
    const auto texts = bench::spread_texts(paths, 24);
    CalibrationWalk walk(model, calibration_windows(texts, tokenizer, config, 512), {}, cpu);
    const auto searched = drawn(10, 7 * config.num_layers, 1);
    FitQuality quality;
    for (Index k = 0; !walk.done(); walk.advance()) {
        const auto S = walk.moments().second_moment(cpu, 5);
        for (const auto& name : walk.linears()) {
            const Index linear = k++;
            if (part == "fits") quality.fit_balanced(name, walk.weight(name), S);
            if (part == "layer" && walk.layer() == 14)
                quality.compare_forms(name, walk.weight(name), S);
            if (part == "search" && std::binary_search(searched.begin(), searched.end(), linear))
                quality.search(name, walk.weight(name), S);
        }
    }
    quality.print();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::cerr << "usage: mpo_fit_quality fits|search|layer MODEL TEXT...\n";
        return 2;
    }
    try {
        run(argv[1], argv[2], {argv + 3, argv + argc});
    } catch (const std::exception& error) {
        std::cerr << "mpo_fit_quality: " << error.what() << '\n';
        return 1;
    }
}
