// Algebra of matrices that stay chains: sums, products, adjoints, inner products, single entries.
//
// Bonds add under add and multiply under compose: follow either with truncate. Functions that move
// numbers around run on the host; those that multiply take a backend.
#pragma once

#include <algorithm>
#include <complex>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/network/canonical.hpp"
#include "mpo/network/matrix_product.hpp"

namespace mpo {
namespace detail {

template <Scalar T>
void require_same_layout(const Mpo<T>& A, const Mpo<T>& B, std::string_view who) {
    require_sites(A.num_sites(), who);
    if (!(A.layout() == B.layout()))
        raise<ShapeError>({who, ": both must have the same layout, got ", to_string(A.layout()),
                           " and ", to_string(B.layout())});
}

/// Adds `core` into `sum`, its bonds beginning at (left, right).
template <Scalar T>
void add_block(Tensor<T>& sum, const Tensor<T>& core, Index left, Index right) {
    for (Index a = 0; a < core.extent(0); ++a)
        for (Index o = 0; o < core.extent(1); ++o)
            for (Index i = 0; i < core.extent(2); ++i)
                for (Index b = 0; b < core.extent(3); ++b)
                    sum(left + a, o, i, right + b) += core(a, o, i, b);
}

}  // namespace detail

// -- linear combinations ------------------------------------------------------------------------

/// W = A + B: bonds D_A + D_B, cores block diagonal; the canonical form is lost.
/// Throws ShapeError where the layouts differ.
template <Scalar T>
[[nodiscard]] Mpo<T> add(const Mpo<T>& A, const Mpo<T>& B) {
    detail::require_same_layout(A, B, "add");
    const Index last = A.num_sites() - 1;
    std::vector<Tensor<T>> cores;
    for (Index k = 0; k <= last; ++k) {
        const auto &a = A.core(k), &b = B.core(k);
        const Index left = k == 0 ? 0 : a.extent(0);      // where the block of b begins
        const Index right = k == last ? 0 : a.extent(3);  // the outer bonds are shared
        Tensor<T> sum({left + b.extent(0), a.extent(1), a.extent(2), right + b.extent(3)});
        detail::add_block(sum, a, 0, 0);
        detail::add_block(sum, b, left, right);
        cores.push_back(std::move(sum));  // (Da + Db, o, i, Da' + Db')
    }
    return Mpo<T>(std::move(cores));
}

/// alpha A. The factor goes into the orthogonality centre, so the canonical form stays.
/// Throws ArgumentError for an Mpo without sites.
template <Scalar T>
[[nodiscard]] Mpo<T> scale(Mpo<T> A, std::type_identity_t<T> alpha) {
    detail::require_sites(A.num_sites(), "scale");
    const auto form = A.canonical_form();
    const Index center = A.orthogonality_center();
    auto cores = std::move(A).take_cores();
    auto& core = cores[static_cast<std::size_t>(std::max<Index>(center, 0))];
    for (Index n = 0; n < core.size(); ++n) core.data()[n] *= alpha;
    return Mpo<T>(std::move(cores), form, center);
}

// -- transposes ---------------------------------------------------------------------------------

/// W^T: out and in legs change places at every site. Canonical form and centre stay.
/// Throws ArgumentError for an Mpo without sites.
template <Scalar T>
[[nodiscard]] Mpo<T> transpose(const Mpo<T>& A) {
    std::vector<Tensor<T>> cores;
    for (const auto& core : A.cores()) {
        const Shape& s = core.shape();
        Tensor<T> swapped({s[0], s[2], s[1], s[3]});  // (D, i, o, D')
        for (Index a = 0; a < s[0]; ++a)
            for (Index o = 0; o < s[1]; ++o)
                for (Index i = 0; i < s[2]; ++i)
                    for (Index b = 0; b < s[3]; ++b) swapped(a, i, o, b) = core(a, o, i, b);
        cores.push_back(std::move(swapped));
    }
    return Mpo<T>(std::move(cores), A.canonical_form(), A.orthogonality_center());
}

/// The complex conjugate of every entry; W itself where T is real. Canonical form and centre stay.
/// Throws ArgumentError for an Mpo without sites.
template <Scalar T>
[[nodiscard]] Mpo<T> conjugate(Mpo<T> A) {
    const auto form = A.canonical_form();
    const Index center = A.orthogonality_center();
    auto cores = std::move(A).take_cores();
    if constexpr (is_complex<T>)
        for (auto& core : cores)
            for (Index n = 0; n < core.size(); ++n) core.data()[n] = std::conj(core.data()[n]);
    return Mpo<T>(std::move(cores), form, center);
}

/// W^H, the conjugate transpose.
template <Scalar T>
[[nodiscard]] Mpo<T> adjoint(const Mpo<T>& A) {
    return conjugate(transpose(A));
}

// -- products -----------------------------------------------------------------------------------

namespace detail {

/// C(a b, o, i, a' b') = sum_j A(a, o, j, a') B(b, j, i, b').
template <Scalar T, class Bk>
[[nodiscard]] Tensor<T> compose_cores(const Tensor<T>& A, const Tensor<T>& B, const Bk& backend) {
    const Shape &s = A.shape(), &t = B.shape();
    const auto a = load(A, backend), b = load(B, backend);
    const auto permute = [&](const T* data, const Shape& shape, const Shape& order) {
        auto result = backend.template allocate<T>(num_elements(shape));
        backend.permute(permuted(TensorView<const T>(data, shape), order), result.data());
        return result;
    };
    const auto left = permute(a.elements.data(), s, {0, 1, 3, 2});   // (a, o, a', j)
    const auto right = permute(b.elements.data(), t, {1, 0, 2, 3});  // (j, b, i, b')
    const Index m = s[0] * s[1] * s[3], n = t[0] * t[2] * t[3];
    const auto product = backend.template allocate<T>(num_elements({m, n}));
    backend.gemm(T(1), matrix(left.data(), m, s[2]), matrix(right.data(), s[2], n), T(0),
                 matrix(product.data(), m, n));  // (a o a', b i b')
    const auto ordered = permute(product.data(), {s[0], s[1], s[3], t[0], t[2], t[3]},
                                 {0, 3, 1, 4, 2, 5});  // (a, b, o, i, a', b')
    Tensor<T> core({s[0] * t[0], s[1], t[2], s[3] * t[3]});
    backend.download(static_cast<const T*>(ordered.data()), core.view());
    return core;
}

}  // namespace detail

/// The matrix product A B as a chain: bonds D_A D_B; the canonical form is lost.
/// Cost: sum over k of (D_A D_A' o)(j)(D_B D_B' i) multiply-adds.
/// Throws ShapeError unless the in legs of A are the out legs of B, site by site.
template <Scalar T, BackendFor<T> Bk>
[[nodiscard]] Mpo<T> compose(const Mpo<T>& A, const Mpo<T>& B, const Bk& backend) {
    if (A.layout().in != B.layout().out)
        detail::raise<ShapeError>({"compose: the in legs of A must equal the out legs of B, got ",
                                   to_string(A.layout()), " and ", to_string(B.layout())});
    std::vector<Tensor<T>> cores;
    for (Index k = 0; k < A.num_sites(); ++k)
        cores.push_back(detail::compose_cores(A.core(k), B.core(k), backend));
    return Mpo<T>(std::move(cores));
}

/// <A, B> = sum over all entries of conj(A) B, without forming either matrix.
/// Cost: sum over k of o i D_A D_B (D_A' + D_B') multiply-adds. Error: c eps(T) norm(A) norm(B).
/// For norm(A - B) take norm(add(A, scale(B, -1))): squares of small differences drown in rounding.
/// Throws ShapeError where the layouts differ.
template <Scalar T, BackendFor<T> Bk>
[[nodiscard]] T inner(const Mpo<T>& A, const Mpo<T>& B, const Bk& backend) {
    detail::require_same_layout(A, B, "inner");
    auto environment = backend.template allocate<T>(1);  // (Da, Db), here 1 x 1
    const Tensor<T> one({1}, {T(1)});
    backend.upload(one.view(), environment.data());
    for (Index k = 0; k < A.num_sites(); ++k) {
        const auto a = detail::load(A.core(k), backend), b = detail::load(B.core(k), backend);
        const Shape &s = a.shape, &t = b.shape;
        const Index legs = s[1] * s[2];
        const auto half = backend.template allocate<T>(num_elements({s[0], legs, t[3]}));
        backend.gemm(T(1), matrix(environment.data(), s[0], t[0]),
                     matrix(b.elements.data(), t[0], legs * t[3]), T(0),
                     matrix(half.data(), s[0], legs * t[3]));  // (a, o i b')
        environment = backend.template allocate<T>(num_elements({s[3], t[3]}));
        backend.gemm(T(1), adjoint(matrix(a.elements.data(), s[0] * legs, s[3])),
                     matrix(half.data(), s[0] * legs, t[3]), T(0),
                     matrix(environment.data(), s[3], t[3]));  // (a', b')
    }
    Tensor<T> result({1});
    backend.download(static_cast<const T*>(environment.data()), result.view());
    return result(0);
}

/// Frobenius norm of W, from the core at the orthogonality centre; an Mpo without one gets one by
/// QR. So norm(A - B) is right down to eps(T) norm(A), where sqrt(inner) stops at sqrt(eps(T)).
/// Throws ArgumentError for an Mpo without sites.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] double norm(const Mpo<T>& mpo, const B& backend) {
    detail::require_sites(mpo.num_sites(), "norm");
    if (mpo.canonical_form() == CanonicalForm::none)
        return norm(right_canonicalize(mpo, backend), backend);
    return detail::frobenius_norm(mpo.core(mpo.orthogonality_center()));
}

// -- entries ------------------------------------------------------------------------------------

/// W(row, col), as a product of N slices. Cost: sum over k of D[k] D[k+1] multiply-adds.
/// Throws ArgumentError outside the matrix.
template <Scalar T>
[[nodiscard]] T element(const Mpo<T>& mpo, Index row, Index col) {
    detail::require_sites(mpo.num_sites(), "element");
    if (row < 0 || row >= mpo.rows() || col < 0 || col >= mpo.cols())
        detail::raise<ArgumentError>({"element: (", row, ", ", col, ") is outside a matrix of ",
                                      mpo.rows(), " x ", mpo.cols()});
    std::vector<T> right{T(1)};                  // (D')
    for (Index k = mpo.num_sites(); k-- > 0;) {  // the last leg is the fastest
        const auto& core = mpo.core(k);
        const Index o = row % core.extent(1), i = col % core.extent(2);
        row /= core.extent(1);
        col /= core.extent(2);
        std::vector<T> left(static_cast<std::size_t>(core.extent(0)), T(0));  // (D)
        for (Index a = 0; a < core.extent(0); ++a)
            for (Index b = 0; b < core.extent(3); ++b)
                left[static_cast<std::size_t>(a)] +=
                    core(a, o, i, b) * right[static_cast<std::size_t>(b)];
        right = std::move(left);
    }
    return right.front();
}

namespace detail {

/// Cores first .. last-1 as one, (D, o1 .. ol, i1 .. il, D'), on the host.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Tensor<T> merged_core(const Mpo<T>& mpo, Index first, Index last, const B& backend) {
    if (last - first == 1) return mpo.core(first);
    auto merged = load(mpo.core(first), backend).elements;  // (D o1 i1, D1)
    const Index left = mpo.core(first).extent(0), right = mpo.core(last - 1).extent(3);
    Shape legs{left, mpo.core(first).extent(1), mpo.core(first).extent(2)};  // D, o1, i1, o2, ..
    Index out = legs[1], in = legs[2];
    for (Index k = first + 1; k < last; ++k) {
        const auto core = load(mpo.core(k), backend);
        const Shape& s = core.shape;
        const Index m = num_elements(legs), n = s[1] * s[2] * s[3];
        auto next = backend.template allocate<T>(num_elements({m, n}));
        backend.gemm(T(1), matrix(merged.data(), m, s[0]), matrix(core.elements.data(), s[0], n),
                     T(0), matrix(next.data(), m, n));  // (D o1 i1 .. ok ik, D')
        merged = std::move(next);
        legs.insert(legs.end(), {s[1], s[2]});
        out *= s[1];
        in *= s[2];
    }
    const Index axes = 1 + 2 * (last - first);
    Shape order{0};  // all out legs, then all in legs
    for (Index axis = 1; axis < axes; axis += 2) order.push_back(axis);
    for (Index axis = 2; axis < axes; axis += 2) order.push_back(axis);
    order.push_back(axes);
    legs.push_back(right);
    Tensor<T> result({left, out, in, right});
    const auto ordered = backend.template allocate<T>(result.size());
    backend.permute(permuted(TensorView<const T>(merged.data(), legs), order), ordered.data());
    backend.download(static_cast<const T*>(ordered.data()), result.view());
    return result;
}

}  // namespace detail

/// The same matrix on fewer sites: groups[g] neighbours become one, their legs fused.
///
/// groups   numbers of sites, each at least 1, together num_sites()
/// cost     of a group of cores k .. l: sum of D_k (prod o i) D_j o_j+1 i_j+1 D_j+2 multiply-adds; the
///          bonds inside vanish, the rest stay. Parameters may grow: to those of W where all become one
/// throws   ArgumentError (groups)
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Mpo<T> merge_sites(const Mpo<T>& mpo, const Shape& groups, const B& backend) {
    Index first = 0;
    bool fits = !groups.empty();
    for (const Index group : groups) {
        fits = fits && group >= 1;
        first += group;
    }
    if (!fits || first != mpo.num_sites())
        detail::raise<ArgumentError>({"merge_sites: groups (", detail::joined(groups, ", "),
                                      ") must be at least 1 and add up to ", mpo.num_sites(),
                                      " sites"});
    std::vector<Tensor<T>> cores;
    first = 0;
    for (const Index group : groups) {
        cores.push_back(detail::merged_core(mpo, first, first + group, backend));
        first += group;
    }
    return Mpo<T>(std::move(cores));
}

/// W (rows, cols). Cost: sum over k of (prod_{j<k} o i) D o i D' multiply-adds; twice W in backend
/// memory. Throws ArgumentError for an Mpo without sites.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Tensor<T> to_dense(const Mpo<T>& mpo, const B& backend) {
    detail::require_sites(mpo.num_sites(), "to_dense");
    return detail::merged_core(mpo, 0, mpo.num_sites(), backend).reshape({mpo.rows(), mpo.cols()});
}

}  // namespace mpo
