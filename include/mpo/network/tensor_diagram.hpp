// TensorDiagram<T>: tensors whose axes have names, joined where the names are the same. It is built,
// reshaped, split by truncated SVDs, drawn (network/draw.hpp) and contracted.
//
//        i1    i2    i3              i1   i2   i3
//         \    |    /                |    |    |
//          \   |   /    two splits   |    |    |
//          [   W   ]   =========>    C0-b1-C1-b2-C2
//          /   |   \                 |    |    |
//         /    |    \                |    |    |
//        o1    o2    o3              o1   o2   o3
//
// What a leg of this or that name means is in network/wiring.hpp. Elements lie on the host; a backend is
// given to whatever multiplies.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mpo/linalg/low_rank.hpp"
#include "mpo/network/chain_wiring.hpp"
#include "mpo/network/contract_network.hpp"
#include "mpo/network/matrix_product.hpp"
#include "mpo/network/wiring.hpp"

namespace mpo {

/// The names of what a split makes.
struct SplitNames {
    std::string left = {};   // the tensor that gets the named legs; its columns are orthonormal
    std::string right = {};  // the tensor that gets the others, and the norm
    std::string bond = {};   // the leg between them, new
};

/// What may be lost in a split, and how.
struct SplitOptions {
    Truncation truncation = {};  // tolerance, relative to the norm of the tensor, and bond cap
    LowRankMethod method = LowRankMethod::automatic;  // see linalg/low_rank.hpp
    double excess = 2e-3;    // randomized: tolerated distance from the optimal error, relative
    std::uint64_t seed = 1;  // randomized
};

/// What a split lost.
struct SplitReport {
    BondSpectrum bond;                            // of the new leg
    LowRankMethod method = LowRankMethod::exact;  // the one used
    double norm = 0;                              // of the tensor before, Frobenius
    double relative_error = 0;  // norm(tensor - left right) / norm(tensor), exact up to rounding
};

namespace detail {

/// A row-major copy on the host.
template <Scalar T>
[[nodiscard]] Tensor<T> row_major_copy(const TensorView<const T>& view) {
    Tensor<T> copy(view.shape);
    Shape at(view.shape.size(), 0);
    const T* from = view.data;
    for (Index n = 0; n < copy.size(); ++n) {
        copy.data()[n] = *from;
        for (std::size_t k = at.size(); k-- > 0;) {
            from += view.strides[k];
            if (++at[k] < view.shape[k]) break;
            from -= view.shape[k] * view.strides[k];
            at[k] = 0;
        }
    }
    return copy;
}

/// Largest absolute value (of real and imaginary parts). Throws NumericalError on NaN and Inf.
template <Scalar T>
[[nodiscard]] double largest_element(const Tensor<T>& tensor, const std::string& name) {
    double largest = 0;
    for (Index n = 0; n < tensor.size(); ++n) {
        const double re = std::abs(static_cast<double>(std::real(tensor.data()[n]))),
                     im = std::abs(static_cast<double>(std::imag(tensor.data()[n])));
        if (!std::isfinite(re) || !std::isfinite(im))
            raise<NumericalError>({"split: element ", n, " of ", tensor.size(), " of tensor '",
                                   name, "' is ", tensor.data()[n], ", need finite values"});
        largest = (std::max)({largest, re, im});
    }
    return largest;
}

}  // namespace detail

/// A network of tensors with named legs. A value: copies own their elements. A function that throws
/// leaves the diagram as it was.
template <Scalar T>
class TensorDiagram {
  public:
    /// No tensors.
    TensorDiagram() = default;

    /// A diagram in the letters of einsum, as "aib,bjc->aijc"; its tensors are called T0, T1 and so on.
    ///
    /// equation  one word of legs per tensor, and the open legs; see parse_einsum
    /// tensors   one per word
    /// throws    ArgumentError (the equation), ShapeError (number of tensors, ranks, extents)
    TensorDiagram(std::string_view equation, std::vector<Tensor<T>> tensors) {
        const auto words = parse_einsum(equation);
        if (words.tensors.size() != tensors.size())
            detail::raise<ShapeError>({"TensorDiagram: '", std::string(equation), "' needs ",
                                       words.tensors.size(), " tensors, got ", tensors.size()});
        for (std::size_t k = 0; k < tensors.size(); ++k)
            add("T" + std::to_string(k), std::move(tensors[k]), words.tensors[k]);
        set_open(words.open);
    }

    /// Adds a tensor behind the others.
    ///
    /// name    not empty, new
    /// tensor  no extent below 1
    /// legs    one name per axis, slowest first; a name that is there already joins the axes. A leg is
    ///         open from its first axis on and summed over from its second on
    /// throws  as Wiring::add
    TensorDiagram& add(const std::string& name, Tensor<T> tensor,
                       const std::vector<std::string>& legs) {
        tensors_.reserve(tensors_.size() + 1);
        wiring_.add(name, tensor.shape(), legs);
        tensors_.push_back(std::move(tensor));
        return *this;
    }

    /// Makes `second` one leg with `first`, under the name `first`, which is summed over. Throws as
    /// Wiring::connect.
    TensorDiagram& connect(std::string_view first, std::string_view second) {
        wiring_.connect(first, second);
        return *this;
    }

    /// Says which legs the result has, slowest first; all others are summed over. A leg of several
    /// tensors that is open is a batch leg. Throws as Wiring::set_open.
    TensorDiagram& set_open(std::vector<std::string> legs) {
        wiring_.set_open(std::move(legs));
        return *this;
    }

    /// Several legs become one, the first of `legs` slowest, where the first one was; copies the
    /// elements of tensors in which they are no neighbours in this order. The name is `fused`. Throws
    /// as Wiring::fuse_legs.
    TensorDiagram& fuse_legs(const std::vector<std::string>& legs, const std::string& fused) {
        Wiring next = wiring_;
        const auto orders = next.fuse_legs(legs, fused);
        auto shapes = shapes_of(next);
        std::vector<Tensor<T>> copies(tensors_.size());
        for (std::size_t k = 0; k < tensors_.size(); ++k) {
            if (orders[k].empty()) continue;
            const TensorView<const T> view = tensors_[k];
            const auto moved = permuted(view, orders[k]);
            if (!moved.is_contiguous()) copies[k] = detail::row_major_copy<T>(moved);
        }
        for (std::size_t k = 0; k < tensors_.size(); ++k) {
            if (copies[k].size() > 0) tensors_[k] = std::move(copies[k]);
            tensors_[k] = std::move(tensors_[k]).reshape(std::move(shapes[k]));
        }
        wiring_ = std::move(next);
        return *this;
    }

    /// A leg becomes several, called `parts`, of these `extents`, the first slowest: a reshape, which
    /// moves nothing. Throws as Wiring::split_leg.
    TensorDiagram& split_leg(std::string_view leg, const std::vector<std::string>& parts,
                             const Shape& extents) {
        Wiring next = wiring_;
        next.split_leg(leg, parts, extents);
        auto shapes = shapes_of(next);
        for (std::size_t k = 0; k < tensors_.size(); ++k)
            tensors_[k] = std::move(tensors_[k]).reshape(std::move(shapes[k]));
        wiring_ = std::move(next);
        return *this;
    }

    /// Splits one tensor in two over a new bond by a truncated SVD:
    ///
    ///   tensor (left legs, others)  ~=  left (left legs, bond) right (bond, others)
    ///
    /// name       of the tensor that is replaced; its elements must be finite
    /// left_legs  legs that it has once, in the order in which `left` will have them
    /// names      of the two tensors and the leg between them
    /// options    what may be lost, and the method
    /// backend    where the SVD is computed
    /// returns    spectrum, discarded weight, error
    /// error      relative_error, exact up to rounding: `left` is orthonormal, `right` a projection
    /// cost       one truncated SVD of the (left legs, others) matrix, see linalg/low_rank.hpp
    /// throws     ArgumentError (names, legs, options), NumericalError (NaN or Inf; SVD not converged)
    template <BackendFor<T> B>
    SplitReport split(std::string_view name, const std::vector<std::string>& left_legs,
                      const SplitNames& names, const SplitOptions& options, const B& backend) {
        validate(options.truncation, "split");
        tensors_.reserve(tensors_.size() + 1);  // so that nothing throws at the end
        const Index at = wiring_.position(name);
        const auto& tensor = tensors_[static_cast<std::size_t>(at)];
        const auto halves = detail::halve(wiring_.tensors()[static_cast<std::size_t>(at)],
                                          left_legs, names.left, names.right);
        if (wiring_.num_axes(names.bond) > 0)
            detail::raise<ArgumentError>({"split: there is a leg '", names.bond, "' (",
                                          wiring_.extent(names.bond), ") already"});
        Wiring next = wiring_;
        next.replace({at}, detail::bonded(halves, names.bond, 1));
        SplitReport report;
        auto parts = halved(tensor, halves, std::string(name), options, report, backend);
        auto wired = detail::bonded(halves, names.bond, report.bond.bond_dim);
        next = wiring_;
        next.replace({at}, wired);
        tensors_[static_cast<std::size_t>(at)] =
            std::move(parts[0]).reshape(std::move(wired[0].shape));
        tensors_.insert(tensors_.begin() + at + 1,
                        std::move(parts[1]).reshape(std::move(wired[1].shape)));
        wiring_ = std::move(next);
        return report;
    }

    /// Contracts everything, in the cheapest order.
    ///
    /// backend  where it is computed
    /// options  the limit on intermediates, and how hard to look for an order
    /// returns  the open legs, slowest first
    /// error    any order gives the same tensor within rounding
    /// cost     of the path that optimize_path finds, and finding it
    /// throws   ArgumentError (no tensors, a limit that cannot be kept), ShapeError (a result that no
    ///          memory holds)
    template <BackendFor<T> B>
    [[nodiscard]] Tensor<T> contract(const B& backend, const PathOptions& options = {}) const {
        return contract(optimize_path(wiring_.network(), options), backend);
    }

    /// The same along a given path: tensors are numbered as they were added, see Wiring::network. On
    /// `backend`; throws as contract_network.
    template <BackendFor<T> B>
    [[nodiscard]] Tensor<T> contract(const ContractionPath& path, const B& backend) const {
        return contract_network<T>(wiring_.network(), path, {tensors_.begin(), tensors_.end()},
                                   backend);
    }

    /// Contracts two tensors to one, in the place of the first. It has the legs of `first` and those of
    /// `second`, in this order, that are open or that other tensors have.
    ///
    /// first, second  names of two tensors
    /// name           of the new one; may be one of the two
    /// backend        where it is computed
    /// throws         ArgumentError (names)
    template <BackendFor<T> B>
    TensorDiagram& contract(std::string_view first, std::string_view second,
                            const std::string& name, const B& backend) {
        const Index p = wiring_.position(first), q = wiring_.position(second);
        if (p == q)
            detail::raise<ArgumentError>(
                {"contract: need two tensors, got '", std::string(first), "' twice"});
        const auto pair = detail::pair_wiring(wiring_, p, q);
        const auto& open = pair.open();
        Shape shape;
        for (const auto& leg : open) shape.push_back(pair.extent(leg));
        Wiring next = wiring_;
        next.replace({p, q}, {{name, open, shape}});
        auto made = contract_network<T>(
            pair.network(), {{{0, 1}}, {}},
            {tensors_[static_cast<std::size_t>(p)], tensors_[static_cast<std::size_t>(q)]},
            backend);
        tensors_[static_cast<std::size_t>(p)] = std::move(made);
        tensors_.erase(tensors_.begin() + q);
        wiring_ = std::move(next);
        return *this;
    }

    /// Names, legs and extents.
    [[nodiscard]] const Wiring& wiring() const { return wiring_; }
    /// Elements of the tensor of this name. Throws ArgumentError where there is none.
    [[nodiscard]] const Tensor<T>& tensor(std::string_view name) const {
        return tensors_[static_cast<std::size_t>(wiring_.position(name))];
    }
    /// Elements of all tensors together.
    [[nodiscard]] Index num_parameters() const { return wiring_.num_parameters(); }

  private:
    [[nodiscard]] static std::vector<Shape> shapes_of(const Wiring& wiring) {
        std::vector<Shape> shapes;
        for (const auto& tensor : wiring.tensors()) shapes.push_back(tensor.shape);
        return shapes;
    }

    /// The two halves of a tensor, as matrices, and what they lost.
    template <BackendFor<T> B>
    [[nodiscard]] static std::vector<Tensor<T>> halved(const Tensor<T>& tensor,
                                                       const detail::Halves& halves,
                                                       const std::string& name,
                                                       const SplitOptions& options,
                                                       SplitReport& report, const B& backend) {
        const auto scale = detail::safe_scale<Real<T>>(detail::largest_element(tensor, name));
        auto matrix_of = backend.template allocate<T>(tensor.size());
        const TensorView<const T> view = tensor;
        backend.template upload<T>(permuted(view, halves.order), matrix_of.data());
        if (scale != 1) backend.scale(tensor.size(), T(scale), matrix_of.data());
        const double squared = detail::squared_norm<T>(matrix_of.data(), tensor.size(), backend);
        const double eps = options.truncation.max_relative_error;
        auto factors = low_rank<T>(matrix<const T>(matrix_of.data(), halves.rows, halves.cols),
                                   {options.truncation.max_bond_dim, eps * eps * squared,
                                    options.method, options.excess, options.seed, squared},
                                   backend);
        report.method = factors.method;
        report.norm = std::sqrt(squared) / static_cast<double>(scale);
        report.bond.bond_dim = factors.rank;
        report.bond.useful_bond_dim = (std::min)(halves.rows, halves.cols);
        report.bond.limit = factors.limit;
        report.bond.discarded_weight = squared > 0 ? factors.discarded_squared / squared : 0;
        report.relative_error = std::sqrt(report.bond.discarded_weight);
        report.bond.singular_values = std::move(factors.singular_values);
        for (double& sigma : report.bond.singular_values) sigma /= static_cast<double>(scale);
        std::vector<Tensor<T>> parts;
        parts.emplace_back(Shape{halves.rows, factors.rank});
        parts.emplace_back(Shape{factors.rank, halves.cols});
        backend.download(static_cast<const T*>(factors.left.data()), parts[0].view());
        backend.download(static_cast<const T*>(factors.right.data()), parts[1].view());
        for (Index n = 0; n < parts[1].size() && scale != 1; ++n) parts[1].data()[n] /= scale;
        return parts;
    }

    Wiring wiring_;
    std::vector<Tensor<T>> tensors_;
};

/// The result of a diagram in the letters of einsum, contracted in the cheapest order:
/// einsum<float>("ab,bc->ac", {A, B}, backend) is A B.
///
/// equation  see parse_einsum
/// tensors   one per word
/// backend   where it is computed
/// throws    as TensorDiagram and its contract
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Tensor<T> einsum(std::string_view equation, std::vector<Tensor<T>> tensors,
                               const B& backend) {
    return TensorDiagram<T>(equation, std::move(tensors)).contract(backend);
}

/// An MPO as a diagram, with the names of chain_wiring: C0, C1, .., open legs o1, o2, .., i1, i2, ..,
/// bonds b1, b2, ... Throws ArgumentError for an Mpo without sites.
template <Scalar T>
[[nodiscard]] TensorDiagram<T> to_diagram(const Mpo<T>& mpo) {
    detail::require_sites(mpo.num_sites(), "to_diagram");
    const auto wiring = chain_wiring(mpo.layout(), mpo.bond_dims());
    TensorDiagram<T> diagram;
    for (Index k = 0; k < mpo.num_sites(); ++k) {
        const auto& tensor = wiring.tensors()[static_cast<std::size_t>(k)];
        auto core = mpo.core(k);
        diagram.add(tensor.name, std::move(core).reshape(tensor.shape), tensor.legs);
    }
    diagram.set_open(wiring.open());
    return diagram;
}

/// A chain of tensors as an MPO. Several legs between two neighbours become one bond.
///
/// diagram  its tensors are the sites, all of them; every leg is the out or in leg of its site or
///          joins two neighbours
/// sites    from left to right
/// returns  cores of shape (D, out, in, D'), canonical form none
/// throws   ArgumentError (a tensor that is missing or named twice, legs that make no chain)
template <Scalar T>
[[nodiscard]] Mpo<T> to_mpo(const TensorDiagram<T>& diagram,
                            const std::vector<DiagramSite>& sites) {
    std::vector<Tensor<T>> cores;
    for (const auto& axes : detail::core_axes(diagram.wiring(), sites)) {
        const auto& name = diagram.wiring().tensors()[static_cast<std::size_t>(axes.position)].name;
        const TensorView<const T> view = diagram.tensor(name);
        cores.push_back(detail::row_major_copy<T>(permuted(view, axes.order)).reshape(axes.shape));
    }
    return Mpo<T>(std::move(cores));
}

}  // namespace mpo
