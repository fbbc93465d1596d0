// A compressed checkpoint on its way to the disk: cores and copies of the other tensors, in the order of the
// source, then what says how they belong together. It exists under its name completely or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/io/safetensors_writer.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/model/output_folder.hpp"
#include "mpo/model/stored_linear.hpp"

namespace mpo::detail {

/// Cores and pivots under their names.
template <class Writer>
void append_form(const std::string& module, const StoredForm& stored, Writer& writer) {
    const auto put = [&](const std::string& name, const StoredTensor& tensor) {
        writer.append(name, tensor.dtype, tensor.shape, tensor.bytes);
    };
    for (std::size_t k = 0; k < stored.cores.size(); ++k)
        put(core_name(module, static_cast<Index>(k)), stored.cores[k]);
    for (std::size_t k = 0; k < stored.pivots.size(); ++k)
        put(pivots_name(module, static_cast<Index>(k) + 1), stored.pivots[k]);
}

/// Writes one folder of model/compressed.hpp's format.
class CompressedWriter {
  public:
    /// Throws as OutputFolder does.
    explicit CompressedWriter(const std::filesystem::path& folder)
        : output_(folder), writer_(output_.path()) {}

    /// A tensor of the source as it is, in the stored type where its numbers are real.
    void copy(const Checkpoint& source, const std::string& tensor, DType dtype) {
        source.copy(tensor, dtype, writer_);
    }
    /// Numbers in place of a tensor of the source. Throws NumericalError where a finite one becomes Inf.
    void append(const std::string& tensor, const Tensor<float>& values, DType dtype);
    /// The cores of one linear, and what is to be known about them.
    void append(CompressedLinear linear, const StoredForm& stored);
    /// Closes all files. The folder is opened once before it gets its name: what cannot be read again
    /// does not exist.
    [[nodiscard]] CompressedCheckpoint finish(const Checkpoint& source, DType dtype);
    /// Gives the folder its name. Throws as OutputFolder does.
    void commit() { output_.commit(); }

  private:
    OutputFolder output_;
    ShardedSafetensorsWriter writer_;
    std::vector<CompressedLinear> linears_;
};

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/compressed_writer_inl.hpp"
#endif
