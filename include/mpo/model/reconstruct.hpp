// reconstruct: a compressed checkpoint becomes the dense one again, original names and shapes, so
// that any program that reads safetensors can judge what compression did to the model.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "mpo/io/safetensors_writer.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/model/in_order.hpp"
#include "mpo/model/output_folder.hpp"
#include "mpo/model/progress.hpp"
#include "mpo/network/algebra.hpp"

namespace mpo {

/// How the dense checkpoint is written.
struct ReconstructOptions {
    std::optional<DType> dtype = {};  // of what is written: bf16, f16 or f32; none: as stored
    ProgressCallback progress = {};   // hears of every linear, and may cancel
};

/// What was written.
struct ReconstructReport {
    Index num_tensors = 0;  // written
    Index num_linears = 0;  // of these, made from cores
    Index bytes = 0;        // of all tensors written
    double seconds = 0;     // wall clock
};

namespace detail {

/// What is to be written for one stored tensor: the dense weight for the first core of a linear,
/// nothing for its other cores, a copy for anything else.
struct ReconstructedTensor {
    const CheckpointTensor* source = nullptr;
    CompressedCheckpoint::CoreOf core;
    std::optional<Tensor<float>> dense;  // (out, in)
};

template <Backend B>
class ReconstructJob {
  public:
    ReconstructJob(const CompressedCheckpoint& source, const ReconstructOptions& options,
                   ShardedSafetensorsWriter& writer, const B& backend)
        : source_(source),
          options_(options),
          writer_(writer),
          backend_(backend),
          meter_("reconstruct", options.progress, static_cast<Index>(source.linears().size()),
                 total_size(source)) {}

    [[nodiscard]] ReconstructedTensor make(Index k) const {
        const auto& tensor = source_.checkpoint().tensors()[static_cast<std::size_t>(k)];
        ReconstructedTensor result{&tensor, source_.core_of(tensor.name), std::nullopt};
        if (result.core.linear && result.core.site == 0)
            result.dense = to_dense(source_.read<float>(*result.core.linear), backend_);
        return result;
    }

    void write(const ReconstructedTensor& result) {
        const auto* linear = result.core.linear;
        if (!linear) {
            copy(*result.source);
        } else if (result.dense) {
            const DType dtype = options_.dtype.value_or(linear->dtype);
            writer_.append(linear->name + ".weight", *result.dense, dtype);
            report_.bytes += result.dense->size() * bits_per_element(dtype) / 8;
            ++report_.num_linears;
            meter_.advance(linear->name, static_cast<double>(result.dense->size()));
        }
        if (!linear || result.dense) ++report_.num_tensors;
    }

    [[nodiscard]] ReconstructReport report() && {
        report_.seconds = meter_.seconds();
        return report_;
    }

  private:
    [[nodiscard]] static double total_size(const CompressedCheckpoint& source) {
        double sum = 0;
        for (const auto& linear : source.linears())
            sum += static_cast<double>(num_elements(linear.original_shape));
        return sum;
    }

    /// As Checkpoint::copy; without a dtype nothing is converted.
    void copy(const CheckpointTensor& tensor) {
        const auto* stored = std::get_if<DType>(&tensor.type);
        source_.checkpoint().copy(tensor.name,
                                  options_.dtype.value_or(stored ? *stored : DType::bf16), writer_);
        const bool converted =
            options_.dtype && is_convertible(tensor.type) && !(stored && *stored == DType::c64);
        report_.bytes += converted
                             ? num_elements(tensor.shape) * bits_per_element(*options_.dtype) / 8
                             : tensor.bytes;
    }

    const CompressedCheckpoint& source_;
    const ReconstructOptions& options_;
    ShardedSafetensorsWriter& writer_;
    const B& backend_;
    ProgressMeter meter_;
    ReconstructReport report_;
};

}  // namespace detail

/// Writes the dense checkpoint of `source` into a new folder: `<module>.weight` (out, in) for every
/// linear, every other tensor and the side files as they are.
///
/// folder   must not exist; appears when all of it is written
/// error    of the stored cores, and rounding to the type written
/// cost     multiply-adds of to_dense for every linear; memory: num_threads() dense linears with
///          what to_dense needs, those that wait to be written, and the largest other tensor
/// throws   ArgumentError (dtype, folder exists), FileError, FormatError, NumericalError (a number
///          too large for the dtype), Cancelled. Nothing is left on the disk then
template <Backend B>
[[nodiscard]] ReconstructReport reconstruct(const CompressedCheckpoint& source,
                                            const std::filesystem::path& folder,
                                            const ReconstructOptions& options, const B& backend) {
    const auto dtype = options.dtype.value_or(DType::bf16);
    if (dtype != DType::bf16 && dtype != DType::f16 && dtype != DType::f32)
        detail::raise<ArgumentError>(
            {"reconstruct: dtype must be BF16, F16 or F32, got ", to_string(dtype)});
    OutputFolder output(folder);
    ShardedSafetensorsWriter writer(output.path());
    detail::ReconstructJob<B> job(source, options, writer, backend);
    detail::for_each_in_order(
        static_cast<Index>(source.checkpoint().tensors().size()),
        [&](Index k) { return job.make(k); },
        [&](Index, const detail::ReconstructedTensor& result) { job.write(result); });
    writer.finish();
    output.copy_side_files(source.checkpoint(), dtype);
    output.commit();
    return std::move(job).report();
}

}  // namespace mpo

#ifdef MPO_MODEL_COMPILED
namespace mpo {
extern template ReconstructReport reconstruct<EigenBackend>(const CompressedCheckpoint&,
                                                            const std::filesystem::path&,
                                                            const ReconstructOptions&,
                                                            const EigenBackend&);
}  // namespace mpo
#endif
