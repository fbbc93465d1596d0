// The wiring of an MPO: its names as a diagram, and which diagrams are a chain. No elements.
#pragma once

#include <string>
#include <vector>

#include "mpo/network/layout.hpp"
#include "mpo/network/wiring.hpp"

namespace mpo {

/// The diagram of an MPO: tensors C0, C1, .. with legs o1, i1, o2, i2, .. (out and in, open, all out legs
/// first) and bonds b1, b2, .. between them; the bonds of 1 at both ends are left out.
///
/// layout  out and in legs of every site
/// bonds   D[0] .. D[N], with D[0] = D[N] = 1
/// throws  ArgumentError, ShapeError (a layout or bonds that make no chain)
[[nodiscard]] Wiring chain_wiring(const Layout& layout, const Shape& bonds);

/// The legs of one site of an MPO in a diagram.
struct DiagramSite {
    std::string tensor = {};  // its name
    std::string out = {};     // leg of Y; empty: none, an out leg of 1
    std::string in = {};      // leg of X; empty: none, an in leg of 1
};

namespace detail {

/// How the axes of a tensor become those of a core (D, out, in, D').
struct CoreAxes {
    Index position = 0;  // of the tensor
    Shape order = {};    // its axes, left bonds, out, in, right bonds
    Shape shape = {};    // of the core
};
[[nodiscard]] std::vector<CoreAxes> core_axes(const Wiring& wiring,
                                              const std::vector<DiagramSite>& sites);

}  // namespace detail
}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/chain_wiring_inl.hpp"
#endif
