// One linear as it will lie on the disk: rounded to its stored type, in either form, and measured.
#pragma once

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/network/algebra.hpp"
#include "mpo/network/gauge_fix.hpp"
#include "mpo/network/layout.hpp"
#include "mpo/network/matrix_product.hpp"
#include "mpo/network/stored_form.hpp"

namespace mpo::detail {

/// A tensor as it will lie on the disk.
struct StoredTensor {
    Shape shape;
    DType dtype = DType::bf16;
    std::vector<std::byte> bytes;
};

/// A chain rounded to a stored type: the bytes, and the same numbers to calculate with.
struct StoredCores {
    std::vector<StoredTensor> cores;   // whole ones, or what the gauge leaves of them
    std::vector<StoredTensor> pivots;  // of the inner bonds, where gauge-fixed
    Index center = 0;                  // the same
    Mpo<float> rounded;
};

/// Encodes a core and replaces its numbers by what was stored. Throws NumericalError where a finite
/// number becomes Inf.
[[nodiscard]] StoredTensor store_rounded(Tensor<float>& core, DType dtype, Index site);

/// Every number of the cores. Throws NumericalError where a finite number becomes Inf.
[[nodiscard]] StoredCores store_cores(const Mpo<float>& mpo, DType dtype);

/// What the gauge leaves. Throws NumericalError where a finite number becomes Inf.
[[nodiscard]] StoredCores store_cores(const GaugeFixedMpo<float>& mpo, DType dtype);

/// norm(W - A) / norm(W), Frobenius, summed in double; 0 where both are zero.
template <Backend B>
[[nodiscard]] double measured_error(const Tensor<float>& W, const Mpo<float>& A, const B& backend) {
    const auto approximation = to_dense(A, backend);  // (out, in)
    double lost = 0, total = 0;
    for (Index k = 0; k < W.size(); ++k) {
        const double w = W.data()[k], difference = w - static_cast<double>(approximation.data()[k]);
        total += w * w;
        lost += difference * difference;
    }
    return total > 0 ? std::sqrt(lost / total) : std::sqrt(lost);
}

/// One form of a linear as it lies on the disk.
struct StoredForm {
    Layout layout;
    Shape bonds;
    StoredAs stored_as = StoredAs::cores;
    Index center = 0;                 // the core that is whole, where gauge-fixed
    double relative_error = 0;        // of the cores as stored
    std::vector<StoredTensor> cores;  // none: the dense weight
    std::vector<StoredTensor> pivots;

    /// Numbers; pivots are none of them.
    [[nodiscard]] Index num_parameters() const;
    /// Of all that is stored.
    [[nodiscard]] Index num_bytes() const;
};

/// What is stored, and the same numbers to calculate with.
struct RoundedForm {
    StoredForm form;
    Mpo<float> rounded;
};

/// Rounds and measures. Throws NumericalError where a finite number becomes too large for the type.
template <Backend B>
[[nodiscard]] RoundedForm rounded_form(const Tensor<float>& W, const Mpo<float>& mpo, DType dtype,
                                       StoredAs stored_as, const B& backend) {
    auto stored = stored_as == StoredAs::cores ? store_cores(mpo, dtype)
                                               : store_cores(gauge_fix(mpo, backend), dtype);
    StoredForm form{mpo.layout(),
                    stored.rounded.bond_dims(),
                    stored_as,
                    stored.center,
                    measured_error(W, stored.rounded, backend),
                    std::move(stored.cores),
                    std::move(stored.pivots)};
    return {std::move(form), std::move(stored.rounded)};
}

/// What is stored alone.
template <Backend B>
[[nodiscard]] StoredForm stored_form(const Tensor<float>& W, const Mpo<float>& mpo, DType dtype,
                                     StoredAs stored_as, const B& backend) {
    return rounded_form(W, mpo, dtype, stored_as, backend).form;
}

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/stored_linear_inl.hpp"
#endif
