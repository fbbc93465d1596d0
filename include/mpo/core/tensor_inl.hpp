// Shapes, see core/tensor.hpp.
#pragma once

#include <algorithm>
#include <limits>

#include "mpo/core/inline.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_INLINE std::string joined(const Shape& numbers, std::string_view between) {
    std::string text;
    for (const Index number : numbers) {
        if (!text.empty()) text += between;
        MessagePart(number).append_to(text);
    }
    return text;
}

}  // namespace detail

MPO_DETAIL_INLINE std::string to_string(const Shape& shape) {
    return shape.empty() ? "scalar" : detail::joined(shape, " x ");
}

MPO_DETAIL_INLINE Index num_elements(const Shape& shape) {
    Index product = 1;
    bool empty = false;
    for (const Index extent : shape) {
        if (extent < 0)
            detail::raise<ShapeError>({"shape ", to_string(shape), " has a negative extent"});
        if (extent != 0 && product > (std::numeric_limits<Index>::max)() / extent)
            detail::raise<ShapeError>(
                {"shape ", to_string(shape), " has more elements than an index holds"});
        empty = empty || extent == 0;
        product *= std::max<Index>(extent, 1);
    }
    return empty ? 0 : product;
}

MPO_DETAIL_INLINE Shape row_major_strides(const Shape& shape) {
    (void)num_elements(shape);
    Shape strides(shape.size(), 1);
    for (std::size_t k = shape.size(); k-- > 1;)
        strides[k - 1] = strides[k] * std::max<Index>(shape[k], 1);
    return strides;
}

namespace detail {

MPO_DETAIL_INLINE Axes permuted_axes(const Shape& shape, const Shape& strides, const Shape& order) {
    const std::size_t rank = shape.size();
    std::vector<bool> seen(rank, false);
    Axes axes;
    for (const Index axis : order) {
        const bool inside = axis >= 0 && static_cast<std::size_t>(axis) < rank;
        if (!inside || seen[static_cast<std::size_t>(axis)] || order.size() != rank)
            raise<ShapeError>(
                {"permuted: (", to_string(order), ") is not a permutation of the ", rank, " axes"});
        seen[static_cast<std::size_t>(axis)] = true;
        axes.shape.push_back(shape[static_cast<std::size_t>(axis)]);
        axes.strides.push_back(strides[static_cast<std::size_t>(axis)]);
    }
    if (order.size() != rank)
        raise<ShapeError>({"permuted: ", order.size(), " axes given for rank ", rank});
    return axes;
}

MPO_DETAIL_INLINE Axes split_axes(const Shape& shape, const Shape& strides, Index axis,
                                  const Shape& legs) {
    const auto at = static_cast<std::size_t>(axis);
    if (num_elements(legs) != shape.at(at))
        raise<ShapeError>({"split_axis: legs ", to_string(legs), " = ", num_elements(legs),
                           " must equal the extent ", shape[at], " of axis ", axis});
    const Shape inner = row_major_strides(legs);
    Axes axes;
    for (std::size_t k = 0; k < shape.size(); ++k) {
        if (k != at) {
            axes.shape.push_back(shape[k]);
            axes.strides.push_back(strides[k]);
            continue;
        }
        for (std::size_t leg = 0; leg < legs.size(); ++leg) {
            axes.shape.push_back(legs[leg]);
            axes.strides.push_back(inner[leg] * strides[at]);
        }
    }
    return axes;
}

}  // namespace detail
}  // namespace mpo
