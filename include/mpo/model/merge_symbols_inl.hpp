// The bodies of model/merge_symbols.hpp that are no templates.
#pragma once

#include "mpo/io/inline.hpp"
#include "mpo/model/merge_symbols.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void SymbolMerger::add(Index token, std::size_t begin, std::size_t size) {
    const std::size_t k = symbols_.size();
    if (k > 0) symbols_.back().right = k;
    symbols_.push_back({token, begin, size, k > 0 ? k - 1 : no_symbol, no_symbol});
}

}  // namespace mpo::detail
