// The peer on flat spectra: Eigen's divide-and-conquer SVD alone, with the flags of the library.
#pragma once

#include "mpo/core/tensor.hpp"

namespace mpo::bench {

/// Thin U, V and the singular values of A, row-major without gaps. Returns the largest one.
[[nodiscard]] float eigen_bdcsvd(MatrixView<const float> A);

}  // namespace mpo::bench
