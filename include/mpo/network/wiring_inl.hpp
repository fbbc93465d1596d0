// Names and extents, see network/wiring.hpp.
#pragma once

#include <algorithm>
#include <iterator>
#include <utility>

#include "mpo/core/inline.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/network/layout.hpp"
#include "mpo/network/wiring.hpp"

namespace mpo {
namespace detail {

/// "(a, b, c)" for messages.
[[nodiscard]] MPO_DETAIL_INLINE std::string listed(const std::vector<std::string>& names) {
    std::string text;
    for (const auto& name : names) text += (text.empty() ? "" : ", ") + printable(name);
    return "(" + text + ")";
}

[[nodiscard]] MPO_DETAIL_INLINE bool holds(const std::vector<std::string>& names,
                                           std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

/// Throws where a name stands twice in a list.
MPO_DETAIL_INLINE void require_distinct(const std::vector<std::string>& names, const char* who) {
    for (auto name = names.begin(); name != names.end(); ++name)
        if (std::find(names.begin(), name, *name) != name)
            raise<ArgumentError>(
                {who, ": leg ", in_quotes(*name), " stands twice in ", listed(names)});
}

/// Throws unless the tensor fits in among `others`.
MPO_DETAIL_INLINE void require_fitting(const WiredTensor& tensor,
                                       const std::vector<WiredTensor>& others) {
    const std::string who = concat("add: tensor ", in_quotes(tensor.name));
    if (tensor.name.empty()) throw ArgumentError("add: a tensor must have a name");
    if (tensor.shape.size() != tensor.legs.size())
        raise<ShapeError>({who, " (", to_string(tensor.shape), ") has ", tensor.shape.size(),
                           " axes, got ", tensor.legs.size(), " legs ", listed(tensor.legs)});
    (void)num_elements(tensor.shape);
    const auto agrees = [&](const WiredTensor& other, std::size_t axis) {
        for (std::size_t k = 0; k < other.legs.size(); ++k)
            if (other.legs[k] == tensor.legs[axis] && other.shape[k] != tensor.shape[axis])
                raise<ShapeError>({who, ": leg ", in_quotes(tensor.legs[axis]), " has extent ",
                                   tensor.shape[axis], ", in tensor ", in_quotes(other.name), " ",
                                   other.shape[k]});
    };
    for (std::size_t axis = 0; axis < tensor.legs.size(); ++axis) {
        if (tensor.legs[axis].empty()) raise<ArgumentError>({who, ": leg ", axis, " has no name"});
        if (tensor.shape[axis] < 1)
            raise<ArgumentError>({who, ": leg ", in_quotes(tensor.legs[axis]),
                                  " must have at least extent 1, got ", tensor.shape[axis]});
        agrees(tensor, axis);
        for (const auto& other : others) agrees(other, axis);
    }
    for (const auto& other : others)
        if (other.name == tensor.name)
            raise<ArgumentError>({"add: there is a tensor ", in_quotes(tensor.name), " (",
                                  to_string(other.shape), ") already"});
}

/// The order of axes in which those of `legs` are neighbours, at the place of the first one.
[[nodiscard]] MPO_DETAIL_INLINE Shape neighbours(const WiredTensor& tensor,
                                                 const std::vector<std::string>& legs) {
    Shape order;
    const auto axis_of = [&](const std::string& leg) {
        return static_cast<Index>(std::find(tensor.legs.begin(), tensor.legs.end(), leg) -
                                  tensor.legs.begin());
    };
    for (const auto& leg : tensor.legs)
        if (leg == legs.front())
            for (const auto& fused : legs) order.push_back(axis_of(fused));
        else if (!holds(legs, leg))
            order.push_back(axis_of(leg));
    return order;
}

}  // namespace detail

MPO_DETAIL_INLINE void Wiring::add(std::string name, const Shape& shape,
                                   std::vector<std::string> legs) {
    Wiring next = *this;
    next.tensors_.push_back({std::move(name), std::move(legs), shape});
    detail::require_fitting(next.tensors_.back(), tensors_);
    std::vector<std::string> visited;
    for (const auto& leg : next.tensors_.back().legs) {
        if (detail::holds(visited, leg)) continue;
        visited.push_back(leg);
        const Index before = num_axes(leg);
        if (before == 0 && next.num_axes(leg) == 1) next.open_.push_back(leg);
        if (before == 1) std::erase(next.open_, leg);
    }
    *this = std::move(next);
}

MPO_DETAIL_INLINE void Wiring::connect(std::string_view first, std::string_view second) {
    const Index left = extent(first), right = extent(second);
    if (first == second)
        detail::raise<ArgumentError>(
            {"connect: need two legs, got ", detail::in_quotes(first), " twice"});
    if (left != right)
        detail::raise<ShapeError>({"connect: leg ", detail::in_quotes(first), " has extent ", left,
                                   ", leg ", detail::in_quotes(second), " ", right});
    const std::string kept(first), gone(second);
    Wiring next = *this;
    for (auto& tensor : next.tensors_)
        std::replace(tensor.legs.begin(), tensor.legs.end(), gone, kept);
    std::erase_if(next.open_, [&](const std::string& leg) { return leg == kept || leg == gone; });
    *this = std::move(next);
}

MPO_DETAIL_INLINE void Wiring::set_open(std::vector<std::string> legs) {
    for (const auto& leg : legs) (void)extent(leg);
    detail::require_distinct(legs, "set_open");
    open_ = std::move(legs);
}

MPO_DETAIL_INLINE void Wiring::replace(std::vector<Index> positions,
                                       std::vector<WiredTensor> tensors) {
    Wiring next = *this;
    const Index place = positions.front();
    std::sort(positions.rbegin(), positions.rend());
    for (const Index position : positions) next.tensors_.erase(next.tensors_.begin() + position);
    Index at = place - std::count_if(positions.begin(), positions.end(),
                                     [&](Index position) { return position < place; });
    for (auto& tensor : tensors) {
        detail::require_fitting(tensor, next.tensors_);
        next.tensors_.insert(next.tensors_.begin() + at++, std::move(tensor));
    }
    std::erase_if(next.open_, [&](const std::string& leg) { return next.num_axes(leg) == 0; });
    *this = std::move(next);
}

MPO_DETAIL_INLINE std::vector<Shape> Wiring::fuse_legs(const std::vector<std::string>& legs,
                                                       const std::string& fused) {
    if (legs.empty() || fused.empty())
        throw ArgumentError("fuse_legs: need at least one leg, and a name for the new one");
    detail::require_distinct(legs, "fuse_legs");
    Shape extents;
    for (const auto& leg : legs) extents.push_back(extent(leg));
    if (!detail::holds(legs, fused) && num_axes(fused) > 0)
        detail::raise<ArgumentError>({"fuse_legs: there is a leg ", detail::in_quotes(fused), " (",
                                      extent(fused), ") already"});
    Wiring next = *this;
    std::vector<Shape> orders(tensors_.size());
    for (std::size_t k = 0; k < tensors_.size(); ++k) {
        auto& tensor = next.tensors_[k];
        const auto axes = std::count_if(tensor.legs.begin(), tensor.legs.end(),
                                        [&](const auto& leg) { return detail::holds(legs, leg); });
        if (axes == 0) continue;
        for (const auto& leg : legs)
            if (std::count(tensor.legs.begin(), tensor.legs.end(), leg) != 1)
                detail::raise<ArgumentError>({"fuse_legs: tensor ", detail::in_quotes(tensor.name),
                                              " ", detail::listed(tensor.legs),
                                              " must have each of ", detail::listed(legs),
                                              " once, or none"});
        orders[k] = detail::neighbours(tensor, legs);
        WiredTensor after{tensor.name, {}, {}};
        for (std::size_t axis = 0; axis < tensor.legs.size(); ++axis) {
            const bool first = tensor.legs[axis] == legs.front();
            if (!first && detail::holds(legs, tensor.legs[axis])) continue;
            after.legs.push_back(first ? fused : tensor.legs[axis]);
            after.shape.push_back(first ? num_elements(extents) : tensor.shape[axis]);
        }
        tensor = std::move(after);
    }
    const auto open = std::count_if(legs.begin(), legs.end(),
                                    [&](const auto& leg) { return detail::holds(open_, leg); });
    if (open != 0 && open != std::ssize(legs))
        detail::raise<ArgumentError>({"fuse_legs: all of ", detail::listed(legs),
                                      " must be open or none, open are ", detail::listed(open_)});
    std::replace(next.open_.begin(), next.open_.end(), legs.front(), fused);
    std::erase_if(next.open_,
                  [&](const auto& leg) { return leg != fused && detail::holds(legs, leg); });
    *this = std::move(next);
    return orders;
}

MPO_DETAIL_INLINE void Wiring::split_leg(std::string_view leg,
                                         const std::vector<std::string>& parts,
                                         const Shape& extents) {
    const Index whole = extent(leg);
    if (parts.size() != extents.size() || num_elements(extents) != whole)
        detail::raise<ShapeError>({"split_leg: ", parts.size(), " parts ", detail::listed(parts),
                                   " of ", detail::joined(extents, "*"), " = ",
                                   num_elements(extents), " must make up leg ",
                                   detail::in_quotes(leg), " of extent ", whole});
    detail::require_distinct(parts, "split_leg");
    for (const auto& part : parts)
        if (part.empty() || (part != leg && num_axes(part) > 0))
            detail::raise<ArgumentError>({"split_leg: part ", detail::in_quotes(part), " of ",
                                          detail::in_quotes(leg),
                                          part.empty() ? " has no name" : " exists already"});
    const std::string gone(leg);
    Wiring next = *this;
    for (auto& tensor : next.tensors_) {
        WiredTensor after{tensor.name, {}, {}};
        for (std::size_t axis = 0; axis < tensor.legs.size(); ++axis)
            if (tensor.legs[axis] == gone) {
                after.legs.insert(after.legs.end(), parts.begin(), parts.end());
                after.shape.insert(after.shape.end(), extents.begin(), extents.end());
            } else {
                after.legs.push_back(tensor.legs[axis]);
                after.shape.push_back(tensor.shape[axis]);
            }
        tensor = std::move(after);
    }
    const auto at = std::find(next.open_.begin(), next.open_.end(), gone);
    if (at != next.open_.end()) next.open_.insert(next.open_.erase(at), parts.begin(), parts.end());
    *this = std::move(next);
}

MPO_DETAIL_INLINE std::vector<std::string> Wiring::legs() const {
    std::vector<std::string> all;
    for (const auto& tensor : tensors_)
        for (const auto& leg : tensor.legs)
            if (!detail::holds(all, leg)) all.push_back(leg);
    return all;
}

MPO_DETAIL_INLINE Index Wiring::extent(std::string_view leg) const {
    for (const auto& tensor : tensors_)
        for (std::size_t axis = 0; axis < tensor.legs.size(); ++axis)
            if (tensor.legs[axis] == leg) return tensor.shape[axis];
    detail::raise<ArgumentError>({"TensorDiagram: there is no leg ", detail::in_quotes(leg),
                                  " among ", detail::listed(legs())});
}

MPO_DETAIL_INLINE Index Wiring::position(std::string_view tensor) const {
    std::vector<std::string> names;
    for (const auto& known : tensors_) {
        if (known.name == tensor) return std::ssize(names);
        names.push_back(known.name);
    }
    detail::raise<ArgumentError>({"TensorDiagram: there is no tensor ", detail::in_quotes(tensor),
                                  " among ", detail::listed(names)});
}

MPO_DETAIL_INLINE Index Wiring::num_axes(std::string_view leg) const {
    Index axes = 0;
    for (const auto& tensor : tensors_)
        axes += std::count(tensor.legs.begin(), tensor.legs.end(), leg);
    return axes;
}

MPO_DETAIL_INLINE Index Wiring::num_parameters() const {
    Index sum = 0;
    for (const auto& tensor : tensors_) sum = detail::checked_add(sum, num_elements(tensor.shape));
    return sum;
}

MPO_DETAIL_INLINE LegNetwork Wiring::network() const {
    const auto all = legs();
    const auto number = [&](const std::string& leg) {
        return static_cast<Index>(std::find(all.begin(), all.end(), leg) - all.begin());
    };
    LegNetwork network;
    for (const auto& leg : all) network.extents.push_back(extent(leg));
    for (const auto& tensor : tensors_) {
        network.tensors.emplace_back();
        for (const auto& leg : tensor.legs) network.tensors.back().push_back(number(leg));
    }
    for (const auto& leg : open_) network.open.push_back(number(leg));
    return network;
}

namespace detail {

MPO_DETAIL_INLINE Halves halve(const WiredTensor& tensor, const std::vector<std::string>& left_legs,
                               std::string left, std::string right) {
    Halves halves;
    halves.left.name = std::move(left);
    halves.right.name = std::move(right);
    require_distinct(left_legs, "split");
    const auto take = [&](std::size_t axis, WiredTensor& half, Index& size) {
        halves.order.push_back(static_cast<Index>(axis));
        half.legs.push_back(tensor.legs[axis]);
        half.shape.push_back(tensor.shape[axis]);
        size *= tensor.shape[axis];
    };
    for (const auto& leg : left_legs) {
        const auto at = std::find(tensor.legs.begin(), tensor.legs.end(), leg);
        if (std::count(at, tensor.legs.end(), leg) != 1)
            raise<ArgumentError>({"split: tensor ", in_quotes(tensor.name), " ",
                                  listed(tensor.legs), " must have leg ", in_quotes(leg), " once"});
        take(static_cast<std::size_t>(at - tensor.legs.begin()), halves.left, halves.rows);
    }
    for (std::size_t axis = 0; axis < tensor.legs.size(); ++axis)
        if (!holds(left_legs, tensor.legs[axis])) take(axis, halves.right, halves.cols);
    return halves;
}

MPO_DETAIL_INLINE std::vector<WiredTensor> bonded(Halves halves, const std::string& bond,
                                                  Index extent) {
    halves.left.legs.push_back(bond);
    halves.left.shape.push_back(extent);
    halves.right.legs.insert(halves.right.legs.begin(), bond);
    halves.right.shape.insert(halves.right.shape.begin(), extent);
    return {std::move(halves.left), std::move(halves.right)};
}

MPO_DETAIL_INLINE Wiring pair_wiring(const Wiring& wiring, Index first, Index second) {
    Wiring pair;
    std::vector<std::string> kept;
    for (const Index k : {first, second}) {
        const auto& tensor = wiring.tensors()[static_cast<std::size_t>(k)];
        pair.add(tensor.name, tensor.shape, tensor.legs);
    }
    for (const auto& leg : pair.legs())
        if (holds(wiring.open(), leg) || wiring.num_axes(leg) > pair.num_axes(leg))
            kept.push_back(leg);
    pair.set_open(std::move(kept));
    return pair;
}

}  // namespace detail

MPO_DETAIL_INLINE Einsum parse_einsum(std::string_view equation) {
    Einsum result;
    std::string text;
    std::copy_if(equation.begin(), equation.end(), std::back_inserter(text),
                 [](char letter) { return letter != ' '; });
    const auto refuse = [&](const std::string& why) {
        detail::raise<ArgumentError>({"parse_einsum: ", detail::in_quotes(equation), " ", why});
    };
    const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    const auto arrow = text.find("->");
    std::vector<std::string> all;
    result.tensors.emplace_back();
    for (const char letter : std::string_view(text).substr(0, arrow))
        if (letter == ',')
            result.tensors.emplace_back();
        else if (is_letter(letter))
            all.push_back(result.tensors.back().emplace_back(1, letter));
        else
            refuse(detail::concat("holds ", detail::in_quotes({&letter, 1}),
                                  ", need letters, commas and ->"));
    if (arrow == std::string::npos) {
        for (const auto& leg : all)
            if (std::count(all.begin(), all.end(), leg) == 1) result.open.push_back(leg);
        std::sort(result.open.begin(), result.open.end());
        return result;
    }
    for (const char letter : std::string_view(text).substr(arrow + 2)) {
        const std::string leg(1, letter);
        if (!detail::holds(all, leg))
            refuse(
                detail::concat("asks for leg ", detail::in_quotes(leg), ", which no tensor has"));
        if (detail::holds(result.open, leg))
            refuse(detail::concat("has leg ", detail::in_quotes(leg), " twice in its result"));
        result.open.push_back(leg);
    }
    return result;
}

}  // namespace mpo
