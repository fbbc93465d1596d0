// The bodies of model/compressed.hpp that are no templates.
#pragma once

#include <cstdint>
#include <variant>

#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/text_file.hpp"
#include "mpo/model/compressed.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE CompressedCheckpoint::CompressedCheckpoint(
    const std::filesystem::path& folder, ReadMode mode)
    : checkpoint_(folder, mode) {
    constexpr Index max_config_bytes = Index{64} << 20;
    const auto path = folder / compressed_config_file;
    linears_ = parse_compressed_config(read_text_file(path, max_config_bytes), path.string());
    for (const auto& linear : linears_) require_cores(linear);
    require_no_orphans();
}

MPO_DETAIL_MODEL_INLINE Index CompressedCheckpoint::num_parameters() const {
    Index sum = checkpoint_.num_parameters();
    for (const auto& linear : linears_)
        for (Index k = 1; linear.stored_as == StoredAs::gauge_fixed && k < num_sites(linear.layout);
             ++k)
            sum -= linear.bonds[static_cast<std::size_t>(k)];
    return sum;
}

MPO_DETAIL_MODEL_INLINE CompressedCheckpoint::CoreOf CompressedCheckpoint::core_of(
    const std::string& tensor) const {
    const auto found = cores_.find(tensor);
    if (found == cores_.end()) return {};
    return {&linears_[found->second.first], found->second.second};
}

MPO_DETAIL_MODEL_INLINE std::vector<std::string> CompressedCheckpoint::tensors_of(
    const CompressedLinear& linear) const {
    std::vector<std::string> names;
    for (Index k = 0; k < num_sites(linear.layout); ++k) names.push_back(core_name(linear.name, k));
    for (Index k = 1; linear.stored_as == StoredAs::gauge_fixed && k < num_sites(linear.layout);
         ++k)
        names.push_back(pivots_name(linear.name, k));
    return names;
}

MPO_DETAIL_MODEL_INLINE void CompressedCheckpoint::fail(const CompressedLinear& linear,
                                                        const std::string& what) const {
    detail::raise<FormatError>(
        {checkpoint_.path().string(), ": linear ", detail::in_quotes(linear.name), ": ", what});
}

MPO_DETAIL_MODEL_INLINE void CompressedCheckpoint::require_cores(const CompressedLinear& linear) {
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

MPO_DETAIL_MODEL_INLINE void CompressedCheckpoint::require_tensor(const CompressedLinear& linear,
                                                                  const std::string& name,
                                                                  const std::string& what,
                                                                  const Shape& shape, DType dtype,
                                                                  Index site) {
    if (!checkpoint_.contains(name))
        fail(linear, detail::concat("the tensor ", detail::in_quotes(name), " is missing"));
    const auto& stored = checkpoint_.info(name);
    if (stored.shape != shape || stored.type != StoredType(dtype))
        fail(linear,
             detail::concat(what, " must be ", to_string(shape), " of ", to_string(dtype), ", got ",
                            to_string(stored.shape), " of ", to_string(stored.type)));
    cores_.emplace(name, std::pair(static_cast<std::size_t>(&linear - linears_.data()), site));
}

MPO_DETAIL_MODEL_INLINE void CompressedCheckpoint::require_pivots(const CompressedLinear& linear,
                                                                  Index k) {
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

MPO_DETAIL_MODEL_INLINE Shape CompressedCheckpoint::read_pivots(const CompressedLinear& linear,
                                                                Index k) const {
    const std::string name = pivots_name(linear.name, k);
    const auto bytes = checkpoint_.raw(name);
    const Index count = linear.bonds[static_cast<std::size_t>(k)];
    const auto type = std::get<DType>(checkpoint_.info(name).type);
    if (type == DType::u16) return decoded<std::uint16_t>(bytes, count);
    return type == DType::i32 ? decoded<std::int32_t>(bytes, count)
                              : decoded<std::int64_t>(bytes, count);
}

MPO_DETAIL_MODEL_INLINE void CompressedCheckpoint::require_no_orphans() const {
    for (const auto& tensor : checkpoint_.tensors())
        if ((tensor.name.find(".cores.") != std::string::npos ||
             tensor.name.find(".pivots.") != std::string::npos) &&
            !core_of(tensor.name).linear)
            detail::raise<FormatError>(
                {checkpoint_.path().string(), ": the tensor ", detail::in_quotes(tensor.name),
                 " is no core and no pivots of any linear in ", compressed_config_file});
}

}  // namespace mpo
