// compress, calibrated: front to back, every linear in the metric of the inputs that it will have behind the
// compressed layers before it, and answering as the dense model's answers to its own.
//
//   for every layer and stage (calibration_walk.hpp), over all calibration tokens:
//     C, X        moments of the inputs in the compressed flow, and with those of the dense flow
//     P           what brings the one closest to the other (linalg/compensation.hpp): the target is W P
//     search_fit  the best chain within the share of the budget (network/fit_search.hpp)
//     round, put it into the compressed flow
//
// Chains are chosen one after the other, because each sees what those before it have done.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "mpo/core/communicator.hpp"
#include "mpo/linalg/compensation.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/agree.hpp"
#include "mpo/model/calibrated_linear.hpp"
#include "mpo/model/calibration_walk.hpp"
#include "mpo/model/compress.hpp"
#include "mpo/model/compress_calibration.hpp"
#include "mpo/model/compress_request.hpp"
#include "mpo/model/compress_state.hpp"
#include "mpo/model/summarize_calibration.hpp"

namespace mpo {

namespace detail {

/// The share that all linears have in common; of bytes one that leaves room for pivots.
[[nodiscard]] double common_share(const std::vector<PlannedLinear>& linears,
                                  const CompressOptions& options);

/// One run of a calibrated compression.
template <Backend B>
class CalibratedJob {
  public:
    CalibratedJob(const Checkpoint& source, std::vector<PlannedLinear> linears,
                  const CompressOptions& options, const CompressCalibration& calibration,
                  const B& backend)
        : linears_(std::move(linears)),
          options_(options),
          calibration_(calibration),
          backend_(backend),
          share_(common_share(linears_, options)),
          meter_("compress", options.progress, static_cast<Index>(linears_.size()),
                 factorisation_work(linears_),
                 calibration.resume.empty() ? "nothing was kept" : "finished layers were kept"),
          walk_(source.path(), calibration.windows, calibration.walk, backend) {
        for (const auto& linear : linears_) linear_of_.emplace(linear.name, &linear);
        for (const auto& [module, share] : calibration.shares)
            if (linear_of_.count(module) == 0)
                raise<ArgumentError>(
                    {"compress: a share was given for ", module, ", which is not compressed"});
        for (const auto& linear : linears_) require_reachable(linear);
        if (!calibration.resume.empty())
            state_.emplace(calibration.resume, requested(source, options, calibration));
    }

    /// Front to back.
    void run() {
        while (state_ && !walk_.done() && state_->has(walk_.layer())) restore_layer();
        while (!walk_.done()) run_layer();
    }

    /// Those of the layers that fall to one of `size` processes, each behind dense ones: into the resume folder.
    void run_apart(int rank, int size) {
        while (!walk_.done()) {
            const Index layer = walk_.layer();
            if (layer % size == rank && !state_->has(layer)) {
                memory_ = {};  // the same competitors, whoever compresses it
                run_layer();
                walk_.rejoin();
                continue;
            }
            for (; !walk_.done() && walk_.layer() == layer; walk_.advance())
                for (const auto& name : wanted())
                    meter_.skip(factorisation_work(linear_of_.at(name)->tensor->shape));
        }
    }

    [[nodiscard]] std::unordered_map<std::string, CalibratedLinear>& results() { return results_; }
    [[nodiscard]] const CalibrationWalk& walk() const { return walk_; }
    [[nodiscard]] double seconds() const { return meter_.seconds(); }

  private:
    [[nodiscard]] double share_of(const std::string& module) const {
        const auto given = calibration_.shares.find(module);
        return given == calibration_.shares.end() ? share_ : given->second;
    }
    /// Whether some layout fits the share: what cannot be met costs nothing.
    void require_reachable(const PlannedLinear& linear) const {
        const double share = share_of(linear.name);
        if (share >= 1) return;
        const auto& shape = linear.tensor->shape;
        (void)named(linear.name, [&] {
            return priced_candidates(
                shape[0], shape[1],
                search_options(linear.kind, shape, share, memory_, options_, calibration_.linear));
        });
    }
    /// What `call` returns; its refusals have the linear's name.
    template <class Call>
    static auto named(const std::string& linear, const Call& call) {
        try {
            return call();
        } catch (const NumericalError& error) {
            raise<NumericalError>({"compress: linear ", linear, ": ", error.what()});
        } catch (const ArgumentError& error) {
            raise<ArgumentError>({"compress: linear ", linear, ": ", error.what()});
        }
    }

    /// P drawn towards 1. A regression on n inputs from T positions follows what is particular to these by n / T
    /// of what it finds: with T near n it would be all of it, and the result worse than without.
    [[nodiscard]] static Tensor<double> believed(Tensor<double> P, Index tokens) {
        const Index n = P.extent(0);
        const double trust = (std::max)(
            0.0, 1 - static_cast<double>(n) / static_cast<double>((std::max)(tokens, Index{1})));
        for (Index i = 0; i < n; ++i)
            for (Index j = 0; j < n; ++j) P(i, j) = trust * P(i, j) + (i == j ? 1 - trust : 0);
        return P;
    }

    /// W P; W itself where the flows have not diverged.
    [[nodiscard]] Tensor<float> target_of(const Tensor<float>& W,
                                          const std::optional<Tensor<double>>& map) const {
        if (!map) return W;
        const Index m = W.extent(0), n = W.extent(1);
        const auto P = send<float>(*map, backend_);
        const auto w = send<float>(W, backend_);
        auto product = backend_.template allocate<float>(m * n);
        backend_.gemm(1.0F, matrix<const float>(w.data(), m, n),
                      matrix<const float>(P.data(), n, n), 0.0F, matrix(product.data(), m, n));
        return fetch<float>(product.data(), m, n, backend_);
    }

    /// Those that are to be compressed of the linears that the walk stands before.
    [[nodiscard]] std::vector<std::string> wanted() const {
        auto names = walk_.linears();
        std::erase_if(names, [&](const auto& name) { return linear_of_.count(name) == 0; });
        return names;
    }
    void run_layer() {
        const Index layer = walk_.layer();
        std::vector<const CalibratedLinear*> done;
        for (; !walk_.done() && walk_.layer() == layer; walk_.advance()) {
            const auto names = wanted();
            if (!names.empty()) run_stage(names);
            for (const auto& name : names) done.push_back(&results_.at(name));
        }
        if (state_) state_->save(layer, done);
    }
    /// The same from what was kept of it: no moments, no fits.
    void restore_layer() {
        const Index layer = walk_.layer();
        for (; !walk_.done() && walk_.layer() == layer; walk_.advance())
            for (const auto& name : wanted()) {
                const auto& linear = *linear_of_.at(name);
                auto result = state_->load(layer, dense_report(linear, options_.dtype),
                                           options_.dtype, backend_);
                if (result.form.cores.empty())
                    result.stands_in = walk_.weight(name);
                else
                    memory_.learn(result.report.kind, result.report.shape,
                                  result.report.calibration->candidates);
                keep(name, std::move(result));
                meter_.skip(factorisation_work(linear.tensor->shape));
            }
    }
    /// Puts the result into the compressed flow, and aside.
    void keep(const std::string& name, CalibratedLinear result) {
        walk_.replace(
            Linear(name, as_matrix(result.stands_in.view()), walk_.bias(name), {}, backend_));
        result.stands_in = {};
        results_.insert_or_assign(name, std::move(result));
    }

    void run_stage(const std::vector<std::string>& names) {
        const double g = calibration_.sink_weight;
        const auto moments = walk_.moments();
        const auto moment = moments.compressed_moment(backend_, g);
        std::optional<Tensor<double>> map;
        if (walk_.diverged() && calibration_.compensation == Compensation::on)
            map = believed(compensating_map(moment, moments.cross_moment(backend_, g),
                                            calibration_.compensation_ridge, backend_),
                           moments.tokens());
        for (const auto& name : names) {
            const auto& linear = *linear_of_.at(name);
            const auto begin = std::chrono::steady_clock::now();
            const auto W = walk_.weight(name);
            const auto target = target_of(W, map);
            const double total =
                weighted_loss<float>(as_matrix(target.view()), as_matrix(moment.view()), backend_);
            auto result = compressed(linear, {W, target, moment, total});
            const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
            result.report.seconds = spent.count();
            keep(name, std::move(result));
            meter_.advance(name, factorisation_work(linear.tensor->shape));
        }
    }
    [[nodiscard]] CalibratedLinear compressed(const PlannedLinear& linear,
                                              const CalibratedTarget& target) {
        return named(linear.name, [&] {
            return compress_calibrated_linear(target, dense_report(linear, options_.dtype),
                                              share_of(linear.name), memory_, options_,
                                              calibration_.linear, backend_);
        });
    }

    std::vector<PlannedLinear> linears_;
    const CompressOptions& options_;
    const CompressCalibration& calibration_;
    const B& backend_;
    double share_;
    ProgressMeter meter_;
    CalibrationWalk walk_;
    LayoutMemory memory_;
    std::optional<CompressState> state_;
    std::unordered_map<std::string, const PlannedLinear*> linear_of_;
    std::unordered_map<std::string, CalibratedLinear> results_;
};

/// Front to back, or what is missing of it in the resume folder; then the output.
template <Backend B>
[[nodiscard]] CompressReport compress_in_order(const Checkpoint& source,
                                               const std::filesystem::path& folder,
                                               const CompressOptions& options,
                                               const CompressCalibration& calibration,
                                               const B& backend) {
    auto planned = plan_linears(source, options);
    CompressedWriter writer(folder);
    CalibratedJob<B> job(source, std::move(planned), options, calibration, backend);
    job.run();
    auto report = begin_report(source, options);
    for (const auto& tensor : source.tensors()) {
        report.bytes_before += tensor.bytes;
        report.parameters_before += num_elements(tensor.shape);
        constexpr std::string_view suffix = ".weight";
        const auto found =
            tensor.name.ends_with(suffix)
                ? job.results().find(tensor.name.substr(0, tensor.name.size() - suffix.size()))
                : job.results().end();
        if (found == job.results().end()) {
            writer.copy(source, tensor.name, options.dtype);
            continue;
        }
        auto& [form, stands_in, linear] = found->second;
        if (form.cores.empty())
            writer.copy(source, tensor.name, options.dtype);
        else
            append_linear(writer, linear, form, options.dtype);
        report.linears.push_back(std::move(linear));
    }
    const auto written = writer.finish(source, options.dtype);
    report.calibration = summarize(job.walk(), report.linears);
    report.seconds = job.seconds();
    report.bytes = written.checkpoint().bytes();
    report.parameters = written.num_parameters();
    writer.commit();
    return report;
}

}  // namespace detail

/// The same as compress in the metric of real inputs: see above.
///
/// source       dense safetensors or GGUF of a decoder that Transformer takes
/// folder       must not exist; appears when all of it is written
/// options      budget or budget_bytes, form, sites, layouts, only, skip, dtype, seed, progress
/// calibration  tokens, and how they are used
/// group        processes that call with the same arguments and see the same folders: with CompressInputs::dense rank
///              r compresses layers r, r + size, .., to the same bits, whatever their number; else one. Rank 0
///              writes, and is told of progress; what one throws all throw, when everybody is through with its layers
/// returns      on rank 0, the others have an empty report: as compress, with what calibration says of every linear and of the whole
/// error        losses are measured on the calibration tokens; fewer of them than a linear has inputs leave
///              directions that nothing was heard of, where the weight is kept as it is
/// cost         per layer the moments of both flows (n^2 multiply-adds per token, stage and moment), the layer
///              itself for both, and search_fit for each linear. Memory: as CalibrationWalk, all stored cores
///              Layers apart: the dense flow once per process, and both flows once more on rank 0 at the end
/// throws       as compress; ArgumentError (no tokens; shares; another run in the resume folder; several processes for layers that read what
///              those before them give), NumericalError, naming the linear, for
///              activations that are not finite
template <Backend B, Communicator Group>
[[nodiscard]] CompressReport compress(const Checkpoint& source, const std::filesystem::path& folder,
                                      const CompressOptions& options,
                                      const CompressCalibration& calibration, const B& backend,
                                      Group& group) {
    detail::validate(options, calibration);
    detail::require_dense(source);
    const bool apart = calibration.inputs == CompressInputs::dense;
    if (!apart && group.size() > 1)
        detail::raise<ArgumentError>({"compress: ", group.size(),
                                      " processes share layers with CompressInputs::dense alone"});
    if (apart) {
        detail::at_root(group, [&] {
            const detail::CompressedWriter free(folder);  // the place of the output
            const detail::CompressState begun(calibration.resume,
                                              detail::requested(source, options, calibration));
        });
        detail::all_or_none(group, [&] {
            auto own = options;
            if (group.rank() != 0) own.progress = {};
            detail::CalibratedJob<B> job(source, detail::plan_linears(source, options), own,
                                         calibration, backend);
            job.run_apart(group.rank(), group.size());
        });
    }
    CompressReport report;
    detail::at_root(group, [&] {
        report = detail::compress_in_order(source, folder, options, calibration, backend);
    });
    return report;
}
/// The same by one process.
template <Backend B>
[[nodiscard]] CompressReport compress(const Checkpoint& source, const std::filesystem::path& folder,
                                      const CompressOptions& options,
                                      const CompressCalibration& calibration, const B& backend) {
    SingleProcess alone;
    return compress(source, folder, options, calibration, backend, alone);
}

}  // namespace mpo

#ifdef MPO_MODEL_COMPILED
namespace mpo {
extern template CompressReport compress<EigenBackend, SingleProcess>(
    const Checkpoint&, const std::filesystem::path&, const CompressOptions&,
    const CompressCalibration&, const EigenBackend&, SingleProcess&);
extern template CompressReport compress<EigenBackend>(const Checkpoint&,
                                                      const std::filesystem::path&,
                                                      const CompressOptions&,
                                                      const CompressCalibration&,
                                                      const EigenBackend&);
}  // namespace mpo
#else
#include "mpo/model/compress_calibrated_inl.hpp"
#endif
