// The oracle of every contraction: one loop over all legs, in double.
#pragma once

#include <string>
#include <vector>

#include "mpo/network/path.hpp"
#include "naive.hpp"

namespace mpo::test::naive {

/// result[open] = sum over all other legs of the product of all tensors.
template <class W>
[[nodiscard]] Tensor<W> einsum(const LegNetwork& network, const std::vector<Tensor<W>>& tensors) {
    const auto at_legs = [](const std::vector<Index>& legs, const Shape& values) {
        Shape at;
        for (const Index leg : legs) at.push_back(values[static_cast<std::size_t>(leg)]);
        return at;
    };
    Tensor<W> result(at_legs(network.open, network.extents));
    for_each_index(network.extents, [&](const Shape& values) {
        W product = 1;
        for (std::size_t k = 0; k < tensors.size(); ++k)
            product *= entry(tensors[k].view(), at_legs(network.tensors[k], values));
        entry(result.view(), at_legs(network.open, values)) += product;
    });
    return result;
}

/// A network in the letters of einsum, "ab,bc->ac", with the extents of the letters a, b, c, ..
[[nodiscard]] inline LegNetwork lettered(const std::string& equation, const Shape& extents) {
    LegNetwork network{{{}}, extents, {}};
    bool result = false;
    for (const char c : equation) {
        if (c == '-') result = true;
        if (c == ',') network.tensors.emplace_back();
        if (c < 'a' || c > 'z') continue;
        (result ? network.open : network.tensors.back()).push_back(c - 'a');
    }
    return network;
}

/// Legs summed over for one entry of the result: the length of its sum.
[[nodiscard]] inline Index num_terms(const LegNetwork& network) {
    Index terms = num_elements(network.extents);
    for (const Index leg : network.open) terms /= network.extents[static_cast<std::size_t>(leg)];
    return terms;
}

}  // namespace mpo::test::naive
