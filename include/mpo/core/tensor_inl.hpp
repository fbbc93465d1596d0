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

}  // namespace mpo
