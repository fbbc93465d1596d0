// Moments on the disk, a safetensors file:
//
//   1. Metadata: "mpo_calibration" is the version of this format, "model" states the shapes of the decoder.
//   2. "calibration.totals" F64 (2): windows, and tokens in them. "calibration.sinks" F64 (sinks, 6): layer (-1 is the
//      embedding), stage (0 to 3, see BlockStage), window, position, norm, median.
//   3. For linears that read the same, L the first of them: "L.totals" F64 (4): tokens, weight, output energy and weight
//      of sinks; "L.dense_sum" F64 (n, n), symmetric: S is dense_sum / weight; for both flows "L.compressed_sum"
//      (symmetric) and "L.cross_sum", the same; where there are sinks "L.sink_scales" F64 (sinks),
//      "L.sink_dense" F32 (sinks, n) and for both flows "L.sink_compressed". moments.hpp says what they are.
//   4. Nothing else. A file may lack layers and stages.
#pragma once

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/safetensors.hpp"
#include "mpo/io/safetensors_writer.hpp"
#include "mpo/model/decoder_block.hpp"
#include "mpo/model/moments.hpp"
#include "mpo/model/sinks.hpp"

namespace mpo {

/// Version of the format of moments that this library writes and reads.
inline constexpr const char* moments_format_version = "1";

/// What moments were made of.
struct CalibrationSummary {
    Index windows = 0;                // sequences
    Index tokens = 0;                 // in all of them
    std::vector<SinkPosition> sinks;  // found in the dense flow
};

namespace detail {

/// What tells decoders of other shapes apart.
[[nodiscard]] std::string shapes_of(const TransformerConfig& model);

/// Where linears that read the same stand.
struct MomentsPlace {
    Index layer = 0;
    BlockStage stage = BlockStage::attention;
};

}  // namespace detail

/// A file of moments in the making: one stage at a time, so that not more than one need be in memory.
class MomentsWriter {
  public:
    /// path     of the file; nothing is there before finish()
    /// model    whose linears they belong to
    /// throws   FileError
    MomentsWriter(const std::filesystem::path& path, const TransformerConfig& model);

    /// Throws ArgumentError where the decoder has no such linears or they were written before, FileError.
    void append(const InputMoments& moments);

    /// Completes the file and gives it its name. Throws FileError.
    void finish(const CalibrationSummary& summary);

  private:
    void append_numbers(const std::string& name, const std::vector<double>& numbers);
    void append_symmetric(const std::string& name, Tensor<double> sum);

    TransformerConfig model_;
    std::map<std::string, detail::MomentsPlace> places_;
    SafetensorsWriter writer_;
};

/// A file of moments, checked when it is opened; the numbers of a linear when they are read.
class MomentsFile {
  public:
    /// path     of the file; nothing in it is trusted
    /// model    whose linears it must belong to
    /// throws   FileError; FormatError, naming file and tensor, where it breaks a rule or belongs to a decoder of
    ///          other shapes
    MomentsFile(const std::filesystem::path& path, const TransformerConfig& model);

    /// What they were made of.
    [[nodiscard]] const CalibrationSummary& summary() const { return summary_; }
    /// The first linear of every stage that it has moments of, in the decoder's order.
    [[nodiscard]] const std::vector<std::string>& linears() const { return linears_; }

    /// The moments of what a linear reads, be it the first of those that read the same or another.
    ///
    /// throws   ArgumentError where the decoder or the file has no such linear; FormatError for numbers
    ///          that no moments have: not finite, not symmetric, negative ones on the diagonal
    [[nodiscard]] InputMoments read(const std::string& linear) const;

  private:
    [[noreturn]] void fail(const std::string& tensor, const std::string& what) const;
    void require_metadata(const std::string& key, const std::string& expected,
                          const char* rule) const;
    void require_tensor(const std::string& name, DType dtype, const Shape& shape) const;
    /// How many tensors belong to these linears; none where there are no moments of them.
    [[nodiscard]] std::size_t tensors_of(const std::string& name, Index n) const;
    [[noreturn]] void refuse_stranger() const;

    template <class T>
    [[nodiscard]] Tensor<T> finite(const std::string& name) const {
        auto tensor = file_.read<T>(name);
        for (Index k = 0; k < tensor.size(); ++k)
            if (!std::isfinite(tensor.data()[k]))
                fail(name, detail::concat("holds ", tensor.data()[k], " at element ", k));
        return tensor;
    }
    template <class T>
    [[nodiscard]] std::vector<T> numbers(const std::string& name) const {
        const auto tensor = finite<T>(name);
        return {tensor.data(), tensor.data() + tensor.size()};
    }
    [[nodiscard]] Tensor<double> symmetric(const std::string& name) const;
    [[nodiscard]] Index integer(const std::string& name, double value, double least) const;
    void read_sinks(const std::string& name, MomentSums& sums) const;
    [[nodiscard]] CalibrationSummary read_summary() const;

    SafetensorsFile file_;
    TransformerConfig model_;
    std::map<std::string, detail::MomentsPlace> places_;
    CalibrationSummary summary_;
    std::vector<std::string> linears_;
};

/// Writes the moments of one model over two sets of texts as those over both, one stage at a time; windows of
/// the other count behind those of the one.
///
/// one, other   hold the same linears and flows
/// path         of the result
/// throws       ArgumentError where they do not; as MomentsFile::read and MomentsWriter
void merge_moments(const MomentsFile& one, const MomentsFile& other, const TransformerConfig& model,
                   const std::filesystem::path& path);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/moments_file_inl.hpp"
#endif
