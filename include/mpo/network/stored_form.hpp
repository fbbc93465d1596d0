// How cores lie on the disk: gauge-fixed, without the numbers that the gauge makes superfluous.
//
// Between two cores G and G^-1 may be inserted, any invertible (chi, chi) matrix: chi^2 numbers per bond
// say nothing of W. The G that is chosen makes chi rows of the unfolding of one neighbour the identity,
// and these rows, the pivots, need not be stored:
//
//   A (D o i, D') = C R,   C[pivots, :] = 1,   R = A[pivots, :] goes into the next core
//
// One core, the centre, is whole. Bonds left of it have their identity in the core on their left, as
// (D o i, D'); bonds right of it in the core on their right, as (D, o i D'). Every other core lacks one
// block, so that chains store num_stored(layout, bonds) numbers: chi (p + q - chi) for two sites.
//
// network/gauge_fix.hpp finds pivots. For low rank: Zhao, Zhang & Cannistraci, arXiv:2501.19090
// (2025).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/network/layout.hpp"
#include "mpo/network/matrix_product.hpp"

namespace mpo {

/// Shape of what is stored of core k: (D, out, in, D') for the centre, (D out in - D', D') before it,
/// (D, out in D' - D) behind it. Throws as num_parameters, ArgumentError where `center` or `k` is no
/// site, ShapeError where core k has no room for the identity.
///
/// layout, bonds   of the chain
/// center          the core that is whole
/// k               site
[[nodiscard]] Shape stored_core_shape(const Layout& layout, const Shape& bonds, Index center,
                                      Index k);

/// The site whose core has the most numbers, the first of them: the centre that gauge_fix chooses.
/// Throws as num_parameters.
[[nodiscard]] Index largest_core(const Layout& layout, const Shape& bonds);

/// Rows of the unfolding that holds the identity of inner bond k, among which its pivots are:
/// D out in of the core before the bond, or out in D' of the core behind it. Throws as num_parameters,
/// ArgumentError where `center` is no site or k no inner bond.
///
/// layout, bonds   of the chain
/// center          the core that is whole
/// k               bond, 1 .. N-1
[[nodiscard]] Index pivot_rows(const Layout& layout, const Shape& bonds, Index center, Index k);

namespace detail {

/// Throws ArgumentError unless there are `count` pivots, ascending, in 0 .. rows - 1.
void require_pivots(const Shape& pivots, Index count, Index rows, Index bond);

/// Those of 0 .. rows - 1 that are no pivots, ascending.
[[nodiscard]] Shape rows_between(const Shape& pivots, Index rows);

}  // namespace detail

/// A matrix product operator without the numbers that its gauge makes superfluous. A value.
template <Scalar T>
class GaugeFixedMpo {
  public:
    /// No sites: a place for a later assignment.
    GaugeFixedMpo() = default;

    /// Takes over what is stored. Throws as stored_core_shape, ShapeError where a core has another
    /// shape, ArgumentError where pivots are missing, out of range or not ascending.
    ///
    /// layout, bonds   of the chain
    /// center          the core that is whole
    /// cores           of the shapes that stored_core_shape says
    /// pivots          of bonds 1 .. N-1: the D[k] rows of the neighbour, of D o i or o i D', that are the
    ///                 identity, ascending
    GaugeFixedMpo(Layout layout, Shape bonds, Index center, std::vector<Tensor<T>> cores,
                  std::vector<Shape> pivots)
        : layout_(std::move(layout)),
          bonds_(std::move(bonds)),
          center_(center),
          cores_(std::move(cores)),
          pivots_(std::move(pivots)) {
        validate();
    }

    /// N; 0 where there are no cores.
    [[nodiscard]] Index num_sites() const { return static_cast<Index>(cores_.size()); }
    /// The legs of all cores.
    [[nodiscard]] const Layout& layout() const { return layout_; }
    /// D[0] .. D[N].
    [[nodiscard]] const Shape& bond_dims() const { return bonds_; }
    /// The core that is whole.
    [[nodiscard]] Index center() const { return center_; }
    /// What is stored of every core, see stored_core_shape; left to right.
    [[nodiscard]] const std::vector<Tensor<T>>& cores() const { return cores_; }
    /// The pivots of bonds 1 .. N-1, ascending.
    [[nodiscard]] const std::vector<Shape>& pivots() const { return pivots_; }

    /// Numbers stored: num_stored(layout(), bond_dims()) of what gauge_fix returns. Pivots are not among
    /// them.
    [[nodiscard]] Index num_stored() const {
        Index sum = 0;
        for (const auto& core : cores_) sum += core.size();
        return sum;
    }

    /// The largest modulus of a number outside the centre; 0 where there is none.
    [[nodiscard]] double largest_coefficient() const {
        double largest = 0;
        for (Index k = 0; k < num_sites(); ++k) {
            const auto& core = cores_[static_cast<std::size_t>(k)];
            for (Index n = 0; k != center_ && n < core.size(); ++n)
                largest = (std::max)(largest, static_cast<double>(std::abs(core.data()[n])));
        }
        return largest;
    }

    /// All cores whole: the numbers that are stored, bit by bit, and the identities.
    [[nodiscard]] Mpo<T> expand() const {
        std::vector<Tensor<T>> cores;
        for (Index k = 0; k < num_sites(); ++k) cores.push_back(expanded_core(k));
        return cores.empty() ? Mpo<T>() : Mpo<T>(std::move(cores));
    }

  private:
    /// The inner bond whose identity core k holds.
    [[nodiscard]] Index bond_of(Index k) const { return k < center_ ? k + 1 : k; }

    void validate() const {
        const auto sites = layout_.out.size();
        if (cores_.size() != sites || pivots_.size() + 1 != sites)
            detail::raise<ArgumentError>(
                {"GaugeFixedMpo: ", sites, " sites need as many cores and ",
                 "pivots of the bonds between them, got ", cores_.size(), " and ", pivots_.size()});
        for (Index k = 0; k < num_sites(); ++k) {
            const auto& shape = cores_[static_cast<std::size_t>(k)].shape();
            const Shape expected = stored_core_shape(layout_, bonds_, center_, k);
            if (shape != expected)
                detail::raise<ShapeError>({"GaugeFixedMpo: of core ", k, " must be stored ",
                                           to_string(expected), ", got ", to_string(shape)});
            if (k == center_) continue;
            const Index bond = bond_of(k);
            detail::require_pivots(pivots_[static_cast<std::size_t>(bond) - 1],
                                   bonds_[static_cast<std::size_t>(bond)],
                                   pivot_rows(layout_, bonds_, center_, bond), bond);
        }
    }

    [[nodiscard]] Tensor<T> expanded_core(Index k) const {
        const auto at = static_cast<std::size_t>(k);
        const auto& stored = cores_[at];
        if (k == center_) return stored;
        const auto bond = static_cast<std::size_t>(bond_of(k));
        const Shape& pivots = pivots_[bond - 1];
        const Index D = bonds_[bond], rows = stored.size() / D + D;
        Tensor<T> core({bonds_[at], layout_.out[at], layout_.in[at], bonds_[at + 1]});
        const bool left = k < center_;
        const auto whole = left ? matrix(core.data(), rows, D)
                                : transpose(matrix(core.data(), D, rows));  // (rows, D)
        const auto rest = left ? matrix(stored.data(), rows - D, D)
                               : transpose(matrix(stored.data(), D, rows - D));  // (rows - D, D)
        for (Index a = 0; a < D; ++a)
            whole.data[pivots[static_cast<std::size_t>(a)] * whole.row_stride +
                       a * whole.col_stride] = T{1};
        const Shape others = detail::rows_between(pivots, rows);
        for (Index n = 0; n < rest.rows; ++n)
            for (Index a = 0; a < D; ++a)
                whole.data[others[static_cast<std::size_t>(n)] * whole.row_stride +
                           a * whole.col_stride] =
                    rest.data[n * rest.row_stride + a * rest.col_stride];
        return core;
    }

    Layout layout_;
    Shape bonds_;
    Index center_ = 0;
    std::vector<Tensor<T>> cores_;
    std::vector<Shape> pivots_;  // of bond k + 1
};

}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/stored_form_inl.hpp"
#endif
