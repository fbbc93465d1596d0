// Chains in names, see network/chain_wiring.hpp.
#pragma once

#include <algorithm>
#include <utility>

#include "mpo/core/inline.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/network/chain_wiring.hpp"
#include "mpo/network/layout_inl.hpp"
#include "mpo/network/wiring_inl.hpp"

namespace mpo {

MPO_DETAIL_INLINE Wiring chain_wiring(const Layout& layout, const Shape& bonds) {
    validate(layout, "chain_wiring");
    detail::require_bonds(layout, bonds, "chain_wiring");
    Wiring wiring;
    std::vector<std::string> outs, ins;
    const auto sites = layout.out.size();
    for (std::size_t k = 0; k < sites; ++k) {
        const std::string before = std::to_string(k), number = std::to_string(k + 1);
        outs.push_back("o" + number);
        ins.push_back("i" + number);
        std::vector<std::string> legs{outs.back(), ins.back()};
        Shape shape{layout.out[k], layout.in[k]};
        if (k > 0) {
            legs.insert(legs.begin(), "b" + before);
            shape.insert(shape.begin(), bonds[k]);
        }
        if (k + 1 < sites) {
            legs.push_back("b" + number);
            shape.push_back(bonds[k + 1]);
        }
        wiring.add("C" + before, shape, std::move(legs));
    }
    outs.insert(outs.end(), ins.begin(), ins.end());
    wiring.set_open(std::move(outs));
    return wiring;
}

namespace detail {

/// The legs that two tensors share, in the order of the first.
[[nodiscard]] MPO_DETAIL_INLINE std::vector<std::string> shared(const WiredTensor& first,
                                                                const WiredTensor& second) {
    std::vector<std::string> legs;
    for (const auto& leg : first.legs)
        if (holds(second.legs, leg)) legs.push_back(leg);
    return legs;
}

/// The axes of one site. Throws where they are not exactly those of a core.
[[nodiscard]] MPO_DETAIL_INLINE CoreAxes core_axes_of(const Wiring& wiring, const DiagramSite& site,
                                                      const std::vector<std::string>& left,
                                                      const std::vector<std::string>& right) {
    CoreAxes axes;
    axes.position = wiring.position(site.tensor);
    const auto& tensor = wiring.tensors()[static_cast<std::size_t>(axes.position)];
    const auto refuse = [&](const std::string& leg, const char* rule) {
        raise<ArgumentError>({"to_mpo: leg ", in_quotes(leg), " of tensor ", in_quotes(tensor.name),
                              " ", listed(tensor.legs), " ", rule});
    };
    const auto take = [&](const std::vector<std::string>& legs, bool open) {
        Index extent = 1;
        for (const auto& leg : legs) {
            if (leg.empty()) continue;
            const auto at = std::find(tensor.legs.begin(), tensor.legs.end(), leg);
            if (at == tensor.legs.end()) refuse(leg, "does not exist");
            if (holds(wiring.open(), leg) != open)
                refuse(leg, open ? "must be open" : "is open, a bond must not");
            if (wiring.num_axes(leg) != (open ? 1 : 2))
                refuse(leg, open ? "must belong to it alone" : "must join two tensors");
            axes.order.push_back(at - tensor.legs.begin());
            extent *= tensor.shape[static_cast<std::size_t>(axes.order.back())];
        }
        axes.shape.push_back(extent);
    };
    take(left, false);
    take({site.out}, true);
    take({site.in}, true);
    take(right, false);
    for (std::size_t axis = 0; axis < tensor.legs.size(); ++axis)
        if (std::count(axes.order.begin(), axes.order.end(), static_cast<Index>(axis)) != 1)
            refuse(tensor.legs[axis], "must be one out leg, one in leg or a bond to a neighbour");
    return axes;
}

MPO_DETAIL_INLINE std::vector<CoreAxes> core_axes(const Wiring& wiring,
                                                  const std::vector<DiagramSite>& sites) {
    const auto tensor = [&](std::size_t k) -> const WiredTensor& {
        return wiring.tensors()[static_cast<std::size_t>(wiring.position(sites[k].tensor))];
    };
    if (sites.size() != wiring.tensors().size())
        raise<ArgumentError>({"to_mpo: ", wiring.tensors().size(),
                              " tensors need as many sites, got ", sites.size()});
    for (std::size_t k = 0; k < sites.size(); ++k)
        for (std::size_t other = 0; other < k; ++other)
            if (sites[other].tensor == sites[k].tensor)
                raise<ArgumentError>({"to_mpo: tensor ", in_quotes(sites[k].tensor),
                                      " stands at sites ", other, " and ", k});
    std::vector<CoreAxes> axes;
    for (std::size_t k = 0; k < sites.size(); ++k) {
        std::vector<std::string> left, right;
        if (k > 0) left = shared(tensor(k - 1), tensor(k));
        if (k + 1 < sites.size()) right = shared(tensor(k), tensor(k + 1));
        axes.push_back(core_axes_of(wiring, sites[k], left, right));
    }
    return axes;
}

}  // namespace detail
}  // namespace mpo
