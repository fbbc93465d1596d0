// Two tensors are contracted by batched matrix products, on their elements where they lie. Legs are
// numbers, tensors are strides; what they are called is network/wiring.hpp's business.
//
//   C[batch, rows, cols] = sum over inner  A[batch, rows, inner] B[batch, inner, cols]
//
//   batch  legs that A, B and the result have        rows  legs of A and the result
//   inner  legs of A and B that the result has not   cols  legs of B and the result
//
// A group of legs is one index of a matrix where its strides nest. The slowest rows or cols may also
// be counted as batch, over which the other operand stands still. Whatever does not fit after that is
// copied in a better order, once per operand: of all ways the one of least estimated time.
#pragma once

#include <optional>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/backend.hpp"

namespace mpo {

/// Where the elements of a tensor lie: numbered legs and their strides. A leg twice is its diagonal.
struct StridedLegs {
    std::vector<Index> legs = {};  // one per axis
    Shape strides = {};            // in elements, one per axis
};

/// In which order the legs of a result lie in memory.
enum class LegOrder {
    as_given,  // as they were asked for, the first slowest
    free,      // as the products leave them
};

/// A copy without gaps: what is read, and in which order.
struct PairCopy {
    Shape shape = {};    // of the copy
    Shape strides = {};  // of the original, per axis of the copy
};

/// One index over which products are repeated, and the strides of the three tensors along it.
struct PairLoop {
    Index extent = 1;  // how often
    Index left = 0;    // elements from one left matrix to the next; 0: always the same
    Index right = 0;   // the same on the right
    Index result = 0;  // the same in the result
};

/// The strides of one matrix of a product.
struct PairMatrix {
    Index row_stride = 0;  // elements from row to row
    Index col_stride = 1;  // elements from column to column
};

/// How two tensors are contracted: copies first, then products.
struct PairPlan {
    std::optional<PairCopy> left_copy = {};   // none: read where it lies
    std::optional<PairCopy> right_copy = {};  // none: read where it lies
    std::optional<PairCopy> result_copy =
        {};           // none: the products write the result as it is wanted
    Index rows = 1;   // m of each product
    Index inner = 1;  // k
    Index cols = 1;   // n
    PairMatrix left = {}, right = {}, result = {};  // (m, k), (k, n), (m, n)
    std::vector<PairLoop> loops = {};  // slowest first; the longest is one batched product
    StridedLegs result_legs = {};      // of the result, row-major without gaps
    double seconds = 0;                // estimated, one core; only the order matters

    /// Number of operands and results that are copied.
    [[nodiscard]] int num_copies() const {
        return (left_copy ? 1 : 0) + (right_copy ? 1 : 0) + (result_copy ? 1 : 0);
    }
};

/// Finds the cheapest way to contract two tensors.
///
/// left, right  their legs, none of which the other tensor and the result both lack
/// result       legs of the result, each once, each in left or right
/// extents      of all legs, by their numbers, each at least 1
/// order        whether the result must lie in the order of `result`
/// returns      the plan; plan.result_legs has the legs of the result as they will lie
/// cost         27 ways, times the rows and cols that may count as batch
/// throws       ArgumentError (a leg outside of extents, a leg of one tensor alone, a result that no
///              tensor has or has twice)
[[nodiscard]] PairPlan plan_pair(const StridedLegs& left, const StridedLegs& right,
                                 const std::vector<Index>& result, const Shape& extents,
                                 LegOrder order = LegOrder::as_given);

namespace detail {

/// The elements themselves, or a copy of them in `buffer` as the plan asks for.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] const T* copied(const T* elements, const std::optional<PairCopy>& copy,
                              BufferOf<B, T>& buffer, const B& backend) {
    if (!copy) return elements;
    buffer = backend.template allocate<T>(num_elements(copy->shape));
    backend.permute(TensorView<const T>(elements, copy->shape, copy->strides), buffer.data());
    return buffer.data();
}

/// All products of a plan: loops one after another, the longest as one batch.
template <Scalar T, BackendFor<T> B>
void multiply_all(const PairPlan& plan, std::size_t longest, std::size_t depth, const T* left,
                  const T* right, T* result, const B& backend) {
    if (depth < plan.loops.size()) {
        const PairLoop& loop = plan.loops[depth];
        const Index count = depth == longest ? 1 : loop.extent;
        for (Index k = 0; k < count; ++k)
            multiply_all(plan, longest, depth + 1, left + k * loop.left, right + k * loop.right,
                         result + k * loop.result, backend);
        return;
    }
    const MatrixView<const T> A{
        left, plan.rows, plan.inner, plan.left.row_stride, plan.left.col_stride, Conjugation::none};
    const MatrixView<const T> B_{right,
                                 plan.inner,
                                 plan.cols,
                                 plan.right.row_stride,
                                 plan.right.col_stride,
                                 Conjugation::none};
    const MatrixView<T> C{
        result,           plan.rows, plan.cols, plan.result.row_stride, plan.result.col_stride,
        Conjugation::none};
    if (plan.loops.empty()) {
        backend.gemm(T{1}, A, B_, T{0}, C);
        return;
    }
    const PairLoop& loop = plan.loops[longest];
    backend.gemm_batched(T{1}, BatchView<const T>{A, loop.left}, BatchView<const T>{B_, loop.right},
                         T{0}, BatchView<T>{C, loop.result}, loop.extent);
}

}  // namespace detail

/// Contracts two tensors as planned.
///
/// plan         of plan_pair
/// left, right  element 0 of both, in backend memory, with the strides that were planned for
/// result       as many elements as the plan's result has, in backend memory; overwritten
/// error        that of the products
/// cost         plan.rows * inner * cols multiply-adds for every value of the loops; a buffer for every copy
/// throws       what the backend throws
template <Scalar T, BackendFor<T> B>
void contract_pair(const PairPlan& plan, const T* left, const T* right, T* result,
                   const B& backend) {
    BufferOf<B, T> left_buffer, right_buffer, result_buffer;
    left = detail::copied<T>(left, plan.left_copy, left_buffer, backend);
    right = detail::copied<T>(right, plan.right_copy, right_buffer, backend);
    T* product = result;
    if (plan.result_copy) {
        result_buffer = backend.template allocate<T>(num_elements(plan.result_copy->shape));
        product = result_buffer.data();
    }
    std::size_t longest = 0;
    for (std::size_t k = 1; k < plan.loops.size(); ++k)
        if (plan.loops[k].extent > plan.loops[longest].extent) longest = k;
    detail::multiply_all<T>(plan, longest, 0, left, right, product, backend);
    if (plan.result_copy)
        backend.permute(
            TensorView<const T>(product, plan.result_copy->shape, plan.result_copy->strides),
            result);
}

}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/contract_pair_inl.hpp"
#endif
