// MpiCommunicator: the processes of an MPI job as a Communicator (core/communicator.hpp), over the C interface of
// MPI 3.1; and run_ranks, the main function of such a job.
//
//   int main(int argc, char** argv) {
//       return mpo::run_ranks(argc, argv, [](mpo::MpiCommunicator& all) { .. });
//   }
//
// Counts may exceed 2^31: calls are split. A sum is formed in order of rank, each element by one rank, so its bits are
// the same everywhere, in every run and with every MPI. MPI's errors become exceptions. Calls come from one thread.
//
// A library of collective calls between devices (NCCL, RCCL) takes the same seat: a model of Communicator that stages
// or registers the caller's host memory. Its sums are equal on all ranks too, but their order is its own, and so their
// bits may change with the number of elements and with its version; the identifier by which its ranks find each other
// can travel by this class's broadcast.
#pragma once

#ifndef OMPI_SKIP_MPICXX
/// Keeps the C++ interface of Open MPI, withdrawn in MPI 3, out of every includer.
#define OMPI_SKIP_MPICXX 1
#endif
#ifndef MPICH_SKIP_MPICXX
/// The same for MPICH.
#define MPICH_SKIP_MPICXX 1
#endif
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <vector>

#include "mpo/core/communicator.hpp"
#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo {

/// How MpiCommunicator calls MPI.
struct MpiOptions {
    Index max_call_bytes = 1 << 20;  // 1 to 2^30: a sum is fastest where a call stays in cache
};

/// The processes of an MPI communicator. It owns a duplicate, so that its messages meet nobody else's; MPI must be
/// initialised before and finalised after it.
class MpiCommunicator {
  public:
    /// Collective over `group`. Throws BackendError where MPI is not initialised or refuses, ArgumentError for
    /// max_call_bytes outside its domain.
    explicit MpiCommunicator(MPI_Comm group = MPI_COMM_WORLD, MpiOptions options = {})
        : options_(options) {
        if (options_.max_call_bytes < 1 || options_.max_call_bytes > Index{1} << 30)
            detail::raise<ArgumentError>({"MpiCommunicator: max_call_bytes must be 1 to 2^30, got ",
                                          options_.max_call_bytes});
        int initialised = 0, finalised = 0;
        check(MPI_Initialized(&initialised), "MPI_Initialized");
        check(MPI_Finalized(&finalised), "MPI_Finalized");
        if (initialised == 0 || finalised != 0)
            detail::raise<BackendError>({"MpiCommunicator: MPI is ",
                                         initialised == 0 ? "not initialised" : "finalised",
                                         "; run_ranks or MPI_Init comes first"});
        check(MPI_Comm_dup(group, &group_), "MPI_Comm_dup");
        check(MPI_Comm_set_errhandler(group_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
        check(MPI_Comm_rank(group_, &rank_), "MPI_Comm_rank");
        check(MPI_Comm_size(group_, &size_), "MPI_Comm_size");
    }
    ~MpiCommunicator() {
        int finalised = 0;
        if (MPI_Finalized(&finalised) == MPI_SUCCESS && finalised == 0 && group_ != MPI_COMM_NULL)
            static_cast<void>(MPI_Comm_free(&group_));
    }
    MpiCommunicator(const MpiCommunicator&) = delete;
    MpiCommunicator& operator=(const MpiCommunicator&) = delete;

    /// 0 <= rank() < size().
    [[nodiscard]] int rank() const { return rank_; }
    /// Number of processes.
    [[nodiscard]] int size() const { return size_; }

    /// Returns when everybody has called it. Throws BackendError, as every call below.
    void barrier() { check(MPI_Barrier(group_), "MPI_Barrier"); }

    /// The root's bytes, to everybody. Throws ArgumentError for a root outside the group.
    void broadcast(std::span<std::byte> bytes, int root) {
        require_root(root, "broadcast");
        in_pieces(bytes, [&](std::span<std::byte> piece) {
            check(MPI_Bcast(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, root, group_),
                  "MPI_Bcast");
        });
    }

    /// The sum over all ranks: x_0 + x_1 + .. in this order, in double, rounded once. Sends and receives
    /// 2 (size - 1) / size of the bytes per rank.
    void all_reduce_sum(std::span<float> values) { sum_in_order<double>(values); }
    /// The same, rounded after every addition.
    void all_reduce_sum(std::span<double> values) { sum_in_order<double>(values); }
    /// The same, exact; modulo 2^64 where it overflows.
    void all_reduce_sum(std::span<std::int64_t> values) { sum_in_order<std::uint64_t>(values); }

    /// Everybody's bytes in order of rank, at the root; nothing elsewhere.
    ///
    /// own      of this rank; as many as it likes
    /// root     who gets them all; ArgumentError outside the group
    [[nodiscard]] std::vector<std::vector<std::byte>> gather(std::span<const std::byte> own,
                                                             int root) {
        require_root(root, "gather");
        const auto bytes = static_cast<std::int64_t>(own.size());
        std::vector<std::int64_t> sizes(rank_ == root ? static_cast<std::size_t>(size_) : 0);
        check(MPI_Gather(&bytes, 1, MPI_INT64_T, sizes.data(), 1, MPI_INT64_T, root, group_),
              "MPI_Gather");
        std::vector<std::vector<std::byte>> all(sizes.size());
        if (rank_ != root) {
            in_pieces(own, [&](std::span<const std::byte> piece) {
                check(MPI_Send(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, root, 0,
                               group_),
                      "MPI_Send");
            });
            return all;
        }
        for (int from = 0; from < size_; ++from) {
            auto& one = all[static_cast<std::size_t>(from)];
            if (from == root) {
                one.assign(own.begin(), own.end());
                continue;
            }
            one.resize(static_cast<std::size_t>(sizes[static_cast<std::size_t>(from)]));
            in_pieces(std::span<std::byte>(one), [&](std::span<std::byte> piece) {
                check(MPI_Recv(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, from, 0,
                               group_, MPI_STATUS_IGNORE),
                      "MPI_Recv");
            });
        }
        return all;
    }

    /// Says on stderr which rank this is and why it ends all of them, in one line, and does so: others wait for it in
    /// vain. Where several ranks fail at once, the lowest of the first twenty speaks: each one waits a tenth of a
    /// second for the one before it.
    ///
    /// why      of the failure
    /// status   of the whole job, 1 to 255
    [[noreturn]] void abort(std::string_view why, int status = 1) const noexcept {
        std::this_thread::sleep_for(std::chrono::milliseconds(100) * (std::min)(rank_, 20));
        std::fprintf(stderr, "mpo: error: rank %d of %d: %.*s\n", rank_, size_,
                     static_cast<int>(why.size()), why.data());
        std::fflush(stderr);
        static_cast<void>(MPI_Abort(MPI_COMM_WORLD, status));
        std::_Exit(status);
    }

  private:
    void check(int code, const char* call) const {
        if (code == MPI_SUCCESS) return;
        char words[MPI_MAX_ERROR_STRING] = {};
        int length = 0;
        if (MPI_Error_string(code, words, &length) != MPI_SUCCESS) length = 0;
        detail::raise<BackendError>(
            {"MpiCommunicator: ", call, " on rank ", rank_, " of ", size_, ": ",
             std::string_view(words, static_cast<std::size_t>(length)), " (", code, ")"});
    }

    void require_root(int root, const char* call) const {
        if (root < 0 || root >= size_)
            detail::raise<ArgumentError>(
                {call, ": root ", root, " is outside a group of ", size_, " processes"});
    }

    /// body(piece) for pieces of at most max_call_bytes, in order.
    template <class Byte, class F>
    void in_pieces(std::span<Byte> bytes, F&& body) const {
        const auto most = static_cast<std::size_t>(options_.max_call_bytes);
        for (; !bytes.empty(); bytes = bytes.subspan((std::min)(most, bytes.size())))
            body(bytes.first((std::min)(most, bytes.size())));
    }

    /// Rank r sums the r-th of size() slices of every piece, and hands it to all.
    template <class Wide, class T>
    void sum_in_order(std::span<T> values) {
        if (size_ == 1) return;
        const auto ranks = static_cast<std::size_t>(size_);
        const auto most = static_cast<std::size_t>(options_.max_call_bytes) / sizeof(T);
        const std::size_t piece = (std::max)(std::size_t{1}, (std::min)(most, values.size()));
        const std::unique_ptr<T[]> all(new T[(piece / ranks + 1) * ranks]);
        std::vector<int> counts(ranks), offsets(ranks), own_counts(ranks), own_offsets(ranks);
        for (; !values.empty(); values = values.subspan((std::min)(piece, values.size()))) {
            const std::size_t length = (std::min)(piece, values.size());
            const auto begin = [&](std::size_t r) {
                return length / ranks * r + (std::min)(r, length % ranks);
            };
            const auto me = static_cast<std::size_t>(rank_);
            const std::size_t own = begin(me + 1) - begin(me);
            for (std::size_t r = 0; r < ranks; ++r) {  // in bytes
                counts[r] = static_cast<int>((begin(r + 1) - begin(r)) * sizeof(T));
                offsets[r] = static_cast<int>(begin(r) * sizeof(T));
                own_counts[r] = static_cast<int>(own * sizeof(T));
                own_offsets[r] = static_cast<int>(own * r * sizeof(T));
            }
            check(MPI_Alltoallv(values.data(), counts.data(), offsets.data(), MPI_BYTE, all.get(),
                                own_counts.data(), own_offsets.data(), MPI_BYTE, group_),
                  "MPI_Alltoallv");
            for (std::size_t i = 0; i < own; ++i) {
                auto sum = static_cast<Wide>(all[i]);
                for (std::size_t r = 1; r < ranks; ++r) sum += static_cast<Wide>(all[r * own + i]);
                values[begin(me) + i] = static_cast<T>(sum);
            }
            check(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values.data(), counts.data(),
                                 offsets.data(), MPI_BYTE, group_),
                  "MPI_Allgatherv");
        }
    }

    MPI_Comm group_ = MPI_COMM_NULL;
    MpiOptions options_;
    int rank_ = 0, size_ = 1;
};

/// The main function of a job: initialises MPI, calls body(communicator) on every rank, finalises. A rank whose body
/// throws, or returns another int than 0, ends the whole job: one line on stderr says which and why (MpiCommunicator's
/// abort), and what other ranks were waiting for never comes. To be called once in a program.
///
/// argc, argv   of main; MPI may take its own options out
/// body         takes MpiCommunicator&; returns void or int
/// returns      0, or 1 where MPI itself cannot begin or end
template <class F>
[[nodiscard]] int run_ranks(int& argc, char**& argv, F&& body) {
    int given = MPI_THREAD_SINGLE;
    if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &given) != MPI_SUCCESS ||
        given < MPI_THREAD_FUNNELED) {
        std::fprintf(stderr, "mpo: error: MPI cannot be initialised for threads of the caller\n");
        return 1;
    }
    {
        std::optional<MpiCommunicator> made;
        try {
            made.emplace();
        } catch (const std::exception& error) {
            std::fprintf(stderr, "mpo: error: %s\n", error.what());
            static_cast<void>(MPI_Abort(MPI_COMM_WORLD, 1));
            return 1;
        }
        MpiCommunicator& all = *made;
        int status = 0;
        try {
            if constexpr (std::is_void_v<std::invoke_result_t<F&, MpiCommunicator&>>)
                body(all);
            else
                status = body(all);
        } catch (const std::exception& error) {
            all.abort(error.what());
        } catch (...) {
            all.abort("an exception that is no std::exception");
        }
        // of a status the system keeps eight bits: none that means failure may look like success
        if (status != 0)
            all.abort(detail::concat("ended with status ", status), status % 256 == 0 ? 1 : status);
    }
    return MPI_Finalize() == MPI_SUCCESS ? 0 : 1;
}

}  // namespace mpo
