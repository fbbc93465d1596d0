// ONE persistent pool of threads for the whole library, and the one knob that sizes it.
//
// parallel_for splits a range into at most num_threads() pieces and joins them (fork-join). A call
// from inside a piece, or while another thread holds the pool, runs its pieces on the calling
// thread: never a deadlock, never more threads than asked for. How a range is split depends on
// num_threads() alone, so the same thread count gives the same bits. Exceptions travel to the
// caller; where several pieces throw, the piece with the lowest number wins.
#pragma once

#include <algorithm>
#include <atomic>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo {
namespace detail {

/// Whether the calling thread runs a piece of a parallel loop.
[[nodiscard]] bool inside_piece();

/// Runs call(context, 0) .. call(context, pieces - 1), on the pool where it is free, else here one by
/// one.
void run_pieces(int pieces, void (*call)(void* context, int piece), void* context);

template <class F>
void call_piece(void* piece, int k) {
    (*static_cast<F*>(piece))(k);
}

}  // namespace detail

/// Threads that the library may use, the calling one included; the hardware's count at first.
[[nodiscard]] int num_threads();

/// Sets the one thread knob. Takes effect with the next parallel loop. Throws ArgumentError
/// below 1.
void set_num_threads(int threads);

/// body(first, last) over pieces of [begin, end), each a multiple of `grain` long but for the last;
/// a range shorter than two grains stays on the calling thread. Pieces are balanced to one grain.
template <class F>
void parallel_for(Index begin, Index end, Index grain, F&& body) {
    const Index length = end - begin;
    if (length <= 0) return;
    grain = std::max<Index>(grain, 1);
    const Index grains = (length + grain - 1) / grain;
    const Index pieces = std::min<Index>(num_threads(), grains);
    auto piece = [&](int k) {
        const Index first = begin + grains * k / pieces * grain;
        const Index last = (std::min)(end, begin + grains * (k + 1) / pieces * grain);
        body(first, last);
    };
    detail::run_pieces(static_cast<int>(pieces), detail::call_piece<decltype(piece)>, &piece);
}

/// task(k) for k in [0, count), handed out one by one to whichever thread is free. For pieces of
/// unequal cost whose results do not depend on who computed them.
template <class F>
void parallel_tasks(Index count, F&& task) {
    std::atomic<Index> next{0};
    std::atomic<bool> failed{false};
    auto piece = [&](int) {
        for (Index k = next.fetch_add(1); k < count && !failed.load(); k = next.fetch_add(1)) {
            try {
                task(k);
            } catch (...) {
                failed.store(true);
                throw;
            }
        }
    };
    detail::run_pieces(static_cast<int>(std::min<Index>(num_threads(), count)),
                       detail::call_piece<decltype(piece)>, &piece);
}

}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/core/parallel_inl.hpp"
#endif
