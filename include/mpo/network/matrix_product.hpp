// Mpo<T>: a matrix as a chain of small tensors, on the host.
//
//   W[(o1 .. oN), (i1 .. iN)] = C[0](0, o1, i1, :) C[1](:, o2, i2, :) .. C[N-1](:, oN, iN, 0)
//
//        i1       i2            iN
//        |        |             |
//      C[0]-D[1]-C[1]-..-D[N-1]-C[N-1]        core(k) has shape (D[k], out[k], in[k], D[k+1]),
//        |        |             |             row-major, D[0] = D[N] = 1
//        o1       o2            oN
//
// Also called TT-matrix (Oseledets, SIAM J. Matrix Anal. Appl. 31 (2010)).
#pragma once

#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/network/layout.hpp"

namespace mpo {

/// Gauge. A core is left-orthonormal where its (D o i, D') matrix has orthonormal columns,
/// right-orthonormal where its (D, o i D') matrix has orthonormal rows.
enum class CanonicalForm {
    none,   // nothing is known
    left,   // all cores but the last are left-orthonormal; the centre is the last
    right,  // all cores but the first are right-orthonormal; the centre is the first
    mixed,  // left-orthonormal before the centre, right-orthonormal behind it
};

/// "left" for CanonicalForm::left.
[[nodiscard]] inline std::string_view to_string(CanonicalForm form) {
    constexpr std::string_view names[] = {"none", "left", "right", "mixed"};
    return names[static_cast<int>(form)];
}

/// A matrix product operator. A value: copies own their cores.
template <Scalar T>
class Mpo {
  public:
    /// No sites: a place for a later assignment.
    Mpo() = default;

    /// Takes the cores as they are. `form` is a claim of the caller, not checked (that would cost
    /// as much as canonicalising); `center` is read for CanonicalForm::mixed only. Throws
    /// ShapeError for a core that is not of rank 4, a bond that differs between neighbours or is
    /// not 1 at an end; ArgumentError for 0 or more than 12 cores, an extent below 1, or a centre
    /// outside the chain.
    explicit Mpo(std::vector<Tensor<T>> cores, CanonicalForm form = CanonicalForm::none,
                 Index center = -1) {
        set_cores(std::move(cores), form, center);
    }

    /// Replaces cores, form and center; checks as the constructor, and leaves *this alone where it
    /// throws.
    void set_cores(std::vector<Tensor<T>> cores, CanonicalForm form = CanonicalForm::none,
                   Index center = -1) {
        validate(cores);
        const auto sites = static_cast<Index>(cores.size());
        if (form == CanonicalForm::mixed && (center < 0 || center >= sites))
            detail::raise<ArgumentError>({"Mpo: the centre of ", sites, " sites must be in 0..",
                                          sites - 1, ", got ", center});
        cores_ = std::move(cores);
        form_ = form;
        center_ = form == CanonicalForm::mixed  ? center
                  : form == CanonicalForm::left ? sites - 1
                                                : (form == CanonicalForm::right ? 0 : -1);
    }

    /// Gives the cores away; *this has no sites afterwards.
    [[nodiscard]] std::vector<Tensor<T>> take_cores() && {
        form_ = CanonicalForm::none;
        center_ = -1;
        return std::exchange(cores_, {});
    }

    /// N; 0 for an Mpo without cores.
    [[nodiscard]] Index num_sites() const { return static_cast<Index>(cores_.size()); }

    /// (D[k], out[k], in[k], D[k+1]), k = 0 .. N-1.
    [[nodiscard]] const Tensor<T>& core(Index k) const {
        return cores_.at(static_cast<std::size_t>(k));
    }
    /// All of them, left to right.
    [[nodiscard]] const std::vector<Tensor<T>>& cores() const { return cores_; }

    /// D[k], k = 0 .. N; 1 at both ends.
    [[nodiscard]] Index bond_dim(Index k) const {
        return k == num_sites() && k > 0 ? core(k - 1).extent(3) : core(k).extent(0);
    }
    /// D[0] .. D[N].
    [[nodiscard]] Shape bond_dims() const {
        Shape bonds{1};
        for (const auto& core : cores_) bonds.push_back(core.extent(3));
        return bonds;
    }

    /// The legs of all cores.
    [[nodiscard]] Layout layout() const {
        Layout layout;
        for (const auto& core : cores_) {
            layout.out.push_back(core.extent(1));
            layout.in.push_back(core.extent(2));
        }
        return layout;
    }
    /// Rows of W: the product of the out legs.
    [[nodiscard]] Index rows() const { return mpo::rows(layout()); }
    /// Columns of W: the product of the in legs.
    [[nodiscard]] Index cols() const { return mpo::cols(layout()); }

    /// Elements stored in all cores.
    [[nodiscard]] Index num_parameters() const {
        Index sum = 0;
        for (const auto& core : cores_) sum += core.size();
        return sum;
    }
    /// Bytes of all cores where an element takes so many bits (16 for bf16, 4.5 for Q4_0), each
    /// core rounded up to whole bytes. Throws ArgumentError unless bits > 0.
    [[nodiscard]] Index num_bytes(double bits_per_element) const {
        if (!(bits_per_element > 0) || !std::isfinite(bits_per_element))
            detail::raise<ArgumentError>(
                {"num_bytes: bits per element must be positive, got ", bits_per_element});
        Index sum = 0;
        for (const auto& core : cores_)
            sum += static_cast<Index>(
                std::ceil(static_cast<double>(core.size()) * bits_per_element / 8));
        return sum;
    }

    /// What is known of the gauge.
    [[nodiscard]] CanonicalForm canonical_form() const { return form_; }
    /// The core that carries the norm; -1 where the form is none.
    [[nodiscard]] Index orthogonality_center() const { return center_; }

  private:
    static void validate(const std::vector<Tensor<T>>& cores) {
        detail::require_sites(static_cast<Index>(cores.size()), "Mpo");
        Index bond = 1;
        for (std::size_t k = 0; k < cores.size(); ++k) {
            const Shape& shape = cores[k].shape();
            if (shape.size() != 4)
                detail::raise<ShapeError>({"Mpo: core ", k,
                                           " must be of rank 4 (D, out, in, D'), got ",
                                           to_string(shape)});
            if (*std::min_element(shape.begin(), shape.end()) < 1)
                detail::raise<ArgumentError>(
                    {"Mpo: every extent must be at least 1, core ", k, " is ", to_string(shape)});
            if (shape[0] != bond)
                detail::raise<ShapeError>({"Mpo: the left bond of core ", k, " must be ", bond,
                                           ", its shape is ", to_string(shape)});
            bond = shape[3];
        }
        if (bond != 1) detail::raise<ShapeError>({"Mpo: the last bond must be 1, got ", bond});
    }

    std::vector<Tensor<T>> cores_;
    CanonicalForm form_ = CanonicalForm::none;
    Index center_ = -1;
};

}  // namespace mpo
