// How the processes of a long job end together: what one of them throws, all throw, so that nobody waits for
// somebody who has left.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "mpo/core/communicator.hpp"
#include "mpo/core/error.hpp"

namespace mpo::detail {

/// The root's text, to everybody.
template <Communicator Group>
[[nodiscard]] std::string broadcast_text(Group& group, std::string text, int root) {
    if (group.size() == 1) return text;
    std::vector<std::int64_t> length{static_cast<std::int64_t>(text.size())};
    group.broadcast(std::as_writable_bytes(std::span(length)), root);
    text.resize(static_cast<std::size_t>(length.front()));
    group.broadcast(std::as_writable_bytes(std::span(text.data(), text.size())), root);
    return text;
}

/// What rank 0 says: a question to the disk has one answer, also where disks of a network lag behind.
template <Communicator Group>
[[nodiscard]] bool answer_of_root(Group& group, bool own) {
    std::byte answer{own};
    group.broadcast(std::span(&answer, 1), 0);
    return answer != std::byte{0};
}

/// What an exception is, in one letter.
[[nodiscard]] char kind_of(const std::exception& error);
/// Throws the exception that a letter stands for; Error for those of others.
[[noreturn]] void raise_kind(char kind, const std::string& message);

/// body() on every rank. Where it throws on some, it throws on all: on these what they caught, on the others an
/// exception of the kind that the first of these ranks caught, with its number and message. Nobody returns before
/// everybody is through.
///
/// body   makes no collective calls, nor waits for another rank
/// cost   one sum of size() integers
template <Communicator Group, class F>
void all_or_none(Group& group, F&& body) {
    std::exception_ptr own;
    std::string failure;
    try {
        body();
    } catch (const std::exception& error) {
        own = std::current_exception();
        failure = kind_of(error) + std::string(error.what());
    } catch (...) {
        own = std::current_exception();
        failure = "ean exception that is no std::exception";
    }
    std::vector<std::int64_t> failed(static_cast<std::size_t>(group.size()));
    failed[static_cast<std::size_t>(group.rank())] = own ? 1 : 0;
    group.all_reduce_sum(std::span<std::int64_t>(failed));
    const auto first = std::find(failed.begin(), failed.end(), 1);
    if (first == failed.end()) return;
    const auto rank = static_cast<int>(first - failed.begin());
    failure = broadcast_text(group, std::move(failure), rank);
    if (own) std::rethrow_exception(own);
    raise_kind(failure.front(), concat("rank ", rank, ": ", failure.substr(1)));
}

/// body() on rank 0 alone, under the same conditions.
template <Communicator Group, class F>
void at_root(Group& group, F&& body) {
    all_or_none(group, [&] {
        if (group.rank() == 0) body();
    });
}

/// What body() makes on every rank, under the same conditions.
template <Communicator Group, class F>
[[nodiscard]] auto all_or_none_of(Group& group, F&& body) {
    std::optional<std::decay_t<decltype(body())>> made;
    all_or_none(group, [&] { made.emplace(body()); });
    return std::move(*made);
}

/// Throws NumericalError on all ranks where `number` has other bits on one of them than on rank 0: ranks that take the
/// same steps need processors of one kind and as many threads each.
template <Communicator Group>
void require_same_everywhere(Group& group, double number, const char* who) {
    if (group.size() == 1) return;
    std::vector<double> first{number};
    group.broadcast(std::as_writable_bytes(std::span(first)), 0);
    all_or_none(group, [&] {
        if (std::bit_cast<std::uint64_t>(first.front()) != std::bit_cast<std::uint64_t>(number))
            raise<NumericalError>({who, ": this process has a loss of ", number, ", rank 0 has ",
                                   first.front(),
                                   ": their processors or numbers of threads differ"});
    });
}

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/agree_inl.hpp"
#endif
