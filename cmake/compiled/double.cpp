// All of double but what double_gram.cpp has.
#include "mpo/impl/src.hpp"

namespace mpo::detail {
using T = double;
template Index EigenOperations<T>::prepared_size(Side, MatrixView<const T>);
template void EigenOperations<T>::prepare(Side, MatrixView<const T>, double*);
template void EigenOperations<T>::gemm_left(Index, Index, const double*, BatchView<const T>, T,
                                            BatchView<T>, Index);
template void EigenOperations<T>::gemm_right(MatrixView<const T>, const double*, Index, T,
                                             MatrixView<T>);
template void EigenOperations<T>::syrk(MatrixView<const T>, MatrixView<T>);
template void EigenOperations<T>::axpy(Index, T, const T*, T*);
template void EigenOperations<T>::scale(Index, T, T*);
template T EigenOperations<T>::dot(Index, const T*, const T*);
template void EigenOperations<T>::qr(MatrixView<T>, MatrixView<T>);
template void EigenOperations<T>::svd(MatrixView<const T>, MatrixView<T>, double*, MatrixView<T>);
template void EigenOperations<T>::lu(MatrixView<T>, Index*);
}  // namespace mpo::detail
