// compress: the decoder linears of a checkpoint become MPOs, one after the other, into a new folder.
//
//   for each tensor, in the order of the source, num_threads() at a time:
//     a decoder linear    read, decompose under its share of the budget, round, measure, write
//     any other           copy
//
// The result is model/compressed.hpp's format. Truncation minimises norm(W - W'), which knows
// nothing of what a layer is fed with: without calibration the result is not yet a usable model.
#pragma once

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "mpo/io/safetensors_writer.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compress_linear.hpp"
#include "mpo/model/compress_options.hpp"
#include "mpo/model/compress_report.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/model/in_order.hpp"
#include "mpo/model/output_folder.hpp"
#include "mpo/model/progress.hpp"
#include "mpo/network/layout_search.hpp"

namespace mpo {
namespace detail {

/// A linear that was selected, and the forms it may take.
struct PlannedLinear {
    std::string name;  // of the module
    LinearKind kind;
    const CheckpointTensor* tensor;
    std::vector<Candidate> candidates;  // none: stays dense
};

/// The module whose weight this is, where it is a decoder linear that `only` and `skip` let pass.
class LinearFilter {
  public:
    explicit LinearFilter(const CompressOptions& options)
        : only_(compiled_regex(options.only, "compress: only")),
          skip_(compiled_regex(options.skip, "compress: skip")),
          has_skip_(!options.skip.empty()) {}

    [[nodiscard]] std::optional<std::string> module_of(const CheckpointTensor& tensor) const {
        constexpr std::string_view suffix = ".weight";
        if (!tensor.name.ends_with(suffix)) return std::nullopt;
        auto module = tensor.name.substr(0, tensor.name.size() - suffix.size());
        if (!linear_kind(module) || !std::regex_search(module, only_)) return std::nullopt;
        if (has_skip_ && std::regex_search(module, skip_)) return std::nullopt;
        return module;
    }

  private:
    std::regex only_, skip_;
    bool has_skip_;
};

inline void require_matrix_of_numbers(const CheckpointTensor& tensor) {
    const auto* plain = std::get_if<DType>(&tensor.type);
    const bool real = is_convertible(tensor.type) && !(plain && *plain == DType::c64);
    if (tensor.shape.size() != 2 || num_elements(tensor.shape) == 0 || !real)
        raise<ArgumentError>({"compress: '", tensor.name,
                              "' must be a matrix of real numbers, got ", to_string(tensor.shape),
                              " of ", to_string(tensor.type)});
}

/// Decides everything that needs no numbers, so that a request that cannot be met costs nothing.
[[nodiscard]] inline std::vector<PlannedLinear> plan_linears(const Checkpoint& source,
                                                             const CompressOptions& options) {
    const LinearFilter filter(options);
    std::vector<PlannedLinear> planned;
    Index total = 0;
    for (const auto& tensor : source.tensors())
        if (auto module = filter.module_of(tensor)) {
            require_matrix_of_numbers(tensor);
            total = checked_add(total, num_elements(tensor.shape));
            const auto kind = *linear_kind(*module);
            planned.push_back({std::move(*module), kind, &tensor, {}});
        }
    if (planned.empty())
        raise<ArgumentError>({"compress: none of the ", source.tensors().size(), " tensors of ",
                              source.path().string(), " is a decoder linear that was asked for"});
    auto share = options.budget;
    if (options.budget_bytes)
        share = static_cast<double>(*options.budget_bytes) * 8 /
                (static_cast<double>(bits_per_element(options.dtype)) * static_cast<double>(total));
    for (auto& linear : planned) {
        const auto& shape = linear.tensor->shape;
        try {
            linear.candidates = candidates(linear.kind, shape[0], shape[1], share, options);
        } catch (const ArgumentError& error) {
            raise<ArgumentError>({"compress: linear ", linear.name, ": ", error.what()});
        } catch (const ShapeError& error) {
            raise<ShapeError>({error.what(), " (linear ", linear.name, ")"});
        }
    }
    return planned;
}

/// What is to be written for one tensor. No cores: a copy of the source.
struct CompressedTensor {
    const CheckpointTensor* source = nullptr;
    std::vector<StoredCore> cores;
    std::optional<LinearReport> report;  // of a linear
};

[[nodiscard]] inline LinearReport dense_report(const PlannedLinear& linear, DType dtype) {
    LinearReport report;
    report.name = linear.name;
    report.kind = linear.kind;
    report.shape = linear.tensor->shape;
    report.source_type = to_string(linear.tensor->type);
    const Index parameters = num_elements(report.shape);
    report.size = {parameters,           parameters,
                   linear.tensor->bytes, parameters * bits_per_element(dtype) / 8,
                   parameters,           parameters};
    return report;
}

/// Reads, compresses and measures one linear.
template <Backend B>
[[nodiscard]] CompressedTensor compress_linear(const Checkpoint& source,
                                               const PlannedLinear& linear,
                                               const CompressOptions& options, const B& backend) {
    CompressedTensor result{linear.tensor, {}, dense_report(linear, options.dtype)};
    if (linear.candidates.empty()) return result;
    const auto W = source.read<float>(linear.tensor->name);  // (out, in)
    (void)largest_finite(as_matrix(W.view()));  // NaN and Inf are refused with their place
    const auto found = best_candidate(
        W, linear.candidates, options.tolerance ? Aim::fewest_parameters : Aim::smallest_error,
        options.seed, backend);
    const Index parameters = found.mpo.num_parameters();
    if (parameters >= W.size()) return result;  // a tolerance that needs more than the weight
    auto stored = store_cores(found.mpo, options.dtype);
    auto& report = *result.report;
    report.layout = found.mpo.layout();
    report.bonds = found.mpo.bond_dims();
    const bool low_rank = report.layout == low_rank_layout(W.extent(0), W.extent(1));
    report.form = low_rank ? LinearForm::low_rank : LinearForm::mpo;
    report.size.parameters = parameters;
    report.size.bytes = parameters * bits_per_element(options.dtype) / 8;
    report.size.multiply_adds = multiply_adds_of_best_sweep(report.layout, report.bonds);
    report.truncation_error = found.report.relative_error;
    report.norm = found.report.norm;
    for (const auto& bond : found.report.bonds)
        report.spectra.push_back(spectrum_report(bond, found.report.norm));
    report.relative_error = measured_error(W, stored.rounded, backend);
    report.low_rank_error =
        low_rank ? report.relative_error
                 : low_rank_error(W, parameters, options.dtype, options.seed, backend);
    result.cores = std::move(stored.cores);
    return result;
}

/// Multiply-adds of a factorisation, up to a constant.
[[nodiscard]] inline double factorisation_work(const Shape& shape) {
    const auto m = static_cast<double>(shape[0]), n = static_cast<double>(shape[1]);
    return m * n * (std::min)(m, n);
}

[[nodiscard]] inline double factorisation_work(const std::vector<PlannedLinear>& linears) {
    double sum = 0;
    for (const auto& linear : linears) sum += factorisation_work(linear.tensor->shape);
    return sum;
}

/// The two ends of the loop over all tensors: make, on all threads, and write, in order.
template <Backend B>
class CompressJob {
  public:
    CompressJob(const Checkpoint& source, std::vector<PlannedLinear> linears,
                const CompressOptions& options, ShardedSafetensorsWriter& writer, const B& backend)
        : source_(source),
          linears_(std::move(linears)),
          options_(options),
          writer_(writer),
          backend_(backend),
          meter_("compress", options.progress, static_cast<Index>(linears_.size()),
                 factorisation_work(linears_)) {
        for (const auto& linear : linears_) linear_of_.emplace(linear.tensor, &linear);
        report_.source = source.path().string();
        report_.dtype = options.dtype;
        report_.num_tensors = static_cast<Index>(source.tensors().size());
        report_.made_by = {version_text(), compiler_text(), {}, options.seed, num_threads()};
    }

    [[nodiscard]] CompressedTensor make(Index k) const {
        const auto& tensor = source_.tensors()[static_cast<std::size_t>(k)];
        const auto found = linear_of_.find(&tensor);
        if (found == linear_of_.end()) return {&tensor, {}, std::nullopt};
        try {
            const auto begin = std::chrono::steady_clock::now();
            auto result = compress_linear(source_, *found->second, options_, backend_);
            const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
            result.report->seconds = spent.count();
            return result;
        } catch (const NumericalError& error) {
            raise<NumericalError>({"compress: tensor '", tensor.name, "': ", error.what()});
        }
    }

    void write(CompressedTensor result) {
        report_.bytes_before += result.source->bytes;
        report_.parameters_before += num_elements(result.source->shape);
        if (result.cores.empty()) source_.copy(result.source->name, options_.dtype, writer_);
        if (!result.report) return;
        auto& linear = report_.linears.emplace_back(std::move(*result.report));
        for (std::size_t k = 0; k < result.cores.size(); ++k)
            writer_.append(core_name(linear.name, static_cast<Index>(k)), options_.dtype,
                           result.cores[k].shape, result.cores[k].bytes);
        if (!result.cores.empty())
            entries_.push_back({linear.name, linear.layout, linear.bonds, options_.dtype,
                                linear.source_type, linear.shape, linear.relative_error,
                                linear.error_kind});
        meter_.advance(linear.name, factorisation_work(linear.shape));
    }

    [[nodiscard]] const std::vector<CompressedLinear>& entries() const { return entries_; }
    /// To be taken at the end.
    [[nodiscard]] CompressReport report() && {
        report_.seconds = meter_.seconds();
        return std::move(report_);
    }

  private:
    const Checkpoint& source_;
    std::vector<PlannedLinear> linears_;
    const CompressOptions& options_;
    ShardedSafetensorsWriter& writer_;
    const B& backend_;
    ProgressMeter meter_;
    std::unordered_map<const CheckpointTensor*, const PlannedLinear*> linear_of_;
    CompressReport report_;
    std::vector<CompressedLinear> entries_;
};

}  // namespace detail

/// Compresses the decoder linears (q, k, v, o, gate, up, down) of `source` into a new folder.
///
/// source   safetensors or GGUF; not modified. A compressed checkpoint must be reconstructed first
/// folder   must not exist; appears when all of it is written
/// options  a budget is shared in proportion to the parameters: every linear gets the same share.
///          A linear of which no form of that size is smaller than itself stays dense
/// returns  sizes and measured errors of every linear
/// error    relative_error is measured against the dense weight, with the cores as stored
/// cost     per linear one truncated SVD per bond for the form that wins, about a tenth of that for
///          every form that competes, and more where forms come close to each other. Memory:
///          num_threads() linears with their workspaces, the cores that wait to be written, the
///          largest other tensor
/// throws   ArgumentError (options, folder exists, nothing to compress, a budget too small for any
///          form), ShapeError (layouts), NumericalError (NaN or Inf in a weight, with its name),
///          FileError, FormatError, Cancelled. Nothing is left on the disk then
template <Backend B>
[[nodiscard]] CompressReport compress(const Checkpoint& source, const std::filesystem::path& folder,
                                      const CompressOptions& options, const B& backend) {
    validate(options);
    if (is_compressed(source.path()))
        detail::raise<ArgumentError>(
            {"compress: ", source.path().string(), " is compressed already; reconstruct it first"});
    auto linears = detail::plan_linears(source, options);
    OutputFolder output(folder);
    ShardedSafetensorsWriter writer(output.path());
    detail::CompressJob<B> job(source, std::move(linears), options, writer, backend);
    detail::for_each_in_order(
        static_cast<Index>(source.tensors().size()), [&](Index k) { return job.make(k); },
        [&](Index, detail::CompressedTensor result) { job.write(std::move(result)); });
    writer.finish();
    write_text_file(output.path() / compressed_config_file, to_compressed_config(job.entries()));
    output.copy_side_files(source, options.dtype);
    // opened once before it gets its name: what cannot be read again does not exist
    const CompressedCheckpoint written(output.path());
    auto report = std::move(job).report();
    report.bytes = written.checkpoint().bytes();
    report.parameters = written.checkpoint().num_parameters();
    output.commit();
    return report;
}

}  // namespace mpo
