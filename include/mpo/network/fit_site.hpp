// The loss as a function of one core, all others fixed: a quadratic form, whose minimum is one solve.
//
//   A = L X R,  L (mL, nL, a), X (a, o, i, b), R (b, mR, nR)      all of the chain left and right of X
//   loss(X) = <X, H X> - 2 Re <Q, X> + const,   H X = L^H (A S) R^H,   Q = L^H (W S) R^H
//
// H does not touch the out leg o: it is one matrix (a i b, a i b) for o right-hand sides. Applied without
// being formed, it costs a product with S for as many rows as A has; and as only L^H L matters of L, it
// gives way to the factor of its QR where that has fewer rows, nL a instead of mL.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "mpo/network/leg_tensor.hpp"

namespace mpo::detail {

/// The legs of one core and of the blocks beside it; of a pair of cores the second one has the out leg p and the
/// in leg j, and x is the bond between them.
enum FitLeg : Index {
    leg_ml,
    leg_o,
    leg_mr,
    leg_nl,
    leg_i,
    leg_nr,
    leg_a,
    leg_b,
    leg_p,
    leg_j,
    leg_x,
    num_fit_legs
};
/// Added to a leg: the same on the other side of S.
inline constexpr Index primed = num_fit_legs;

/// All sites on one side of a core as one tensor: (mL, nL, a) or (b, mR, nR); no legs at an end.
template <Scalar T, BackendFor<T> B>
struct FitBlock {
    LegTensor<T, B> whole;
    LegTensor<T, B> reduced;    // with its out leg shortened; Gram matrices are those of the whole
    LegTensor<T, B> conjugate;  // of the reduced one, for complex scalars
    FitLeg out = leg_ml, in = leg_nl, bond = leg_a;

    FitBlock() = default;
    FitBlock(LegTensor<T, B> tensor, FitLeg out_leg, FitLeg in_leg, FitLeg bond_leg,
             const B& backend)
        : whole(std::move(tensor)), out(out_leg), in(in_leg), bond(bond_leg) {
        reduced = ordered(whole.view(), {out, in, bond}, backend);
        if (reduced.shape[0] > reduced.shape[1] * reduced.shape[2]) shorten(backend);
        if constexpr (is_complex<T>) conjugate = conjugated(reduced.view(), backend);
    }

    [[nodiscard]] bool is_end() const { return whole.legs.empty(); }
    [[nodiscard]] LegView<T> view() const { return reduced.view(); }
    [[nodiscard]] LegView<T> conjugate_view() const {
        if constexpr (is_complex<T>)
            return conjugate.view();
        else
            return reduced.view();
    }
    /// The block on the other side of S, with these of its legs primed.
    [[nodiscard]] LegView<T> primed_view(bool prime_bond) const {
        if (is_end()) return {};
        return reduced.view().renamed({out, in + primed, prime_bond ? bond + primed : bond});
    }
    [[nodiscard]] Index extent(FitLeg leg) const {
        return is_end() ? 1 : reduced.shape[reduced.view().axis(leg)];
    }

  private:
    /// Y (rows, cols) gives way to a triangle R (cols, cols) with R^H R = Y^H Y: the Cholesky factor of that
    /// Gram matrix, which is summed in the wider type, or where there is none that of a QR.
    void shorten(const B& backend) {
        using W = GramScalar<B, T>;
        const Index rows = reduced.shape[0], cols = reduced.shape[1] * reduced.shape[2];
        auto factor =
            allocate_legs<T>(reduced.legs, {cols, reduced.shape[1], reduced.shape[2]}, backend);
        const auto y = matrix(reduced.elements.data(), rows, cols);
        auto gram = backend.template allocate<W>(cols * cols);
        backend.syrk(adjoint(MatrixView<const T>(y)), matrix(gram.data(), cols, cols));
        if (backend.cholesky(matrix(gram.data(), cols, cols)) < cols) {
            backend.qr(y, matrix(factor.elements.data(), cols, cols));
            reduced = std::move(factor);
            return;
        }
        const auto lower = converted<T, W>(std::move(gram), cols, cols, backend);  // L, R = L^H
        backend.template permute<T>(TensorView<const T>(lower.data(), {cols, cols}, {1, cols}),
                                    factor.elements.data());
        if constexpr (is_complex<T>)
            reduced = conjugated(factor.view(), backend);
        else
            reduced = std::move(factor);
    }
};

/// The traces of H over all legs but one. H is their Kronecker product, up to a number, where it is one.
template <Scalar T, class B>
struct PartialTraces {
    BufferOf<B, T> a, i, b;  // (a, a), (i, i), (b, b); none at an end of the chain
};

/// The traces of the H of two merged cores over the in legs of either: M with x M x^H for rows x.
template <Scalar T, class B>
struct PairTraces {
    LegTensor<T, B> first;   // (a' i', a i): over j and b
    LegTensor<T, B> second;  // (j' b', j b): over a and i
};

/// The quadratic form of one core.
template <Scalar T, BackendFor<T> B>
class SiteProblem {
  public:
    /// left, right   of the core; must outlive the problem
    /// o, i          legs of the core
    /// S, C          (n, n), Hermitian, and W S (m, n), row-major in backend memory, n = (nL i nR)
    SiteProblem(const FitBlock<T, B>& left, const FitBlock<T, B>& right, Index o, Index i,
                const T* S, const T* C, const B& backend)
        : left_(left), right_(right), o_(o), i_(i), S_(S), C_(C), backend_(backend) {}

    /// (a, o, i, b).
    [[nodiscard]] Shape core_shape() const { return {a(), o_, i_, b()}; }
    /// N = a i b, the side of H.
    [[nodiscard]] Index unknowns() const { return a() * i_ * b(); }

    /// Q (a, o, i, b), row-major.
    [[nodiscard]] BufferOf<B, T> rhs() const {
        const LegView<T> C{C_, matrix_legs(), matrix_shape(whole_rows(left_), whole_rows(right_))};
        LegTensor<T, B> left, right;
        const auto first = contracted(whole_conjugate(left_, left), C, backend_);
        return contracted(first.view(), whole_conjugate(right_, right), backend_, core_legs())
            .elements;
    }

    /// H X for X (a, o, i, b), row-major.
    [[nodiscard]] BufferOf<B, T> apply(const T* X) const {
        const LegView<T> core{X, core_legs(), core_shape()};
        const bool left_first = multiply_adds_of_blocks(true) <= multiply_adds_of_blocks(false);
        const auto& first = left_first ? left_ : right_;
        const auto& second = left_first ? right_ : left_;
        auto A = contracted(contracted(core, first.view(), backend_).view(), second.view(),
                            backend_, matrix_legs());
        const Index n = inputs(), m = A.size() / n;
        auto product = allocate_legs<T>(A.legs, A.shape, backend_);
        backend_.gemm(T{1}, matrix<const T>(A.elements.data(), m, n), matrix<const T>(S_, n, n),
                      T{0}, matrix(product.elements.data(), m, n));
        const auto half = contracted(product.view(), second.conjugate_view(), backend_);
        return contracted(half.view(), first.conjugate_view(), backend_, core_legs()).elements;
    }

    /// H (a i b, a i b), row-major.
    [[nodiscard]] BufferOf<B, T> dense() const {
        // an end first: it only copies, and S is the smallest of what there is to copy
        const bool left_first = !right_.is_end() && cost_of_dense(true).multiply_adds <=
                                                        cost_of_dense(false).multiply_adds;
        const auto half = around(left_first ? left_ : right_, metric());
        return around(left_first ? right_ : left_, half.view(),
                      {leg_a, leg_i, leg_b, leg_a + primed, leg_i + primed, leg_b + primed})
            .elements;
    }

    [[nodiscard]] PartialTraces<T, B> partial_traces() const {
        PartialTraces<T, B> result;
        const auto GL = traced_gram(left_), GR = traced_gram(right_);
        const auto left_of_S = contracted(metric(), GR.view(), backend_);  // nL', i', nL, i
        const auto right_of_S = contracted(metric(), GL.view(), backend_);
        result.i =
            contracted(left_of_S.view(), GL.view(), backend_, {leg_i, leg_i + primed}).elements;
        const auto unit = identity();
        result.a = bond_matrix(left_, contracted(left_of_S.view(), unit.view(), backend_));
        result.b = bond_matrix(right_, contracted(right_of_S.view(), unit.view(), backend_));
        return result;
    }

    /// Of a core that is two of them merged, with in legs of i and this / i.
    [[nodiscard]] PairTraces<T, B> pair_traces(Index i) const {
        const Index j = i_ / i, nl = left_.extent(leg_nl), nr = right_.extent(leg_nr);
        const LegView<T> S{S_,
                           {leg_nl + primed, leg_i + primed, leg_j + primed, leg_nr + primed,
                            leg_nl, leg_i, leg_j, leg_nr},
                           {nl, i, j, nr, nl, i, j, nr}};
        const auto traced = [&](const FitBlock<T, B>& block, FitLeg leg, Index extent) {
            const LegTensor<T, B> unit{
                {leg + primed, leg}, {extent, extent}, unit_matrix<T>(extent, backend_)};
            const auto half = contracted(S, traced_gram(block).view(), backend_);
            return contracted(half.view(), unit.view(), backend_);
        };
        return {around(left_, traced(right_, leg_j, j).view(),
                       {leg_a + primed, leg_i + primed, leg_a, leg_i}),
                around(right_, traced(left_, leg_i, i).view(),
                       {leg_j + primed, leg_b + primed, leg_j, leg_b})};
    }

    /// Multiply-adds of apply.
    [[nodiscard]] double multiply_adds_of_apply() const {
        const double m = number(left_.extent(leg_ml) * o_ * right_.extent(leg_mr));
        return m * number(inputs()) * number(inputs()) +
               2 * (std::min)(multiply_adds_of_blocks(true), multiply_adds_of_blocks(false));
    }
    /// What making a matrix takes.
    struct DenseCost {
        double multiply_adds = 0;
        double elements = 0;  // of the largest tensor on the way
    };
    /// What dense takes.
    [[nodiscard]] DenseCost cost_of_dense() const {
        const auto left = cost_of_dense(true), right = cost_of_dense(false);
        return left.multiply_adds <= right.multiply_adds ? left : right;
    }

  private:
    [[nodiscard]] static double number(Index n) { return static_cast<double>(n); }
    [[nodiscard]] Index a() const { return left_.extent(leg_a); }
    [[nodiscard]] Index b() const { return right_.extent(leg_b); }
    [[nodiscard]] Index inputs() const { return left_.extent(leg_nl) * i_ * right_.extent(leg_nr); }
    [[nodiscard]] static std::vector<Index> core_legs() { return {leg_a, leg_o, leg_i, leg_b}; }
    [[nodiscard]] static std::vector<Index> matrix_legs() {
        return {leg_ml, leg_o, leg_mr, leg_nl, leg_i, leg_nr};
    }
    [[nodiscard]] Shape matrix_shape(Index ml, Index mr) const {
        return {ml, o_, mr, left_.extent(leg_nl), i_, right_.extent(leg_nr)};
    }
    [[nodiscard]] static Index whole_rows(const FitBlock<T, B>& block) {
        return block.is_end() ? 1 : block.whole.shape[block.whole.view().axis(block.out)];
    }
    /// The conjugate of a whole block; `buffer` holds it where it is not the block itself.
    [[nodiscard]] LegView<T> whole_conjugate(const FitBlock<T, B>& block,
                                             [[maybe_unused]] LegTensor<T, B>& buffer) const {
        if (block.is_end()) return {};
        if constexpr (is_complex<T>) {
            buffer = conjugated(block.whole.view(), backend_);
            return buffer.view();
        } else {
            return block.whole.view();
        }
    }
    /// S with the legs that it joins: column index to the right of it.
    [[nodiscard]] LegView<T> metric() const {
        const Index nl = left_.extent(leg_nl), nr = right_.extent(leg_nr);
        return {S_,
                {leg_nl + primed, leg_i + primed, leg_nr + primed, leg_nl, leg_i, leg_nr},
                {nl, i_, nr, nl, i_, nr}};
    }
    [[nodiscard]] LegTensor<T, B> identity() const {
        return {{leg_i + primed, leg_i}, {i_, i_}, unit_matrix<T>(i_, backend_)};
    }
    /// L^H H L for a tensor H of so many elements: through the Gram matrix of the block, or one factor after
    /// the other, which is better where the block has few outputs.
    [[nodiscard]] static DenseCost cost_around(const FitBlock<T, B>& block, double elements,
                                               bool by_gram) {
        if (block.is_end()) return {};
        const double m = number(block.extent(block.out)), n = number(block.extent(block.in)),
                     d = number(block.extent(block.bond));
        if (by_gram)
            return {m * n * n * d * d + d * d * elements,
                    (std::max)(n * n * d * d, d * d * elements / (n * n))};
        const double half = m * d * elements / n;
        return {m * d * elements + d * half, (std::max)(half, d * d * elements / (n * n))};
    }
    [[nodiscard]] static bool gram_is_cheaper(const FitBlock<T, B>& block, double elements) {
        return cost_around(block, elements, true).multiply_adds <=
               cost_around(block, elements, false).multiply_adds;
    }
    [[nodiscard]] DenseCost cost_of_dense(bool left_first) const {
        const auto& first = left_first ? left_ : right_;
        const auto& second = left_first ? right_ : left_;
        const double n = number(inputs()), size = n * n;
        const auto once = cost_around(first, size, gram_is_cheaper(first, size));
        const double ratio = number(first.extent(first.bond)) / number(first.extent(first.in));
        const double half = size * ratio * ratio;
        const auto twice = cost_around(second, half, gram_is_cheaper(second, half));
        const double N = number(unknowns());
        return {once.multiply_adds + twice.multiply_adds,
                (std::max)({once.elements, twice.elements, N * N})};
    }
    /// H with the in legs of the block replaced by its bond; in the order of `legs`, or as it comes.
    [[nodiscard]] LegTensor<T, B> around(const FitBlock<T, B>& block, const LegView<T>& H,
                                         const std::vector<Index>& legs = {}) const {
        if (block.is_end()) return ordered(H, legs.empty() ? H.legs : legs, backend_);
        if (!gram_is_cheaper(block, number(num_elements(H.shape)))) {
            const auto half = contracted(block.primed_view(true), H, backend_);
            return contracted(block.conjugate_view(), half.view(), backend_, legs);
        }
        const auto gram = contracted(block.conjugate_view(), block.primed_view(true), backend_);
        return contracted(H, gram.view(), backend_, legs);
    }
    /// The Gram matrix of the block with its bond summed over: (in', in).
    [[nodiscard]] LegTensor<T, B> traced_gram(const FitBlock<T, B>& block) const {
        if (block.is_end()) return {};
        return contracted(block.conjugate_view(), block.primed_view(false), backend_);
    }
    /// The block around what the rest of H leaves to it: (bond, bond').
    [[nodiscard]] BufferOf<B, T> bond_matrix(const FitBlock<T, B>& block,
                                             const LegTensor<T, B>& rest) const {
        if (block.is_end()) return {};
        const auto half = contracted(block.primed_view(true), rest.view(), backend_);
        return contracted(block.conjugate_view(), half.view(), backend_,
                          {block.bond, block.bond + primed})
            .elements;
    }
    /// Multiply-adds of putting both blocks around a core.
    [[nodiscard]] double multiply_adds_of_blocks(bool left_first) const {
        const auto& first = left_first ? left_ : right_;
        const auto& second = left_first ? right_ : left_;
        const double core = number(a() * o_ * i_ * b());
        const auto grow = [](const FitBlock<T, B>& block) {
            return number(block.extent(block.out) * block.extent(block.in));
        };
        const double once = first.is_end() ? 0 : core * grow(first);
        const double between = core * grow(first) / number(first.extent(first.bond));
        return once + (second.is_end() ? 0 : between * grow(second));
    }
    const FitBlock<T, B>& left_;
    const FitBlock<T, B>& right_;
    Index o_, i_;
    const T *S_, *C_;
    const B& backend_;
};

}  // namespace mpo::detail
