// The bodies of model/progress.hpp that are no templates.
#pragma once

#include <algorithm>

#include "mpo/io/inline.hpp"
#include "mpo/model/progress.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void ProgressMeter::skip(double work) {
    ++done_;
    work_ -= work;
}

MPO_DETAIL_MODEL_INLINE void ProgressMeter::advance(std::string_view linear, double work) {
    ++done_;
    work_done_ += work;
    const double now = seconds();
    const double left = work_done_ > 0 ? now * (work_ - work_done_) / work_done_ : 0;
    const Progress progress{linear, done_, count_, now, (std::max)(0.0, left)};
    if (callback_ && callback_(progress) == ProgressReply::cancel)
        throw Cancelled(concat(who_, ": cancelled after ", done_, " of ", count_,
                               " linears, the last one ", linear, "; ", kept_));
}

}  // namespace mpo::detail
