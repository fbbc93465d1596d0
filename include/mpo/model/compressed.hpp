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
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "mpo/core/printable.hpp"
#include "mpo/io/mapped_file.hpp"
#include "mpo/io/text_file.hpp"
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
                                  ReadMode mode = ReadMode::mapped)
        : checkpoint_(folder, mode) {
        constexpr Index max_config_bytes = Index{64} << 20;
        const auto path = folder / compressed_config_file;
        linears_ = parse_compressed_config(read_text_file(path, max_config_bytes), path.string());
        for (const auto& linear : linears_) require_cores(linear);
        require_no_orphans();
    }

    /// The tensors as they lie on the disk, cores among them.
    [[nodiscard]] const Checkpoint& checkpoint() const { return checkpoint_; }
    /// The linears that were compressed, in the order of mpo_config.json.
    [[nodiscard]] const std::vector<CompressedLinear>& linears() const { return linears_; }

    /// Elements of all tensors, pivots aside.
    [[nodiscard]] Index num_parameters() const {
        Index sum = checkpoint_.num_parameters();
        for (const auto& linear : linears_)
            for (Index k = 1;
                 linear.stored_as == StoredAs::gauge_fixed && k < num_sites(linear.layout); ++k)
                sum -= linear.bonds[static_cast<std::size_t>(k)];
        return sum;
    }

    /// The linear to which a tensor belongs as a core or as pivots; null for any other tensor.
    struct CoreOf {
        const CompressedLinear* linear = nullptr;  // null: the tensor is neither
        Index site = 0;  // position in the chain; of pivots the site behind their bond
    };
    /// What of which linear a stored tensor is.
    [[nodiscard]] CoreOf core_of(const std::string& tensor) const {
        const auto found = cores_.find(tensor);
        if (found == cores_.end()) return {};
        return {&linears_[found->second.first], found->second.second};
    }

    /// The names of the tensors that hold a linear: cores, then pivots.
    [[nodiscard]] std::vector<std::string> tensors_of(const CompressedLinear& linear) const {
        std::vector<std::string> names;
        for (Index k = 0; k < num_sites(linear.layout); ++k)
            names.push_back(core_name(linear.name, k));
        for (Index k = 1; linear.stored_as == StoredAs::gauge_fixed && k < num_sites(linear.layout);
             ++k)
            names.push_back(pivots_name(linear.name, k));
        return names;
    }

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
    [[noreturn]] void fail(const CompressedLinear& linear, const std::string& what) const {
        detail::raise<FormatError>(
            {checkpoint_.path().string(), ": linear ", detail::in_quotes(linear.name), ": ", what});
    }

    void require_cores(const CompressedLinear& linear) {
        const bool whole = linear.stored_as == StoredAs::cores;
        for (Index k = 0; k < num_sites(linear.layout); ++k) {
            const auto at = static_cast<std::size_t>(k);
            const Shape expected =
                whole ? Shape{linear.bonds[at], linear.layout.out[at], linear.layout.in[at],
                              linear.bonds[at + 1]}
                      : stored_core_shape(linear.layout, linear.bonds, linear.center, k);
            require_tensor(linear, core_name(linear.name, k), detail::concat("core ", k), expected,
                           linear.dtype, k);
        }
        for (Index k = 1; !whole && k < num_sites(linear.layout); ++k) require_pivots(linear, k);
        if (checkpoint_.contains(linear.name + ".weight"))
            fail(linear, detail::concat("both its cores and ",
                                        detail::in_quotes(linear.name + ".weight"), " are stored"));
    }

    /// It is there, of this shape and type; it belongs to the linear.
    void require_tensor(const CompressedLinear& linear, const std::string& name,
                        const std::string& what, const Shape& shape, DType dtype, Index site) {
        if (!checkpoint_.contains(name))
            fail(linear, detail::concat("the tensor ", detail::in_quotes(name), " is missing"));
        const auto& stored = checkpoint_.info(name);
        if (stored.shape != shape || stored.type != StoredType(dtype))
            fail(linear,
                 detail::concat(what, " must be ", to_string(shape), " of ", to_string(dtype),
                                ", got ", to_string(stored.shape), " of ", to_string(stored.type)));
        cores_.emplace(name, std::pair(static_cast<std::size_t>(&linear - linears_.data()), site));
    }

    void require_pivots(const CompressedLinear& linear, Index k) {
        const Index rows = pivot_rows(linear.layout, linear.bonds, linear.center, k);
        const Index count = linear.bonds[static_cast<std::size_t>(k)];
        require_tensor(linear, pivots_name(linear.name, k), detail::concat("pivots of bond ", k),
                       {count}, pivots_dtype(rows), k);
        try {
            detail::require_pivots(read_pivots(linear, k), count, rows, k);
        } catch (const ArgumentError& wrong) {
            fail(linear, wrong.what());
        }
    }

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
    [[nodiscard]] Shape read_pivots(const CompressedLinear& linear, Index k) const {
        const std::string name = pivots_name(linear.name, k);
        const auto bytes = checkpoint_.raw(name);
        const Index count = linear.bonds[static_cast<std::size_t>(k)];
        const auto type = std::get<DType>(checkpoint_.info(name).type);
        if (type == DType::u16) return decoded<std::uint16_t>(bytes, count);
        return type == DType::i32 ? decoded<std::int32_t>(bytes, count)
                                  : decoded<std::int64_t>(bytes, count);
    }

    /// What no linear claims would be copied by reconstruct as if it were a weight.
    void require_no_orphans() const {
        for (const auto& tensor : checkpoint_.tensors())
            if ((tensor.name.find(".cores.") != std::string::npos ||
                 tensor.name.find(".pivots.") != std::string::npos) &&
                !core_of(tensor.name).linear)
                detail::raise<FormatError>(
                    {checkpoint_.path().string(), ": the tensor ", detail::in_quotes(tensor.name),
                     " is no core and no pivots of any linear in ", compressed_config_file});
    }

    Checkpoint checkpoint_;
    std::vector<CompressedLinear> linears_;
    std::unordered_map<std::string, std::pair<std::size_t, Index>> cores_;
};

}  // namespace mpo
