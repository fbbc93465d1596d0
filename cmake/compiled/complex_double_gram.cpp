// What complex<float> asks of complex<double>: the factors and products of its Gram matrices. A unit
// of its own, so that complex<float> does not wait for the SVD of complex<double>.
#include "mpo/impl/src.hpp"

namespace mpo::detail {
using T = std::complex<double>;
template void EigenOperations<T>::copy(const TensorView<const T>&, T*, const Shape&);
template void EigenOperations<T>::gemm_batched(T, BatchView<const T>, BatchView<const T>, T,
                                               BatchView<T>, Index);
template void EigenOperations<T>::eigh(MatrixView<T>, double*);
template Index EigenOperations<T>::cholesky(MatrixView<T>);
template void EigenOperations<T>::solve_triangular(Triangle, MatrixView<const T>, MatrixView<T>);
}  // namespace mpo::detail
