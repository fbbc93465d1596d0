// Trains LLaMA-shaped models of characters from random numbers, the linears of their layers dense or MPOs, and
// says how often the first guess is the next character of text that the model has not seen. character_model.hpp
// has the model and its training; this file makes the table.
//
//   mpo_example_08_train_a_small_language_model [TEXT [STEPS [SEEDS [CHI ..]]]]      CHI 0: dense
//
// Of two learning rates each form takes the one with which the first seed ends at the lower training loss. Without
// a text, one is made up, and training is short.

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>

#include "character_model.hpp"

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

}  // namespace

int main(int argc, char** argv) {
    const auto number = [&](int k, Index otherwise) {
        return argc > k ? static_cast<Index>(std::stoll(argv[k])) : otherwise;
    };
    const bool real = argc > 1;
    std::ifstream file(real ? argv[1] : "");
    const Text text(real ? std::string(std::istreambuf_iterator<char>(file), {}) : made_up());
    const Index steps = number(2, real ? 1000 : 40), seeds = number(3, real ? 3 : 1);
    std::vector<Index> chis;
    for (int k = 4; k < argc; ++k) chis.push_back(number(k, 0));
    if (chis.empty()) chis = real ? std::vector<Index>{4, 8, 16, 32, 0} : std::vector<Index>{8, 0};
    const std::vector<double> peaks =
        real ? std::vector<double>{3e-3, 1e-2} : std::vector<double>{1e-2};
    if (static_cast<Index>(text.ids.size()) < 20 * batch.rows() || steps < 1 || seeds < 1) {
        std::cerr << "need a text of " << 20 * batch.rows() << " characters, a step and a seed\n";
        return 2;
    }
    std::printf(
        "%zu characters, %lld steps of %lld, %d threads\nform      parameters   rate    accuracy "
        "(least, most)    nats   minutes of a run\n",
        text.ids.size(), static_cast<long long>(steps), static_cast<long long>(batch.rows()),
        mpo::num_threads());
    bool good = true;
    for (const Index chi : chis) {
        double peak = 0;
        std::vector<Trained> runs;
        for (const double tried : peaks) {  // by the training loss alone
            const auto run = train(text, chi, tried, steps, 1, cpu);
            if (!runs.empty() && runs[0].training <= run.training) continue;
            peak = tried;
            runs = {run};
        }
        for (Index seed = 2; seed <= seeds; ++seed)
            runs.push_back(train(text, chi, peak, steps, seed, cpu));
        Trained mean;
        double least = 1, most = 0;
        for (const auto& run : runs) {
            least = std::min(least, run.accuracy);
            most = std::max(most, run.accuracy);
            mean.accuracy += run.accuracy / static_cast<double>(seeds);
            mean.nats += run.nats / static_cast<double>(seeds);
            mean.minutes += run.minutes / static_cast<double>(seeds);
        }
        std::printf("%-8s %11lld  %.0e   %6.4f (%.4f, %.4f)  %7.4f   %6.2f\n",
                    chi == 0 ? "dense" : ("chi " + std::to_string(chi)).c_str(),
                    static_cast<long long>(runs[0].parameters), peak, mean.accuracy, least, most,
                    mean.nats, mean.minutes);
        std::fflush(stdout);
        good = good && (real || mean.accuracy > 0.7);
    }
    return good ? 0 : 1;
}
