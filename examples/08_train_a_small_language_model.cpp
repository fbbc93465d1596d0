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
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "character_model.hpp"
#include "mpo/io/text_file.hpp"

namespace {

using namespace example;

const mpo::EigenBackend cpu;

/// What the command line asks for.
struct Asked {
    bool real;  // a text was named
    Text text;
    Index steps, seeds;
    std::vector<Index> chis;
};

[[nodiscard]] Asked asked(int argc, char** argv) {
    const auto number = [&](int k, Index otherwise) {
        return argc > k ? static_cast<Index>(std::stoll(argv[k])) : otherwise;
    };
    const bool real = argc > 1;
    const Text text(real ? mpo::read_text_file(argv[1]) : made_up());
    Asked result{real, text, number(2, real ? 1000 : 40), number(3, real ? 3 : 1), {}};
    for (int k = 4; k < argc; ++k) result.chis.push_back(number(k, 0));
    if (result.chis.empty())
        result.chis = real ? std::vector<Index>{4, 8, 16, 32, 0} : std::vector<Index>{8, 0};
    if (static_cast<Index>(result.text.ids.size()) < 20 * batch.rows() || result.steps < 1 ||
        result.seeds < 1)
        throw std::invalid_argument("need a text of " + std::to_string(20 * batch.rows()) +
                                    " characters, a step and a seed");
    return result;
}

/// A row of the table: the mean accuracy.
double print_row(Index chi, double peak, const std::vector<Trained>& runs) {
    const Trained mean = mean_of(runs);
    const auto [least, most] = std::minmax_element(
        runs.begin(), runs.end(),
        [](const Trained& a, const Trained& b) { return a.accuracy < b.accuracy; });
    std::printf("%-8s %11lld  %.0e   %6.4f (%.4f, %.4f)  %7.4f   %6.2f\n",
                chi == 0 ? "dense" : ("chi " + std::to_string(chi)).c_str(),
                static_cast<long long>(runs[0].parameters), peak, mean.accuracy, least->accuracy,
                most->accuracy, mean.nats, mean.minutes);
    std::fflush(stdout);
    return mean.accuracy;
}

/// Trains all forms; whether the short run on the made-up text has learnt its words.
[[nodiscard]] bool make_table(const Asked& what) {
    const auto peaks = what.real ? std::vector<double>{3e-3, 1e-2} : std::vector<double>{1e-2};
    std::printf(
        "%zu characters, %lld steps of %lld, %d threads\nform      parameters   rate    accuracy "
        "(least, most)    nats   minutes of a run\n",
        what.text.ids.size(), static_cast<long long>(what.steps),
        static_cast<long long>(batch.rows()), mpo::num_threads());
    bool good = true;
    for (const Index chi : what.chis) {
        double peak = 0;
        std::vector<Trained> runs;
        for (const double tried : peaks) {  // by the training loss alone
            const auto run = train(what.text, chi, tried, what.steps, 1, cpu);
            if (!runs.empty() && runs[0].training <= run.training) continue;
            peak = tried;
            runs = {run};
        }
        for (Index seed = 2; seed <= what.seeds; ++seed)
            runs.push_back(train(what.text, chi, peak, what.steps, seed, cpu));
        good = print_row(chi, peak, runs) > 0.7 && good;
    }
    return good || what.real;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return make_table(asked(argc, argv)) ? 0 : 1;
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\nusage: [TEXT [STEPS [SEEDS [CHI ..]]]]\n";
        return 2;
    }
}
