// Small networks in backend memory: tensors whose legs are numbers. Two of them are contracted over the legs
// that both have. What a user names and draws is network/tensor_diagram.hpp; this is for algorithms.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/linalg/orthonormalize.hpp"
#include "mpo/network/contract_pair.hpp"

namespace mpo::detail {

/// Somebody else's elements, row-major without gaps. No data: the number 1.
template <class T>
struct LegView {
    const T* data = nullptr;
    std::vector<Index> legs = {};  // numbers, none twice
    Shape shape = {};              // extents, slowest first

    /// The same elements under other numbers.
    [[nodiscard]] LegView renamed(std::vector<Index> names) const {
        return {data, std::move(names), shape};
    }
    /// Position of a leg; the rank where it is missing.
    [[nodiscard]] std::size_t axis(Index leg) const {
        return static_cast<std::size_t>(std::find(legs.begin(), legs.end(), leg) - legs.begin());
    }
    [[nodiscard]] bool has(Index leg) const { return axis(leg) < legs.size(); }
};

/// The same with elements of its own.
template <class T, class B>
struct LegTensor {
    std::vector<Index> legs = {};
    Shape shape = {};
    BufferOf<B, T> elements = {};

    [[nodiscard]] Index size() const { return num_elements(shape); }
    [[nodiscard]] LegView<T> view() const { return {elements.data(), legs, shape}; }
};

template <Scalar T, class B>
[[nodiscard]] LegTensor<T, B> allocate_legs(std::vector<Index> legs, Shape shape,
                                            const B& backend) {
    const Index size = num_elements(shape);
    return {std::move(legs), std::move(shape), backend.template allocate<T>(size)};
}

/// A copy with its legs in this order; legs of extent 1 come and go as asked for.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] LegTensor<T, B> ordered(const LegView<T>& x, const std::vector<Index>& legs,
                                      const B& backend) {
    const Shape strides = row_major_strides(x.shape);
    Shape shape, from;
    for (const Index leg : legs) {
        const auto axis = x.axis(leg);
        shape.push_back(x.has(leg) ? x.shape[axis] : 1);
        from.push_back(x.has(leg) ? strides[axis] : 0);
    }
    auto result = allocate_legs<T>(legs, shape, backend);
    backend.template permute<T>(TensorView<const T>(x.data, shape, from), result.elements.data());
    return result;
}

/// The view without its legs of extent 1.
template <class T>
[[nodiscard]] LegView<T> squeezed(const LegView<T>& x) {
    LegView<T> result{x.data, {}, {}};
    for (std::size_t k = 0; k < x.legs.size(); ++k) {
        if (x.shape[k] == 1) continue;
        result.legs.push_back(x.legs[k]);
        result.shape.push_back(x.shape[k]);
    }
    return result;
}

/// The sum over all legs that both have; the others in the order asked for, or as the products leave them
/// where none is. Legs of extent 1 come and go as asked for.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] LegTensor<T, B> contracted(const LegView<T>& left, const LegView<T>& right,
                                         const B& backend, const std::vector<Index>& legs = {}) {
    if (left.data == nullptr || right.data == nullptr) {
        const auto& only = left.data == nullptr ? right : left;
        return ordered(only, legs.empty() ? only.legs : legs, backend);
    }
    const auto x = squeezed(left), y = squeezed(right);
    std::vector<Index> open;
    Shape extents;
    const auto visit = [&](const LegView<T>& here, const LegView<T>& there) {
        for (std::size_t k = 0; k < here.legs.size(); ++k) {
            const auto leg = static_cast<std::size_t>(here.legs[k]);
            extents.resize((std::max)(extents.size(), leg + 1), 1);
            extents[leg] = here.shape[k];
            if (!there.has(here.legs[k])) open.push_back(here.legs[k]);
        }
    };
    visit(x, y);
    visit(y, x);
    const auto extent = [&](Index leg) {
        const auto at = static_cast<std::size_t>(leg);
        return at < extents.size() ? extents[at] : 1;
    };
    std::vector<Index> wanted;
    for (const Index leg : legs)
        if (extent(leg) > 1) wanted.push_back(leg);
    const auto plan = plan_pair({x.legs, row_major_strides(x.shape)},
                                {y.legs, row_major_strides(y.shape)}, legs.empty() ? open : wanted,
                                extents, legs.empty() ? LegOrder::free : LegOrder::as_given);
    const auto& names = legs.empty() ? plan.result_legs.legs : legs;
    Shape shape;
    for (const Index leg : names) shape.push_back(extent(leg));
    auto result = allocate_legs<T>(names, std::move(shape), backend);
    contract_pair<T>(plan, x.data, y.data, result.elements.data(), backend);
    return result;
}

/// conj(x).
template <Scalar T, BackendFor<T> B>
[[nodiscard]] LegTensor<T, B> conjugated(const LegView<T>& x, const B& backend) {
    auto result = allocate_legs<T>(x.legs, x.shape, backend);
    const Index n = result.size();
    const auto one = send<T>(Tensor<T>({1}, {T{1}}), backend);
    backend.gemm(T{1}, matrix<const T>(one.data(), 1, 1), adjoint(matrix<const T>(x.data, n, 1)),
                 T{0}, matrix(result.elements.data(), 1, n));
    return result;
}

}  // namespace mpo::detail
