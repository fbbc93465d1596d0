// Canonical forms and truncation: orthogonal factorisations that sweep along the chain.
//
// A sweep crosses one bond per step. It writes the core as a matrix A (rest, bond), bond being the
// one it crosses, factors A = Q C with orthonormal columns of Q, leaves Q as the core and
// multiplies the carry C into the next core. To the right A is (D o i, D'); to the left it is the
// transpose of (D, o i D'), so that one body serves both directions.
//
// Source: Oseledets, Tensor-train decomposition, SIAM J. Sci. Comput. 33 (2011), Algorithm 2;
// Schollwoeck, Ann. Phys. 326 (2011), section 4.4.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/linalg/truncation.hpp"
#include "mpo/network/layout.hpp"
#include "mpo/network/matrix_product.hpp"

namespace mpo {
namespace detail {

enum class Sweep { to_right, to_left };

/// A core in backend memory, row-major.
template <class T, class B>
struct LoadedCore {
    Shape shape;  // (D, o, i, D')
    BufferOf<B, T> elements;
};

template <class T, class B>
[[nodiscard]] LoadedCore<T, B> allocate_core(Shape shape, const B& backend) {
    const Index size = num_elements(shape);
    return {std::move(shape), backend.template allocate<T>(size)};
}

template <class T, class B>
[[nodiscard]] LoadedCore<T, B> load(const Tensor<T>& core, const B& backend) {
    auto loaded = allocate_core<T>(core.shape(), backend);
    backend.upload(core.view(), loaded.elements.data());
    return loaded;
}

template <class T, class B>
[[nodiscard]] Tensor<T> store(const LoadedCore<T, B>& loaded, const B& backend) {
    Tensor<T> core(loaded.shape);
    backend.download(static_cast<const T*>(loaded.elements.data()), core.view());
    return core;
}

/// The core as A (rest, bond): bond is the one that the sweep crosses next.
template <class T, class B>
[[nodiscard]] MatrixView<T> outgoing(const LoadedCore<T, B>& core, Sweep sweep) {
    const Shape& s = core.shape;
    T* data = core.elements.data();
    return sweep == Sweep::to_right
               ? matrix(data, s[0] * s[1] * s[2], s[3])              // (D o i, D')
               : transpose(matrix(data, s[0], s[1] * s[2] * s[3]));  // (o i D', D)
}

/// The core as (bond, rest): bond is the one that the sweep has just crossed.
template <class T, class B>
[[nodiscard]] MatrixView<T> incoming(const LoadedCore<T, B>& core, Sweep sweep) {
    return transpose(outgoing(core, sweep == Sweep::to_right ? Sweep::to_left : Sweep::to_right));
}

/// The shape with the bond that the sweep crosses next, or has just crossed, set to r.
[[nodiscard]] inline Shape with_outgoing(Shape shape, Sweep sweep, Index r) {
    shape[sweep == Sweep::to_right ? 3 : 0] = r;
    return shape;
}
[[nodiscard]] inline Shape with_incoming(Shape shape, Sweep sweep, Index r) {
    shape[sweep == Sweep::to_right ? 0 : 3] = r;
    return shape;
}

/// What a step hands on: C (r, bond), row-major in backend memory.
template <class T, class B>
struct Carry {
    Index rows = 0;
    Index cols = 0;
    BufferOf<B, T> elements;

    [[nodiscard]] MatrixView<T> view() const { return matrix(elements.data(), rows, cols); }
};

template <class T, class B>
[[nodiscard]] LoadedCore<T, B> absorb(const Carry<T, B>& carry, const LoadedCore<T, B>& core,
                                      Sweep sweep, const B& backend) {
    auto next = allocate_core<T>(with_incoming(core.shape, sweep, carry.rows), backend);
    backend.gemm(T(1), carry.view(), incoming(core, sweep), T(0), incoming(next, sweep));
    return next;
}

/// A core whose outgoing matrix is the first r columns of M (m, at least r).
template <class T, class B>
[[nodiscard]] LoadedCore<T, B> first_columns(const MatrixView<T>& M, Index r, const Shape& shape,
                                             Sweep sweep, const B& backend) {
    auto core = allocate_core<T>(with_outgoing(shape, sweep, r), backend);
    const auto columns = block(M, 0, 0, M.rows, r);                             // (m, r)
    const auto from = sweep == Sweep::to_right ? columns : transpose(columns);  // as stored
    backend.permute(
        TensorView<const T>(from.data, {from.rows, from.cols}, {from.row_stride, from.col_stride}),
        core.elements.data());
    return core;
}

/// C = Q^H A: exact to rounding for any Q whose columns span what is to be kept of A.
template <class T, class B>
[[nodiscard]] Carry<T, B> project(const MatrixView<T>& Q, const MatrixView<T>& A,
                                  const B& backend) {
    Carry<T, B> carry{Q.cols, A.cols, backend.template allocate<T>(Q.cols * A.cols)};
    backend.gemm(T(1), adjoint(Q), A, T(0), carry.view());
    return carry;
}

/// Replaces the core by Q of its outgoing matrix A (m, n) = Q C, Q (m, min(m, n)); returns C.
template <class T, class B>
[[nodiscard]] Carry<T, B> factor_qr(LoadedCore<T, B>& core, Sweep sweep, const B& backend) {
    const auto A = outgoing(core, sweep);  // (m, n)
    const Index m = A.rows, n = A.cols;
    if (m >= n) {
        Carry<T, B> carry{n, n, backend.template allocate<T>(n * n)};
        backend.qr(A, carry.view());  // A becomes Q (m, n)
        return carry;
    }
    // Householder's Q of the first m columns is a basis of all m dimensions, whatever their rank.
    auto basis = first_columns(A, m, core.shape, sweep, backend);
    const auto scratch = backend.template allocate<T>(m * m);
    backend.qr(outgoing(basis, sweep), matrix(scratch.data(), m, m));  // (m, m)
    auto carry = project(outgoing(basis, sweep), A, backend);          // (m, n)
    core = std::move(basis);
    return carry;
}

/// Moves the centre from one site to another: bonds in between shrink to the smaller of their
/// sides.
template <Scalar T, class B>
void sweep_qr(std::vector<Tensor<T>>& cores, Index from, Index to, const B& backend) {
    if (from == to) return;
    const Sweep sweep = from < to ? Sweep::to_right : Sweep::to_left;
    const Index step = from < to ? 1 : -1;
    auto core = load(cores[static_cast<std::size_t>(from)], backend);
    for (Index k = from; k != to; k += step) {
        const auto carry = factor_qr(core, sweep, backend);
        cores[static_cast<std::size_t>(k)] = store(core, backend);
        core =
            absorb(carry, load(cores[static_cast<std::size_t>(k + step)], backend), sweep, backend);
    }
    cores[static_cast<std::size_t>(to)] = store(core, backend);
}

/// Frobenius norm in double; scaled, so that squares neither overflow nor vanish.
template <Scalar T>
[[nodiscard]] double frobenius_norm(const Tensor<T>& tensor) {
    double largest = 0;
    const auto visit = [&tensor](auto&& take) {
        for (Index n = 0; n < tensor.size(); ++n) {
            take(static_cast<double>(std::real(tensor.data()[n])));
            if constexpr (is_complex<T>) take(static_cast<double>(std::imag(tensor.data()[n])));
        }
    };
    visit([&](double x) { largest = std::abs(x) <= largest ? largest : std::abs(x); });
    if (largest == 0 || !std::isfinite(largest)) return largest;
    double sum = 0;
    visit([&](double x) { sum += (x / largest) * (x / largest); });
    return largest * std::sqrt(sum);
}

/// Multiplies by 2^exponent: exact but for underflow.
template <Scalar T>
void scale_by_power_of_two(Tensor<T>& tensor, int exponent) {
    for (Index n = 0; n < tensor.size(); ++n) {
        T& x = tensor.data()[n];
        if constexpr (is_complex<T>)
            x = T(std::ldexp(x.real(), exponent), std::ldexp(x.imag(), exponent));
        else
            x = std::ldexp(x, exponent);
    }
}

/// Takes a power of two out of each core first .. last, so that its norm lies in [1, 2):
/// Householder vectors square their entries. Returns the sum of the exponents.
template <Scalar T>
[[nodiscard]] int take_out_scales(std::vector<Tensor<T>>& cores, Index first, Index last) {
    int sum = 0;
    for (Index k = first; k <= last; ++k) {
        auto& core = cores[static_cast<std::size_t>(k)];
        const double norm = frobenius_norm(core);
        if (norm == 0 || !std::isfinite(norm)) continue;
        const int exponent = std::ilogb(norm);
        scale_by_power_of_two(core, -exponent);
        sum += exponent;
    }
    return sum;
}

/// The same matrix with its centre at `center`, labelled `form`.
template <Scalar T, class B>
[[nodiscard]] Mpo<T> with_center(Mpo<T> mpo, Index center, CanonicalForm form, const B& backend) {
    const Index known = mpo.orthogonality_center();
    const Index first = known < 0 ? 0 : (std::min)(known, center);
    const Index last = known < 0 ? mpo.num_sites() - 1 : (std::max)(known, center);
    auto cores = std::move(mpo).take_cores();
    const int exponent = take_out_scales(cores, first, last);
    sweep_qr(cores, first, center, backend);
    sweep_qr(cores, last, center, backend);
    scale_by_power_of_two(cores[static_cast<std::size_t>(center)], exponent);
    return Mpo<T>(std::move(cores), form, center);
}

}  // namespace detail

// -- gauges -------------------------------------------------------------------------------------

/// The same W with the orthogonality centre at site `center`: cores before it left-orthonormal,
/// cores behind it right-orthonormal, so that norm(W) = norm(core(center)). Only the cores between
/// a known centre and the new one are touched. The form is left at the last site, right at the
/// first, else mixed; bonds never grow, and none exceeds useful_bond_dims where it was crossed.
/// Cost: sum over k of 4 out[k] in[k] D^3 multiply-adds. Error: c eps(T) norm(W).
/// Throws ArgumentError for a centre outside the chain, NumericalError on NaN or Inf.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Mpo<T> move_center(Mpo<T> mpo, Index center, const B& backend) {
    const Index last = mpo.num_sites() - 1;
    if (center < 0 || center > last)
        detail::raise<ArgumentError>({"move_center: the centre of ", last + 1,
                                      " sites must be in 0..", last, ", got ", center});
    const auto form = center == last ? CanonicalForm::left
                      : center == 0  ? CanonicalForm::right
                                     : CanonicalForm::mixed;
    return detail::with_center(std::move(mpo), center, form, backend);
}

/// All cores but the last left-orthonormal. See move_center.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Mpo<T> left_canonicalize(Mpo<T> mpo, const B& backend) {
    detail::require_sites(mpo.num_sites(), "left_canonicalize");
    const Index last = mpo.num_sites() - 1;
    return detail::with_center(std::move(mpo), last, CanonicalForm::left, backend);
}

/// All cores but the first right-orthonormal. See move_center.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Mpo<T> right_canonicalize(Mpo<T> mpo, const B& backend) {
    detail::require_sites(mpo.num_sites(), "right_canonicalize");
    return detail::with_center(std::move(mpo), 0, CanonicalForm::right, backend);
}

// -- truncation ---------------------------------------------------------------------------------

/// What truncate dropped.
struct TruncateReport {
    std::vector<BondSpectrum> bonds;  // bonds 1 .. N-1, all singular values of each
    double norm = 0;                  // norm(W), Frobenius
    double relative_error = 0;        // norm(W - W') / norm(W), exact to rounding in T
};

/// An MPO with smaller bonds, and what they dropped.
template <Scalar T>
struct [[nodiscard]] Truncated {
    Mpo<T> mpo;             // right-canonical, or left-canonical; see truncate
    TruncateReport report;  // per bond, and in all
};

namespace detail {

/// What the sweep still may lose and what it has lost, in units of norm(W)^2.
struct LossBudget {
    double allowed = 0;  // max_relative_error^2
    double spent = 0;
    Index bonds_left = 0;

    [[nodiscard]] double share() const {
        return (std::max)(0.0, allowed - spent) / static_cast<double>(bonds_left);
    }
};

/// Replaces the core by the leading left singular vectors of its outgoing matrix A; returns U^H A.
template <class T, class B>
[[nodiscard]] Carry<T, B> factor_svd(LoadedCore<T, B>& core, Sweep sweep, Index max_bond_dim,
                                     double norm, LossBudget& budget, BondSpectrum& bond,
                                     const B& backend) {
    const auto A = outgoing(core, sweep);  // (m, n)
    const Index m = A.rows, n = A.cols, r = (std::min)(m, n);
    const auto U = backend.template allocate<T>(m * r);
    const auto Vt = backend.template allocate<T>(r * n);
    const auto sigma = backend.template allocate<Real<T>>(r);
    backend.svd(A, matrix(U.data(), m, r), sigma.data(), matrix(Vt.data(), r, n));

    Tensor<Real<T>> values({r});
    backend.download(static_cast<const Real<T>*>(sigma.data()), values.view());
    bond.singular_values.assign(values.data(), values.data() + r);
    auto relative = bond.singular_values;  // so that squares neither overflow nor vanish
    for (double& value : relative) value = norm > 0 ? value / norm : 0;
    const auto choice = choose_bond_dim(relative, 0, budget.share(), max_bond_dim);
    bond.bond_dim = choice.bond_dim;
    bond.discarded_weight = choice.discarded_squared;
    bond.limit = choice.limit;
    budget.spent += choice.discarded_squared;
    --budget.bonds_left;

    auto kept = first_columns(matrix(U.data(), m, r), choice.bond_dim, core.shape, sweep, backend);
    auto carry = project(outgoing(kept, sweep), A, backend);  // (bond_dim, n)
    core = std::move(kept);
    return carry;
}

}  // namespace detail

/// The best W' with smaller bonds that one sweep finds: norm(W - W') <= max_relative_error norm(W)
/// over the whole chain (to rounding in T), then max_bond_dim caps every bond.
///
/// QR moves the centre to one end, truncated SVDs sweep back. What the bonds drop is orthogonal, so
/// relative_error^2 = sum of discarded_weight, exactly; it is at most sqrt(N-1) times the smallest
/// error that these bonds allow. The result is right-canonical, or left-canonical where the centre
/// was already at or near the first site. Every bond may spend an equal share of what is left.
/// Cost: sum over k of about 20 out[k] in[k] D^3 multiply-adds.
/// Throws ArgumentError for a Truncation outside its domain, NumericalError where a core holds NaN
/// or Inf or norm(W) overflows. Source: Oseledets, SIAM J. Sci. Comput. 33 (2011), Algorithm 2 and
/// Theorem 2.2.
template <Scalar T, BackendFor<T> B>
Truncated<T> truncate(Mpo<T> mpo, const Truncation& truncation, const B& backend) {
    const Index sites = mpo.num_sites();
    detail::require_sites(sites, "truncate");
    validate(truncation, "truncate");
    for (Index k = 0; k < sites; ++k)
        if (!std::isfinite(detail::frobenius_norm(mpo.core(k))))
            detail::raise<NumericalError>({"truncate: core ", k, " holds NaN or Inf"});
    const Index known = mpo.orthogonality_center();
    const bool near_first = known >= 0 && 2 * known < sites - 1;
    const auto sweep = near_first ? detail::Sweep::to_right : detail::Sweep::to_left;
    const Index first = near_first ? 0 : sites - 1, step = near_first ? 1 : -1;
    const Shape useful = useful_bond_dims(mpo.layout());
    auto cores = move_center(std::move(mpo), first, backend).cores();

    TruncateReport report{{}, detail::frobenius_norm(cores[static_cast<std::size_t>(first)]), 0};
    if (!std::isfinite(report.norm)) throw NumericalError("truncate: norm(W) overflows");
    report.bonds.resize(static_cast<std::size_t>(sites) - 1);
    const double eps = truncation.max_relative_error;
    detail::LossBudget budget{eps * eps, 0, sites - 1};
    auto core = detail::load(cores[static_cast<std::size_t>(first)], backend);
    Index k = first;
    for (; budget.bonds_left > 0; k += step) {
        const auto crossed = static_cast<std::size_t>(near_first ? k + 1 : k);
        BondSpectrum& bond = report.bonds[crossed - 1];
        bond.useful_bond_dim = useful[crossed];
        const auto carry = detail::factor_svd(core, sweep, truncation.max_bond_dim, report.norm,
                                              budget, bond, backend);
        cores[static_cast<std::size_t>(k)] = detail::store(core, backend);
        const auto next = detail::load(cores[static_cast<std::size_t>(k + step)], backend);
        core = detail::absorb(carry, next, sweep, backend);
    }
    cores[static_cast<std::size_t>(k)] = detail::store(core, backend);
    report.relative_error = std::sqrt(budget.spent);
    const auto form = near_first ? CanonicalForm::left : CanonicalForm::right;
    return {Mpo<T>(std::move(cores), form), std::move(report)};
}

}  // namespace mpo
