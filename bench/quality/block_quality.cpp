// Which form of a layer heals best: one layer at a share of its numbers, all others dense, trained as the block stage of
// healing does it. Qualities and milliseconds per step, no bars.
//
//   mpo_block_quality LAYERS SHARES RATES SEEDS MODEL TRAIN... -- JUDGE...      as in 2,14,27 0.3 0.02,0.04 1,2,3
//
// Forms: low rank in closed form, opposed legs f = 2 and balanced legs by fit, in the metric of 24 windows of 512 tokens
// of each text to train on. Trained on 200 windows of each, 300 steps of 4; looked at with 8 windows of each text
// to judge by, the first four positions left out, cores and norms trained.
#include <algorithm>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "fits.hpp"
#include "mpo/model/heal_block.hpp"
#include "mpo/model/trainable_transformer.hpp"

namespace {

using namespace mpo;

const EigenBackend cpu;
constexpr Index length = 512, held_out_windows = 8;

using Chains = std::map<std::string, Mpo<float>>;  // of a layer's linears
using Form = std::pair<double, std::string>;       // the share that is kept, the name

[[nodiscard]] std::map<std::string, Layout> forms_of(Index m, Index n) {
    return {{"low rank", low_rank_layout(m, n)},
            {"balanced", balanced_layout(m, n, 2)},
            {"f = 2", opposed_layout(m, n, 2).value()}};
}

struct Question {
    std::vector<Index> layers;
    std::vector<double> shares, rates;
    std::vector<Index> seeds;
    std::string model;
    std::vector<std::string> train, judge;
};

class BlockQuality {
  public:
    explicit BlockQuality(Question question)
        : question_(std::move(question)),
          tokenizer_(read_tokenizer(question_.model)),
          config_(transformer_config(Checkpoint(question_.model))) {}

    void run() {
        fit_forms();
        auto texts = bench::spread_texts(question_.train, 200);
        for (auto& text : bench::spread_texts(question_.judge, held_out_windows))
            texts.push_back(text);
        std::vector<Index> tokens;
        Index count = 0;
        for (const auto& window : calibration_windows(texts, tokenizer_, config_, length)) {
            tokens.insert(tokens.end(), window.tokens.begin(), window.tokens.end());
            ++count;
        }
        const auto judged = static_cast<Index>(question_.judge.size()) * held_out_windows;
        for (Index w = 0; w < count; ++w)
            (w < count - judged ? split_.training : split_.held_out).push_back(w);
        const TransformerOptions options;
        detail::WeightReader reader(question_.model, options, cpu);
        const auto embedding =
            reader.read("model.embed_tokens.weight", {config_.vocab_size, config_.hidden_size});
        detail::HealFlow flow(tokens, {count, length}, embedding, config_, cpu);
        for (Index k = 0; k <= last_layer(); ++k) {
            if (is_asked(k)) flow.restart_from_dense();
            flow.advance_dense(detail::read_layer(reader, config_, k),
                               HealBlocksOptions{}.sink_factor);
            if (is_asked(k)) heal_forms(reader, flow, k);
        }
    }

  private:
    [[nodiscard]] bool is_asked(Index layer) const {
        return std::find(question_.layers.begin(), question_.layers.end(), layer) !=
               question_.layers.end();
    }
    [[nodiscard]] Index last_layer() const {
        return *std::max_element(question_.layers.begin(), question_.layers.end());
    }

    void fit_forms() {
        CalibrationWalk walk(question_.model,
                             calibration_windows(bench::spread_texts(question_.train, 24),
                                                 tokenizer_, config_, length),
                             {}, cpu);
        for (; !walk.done() && walk.layer() <= last_layer(); walk.advance()) {
            if (!is_asked(walk.layer())) continue;
            const auto S = walk.moments().second_moment(cpu, 5);
            for (const auto& name : walk.linears()) {
                const auto W = walk.weight(name);
                for (const double share : question_.shares)
                    for (const auto& [form, layout] : forms_of(W.extent(0), W.extent(1)))
                        chains_[{share, form}].insert_or_assign(
                            name, fit(W, S, bench::keeping(share, layout), cpu).mpo);
            }
        }
    }

    void heal_forms(detail::WeightReader& reader, const detail::HealFlow& flow, Index layer) {
        for (const auto& [form, chains] : chains_)
            for (const double rate : question_.rates)
                for (const Index seed : question_.seeds) {
                    HealBlocksOptions options;
                    options.left_out = 4;
                    options.learning_rate.peak = rate;
                    options.seed = static_cast<std::uint64_t>(seed);
                    const auto healed = heal(reader, flow, layer, chains, options);
                    std::cout << "layer " << layer << ", share " << form.first << ", "
                              << form.second << ", rate " << rate << ", seed " << seed << ": "
                              << healed.before().held_out << " -> " << healed.after().held_out
                              << " (sinks " << healed.before().sinks << " -> "
                              << healed.after().sinks << "), training "
                              << healed.curve.back().training << ", step " << healed.best_step
                              << ", fell back " << healed.fell_back.size() << " times, "
                              << 1e3 * healed.seconds_per_step << " ms a step" << std::endl;
                }
    }

    [[nodiscard]] BlockHealing heal(detail::WeightReader& reader, const detail::HealFlow& flow,
                                    Index layer, const Chains& chains,
                                    const HealBlocksOptions& options) {
        const WindowShape batch{options.batch_windows, length};
        auto weights = detail::read_layer_weights(reader, config_, layer);
        for (auto& linear : weights.linears) linear.weight = chains.at(linear.name);
        TrainingOptions training;
        training.rows = batch.rows();
        training.parts = options.parts;
        TrainableBlock<float> block(detail::concat("model.layers.", layer, "."), std::move(weights),
                                    config_, training, cpu);
        detail::balance(block, nullptr);
        block.refresh();
        detail::BlockTrainer trainer(config_, batch);
        detail::BlockHealState state;
        state.healing.layer = layer;
        Parameters<float> parameters;
        block.list(parameters);
        auto optimizer = detail::optimizer_of(parameters, options, state.healing);
        SingleProcess alone;
        (void)detail::heal_block(block, flow, split_, options, options.steps, trainer, alone,
                                 optimizer, state, {});
        return state.healing;
    }

    Question question_;
    Tokenizer tokenizer_;
    TransformerConfig config_;
    std::map<Form, Chains> chains_;
    detail::HealSplit split_;
};

template <class T>
[[nodiscard]] std::vector<T> numbers_of(const std::string& list) {
    std::vector<T> numbers;
    std::istringstream stream(list);
    for (std::string item; std::getline(stream, item, ',');) {
        std::istringstream one(item);
        if (!(one >> numbers.emplace_back())) throw ArgumentError("no number: '" + item + "'");
    }
    return numbers;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    const auto judge = std::find(words.begin(), words.end(), "--");
    if (judge - words.begin() < 6 || words.end() - judge < 2) {
        std::cerr << "usage: mpo_block_quality LAYERS SHARES RATES SEEDS MODEL TRAIN... -- "
                     "JUDGE...\n";
        return 2;
    }
    try {
        BlockQuality({numbers_of<Index>(words[0]), numbers_of<double>(words[1]),
                      numbers_of<double>(words[2]), numbers_of<Index>(words[3]), words[4],
                      std::vector<std::string>(words.begin() + 5, judge),
                      std::vector<std::string>(judge + 1, words.end())})
            .run();
    } catch (const std::exception& error) {
        std::cerr << "mpo_block_quality: " << error.what() << '\n';
        return 1;
    }
}
