// What a run needs to know of its legs, see network/contract_network.hpp.
#pragma once

#include <algorithm>
#include <iterator>

#include "mpo/core/inline.hpp"
#include "mpo/network/contract_network.hpp"
#include "mpo/network/contract_pair_inl.hpp"
#include "mpo/network/path_inl.hpp"

namespace mpo::detail {

/// Legs of a set, as numbers, ascending.
[[nodiscard]] MPO_DETAIL_INLINE std::vector<Index> members(const LegSet& legs) {
    std::vector<Index> numbers;
    for (Index leg = 0; leg < 64 * std::ssize(legs); ++leg)
        if (contains(legs, leg)) numbers.push_back(leg);
    return numbers;
}

MPO_DETAIL_INLINE KeptLegs kept_legs(const LegNetwork& network, const ContractionPath& path) {
    const LegCounter counter(network);
    KeptLegs kept;
    for (std::size_t k = 0; k < network.tensors.size(); ++k)
        kept.inputs.push_back(members(counter.kept_alone(k)));
    walk(counter, network.tensors.size(), path.steps,
         [&](const ContractionStep&, const LegSet&, const LegSet&, const LegSet& result) {
             kept.steps.push_back(members(result));
         });
    return kept;
}

MPO_DETAIL_INLINE LegNetwork one_slice(LegNetwork network, const std::vector<Index>& sliced) {
    network.extents = sliced_extents(network, sliced);
    return network;
}

MPO_DETAIL_INLINE Index slice_offset(const StridedLegs& tensor, const std::vector<Index>& sliced,
                                     const Shape& extents, Index slice) {
    Index offset = 0;
    for (const Index leg : sliced) {
        const Index extent = extents[static_cast<std::size_t>(leg)];
        offset += slice % extent * stride_of(tensor, leg).value_or(0);
        slice /= extent;
    }
    return offset;
}

MPO_DETAIL_INLINE Shape extents_of(const std::vector<Index>& legs, const Shape& extents) {
    Shape shape;
    for (const Index leg : legs) shape.push_back(extents[static_cast<std::size_t>(leg)]);
    return shape;
}

MPO_DETAIL_INLINE PairCopy arrangement(const StridedLegs& tensor, const std::vector<Index>& order,
                                       const Shape& extents) {
    PairCopy copy{extents_of(order, extents), {}};
    for (const Index leg : order) copy.strides.push_back(stride_of(tensor, leg).value_or(0));
    return copy;
}

MPO_DETAIL_INLINE StridedLegs take_others(StridedLegs& tensor, const std::vector<Index>& kept,
                                          const Shape& extents) {
    StridedLegs rest, others;
    for (std::size_t axis = 0; axis < tensor.legs.size(); ++axis) {
        const Index leg = tensor.legs[axis];
        const auto has = [leg](const std::vector<Index>& legs) {
            return std::find(legs.begin(), legs.end(), leg) != legs.end();
        };
        if (has(kept)) {
            rest.legs.push_back(leg);
            rest.strides.push_back(tensor.strides[axis]);
        } else if (!has(others.legs)) {
            others.legs.push_back(leg);
        }
    }
    others.strides = row_major_strides(extents_of(others.legs, extents));
    tensor = rest;
    return others;
}

MPO_DETAIL_INLINE void validate_run(const LegNetwork& network, const ContractionPath& path,
                                    const std::vector<Shape>& shapes) {
    for (const Index leg : path.sliced) {
        if (std::count(network.open.begin(), network.open.end(), leg) > 0)
            raise<ArgumentError>({"contract_network: sliced leg ", leg, " of extent ",
                                  network.extents[static_cast<std::size_t>(leg)],
                                  " is open, only summed ones can be sliced"});
        if (std::count(path.sliced.begin(), path.sliced.end(), leg) > 1)
            raise<ArgumentError>({"contract_network: leg ", leg, " is sliced twice"});
    }
    if (shapes.size() != network.tensors.size())
        raise<ShapeError>({"contract_network: the network has ", network.tensors.size(),
                           " tensors, got ", shapes.size()});
    for (std::size_t k = 0; k < shapes.size(); ++k)
        if (shapes[k] != extents_of(network.tensors[k], network.extents))
            raise<ShapeError>({"contract_network: tensor ", k, " must be ",
                               to_string(extents_of(network.tensors[k], network.extents)), ", got ",
                               to_string(shapes[k])});
}

}  // namespace mpo::detail
