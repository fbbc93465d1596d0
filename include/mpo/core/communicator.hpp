// Processes that work together, reduced to what the library needs: a concept, and its smallest
// model.
//
// Every call but rank and size is collective: all processes make it, in the same order. Errors are
// thrown; a process that throws between collective calls must not leave the others waiting, so an
// algorithm first agrees on failure (all_reduce_sum of a flag) and then throws everywhere.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo {

/// What a group of processes can do.
///   rank, size      0 <= rank() < size(), both fixed
///   barrier         returns when everybody has called it
///   broadcast       the root's bytes, to everybody; the same size everywhere
///   all_reduce_sum  element-wise sum over all, to everybody; the same bits on every process
///   gather          everybody's bytes in order of rank, at the root; nothing elsewhere
/// A root outside 0 .. size() - 1 is an ArgumentError.
template <class C>
concept Communicator = requires(C& all, const C& group, std::span<std::byte> bytes,
                                std::span<const std::byte> own, std::span<float> floats,
                                std::span<double> doubles, std::span<std::int64_t> counts,
                                int root) {
    { group.rank() } -> std::same_as<int>;
    { group.size() } -> std::same_as<int>;
    { all.barrier() } -> std::same_as<void>;
    { all.broadcast(bytes, root) } -> std::same_as<void>;
    { all.all_reduce_sum(floats) } -> std::same_as<void>;
    { all.all_reduce_sum(doubles) } -> std::same_as<void>;
    { all.all_reduce_sum(counts) } -> std::same_as<void>;
    { all.gather(own, root) } -> std::same_as<std::vector<std::vector<std::byte>>>;
};

/// The group of one: every collective call is the identity.
class SingleProcess {
  public:
    /// Always 0.
    [[nodiscard]] int rank() const { return 0; }
    /// Always 1.
    [[nodiscard]] int size() const { return 1; }
    /// Returns at once.
    void barrier() {}
    /// Leaves the bytes alone. Throws ArgumentError unless root is 0.
    void broadcast(std::span<std::byte>, int root) { require_root(root, "broadcast"); }
    /// The sum over one process: the numbers stay as they are.
    void all_reduce_sum(std::span<float>) {}
    /// The same for double.
    void all_reduce_sum(std::span<double>) {}
    /// The same for 64-bit integers.
    void all_reduce_sum(std::span<std::int64_t>) {}
    /// One entry: a copy of `own`. Throws ArgumentError unless root is 0.
    [[nodiscard]] std::vector<std::vector<std::byte>> gather(std::span<const std::byte> own,
                                                             int root) {
        require_root(root, "gather");
        return {{own.begin(), own.end()}};
    }

  private:
    static void require_root(int root, const char* call) {
        if (root != 0)
            detail::raise<ArgumentError>(
                {call, ": root ", root, " is outside a group of 1 process"});
    }
};

}  // namespace mpo
