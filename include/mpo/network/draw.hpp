// Pictures of diagrams: SVG and TikZ for the eye, DOT for Graphviz, text for a terminal. A leg is drawn
// the thicker the larger its extent, and carries its name and extent. Where everything lies is
// network/draw_scene.hpp's business.
#pragma once

#include <string>
#include <vector>

#include "mpo/network/chain_wiring.hpp"
#include "mpo/network/draw_scene.hpp"
#include "mpo/network/matrix_product.hpp"
#include "mpo/network/wiring.hpp"

namespace mpo {

/// Diagrams side by side as an SVG picture without script, fonts or links: names of strangers are
/// shown, never interpreted.
///
/// diagrams  at least one, each with at least one tensor
/// options   what points up, where tensors stand, sign and captions
/// returns   an svg element
/// throws    ArgumentError (no diagram, no tensor, a number of captions that is another than that of
///           diagrams, places that leave a tensor out)
[[nodiscard]] std::string draw_svg(const std::vector<Wiring>& diagrams,
                                   const DrawOptions& options = {});

/// The same picture as a tikzpicture, 1 px = 0.75 pt. Needs the package tikz; names of letters beyond
/// ASCII need XeLaTeX or LuaLaTeX. Takes diagrams and options and throws as draw_svg.
[[nodiscard]] std::string draw_tikz(const std::vector<Wiring>& diagrams,
                                    const DrawOptions& options = {});

/// An undirected graph for Graphviz: tensors are nodes, legs are edges, open legs end in their label,
/// legs of three tensors or more meet in a point. Throws ArgumentError where `diagram` has no tensors.
[[nodiscard]] std::string draw_dot(const Wiring& diagram);

/// A line per tensor of `diagram` with its legs, extents and elements, then the open legs and the sum.
/// Control characters in names are shown as \\x1b. Throws ArgumentError where there are no tensors.
[[nodiscard]] std::string draw_text(const Wiring& diagram);

/// The diagram of an MPO, without its elements; see chain_wiring for the names. Throws ArgumentError for
/// an Mpo without sites.
template <Scalar T>
[[nodiscard]] Wiring wiring_of(const Mpo<T>& mpo) {
    detail::require_sites(mpo.num_sites(), "wiring_of");
    return chain_wiring(mpo.layout(), mpo.bond_dims());
}

/// The diagram of the matrix that an MPO stands for: one tensor, called `name`, with the open legs of
/// chain_wiring(layout, ..). Throws as validate(layout).
[[nodiscard]] Wiring matrix_wiring(const Layout& layout, const std::string& name = "W");

/// in legs up, out legs down: for diagrams with the names of chain_wiring. Throws ArgumentError for more
/// sites than a chain may have, or none.
[[nodiscard]] DrawOptions chain_options(Index sites);

}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/draw_inl.hpp"
#endif
