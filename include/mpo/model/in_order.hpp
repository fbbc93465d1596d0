// A loop whose iterations are computed in parallel and delivered in order: how a checkpoint streams
// through the pool without being in memory at once.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <type_traits>
#include <utility>

#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo::detail {

/// deliver(k, make(k)) for k = 0 .. count-1. make runs on all threads of the pool; deliver on one at
/// a time, in ascending order. At most 2 num_threads() results wait for their turn. What either
/// throws ends the loop and reaches the caller.
template <class Make, class Deliver>
void for_each_in_order(Index count, Make&& make, Deliver&& deliver) {
    using Result = std::invoke_result_t<Make&, Index>;
    const auto most_waiting = 2 * static_cast<std::size_t>(num_threads());
    std::mutex mutex;
    std::condition_variable changed;
    std::map<Index, Result> waiting;
    Index next = 0;
    bool failed = false;
    const auto deliver_ready = [&](Index k, Result&& result) {
        std::unique_lock lock(mutex);
        waiting.emplace(k, std::move(result));
        while (!failed && !waiting.empty() && waiting.begin()->first == next) {
            auto ready = waiting.extract(waiting.begin());
            deliver(next, std::move(ready.mapped()));
            ++next;
        }
        changed.notify_all();
        // whoever computes `next` is not waiting here: tasks are handed out in ascending order
        changed.wait(lock, [&] { return failed || waiting.size() < most_waiting; });
    };
    parallel_tasks(count, [&](Index k) {
        try {
            deliver_ready(k, make(k));
        } catch (...) {
            const std::lock_guard lock(mutex);
            failed = true;
            changed.notify_all();
            throw;
        }
    });
}

}  // namespace mpo::detail
