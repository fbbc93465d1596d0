// What float asks of double: the factors and products of its Gram matrices, accumulated in double.
// A unit of its own, so that a program in float does not wait for the SVD of double.
#include "mpo/impl/src.hpp"

namespace mpo::detail {
using T = double;
template void EigenOperations<T>::copy(const TensorView<const T>&, T*, const Shape&);
template void EigenOperations<T>::gemm_batched(T, BatchView<const T>, BatchView<const T>, T,
                                               BatchView<T>, Index);
template void EigenOperations<T>::eigh(MatrixView<T>, double*);
template Index EigenOperations<T>::cholesky(MatrixView<T>);
template void EigenOperations<T>::solve_triangular(Triangle, MatrixView<const T>, MatrixView<T>);
}  // namespace mpo::detail
