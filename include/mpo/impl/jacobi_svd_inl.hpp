// SVD by one-sided Jacobi rotations (Hestenes 1958; de Rijk, SIAM J. Sci. Stat. Comput. 10 (1989)), in
// double: slow, 15 m n^2 flops a sweep and some ten sweeps, but it cannot go wrong. It repeats what
// a faster method got wrong, and it is plain loops, so that it costs no compile time.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <numeric>
#include <type_traits>
#include <vector>

#include "mpo/core/tensor.hpp"

namespace mpo::detail {

/// conj(x) for complex numbers, x for real ones.
template <class W>
[[nodiscard]] W conjugate_of(W x) {
    if constexpr (is_complex<W>)
        return std::conj(x);
    else
        return x;
}

/// Columns of m numbers, one after another. W: double or complex<double>.
template <class W>
struct Columns {
    Index rows = 0, count = 0;
    std::vector<W> values;

    Columns(Index m, Index n) : rows(m), count(n), values(static_cast<std::size_t>(m * n)) {}
    [[nodiscard]] W* operator[](Index k) { return values.data() + k * rows; }
    [[nodiscard]] W inner(Index p, Index q) {
        W sum{};
        for (Index i = 0; i < rows; ++i) sum += conjugate_of((*this)[p][i]) * (*this)[q][i];
        return sum;
    }
    [[nodiscard]] double squared_norm(Index k) { return std::real(inner(k, k)); }
    /// (x_p, x_q) -> (c x_p - s conj(phase) x_q, s x_p + c conj(phase) x_q).
    void rotate(Index p, Index q, double c, double s, W phase) {
        W *x = (*this)[p], *y = (*this)[q];
        for (Index i = 0; i < rows; ++i) {
            const W a = x[i], b = conjugate_of(phase) * y[i];
            x[i] = c * a - s * b;
            y[i] = s * a + c * b;
        }
    }
};

/// Rotates pairs of columns of B, and of V with them, until all are orthogonal. Columns whose square
/// is at most `negligible` are left alone.
template <class W>
void orthogonalize_columns(Columns<W>& B, Columns<W>& V, double negligible) {
    constexpr double eps = std::numeric_limits<double>::epsilon();
    constexpr int most_sweeps = 60;  // quadratic convergence: ten are many
    bool rotated = true;
    for (int sweep = 0; rotated && sweep < most_sweeps; ++sweep) {
        rotated = false;
        for (Index p = 0; p + 1 < B.count; ++p) {
            for (Index q = p + 1; q < B.count; ++q) {
                const double a = B.squared_norm(p), b = B.squared_norm(q);
                const W overlap = B.inner(p, q);
                const double size = std::abs(overlap);
                if ((std::min)(a, b) <= negligible || size <= 8 * eps * std::sqrt(a * b)) continue;
                const double zeta = (b - a) / (2 * size);
                const double t = (zeta < 0 ? -1 : 1) / (std::abs(zeta) + std::hypot(1.0, zeta));
                const double c = 1 / std::hypot(1.0, t);
                B.rotate(p, q, c, c * t, overlap / size);
                V.rotate(p, q, c, c * t, overlap / size);
                rotated = true;
            }
        }
    }
}

/// Scales columns [0, rank) of U to length 1 and fills the others with unit vectors made orthogonal
/// to all before them, twice.
template <class W>
void complete_basis(Columns<W>& U, Index rank) {
    Index unit = 0;
    for (Index k = 0; k < U.count; ++k) {
        double length = k < rank ? std::sqrt(U.squared_norm(k)) : 0;
        while (k >= rank && length < 0.5 / std::sqrt(static_cast<double>(U.rows))) {
            std::fill(U[k], U[k] + U.rows, W{});
            U[k][unit++] = W{1};
            for (Index j = 0; j < 2 * k; ++j) {
                const W overlap = U.inner(j % k, k);
                for (Index i = 0; i < U.rows; ++i) U[k][i] -= overlap * U[j % k][i];
            }
            length = std::sqrt(U.squared_norm(k));
        }
        for (Index i = 0; i < U.rows; ++i) U[k][i] /= length;
    }
}

/// A (m, n), m >= n, as columns -> U in its place, V (n, n), singular values descending.
template <class W>
[[nodiscard]] std::vector<double> jacobi_svd(Columns<W>& A, Columns<W>& V) {
    double total = 0;
    for (Index k = 0; k < A.count; ++k) {
        total += A.squared_norm(k);
        V[k][k] = W{1};
    }
    const double eps = std::numeric_limits<double>::epsilon();
    const double negligible = eps * eps * total;
    orthogonalize_columns(A, V, negligible);
    std::vector<Index> order(static_cast<std::size_t>(A.count));
    std::iota(order.begin(), order.end(), Index{0});
    std::vector<double> squares;
    for (Index k = 0; k < A.count; ++k) squares.push_back(A.squared_norm(k));
    const auto square = [&](Index k) { return squares[static_cast<std::size_t>(k)]; };
    std::stable_sort(order.begin(), order.end(),
                     [&](Index p, Index q) { return square(p) > square(q); });
    const Columns<W> unsorted_a = A, unsorted_v = V;
    std::vector<double> sigma;
    Index rank = 0;
    for (Index k = 0; k < A.count; ++k) {
        const Index from = order[static_cast<std::size_t>(k)];
        std::copy_n(unsorted_a.values.begin() + from * A.rows, A.rows, A[k]);
        std::copy_n(unsorted_v.values.begin() + from * V.rows, V.rows, V[k]);
        sigma.push_back(std::sqrt(square(from)));
        if (square(from) > negligible) rank = k + 1;
    }
    complete_basis(A, rank);
    return sigma;
}

}  // namespace mpo::detail
