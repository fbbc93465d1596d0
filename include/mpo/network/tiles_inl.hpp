// Bodies of network/tiles.hpp that are no templates.
#pragma once

#include "mpo/core/inline.hpp"
#include "mpo/network/tiles.hpp"

namespace mpo::detail {

MPO_DETAIL_INLINE TileCut cut_tiles(Index o1, Index o2, Index in, Index element_size,
                                    Index limit_bytes, Index concurrency, const TileWish& wish) {
    const Index row = in * element_size;
    TileCut cut;
    cut.workers = std::max<Index>(1, concurrency);
    while (cut.workers > 1 && cut.workers * row > limit_bytes) --cut.workers;
    const Index rows =
        (std::min)(limit_bytes / cut.workers, (std::max)(wish.cache_bytes, row)) / row;
    if (rows < 1) return cut;
    cut.inner = (std::min)(o2, rows);
    if (cut.inner == o2)
        cut.outer = std::clamp<Index>((wish.rows + o2 - 1) / o2, 1, (std::min)(o1, rows / o2));
    cut.elements = cut.outer * cut.inner * in;
    return cut;
}

}  // namespace mpo::detail
