// Who is connected with whom in a tensor diagram: names of tensors, names of legs, extents. No elements:
// network/tensor_diagram.hpp computes with it, network/draw.hpp draws it.
//
// Axes with the same leg name are one leg, however many they are:
//
//   once                      open: a leg of the result
//   in two or more tensors    summed over when the last two meet; set_open keeps it (a batch leg)
//   twice in one tensor       a trace; set_open keeps the diagonal
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/network/path.hpp"

namespace mpo {

/// One tensor of a diagram, without its elements.
struct WiredTensor {
    std::string name;               // no other tensor of the diagram has it
    std::vector<std::string> legs;  // one per axis, slowest first
    Shape shape;                    // their extents, each at least 1
};

/// Names and extents of a diagram. Every function that throws leaves the diagram as it was.
class Wiring {
  public:
    /// Adds a tensor behind the others. A leg that is new becomes open, one that had a single axis so
    /// far is summed over from now on.
    ///
    /// name    not empty, new
    /// shape   extents, each at least 1
    /// legs    one name per axis, not empty
    /// throws  ArgumentError (names, extents), ShapeError (another number of legs than axes, a leg
    ///         with two extents)
    void add(std::string name, const Shape& shape, std::vector<std::string> legs);

    /// Makes `second` one leg with `first`, under the name `first`; it is summed over, see set_open.
    /// Throws ArgumentError where there is no such leg or both are the same, ShapeError where their
    /// extents differ.
    void connect(std::string_view first, std::string_view second);

    /// Says which legs the result has, slowest first; all others are summed over. Throws
    /// ArgumentError for a leg that does not exist or is named twice in `legs`.
    void set_open(std::vector<std::string> legs);

    /// Puts tensors in the place of others. Legs that are new are not open, legs that no tensor has any
    /// more neither.
    ///
    /// positions  of what goes: at least one, none twice
    /// tensors    what comes, where the first of `positions` was
    /// throws     as add
    void replace(std::vector<Index> positions, std::vector<WiredTensor> tensors);

    /// Several legs become one of the product of their extents, the first of `legs` slowest. Every
    /// tensor that has one of them must have each once, and all must be open or none.
    ///
    /// legs     at least one
    /// fused    name of the new leg; one of `legs`, or new
    /// returns  per tensor the order of its old axes in which the fused ones are neighbours; empty where
    ///          it has none of them
    /// throws   ArgumentError
    std::vector<Shape> fuse_legs(const std::vector<std::string>& legs, const std::string& fused);

    /// A leg becomes several, the first slowest, in every tensor that has it: a reshape.
    ///
    /// leg      what is split
    /// parts    names of the new legs: new, or `leg`
    /// extents  of the parts; their product is the extent of `leg`
    /// throws   ArgumentError (names, extents below 1), ShapeError (counts, the product)
    void split_leg(std::string_view leg, const std::vector<std::string>& parts,
                   const Shape& extents);

    /// In the order in which they were added.
    [[nodiscard]] const std::vector<WiredTensor>& tensors() const { return tensors_; }
    /// Legs of the result, slowest first.
    [[nodiscard]] const std::vector<std::string>& open() const { return open_; }
    /// All legs, each once, in the order in which the tensors name them.
    [[nodiscard]] std::vector<std::string> legs() const;
    /// Extent of a leg. Throws ArgumentError where there is none of this name.
    [[nodiscard]] Index extent(std::string_view leg) const;
    /// Position of a tensor. Throws ArgumentError where there is none of this name.
    [[nodiscard]] Index position(std::string_view tensor) const;
    /// Number of axes that have this leg; 0 where there is none.
    [[nodiscard]] Index num_axes(std::string_view leg) const;
    /// Elements of all tensors together. Throws ShapeError on overflow.
    [[nodiscard]] Index num_parameters() const;
    /// For optimize_path: legs are numbered as in legs(), tensors as in tensors().
    [[nodiscard]] LegNetwork network() const;

  private:
    std::vector<WiredTensor> tensors_;
    std::vector<std::string> open_;
};

namespace detail {

/// How a tensor is cut in two over a new bond, whose extent is not in the shapes yet.
struct Halves {
    Shape order = {};          // axes of the left half, then of the right one
    Index rows = 1, cols = 1;  // elements of the halves, the bond not counted
    WiredTensor left = {}, right = {};
};

/// Throws ArgumentError where `left_legs` are not legs that the tensor has once, each named once.
[[nodiscard]] Halves halve(const WiredTensor& tensor, const std::vector<std::string>& left_legs,
                           std::string left, std::string right);

/// The halves with a bond of `extent`.
[[nodiscard]] std::vector<WiredTensor> bonded(Halves halves, const std::string& bond, Index extent);

/// Two tensors of a diagram alone; open is what is open there or what another tensor has.
[[nodiscard]] Wiring pair_wiring(const Wiring& wiring, Index first, Index second);

}  // namespace detail

/// A diagram in the letters of einsum, "aib,bjc->aijc": a letter is a leg, a word a tensor.
struct Einsum {
    std::vector<std::vector<std::string>> tensors;  // the legs of each
    std::vector<std::string> open;                  // legs of the result
};

/// Reads such an equation. Blanks count for nothing; without "->" the result has the letters that stand
/// once, in alphabetical order, as in numpy. Throws ArgumentError on anything but letters, on a result
/// with a letter twice or one that no tensor has.
[[nodiscard]] Einsum parse_einsum(std::string_view equation);

}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/wiring_inl.hpp"
#endif
