// The bodies of model/stored_linear.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/compressed_config.hpp"
#include "mpo/model/stored_linear.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE StoredTensor store_rounded(Tensor<float>& core, DType dtype, Index site) {
    const auto width = static_cast<std::size_t>(bits_per_element(dtype) / 8);
    StoredTensor stored{core.shape(), dtype, {}};
    stored.bytes.resize(static_cast<std::size_t>(core.size()) * width);
    const Index lost = encode(core.data(), dtype, stored.bytes.data(), core.size());
    if (lost != 0)
        raise<NumericalError>({lost, " of ", core.size(), " numbers of core ", site,
                               " are too large for ", to_string(dtype)});
    decode(dtype, stored.bytes.data(), core.data(), core.size());
    return stored;
}

template <class Stored>
[[nodiscard]] std::vector<std::byte> packed_integers(const Shape& values) {
    std::vector<std::byte> bytes(values.size() * sizeof(Stored));
    for (std::size_t k = 0; k < values.size(); ++k) {
        const auto value = static_cast<Stored>(values[k]);
        std::memcpy(bytes.data() + k * sizeof value, &value, sizeof value);
    }
    return bytes;
}

/// Pivots among so many rows.
[[nodiscard]] inline StoredTensor store_pivots(const Shape& pivots, Index rows) {
    const DType dtype = pivots_dtype(rows);
    return {{static_cast<Index>(pivots.size())},
            dtype,
            dtype == DType::u16   ? packed_integers<std::uint16_t>(pivots)
            : dtype == DType::i32 ? packed_integers<std::int32_t>(pivots)
                                  : packed_integers<std::int64_t>(pivots)};
}

MPO_DETAIL_MODEL_INLINE StoredCores store_cores(const Mpo<float>& mpo, DType dtype) {
    StoredCores result;
    auto cores = mpo.cores();
    for (auto& core : cores)
        result.cores.push_back(store_rounded(core, dtype, static_cast<Index>(result.cores.size())));
    result.rounded = Mpo<float>(std::move(cores));
    return result;
}

MPO_DETAIL_MODEL_INLINE StoredCores store_cores(const GaugeFixedMpo<float>& mpo, DType dtype) {
    StoredCores result;
    result.center = mpo.center();
    auto cores = mpo.cores();
    for (auto& core : cores)
        result.cores.push_back(store_rounded(core, dtype, static_cast<Index>(result.cores.size())));
    for (Index k = 1; k < mpo.num_sites(); ++k)
        result.pivots.push_back(
            store_pivots(mpo.pivots()[static_cast<std::size_t>(k) - 1],
                         pivot_rows(mpo.layout(), mpo.bond_dims(), mpo.center(), k)));
    result.rounded = GaugeFixedMpo<float>(mpo.layout(), mpo.bond_dims(), mpo.center(),
                                          std::move(cores), mpo.pivots())
                         .expand();
    return result;
}

MPO_DETAIL_MODEL_INLINE Index StoredForm::num_parameters() const {
    Index sum = 0;
    for (const auto& core : cores) sum += num_elements(core.shape);
    return sum;
}

MPO_DETAIL_MODEL_INLINE Index StoredForm::num_bytes() const {
    std::size_t sum = 0;
    for (const auto* tensors : {&cores, &pivots})
        for (const auto& tensor : *tensors) sum += tensor.bytes.size();
    return static_cast<Index>(sum);
}

}  // namespace mpo::detail
