// The bodies of model/row_softmax.hpp that are no templates.
#pragma once

#include <functional>
#include <limits>
#include <span>

#include "mpo/io/inline.hpp"
#include "mpo/model/row_softmax.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE bool TopLogits::find(const float* row, std::int32_t* ids) {
    const auto wanted = static_cast<std::size_t>(top_);
    float floor = -std::numeric_limits<float>::infinity();
    for (std::size_t b = 0; b < maxima_.size(); ++b) {
        maxima_[b] = row_maximum(length_of(b), row + begin_of(b));
        if (std::isnan(maxima_[b])) return false;  // it has no order
    }
    if (maxima_.size() >= wanted) {
        sorted_ = maxima_;
        const auto last = sorted_.begin() + (top_ - 1);
        std::nth_element(sorted_.begin(), last, sorted_.end(), std::greater<>());
        floor = *last;
    }
    candidates_.clear();
    for (std::size_t b = 0; b < maxima_.size(); ++b) {
        if (maxima_[b] < floor) continue;
        const Index begin = begin_of(b), end = begin + length_of(b);
        for (Index k = begin; k < end; ++k)
            if (row[k] >= floor) candidates_.push_back(static_cast<std::int32_t>(k));
    }
    if (candidates_.size() < wanted) return false;
    std::partial_sort_copy(
        candidates_.begin(), candidates_.end(), ids, ids + top_,
        [&](std::int32_t a, std::int32_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
    return true;
}

}  // namespace mpo::detail
