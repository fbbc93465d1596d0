// Bodies of network/tile_gradient.hpp that are no templates.
#pragma once

#include "mpo/core/inline.hpp"
#include "mpo/network/tile_gradient.hpp"

namespace mpo::detail {

MPO_DETAIL_INLINE Index tile_gradient_bytes(Index sites, Index factor_bytes) {
    return (sites > 2 ? 5 : 1) * factor_bytes;
}

MPO_DETAIL_INLINE TileCut cut_gradient_tiles(Index o1, Index o2, Index in, Index element_size,
                                             Index limit_bytes) {
    return cut_tiles(o1, o2, in, element_size, limit_bytes / 2, 1,
                     {.rows = 256, .cache_bytes = Index{1} << 23});
}

}  // namespace mpo::detail
