// compress: the decoder linears of a checkpoint become MPOs, one after the other, into a new folder.
//
//   for each tensor, in the order of the source, num_threads() at a time:
//     a decoder linear    read, decompose under its share of the budget, round, measure, write
//     any other           copy
//
// The result is model/compressed.hpp's format. Truncation minimises norm(W - W'), which knows
// nothing of what a layer is fed with: without calibration the result is not yet a usable model.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compress_linear.hpp"
#include "mpo/model/compress_options.hpp"
#include "mpo/model/compress_report.hpp"
#include "mpo/model/compressed_writer.hpp"
#include "mpo/model/in_order.hpp"
#include "mpo/model/progress.hpp"
#include "mpo/model/stored_linear.hpp"
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

/// Decides everything that needs no numbers, so that a request that cannot be met costs nothing.
[[nodiscard]] std::vector<PlannedLinear> plan_linears(const Checkpoint& source,
                                                      const CompressOptions& options);

/// What is to be written for one tensor. No cores: a copy of the source.
struct CompressedTensor {
    const CheckpointTensor* source = nullptr;
    StoredForm chosen = {};
    std::map<CompressForm, StoredForm> peers = {};  // those that were asked for and differ
    std::optional<LinearReport> report = {};        // of a linear

    /// What a peer of that form stores.
    [[nodiscard]] const StoredForm& peer(CompressForm form) const;
};

[[nodiscard]] LinearReport dense_report(const PlannedLinear& linear, DType dtype);

/// The peers that were asked for and differ from what was chosen; the error of plain low rank, which is 1
/// where not even rank 1 is so small: the best that can be stored is zero then.
template <Backend B>
void add_peers(const Tensor<float>& W, LinearKind kind, const CompressOptions& options,
               CompressedTensor& result, const B& backend) {
    auto& report = *result.report;
    const auto add = [&](CompressForm form, std::optional<StoredForm> peer) {
        if (peer && options.peers.count(form) > 0) result.peers.emplace(form, *std::move(peer));
    };
    if (report.form == LinearForm::mpo) {
        auto peer = low_rank_peer(W, report.size.parameters, options, backend);
        report.low_rank_error = peer ? peer->relative_error : 1;
        add(CompressForm::low_rank, std::move(peer));
    } else if (options.peers.count(CompressForm::mpo) > 0) {
        add(CompressForm::mpo, mpo_peer(W, kind, report.size.parameters, options, backend));
    }
}

/// Whether what is stored of this chain takes less than the dense weight, in numbers and in bytes.
[[nodiscard]] bool is_smaller(const Mpo<float>& mpo, const CompressOptions& options);

/// Reads, compresses and measures one linear.
template <Backend B>
[[nodiscard]] CompressedTensor compress_linear(const Checkpoint& source,
                                               const PlannedLinear& linear,
                                               const CompressOptions& options, const B& backend) {
    CompressedTensor result{linear.tensor, {}, {}, dense_report(linear, options.dtype)};
    if (linear.candidates.empty()) return result;
    const auto W = source.read<float>(linear.tensor->name);  // (out, in)
    (void)largest_finite(as_matrix(W.view()));  // NaN and Inf are refused with their place
    auto best = best_candidate(W, linear.candidates,
                               options.tolerance ? Aim::fewest_parameters : Aim::smallest_error,
                               options, backend);
    if (!is_smaller(best.mpo, options)) return result;  // than dense: a tolerance may need as much
    auto [found, form] = best_storage(W, std::move(best), options, backend);
    result.chosen = std::move(form);
    auto& report = *result.report;
    report.layout = result.chosen.layout;
    report.bonds = result.chosen.bonds;
    report.stored_as = result.chosen.stored_as;
    const bool low_rank = report.layout == low_rank_layout(W.extent(0), W.extent(1));
    report.form = low_rank ? LinearForm::low_rank : LinearForm::mpo;
    report.size.parameters = result.chosen.num_parameters();
    report.size.bytes = result.chosen.num_bytes();
    report.size.multiply_adds = multiply_adds_of_best_sweep(report.layout, report.bonds);
    report.truncation_error = found.report.relative_error;
    report.norm = found.report.norm;
    for (const auto& bond : found.report.bonds)
        report.spectra.push_back(spectrum_report(bond, found.report.norm));
    report.relative_error = report.low_rank_error = result.chosen.relative_error;
    report.error_as_cores =
        report.stored_as == StoredAs::cores
            ? report.relative_error
            : stored_form(W, found.mpo, options.dtype, StoredAs::cores, backend).relative_error;
    add_peers(W, linear.kind, options, result, backend);
    return result;
}

/// Multiply-adds of a factorisation, up to a constant.
[[nodiscard]] double factorisation_work(const Shape& shape);

[[nodiscard]] double factorisation_work(const std::vector<PlannedLinear>& linears);

/// Throws ArgumentError for a folder that compress wrote.
void require_dense(const Checkpoint& source);

/// A report of nothing yet.
[[nodiscard]] CompressReport begin_report(const Checkpoint& source, const CompressOptions& options);

/// What is stored of a linear, with what the report says of it.
void append_linear(CompressedWriter& writer, const LinearReport& linear, const StoredForm& form,
                   DType dtype);

/// The two ends of the loop over all tensors: make, on all threads, and write, in order.
template <Backend B>
class CompressJob {
  public:
    CompressJob(const Checkpoint& source, std::vector<PlannedLinear> linears,
                const CompressOptions& options, CompressedWriter& writer,
                std::map<CompressForm, CompressedWriter>& peers, const B& backend)
        : source_(source),
          linears_(std::move(linears)),
          options_(options),
          writer_(writer),
          peers_(peers),
          backend_(backend),
          meter_("compress", options.progress, static_cast<Index>(linears_.size()),
                 factorisation_work(linears_)),
          report_(begin_report(source, options)) {
        for (const auto& linear : linears_) linear_of_.emplace(linear.tensor, &linear);
    }

    [[nodiscard]] CompressedTensor make(Index k) const {
        const auto& tensor = source_.tensors()[static_cast<std::size_t>(k)];
        const auto found = linear_of_.find(&tensor);
        if (found == linear_of_.end()) return {&tensor};
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
        put(result, result.chosen, writer_);
        for (auto& [form, writer] : peers_) put(result, result.peer(form), writer);
        if (!result.report) return;
        const auto& linear = report_.linears.emplace_back(std::move(*result.report));
        meter_.advance(linear.name, factorisation_work(linear.shape));
    }

    /// To be taken at the end.
    [[nodiscard]] CompressReport report() && {
        report_.seconds = meter_.seconds();
        return std::move(report_);
    }

  private:
    void put(const CompressedTensor& result, const StoredForm& stored, CompressedWriter& writer) {
        if (stored.cores.empty()) return writer.copy(source_, result.source->name, options_.dtype);
        append_linear(writer, *result.report, stored, options_.dtype);
    }

    const Checkpoint& source_;
    std::vector<PlannedLinear> linears_;
    const CompressOptions& options_;
    CompressedWriter& writer_;
    std::map<CompressForm, CompressedWriter>& peers_;
    const B& backend_;
    ProgressMeter meter_;
    std::unordered_map<const CheckpointTensor*, const PlannedLinear*> linear_of_;
    CompressReport report_;
};

}  // namespace detail

/// Compresses the decoder linears (q, k, v, o, gate, up, down) of `source` into a new folder.
///
/// source   safetensors or GGUF; not modified. A compressed checkpoint must be reconstructed first
/// folder   must not exist; appears when all of it is written
/// options  a budget is shared in proportion to the parameters: every linear gets the same share.
///          A linear of which no form of that size is smaller than itself stays dense. Parameters
///          are numbers as stored; pivots count in bytes
/// returns  sizes and measured errors of every linear
/// error    relative_error is measured against the dense weight, with the cores as stored
/// peers    of options, too: same source, another form; they get their names first
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
    detail::require_dense(source);
    auto linears = detail::plan_linears(source, options);
    detail::CompressedWriter writer(folder);
    std::map<CompressForm, detail::CompressedWriter> peers;
    for (const auto& [form, path] : options.peers) peers.try_emplace(form, path);
    detail::CompressJob<B> job(source, std::move(linears), options, writer, peers, backend);
    detail::for_each_in_order(
        static_cast<Index>(source.tensors().size()), [&](Index k) { return job.make(k); },
        [&](Index, detail::CompressedTensor result) { job.write(std::move(result)); });
    for (auto& [form, peer] : peers) {
        (void)peer.finish(source, options.dtype);
        peer.commit();
    }
    const auto written = writer.finish(source, options.dtype);
    auto report = std::move(job).report();
    report.bytes = written.checkpoint().bytes();
    report.parameters = written.num_parameters();
    writer.commit();
    return report;
}

}  // namespace mpo

#ifdef MPO_MODEL_COMPILED
namespace mpo {
extern template CompressReport compress<EigenBackend>(const Checkpoint&,
                                                      const std::filesystem::path&,
                                                      const CompressOptions&, const EigenBackend&);
}  // namespace mpo
#else
#include "mpo/model/compress_inl.hpp"
#endif
