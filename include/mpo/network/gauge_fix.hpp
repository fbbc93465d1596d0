// gauge_fix: an MPO in the gauge in which chi^2 numbers per bond need not be stored.
//
//   A (D o i, D') = Q S = C (Q[pivots, :] S),   C = Q Q[pivots, :]^-1,   C[pivots, :] = 1
//
// C depends on the pivots alone. They are those of an LU factorisation of Q with partial pivoting,
// exchanged while that makes the volume |det Q[pivots, :]| grow by more than a factor; afterwards no
// entry of C exceeds that factor. A finds its way to the next core, as in any sweep.
//
// Source: Knuth, Linear and Multilinear Algebra 17 (1985); Goreinov et al., How to find a good submatrix,
// in Matrix Methods: Theory, Algorithms and Applications (2010).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/network/canonical.hpp"
#include "mpo/network/layout.hpp"
#include "mpo/network/matrix_product.hpp"
#include "mpo/network/stored_form.hpp"

namespace mpo {

/// What gauge_fix may be told.
struct GaugeFixOptions {
    std::optional<Index> center = {};  // the core that stays whole; none: see gauge_fix
    double max_coefficient = 1.1;      // of the other cores, above 1: nearer to 1 takes longer
};

namespace detail {

/// Throws ArgumentError where an option is outside its domain.
inline void validate_options(const GaugeFixOptions& options, Index sites) {
    if (options.center && (*options.center < 0 || *options.center >= sites))
        raise<ArgumentError>({"gauge_fix: the centre of ", sites, " sites must be in 0..",
                              sites - 1, ", got ", *options.center});
    if (!(options.max_coefficient > 1) || !std::isfinite(options.max_coefficient))
        raise<ArgumentError>({"gauge_fix: max_coefficient must be finite and above 1, got ",
                              options.max_coefficient});
}

/// The chosen rows of Q (m, n), in their order.
template <class T>
[[nodiscard]] Tensor<T> chosen_rows(const Tensor<T>& Q, const Shape& rows) {
    const Index n = Q.extent(1);
    Tensor<T> chosen({static_cast<Index>(rows.size()), n});  // (rows, n)
    for (std::size_t k = 0; k < rows.size(); ++k)
        std::copy_n(Q.data() + rows[k] * n, n, chosen.data() + static_cast<Index>(k) * n);
    return chosen;
}

template <class T, class B>
[[nodiscard]] BufferOf<B, T> uploaded(const TensorView<const T>& view, const B& backend) {
    auto buffer = backend.template allocate<T>(view.size());
    backend.upload(view, buffer.data());
    return buffer;
}

/// n rows of Q (m, n) that are independent: where partial pivoting finds its pivots.
template <class T, class B>
[[nodiscard]] Shape independent_rows(const Tensor<T>& Q, const B& backend) {
    const Index m = Q.extent(0), n = Q.extent(1);
    const auto factors = uploaded<T>(Q.view(), backend);
    std::vector<Index> exchanged(static_cast<std::size_t>(n));
    backend.lu(matrix(factors.data(), m, n), exchanged.data());
    Shape rows(static_cast<std::size_t>(m));
    std::iota(rows.begin(), rows.end(), Index{0});
    for (std::size_t k = 0; k < exchanged.size(); ++k)
        std::swap(rows[k], rows[static_cast<std::size_t>(exchanged[k])]);
    rows.resize(static_cast<std::size_t>(n));
    return rows;
}

/// C = Q Q[rows, :]^-1, (m, n): P Q[rows, :] = L U, so that (C P^T)^T = L^-T U^-T Q^T.
template <class T, class B>
[[nodiscard]] Tensor<T> coefficients(const Tensor<T>& Q, const Shape& rows, const B& backend) {
    const Index m = Q.extent(0), n = Q.extent(1);
    const auto U =
        uploaded<T>(chosen_rows(Q, rows).view(), backend);  // (n, n), L below the diagonal
    std::vector<Index> exchanged(static_cast<std::size_t>(n));
    backend.lu(matrix(U.data(), n, n), exchanged.data());
    Tensor<T> unit({n, n});  // L, whose diagonal of ones lu does not store
    backend.download(static_cast<const T*>(U.data()), unit.view());
    for (Index k = 0; k < n; ++k) unit(k, k) = T{1};
    const auto L = uploaded<T>(unit.view(), backend);
    const auto X = uploaded<T>(permuted<const T>(Q.view(), {1, 0}), backend);  // Q^T (n, m)
    const auto solve = [&](Triangle triangle, const BufferOf<B, T>& factor) {
        backend.solve_triangular(triangle, transpose(matrix<const T>(factor.data(), n, n)),
                                 matrix(X.data(), n, m));
    };
    solve(Triangle::lower, U);
    solve(Triangle::upper, L);
    Tensor<T> C({m, n});
    backend.download(static_cast<const T*>(X.data()), permuted(C.view(), {1, 0}));
    for (Index k = n; k-- > 0;)
        if (const Index other = exchanged[static_cast<std::size_t>(k)]; other != k)
            for (Index i = 0; i < m; ++i) std::swap(C(i, k), C(i, other));
    return C;
}

/// An entry of a matrix and its square.
struct LargestEntry {
    double squared = 0;
    Index row = 0, col = 0;

    /// Takes the largest of a row of n numbers into account.
    template <class T>
    void visit(const T* row_begin, Index n, Index at) {
        Real<T> most = 0;
        for (Index j = 0; j < n; ++j) most = (std::max)(most, std::norm(row_begin[j]));
        if (!(static_cast<double>(most) > squared)) return;
        squared = static_cast<double>(most);
        row = at;
        for (col = 0; std::norm(row_begin[col]) != most;) ++col;
    }
};

/// Row i of C (m, n) becomes the pivot of column j: C <- C - C[:, j] (C[i, :] - e_j) / C[i, j].
/// Returns the largest entry of the new C.
template <class T>
LargestEntry exchange(Tensor<T>& C, Index i, Index j) {
    const Index m = C.extent(0), n = C.extent(1);
    std::vector<T> change(C.data() + i * n, C.data() + (i + 1) * n);
    const T pivot = change[static_cast<std::size_t>(j)];
    change[static_cast<std::size_t>(j)] -= T{1};
    LargestEntry largest;
    for (Index row = 0; row < m; ++row) {
        T* entries = C.data() + row * n;
        const T factor = entries[j] / pivot;
        if (factor != T{})
            for (Index col = 0; col < n; ++col)
                entries[col] -= factor * change[static_cast<std::size_t>(col)];
        largest.visit(entries, n, row);
    }
    return largest;
}

/// Q = C Q[rows, :].
template <class T>
struct Interpolation {
    Tensor<T> C;  // (m, n), the identity at `rows`
    Shape rows;   // ascending
};

/// Rows of a Q (m, n) with orthonormal columns such that no entry of C exceeds the bound.
/// Every exchange multiplies the volume by more than the bound, which therefore ends.
template <class T, class B>
[[nodiscard]] Interpolation<T> interpolate(const Tensor<T>& Q, double bound, const B& backend) {
    const double slack = std::sqrt(static_cast<double>(std::numeric_limits<Real<T>>::epsilon()));
    Shape rows = independent_rows(Q, backend);
    for (double limit = bound;;
         limit += slack) {  // each round begins without the errors of the last
        std::sort(rows.begin(), rows.end());
        auto C = coefficients(Q, rows, backend);
        LargestEntry largest;
        for (Index i = 0; i < C.extent(0); ++i)
            largest.visit(C.data() + i * C.extent(1), C.extent(1), i);
        if (!(largest.squared > limit * limit)) return {std::move(C), std::move(rows)};
        while (largest.squared > limit * limit) {
            rows[static_cast<std::size_t>(largest.col)] = largest.row;
            largest = exchange(C, largest.row, largest.col);
        }
    }
}

/// Replaces the core by C of its outgoing matrix A (m, n) = C R, C the identity at the pivots;
/// returns R = A[pivots, :] and the pivots.
template <class T, class B>
[[nodiscard]] std::pair<Carry<T, B>, Shape> factor_pivots(LoadedCore<T, B>& core, Sweep sweep,
                                                          double bound, const B& backend) {
    const auto upper = factor_qr(core, sweep, backend);  // A = Q S
    const auto stored = store(core, backend);
    const Index n = upper.rows, m = stored.size() / n;
    const TensorView<const T> unfolded = sweep == Sweep::to_right
                                             ? TensorView<const T>(stored.data(), {m, n})
                                             : TensorView<const T>(stored.data(), {m, n}, {1, m});
    Tensor<T> Q({m, n});
    for (Index i = 0; i < m; ++i)
        for (Index j = 0; j < n; ++j) Q(i, j) = unfolded(i, j);
    auto [C, rows] = interpolate(Q, bound, backend);
    const auto block = uploaded<T>(chosen_rows(Q, rows).view(), backend);  // (n, n)
    Carry<T, B> carry{n, upper.cols, backend.template allocate<T>(n * upper.cols)};
    backend.gemm(T(1), matrix<const T>(block.data(), n, n), upper.view(), T(0), carry.view());
    const auto as_stored = sweep == Sweep::to_right ? C.view() : permuted(C.view(), {1, 0});
    backend.upload(TensorView<const T>(as_stored), core.elements.data());
    return {std::move(carry), std::move(rows)};
}

/// What is left of a core without the rows of the identity: (rows - D, D), or its transpose.
template <class T>
[[nodiscard]] Tensor<T> without_pivots(const Tensor<T>& core, const Shape& pivots, Sweep sweep) {
    const auto D = static_cast<Index>(pivots.size());
    const Index rows = core.size() / D;
    const Shape others = rows_between(pivots, rows);
    const auto rest = static_cast<Index>(others.size());
    if (sweep == Sweep::to_right)
        return chosen_rows(Tensor<T>({rows, D}, {core.data(), core.data() + core.size()}), others);
    Tensor<T> kept({D, rest});
    for (Index a = 0; a < D; ++a)
        for (Index n = 0; n < rest; ++n)
            kept(a, n) = core.data()[a * rows + others[static_cast<std::size_t>(n)]];
    return kept;
}

/// Crosses the bonds between two sites, leaving an identity in every core but the last of them, which
/// is left whole. pivots: of bond k + 1 at k.
template <class T, class B>
void sweep_pivots(std::vector<Tensor<T>>& cores, std::vector<Shape>& pivots, Index from, Index to,
                  double bound, const B& backend) {
    if (from == to) return;
    const Sweep sweep = from < to ? Sweep::to_right : Sweep::to_left;
    const Index step = from < to ? 1 : -1;
    auto core = load(cores[static_cast<std::size_t>(from)], backend);
    for (Index k = from; k != to; k += step) {
        auto [carry, rows] = factor_pivots(core, sweep, bound, backend);
        cores[static_cast<std::size_t>(k)] = store(core, backend);
        pivots[static_cast<std::size_t>((std::min)(k, k + step))] = std::move(rows);
        core =
            absorb(carry, load(cores[static_cast<std::size_t>(k + step)], backend), sweep, backend);
    }
    cores[static_cast<std::size_t>(to)] = store(core, backend);
}

/// The same W with an identity in every core but the centre, and where these are.
template <class T>
[[nodiscard]] GaugeFixedMpo<T> without_identities(std::vector<Tensor<T>> cores,
                                                  std::vector<Shape> pivots, Index center) {
    Layout layout;
    Shape bonds{1};
    for (const auto& core : cores) {
        layout.out.push_back(core.extent(1));
        layout.in.push_back(core.extent(2));
        bonds.push_back(core.extent(3));
    }
    for (Index k = 0; k < num_sites(layout); ++k) {
        auto& core = cores[static_cast<std::size_t>(k)];
        if (k < center)
            core = without_pivots(core, pivots[static_cast<std::size_t>(k)], Sweep::to_right);
        if (k > center)
            core = without_pivots(core, pivots[static_cast<std::size_t>(k) - 1], Sweep::to_left);
    }
    return {std::move(layout), std::move(bonds), center, std::move(cores), std::move(pivots)};
}

/// The numbers of another precision; the form is that of the source.
template <class To, class From>
[[nodiscard]] std::vector<Tensor<To>> converted(const std::vector<Tensor<From>>& cores) {
    std::vector<Tensor<To>> result;
    for (const auto& core : cores) {
        auto& copy = result.emplace_back(core.shape());
        std::transform(core.data(), core.data() + core.size(), copy.data(),
                       [](const From& x) { return static_cast<To>(x); });
    }
    return result;
}

}  // namespace detail

/// The same W in gauge-fixed form: chi^2 numbers fewer per bond.
///
/// mpo       any gauge; left-canonical saves a sweep
/// options   center: bonds left of it have their identity in the core on their left, the others in
///           the core on their right. Where it is not given, the core of most numbers is the centre:
///           the numbers of the others are rounded before they are multiplied by it
/// returns   bonds lowered to what the cores support (supported_bonds), num_stored of them numbers;
///           moduli outside the centre are at most max_coefficient, to rounding
/// error     sqrt(chi) eps(T) norm(W) is usual: calculated in GramScalar, rounded once
/// cost      of each bond, (m, chi) the unfolding that holds the identity: 5 m chi^2 multiply-adds, and
///           m chi for each exchange of a pivot, of which fewer than chi are usual
/// throws    ArgumentError (options, no sites), NumericalError (NaN or Inf, norm(W) overflows)
template <Scalar T, Backend B>
[[nodiscard]] GaugeFixedMpo<T> gauge_fix(const Mpo<T>& mpo, const GaugeFixOptions& options,
                                         const B& backend) {
    using W = GramScalar<B, T>;
    const Index sites = mpo.num_sites();
    detail::require_sites(sites, "gauge_fix");
    detail::validate_options(options, sites);
    for (Index k = 0; k < sites; ++k)
        if (!std::isfinite(detail::frobenius_norm(mpo.core(k))))
            detail::raise<NumericalError>({"gauge_fix: core ", k, " holds NaN or Inf"});
    Mpo<W> wide(detail::converted<W>(mpo.cores()), mpo.canonical_form(),
                mpo.orthogonality_center());
    const Shape bonds = supported_bonds(wide.layout(), wide.bond_dims());
    const Index center = options.center.value_or(largest_core(wide.layout(), bonds));
    auto cores = left_canonicalize(std::move(wide), backend).take_cores();
    const int exponent = detail::take_out_scales(cores, sites - 1, sites - 1);
    const double bound = options.max_coefficient;
    std::vector<Shape> pivots(static_cast<std::size_t>(sites) - 1);
    detail::sweep_pivots(cores, pivots, sites - 1, center, bound, backend);
    detail::sweep_qr(cores, center, Index{0}, backend);
    detail::sweep_pivots(cores, pivots, Index{0}, center, bound, backend);
    detail::scale_by_power_of_two(cores[static_cast<std::size_t>(center)], exponent);
    auto narrow = detail::converted<T>(cores);
    if (!std::isfinite(detail::frobenius_norm(narrow[static_cast<std::size_t>(center)])))
        throw NumericalError("gauge_fix: norm(W) overflows");
    return detail::without_identities(std::move(narrow), std::move(pivots), center);
}

/// The same without options.
template <Scalar T, Backend B>
[[nodiscard]] GaugeFixedMpo<T> gauge_fix(const Mpo<T>& mpo, const B& backend) {
    return gauge_fix(mpo, GaugeFixOptions{}, backend);
}

}  // namespace mpo
