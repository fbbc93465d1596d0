// Compresses a checkpoint from a program of one's own: the options, a progress callback that may cancel,
// the report, and the result opened again. Fewer parameters are not always less work: the report has both.
//
//   04_compress_a_checkpoint [MODEL FOLDER]    without arguments a small model in a folder that goes away

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <random>
#include <string>
#include <utility>

#include "mpo/model.hpp"

namespace {

namespace fs = std::filesystem;
using mpo::Index;

/// One layer of an MLP under the names of a decoder: smooth matrices with a little noise in up and
/// down, and with much in gate.
void write_small_model(const fs::path& path) {
    mpo::SafetensorsWriter writer(path);
    std::uint64_t seed = 1;
    const auto add = [&](const std::string& name, Index m, Index n, float noise) {
        auto W = mpo::normal_tensor<float>({m, n}, seed++);  // (out, in)
        for (Index i = 0; i < m; ++i)
            for (Index j = 0; j < n; ++j) {
                const float x = static_cast<float>(i) / static_cast<float>(m);
                const float y = static_cast<float>(j) / static_cast<float>(n);
                W(i, j) = std::exp(-8 * std::abs(x - y)) + noise * W(i, j);
            }
        writer.append("model.layers.0.mlp." + name + ".weight", W, mpo::DType::bf16);
    };
    add("gate_proj", 384, 256, 0.1f);
    add("up_proj", 384, 256, 0.001f);
    add("down_proj", 256, 384, 0.001f);
    writer.finish();
}

/// Hears of every linear. To reply cancel instead makes compress throw mpo::Cancelled and leave nothing.
mpo::ProgressReply show_progress(const mpo::Progress& progress) {
    std::printf("%td of %td done: %s\n", progress.done, progress.count,
                std::string(progress.linear).c_str());
    return mpo::ProgressReply::go_on;
}

void print_report(const mpo::CompressReport& report) {
    std::printf("\n%-28s %-9s %-14s %10s %9s   %s\n", "linear", "form", "layout", "parameters",
                "error", "low rank of that size");
    for (const auto& linear : report.linears)
        std::printf("%-28s %-9s %-14s %10td %9.4f   %.4f\n", linear.name.c_str(),
                    mpo::to_string(linear.form).c_str(), mpo::to_string(linear.layout).c_str(),
                    linear.size.parameters, linear.relative_error, linear.low_rank_error);
    const auto size = report.size();
    std::printf("before: %td parameters, %td bytes, %td multiply-adds per token\n",
                size.parameters_before, size.bytes_before, size.multiply_adds_before);
    std::printf("after:  %td parameters, %td bytes, %td multiply-adds per token\n", size.parameters,
                size.bytes, size.multiply_adds);
}

/// Compresses to an eighth of the parameters; true where the folder says what the report says.
[[nodiscard]] bool compress(const fs::path& model, const fs::path& folder) {
    const mpo::EigenBackend cpu;
    mpo::CompressOptions options;
    options.budget = 0.125;           // or budget_bytes, max_bond_dim, tolerance
    options.skip = "embed|lm_head";   // a regex over the names of modules
    options.dtype = mpo::DType::f16;  // of the cores, and of everything else
    options.progress = show_progress;
    const auto report = mpo::compress(mpo::Checkpoint(model), folder, options, cpu);
    print_report(report);

    const mpo::CompressedCheckpoint compressed(folder);
    Index stored = 0;
    for (const auto& linear : compressed.linears())
        stored += mpo::num_stored(linear.layout, linear.bonds, linear.stored_as);
    for (const auto& linear : report.linears)
        stored += linear.form == mpo::LinearForm::dense ? linear.size.parameters : 0;
    std::printf("read back: %zu linears from cores, %td parameters in all\n",
                compressed.linears().size(), stored);
    return stored == report.size().parameters;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        if (argc == 3) return compress(argv[1], argv[2]) ? 0 : 1;
        const fs::path scratch = fs::temp_directory_path() /
                                 ("mpo_example_04_" + std::to_string(std::random_device{}()));
        fs::create_directory(scratch);
        write_small_model(scratch / "model.safetensors");
        const bool good = compress(scratch / "model.safetensors", scratch / "small");
        fs::remove_all(scratch);
        return good ? 0 : 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
