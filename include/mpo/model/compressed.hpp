// A compressed checkpoint on the disk:
//
//   1. model.safetensors, or shards and their index: tensors that were not compressed under their
//      own names, and for each linear `<module>.weight` (out, in) that was, its cores
//      `<module>.cores.<k>`, k = 0 .. N-1, of shape (D[k], out[k], in[k], D[k+1]); where it is stored
//      gauge-fixed, what network/stored_form.hpp leaves of them, of shape stored_core_shape, and
//      `<module>.pivots.<k>`, k = 1 .. N-1, of shape (D[k]), integers that ascend.
//   2. mpo_config.json: {"format_version": 1, "linears": {<module>: {
//        "layout": {"out": [..], "in": [..]}, "bonds": [1, .., 1],
//        "stored_as": "cores" or "gauge_fixed", "center": c (of gauge_fixed),
//        "dtype": "BF16", "original_dtype": "Q4_1", "original_shape": [out, in],
//        "relative_error": e, "error_kind": "exact"}}}. Other keys are ignored.
//   3. What belongs to the model: config.json, tokenizer.
//
// A format_version or a stored_as that is not listed here is refused by name.
#pragma once

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "mpo/io/mapped_file.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compressed_config.hpp"
#include "mpo/network/layout.hpp"
#include "mpo/network/matrix_product.hpp"
#include "mpo/network/stored_form.hpp"

namespace mpo {

/// True for a folder that holds a compressed checkpoint.
[[nodiscard]] inline bool is_compressed(const std::filesystem::path& path) {
    return std::filesystem::exists(path / compressed_config_file);
}

/// A compressed checkpoint, opened. Const calls are safe from many threads.
class CompressedCheckpoint {
  public:
    /// Throws FileError where a file is missing, FormatError where mpo_config.json and the tensors
    /// do not fit together.
    explicit CompressedCheckpoint(const std::filesystem::path& folder,
                                  ReadMode mode = ReadMode::mapped);

    /// The tensors as they lie on the disk, cores among them.
    [[nodiscard]] const Checkpoint& checkpoint() const { return checkpoint_; }
    /// The linears that were compressed, in the order of mpo_config.json.
    [[nodiscard]] const std::vector<CompressedLinear>& linears() const { return linears_; }

    /// Elements of all tensors, pivots aside.
    [[nodiscard]] Index num_parameters() const;

    /// The linear to which a tensor belongs as a core or as pivots; null for any other tensor.
    struct CoreOf {
        const CompressedLinear* linear = nullptr;  // null: the tensor is neither
        Index site = 0;  // position in the chain; of pivots the site behind their bond
    };
    /// What of which linear a stored tensor is.
    [[nodiscard]] CoreOf core_of(const std::string& tensor) const;

    /// The names of the tensors that hold a linear: cores, then pivots.
    [[nodiscard]] std::vector<std::string> tensors_of(const CompressedLinear& linear) const;

    /// The cores as numbers, whole ones however they are stored. Throws FileError where reading fails.
    template <Scalar T>
    [[nodiscard]] Mpo<T> read(const CompressedLinear& linear) const {
        std::vector<Tensor<T>> cores;
        for (Index k = 0; k < num_sites(linear.layout); ++k)
            cores.push_back(checkpoint_.read<T>(core_name(linear.name, k)));
        if (linear.stored_as == StoredAs::cores) return Mpo<T>(std::move(cores));  // (D, o, i, D')
        std::vector<Shape> pivots;
        for (Index k = 1; k < num_sites(linear.layout); ++k)
            pivots.push_back(read_pivots(linear, k));
        return GaugeFixedMpo<T>(linear.layout, linear.bonds, linear.center, std::move(cores),
                                std::move(pivots))
            .expand();
    }

  private:
    [[noreturn]] void fail(const CompressedLinear& linear, const std::string& what) const;

    void require_cores(const CompressedLinear& linear);

    /// It is there, of this shape and type; it belongs to the linear.
    void require_tensor(const CompressedLinear& linear, const std::string& name,
                        const std::string& what, const Shape& shape, DType dtype, Index site);

    void require_pivots(const CompressedLinear& linear, Index k);

    template <class Stored>
    [[nodiscard]] static Shape decoded(const FileBytes& bytes, Index count) {
        Shape result;
        for (Index k = 0; k < count; ++k) {
            Stored value;
            std::memcpy(&value, bytes.data() + k * static_cast<Index>(sizeof value), sizeof value);
            result.push_back(static_cast<Index>(value));
        }
        return result;
    }
    [[nodiscard]] Shape read_pivots(const CompressedLinear& linear, Index k) const;

    /// What no linear claims would be copied by reconstruct as if it were a weight.
    void require_no_orphans() const;

    Checkpoint checkpoint_;
    std::vector<CompressedLinear> linears_;
    std::unordered_map<std::string, std::pair<std::size_t, Index>> cores_;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/compressed_inl.hpp"
#endif
