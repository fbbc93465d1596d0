// The pool behind core/parallel.hpp.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "mpo/core/inline.hpp"
#include "mpo/core/parallel.hpp"

namespace mpo {
namespace detail {

inline void spin_pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
}

/// Number of the processor that runs this thread; -1 where the system does not say. On Linux <thread> stands on
/// <pthread.h>, which by POSIX declares what <sched.h> does.
inline int current_processor() {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

/// Moves this thread to another processor, if it may run on one; where it may run stays as it was.
inline void leave_processor([[maybe_unused]] int processor) {
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;  // more than a set can hold
    cpu_set_t others = allowed;
    CPU_CLR(static_cast<unsigned>(processor), &others);
    if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0)
        static_cast<void>(sched_setaffinity(0, sizeof allowed, &allowed));
#endif
}

/// Workers that spin for some 20 us after a job and sleep afterwards: a fork-join inside a busy
/// stretch costs a few cache-line transfers, an idle library costs nothing.
class ThreadPool {
  public:
    explicit ThreadPool(int threads) {
        try {
            for (int k = 1; k < threads; ++k) workers_.emplace_back([this, k] { work(k); });
        } catch (...) {  // the system has no thread left: end those that started, then report
            stop();
            throw;
        }
    }
    ~ThreadPool() { stop(); }
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    [[nodiscard]] int threads() const { return static_cast<int>(workers_.size()) + 1; }

    /// call(context, 0) here, call(context, k) on worker k for every k < threads(); returns when
    /// all have returned. `call` must not throw.
    void run(void (*call)(void*, int), void* context) {
        call_ = call;
        context_ = context;
        processor_ = current_processor();
        pending_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
        generation_.fetch_add(1, std::memory_order_release);
        generation_.notify_all();
        call(context, 0);
        for (int spins = 0; pending_.load(std::memory_order_acquire) != 0; ++spins) {
            if (spins < spin_limit)
                spin_pause();
            else
                std::this_thread::yield();
        }
    }

  private:
    static constexpr int spin_limit = 1000;  // about 20 us at 40 to 140 cycles a pause

    /// A worker on the processor of who waits for it. The two take turns, for as long as the system's balancer needs
    /// to see it (10 to 50 ms were seen), and several times as long as one alone: the worker's spinning keeps its
    /// caller from going on, the caller's the worker from beginning. So it moves, less and less often where that
    /// does not help because there are more threads than processors, and does not spin.
    class Neighbour {
      public:
        /// Before a job that comes from `processor`: how long to spin for the next.
        [[nodiscard]] int patience(int processor) {
            const int here = current_processor();
            if (here < 0 || here != processor) {
                every_ = (std::max)(1, every_ / 2);
                return spin_limit;
            }
            if (++meetings_ < every_) return 0;
            meetings_ = 0;
            every_ = (std::min)(2 * every_, 1024);
            leave_processor(here);
            return spin_limit;
        }

      private:
        int meetings_ = 0;  // since the last move
        int every_ = 1;     // meetings until the next
    };

    void work(int piece) {
        Neighbour caller;
        int limit = caller.patience(made_on_);  // a thread begins where it was made
        for (std::uint32_t seen = 0;;) {
            for (int spins = 0; generation_.load(std::memory_order_acquire) == seen; ++spins) {
                if (spins < limit)
                    spin_pause();
                else
                    generation_.wait(seen, std::memory_order_acquire);
            }
            ++seen;  // run() waits for every worker, so no generation is ever missed
            if (stopping_.load(std::memory_order_relaxed)) return;
            limit = caller.patience(processor_);
            call_(context_, piece);
            pending_.fetch_sub(1, std::memory_order_release);
        }
    }

    void stop() {
        stopping_.store(true, std::memory_order_relaxed);
        generation_.fetch_add(1, std::memory_order_release);
        generation_.notify_all();
        for (auto& worker : workers_) worker.join();
    }

    void (*call_)(void*, int) = nullptr;
    void* context_ = nullptr;
    int processor_ = -1;  // that the job comes from
    const int made_on_ = current_processor();
    std::atomic<std::uint32_t> generation_{0};
    std::atomic<int> pending_{0};
    std::atomic<bool> stopping_{false};
    std::vector<std::thread> workers_;
};

/// The process-wide pool, made at first use, and the lock that one fork-join holds.
struct PoolState {
    std::mutex busy;
    std::unique_ptr<ThreadPool> pool;
    std::atomic<int> threads{(std::max)(1, static_cast<int>(std::thread::hardware_concurrency()))};
};

// its making is no part of every loop
[[gnu::noinline]] inline PoolState& pool_state() {
    static PoolState state;
    return state;
}

inline bool& inside_piece_flag() {
    thread_local bool inside = false;
    return inside;
}

MPO_DETAIL_INLINE bool inside_piece() {
    return inside_piece_flag();
}

MPO_DETAIL_INLINE void run_pieces(int pieces, void (*call)(void*, int), void* context) {
    auto& state = pool_state();
    std::unique_lock lock(state.busy, std::defer_lock);
    if (pieces <= 1 || inside_piece() || !lock.try_lock()) {
        for (int k = 0; k < pieces; ++k) call(context, k);
        return;
    }
    const int threads = state.threads.load();
    if (!state.pool || state.pool->threads() != threads) {
        state.pool.reset();
        state.pool = std::make_unique<ThreadPool>(threads);
    }
    struct Job {
        void (*call)(void*, int);
        void* context;
        int pieces, threads;
        std::vector<std::exception_ptr> errors;
    } job{call, context, pieces, threads,
          std::vector<std::exception_ptr>(static_cast<std::size_t>(pieces))};
    const auto work = [](void* raw, int worker) {
        auto& my = *static_cast<Job*>(raw);
        inside_piece_flag() = true;
        for (int k = worker; k < my.pieces; k += my.threads) {
            try {
                my.call(my.context, k);
            } catch (...) {
                my.errors[static_cast<std::size_t>(k)] = std::current_exception();
            }
        }
        inside_piece_flag() = false;
    };
    state.pool->run(work, &job);
    lock.unlock();
    for (const auto& error : job.errors)
        if (error) std::rethrow_exception(error);
}

}  // namespace detail

MPO_DETAIL_INLINE int num_threads() {
    return detail::pool_state().threads.load();
}

MPO_DETAIL_INLINE void set_num_threads(int threads) {
    if (threads < 1 || threads > 4096)
        detail::raise<ArgumentError>({"set_num_threads: need 1 to 4096 threads, got ", threads});
    detail::pool_state().threads.store(threads);
}

}  // namespace mpo
