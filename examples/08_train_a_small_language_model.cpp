// Trains LLaMA-shaped models of characters from random numbers, the linears of their layers dense or MPOs, and
// says how often the first guess is the next character of text that the model has not seen. character_model.hpp
// has the model; this file the training and the table.
//
//   mpo_example_08_train_a_small_language_model [TEXT [STEPS [SEEDS [CHI ..]]]]      CHI 0: dense
//
// Without a text, one is made up, and training is short.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <numeric>

#include "character_model.hpp"
#include "mpo/model/optimizer.hpp"

namespace {

using namespace example;

const mpo::EigenBackend cpu;

/// Sentences of eight words: what follows within a word can be known, which word follows cannot.
[[nodiscard]] std::string made_up() {
    const char* words[] = {"the ", "red ", "small ", "cat ", "bridge ", "sees ", "carries ", ". "};
    std::string text;
    for (Random random(1); text.size() < 30000;) text += words[random.below(8)];
    return text;
}

struct Trained {
    Index parameters = 0;
    double accuracy = 0, cross_entropy = 0, minutes = 0;
};
[[nodiscard]] Trained train(const Text& text, Index chi, Index steps, std::uint64_t seed) {
    const auto start = std::chrono::steady_clock::now();
    const Index end = static_cast<Index>(text.ids.size()) * 9 / 10;
    Random random(seed);
    const auto config = shape_of_model(text.vocab);
    const mpo::TrainingOptions options{.rows = batch.rows(), .parts = mpo::TrainedParts::all()};
    Model model(config, random_weights(config, chi, random), options, cpu);
    const mpo::LearningRate rate{1e-2, steps / 10, mpo::LearningRateDecay::cosine, 0.05};
    mpo::AdamW<float> adam(model.parameters(),
                           {.learning_rate = rate, .total_steps = steps, .clip_norm = 1});
    for (Index step = 0; step < steps; ++step) {
        const auto sums = run(model, text, random_begins(end, random), true, cpu);
        adam.step({.loss = sums.cross_entropy});
        model.refresh();
    }
    const auto sums = held_out(model, text, end, cpu);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    return {model.parameters().num_values(), static_cast<double>(sums.hits) / sums.weight,
            sums.cross_entropy / sums.weight, seconds.count() / 60};
}

}  // namespace

int main(int argc, char** argv) {
    const auto number = [&](int k, Index otherwise) {
        return argc > k ? static_cast<Index>(std::stoll(argv[k])) : otherwise;
    };
    std::ifstream file(argc > 1 ? argv[1] : "");
    const Text text(argc > 1 ? std::string(std::istreambuf_iterator<char>(file), {}) : made_up());
    const Index steps = number(2, argc > 1 ? 1000 : 40), seeds = number(3, argc > 1 ? 3 : 1);
    std::vector<Index> chis;
    for (int k = 4; k < argc; ++k) chis.push_back(number(k, 0));
    if (chis.empty())
        chis = argc > 1 ? std::vector<Index>{4, 8, 16, 32, 0} : std::vector<Index>{8, 0};
    if (static_cast<Index>(text.ids.size()) < 20 * batch.rows() || steps < 1 || seeds < 1) {
        std::cerr << "need a text of " << 20 * batch.rows() << " characters, a step and a seed\n";
        return 2;
    }
    std::cout << text.ids.size() << " characters, " << text.vocab << " different; " << steps
              << " steps of " << batch.rows() << "; " << mpo::num_threads() << " threads\n"
              << "form      parameters   accuracy (least, most)    nats   minutes of a run\n";
    bool good = true;
    for (const Index chi : chis) {
        std::vector<double> accuracies;
        double nats = 0, minutes = 0;
        Trained run;
        for (Index seed = 1; seed <= seeds; ++seed) {
            run = train(text, chi, steps, static_cast<std::uint64_t>(seed));
            accuracies.push_back(run.accuracy);
            nats += run.cross_entropy / static_cast<double>(seeds);
            minutes += run.minutes / static_cast<double>(seeds);
        }
        const auto [least, most] = std::minmax_element(accuracies.begin(), accuracies.end());
        const double mean =
            std::accumulate(accuracies.begin(), accuracies.end(), 0.0) / static_cast<double>(seeds);
        std::printf("%-8s %11lld   %6.4f (%.4f, %.4f)  %8.4f   %6.2f\n",
                    chi == 0 ? "dense" : ("chi " + std::to_string(chi)).c_str(),
                    static_cast<long long>(run.parameters), mean, *least, *most, nats, minutes);
        std::fflush(stdout);
        good = good && (argc > 1 || mean > 0.7);
    }
    return good ? 0 : 1;
}
