// The templates of one layer that mpo::compiled instantiates once a scalar: cmake/compiled/<scalar>.cpp
// defines them, mpo.hpp declares them to whoever links it.
#pragma once

#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/linalg/low_rank.hpp"
#include "mpo/network/algebra.hpp"
#include "mpo/network/canonical.hpp"
#include "mpo/network/contract.hpp"
#include "mpo/network/decompose.hpp"
#include "mpo/network/matrix_product.hpp"

#ifdef MPO_COMPILED
#define MPO_DETAIL_INSTANTIATE extern template
#else
#define MPO_DETAIL_INSTANTIATE template
#endif

#define MPO_DETAIL_LAYER_OF(T)                                                                   \
    namespace mpo {                                                                              \
    MPO_DETAIL_INSTANTIATE class Mpo<T>;                                                         \
    MPO_DETAIL_INSTANTIATE class Plan<T, EigenBackend>;                                          \
    MPO_DETAIL_INSTANTIATE LowRank<T, EigenBackend> low_rank<T>(MatrixView<const T>,             \
                                                                const LowRankOptions&,           \
                                                                const EigenBackend&);            \
    MPO_DETAIL_INSTANTIATE Decomposition<T> decompose<T>(const TensorView<const T>&,             \
                                                         const DecomposeOptions&,                \
                                                         const EigenBackend&);                   \
    MPO_DETAIL_INSTANTIATE Mpo<T> move_center<T>(Mpo<T>, Index, const EigenBackend&);            \
    MPO_DETAIL_INSTANTIATE Mpo<T> left_canonicalize<T>(Mpo<T>, const EigenBackend&);             \
    MPO_DETAIL_INSTANTIATE Mpo<T> right_canonicalize<T>(Mpo<T>, const EigenBackend&);            \
    MPO_DETAIL_INSTANTIATE Truncated<T> truncate<T>(Mpo<T>, const Truncation&,                   \
                                                    const EigenBackend&);                        \
    MPO_DETAIL_INSTANTIATE Mpo<T> compose<T>(const Mpo<T>&, const Mpo<T>&, const EigenBackend&); \
    MPO_DETAIL_INSTANTIATE T inner<T>(const Mpo<T>&, const Mpo<T>&, const EigenBackend&);        \
    MPO_DETAIL_INSTANTIATE double norm<T>(const Mpo<T>&, const EigenBackend&);                   \
    MPO_DETAIL_INSTANTIATE Tensor<T> to_dense<T>(const Mpo<T>&, const EigenBackend&);            \
    }

#ifdef MPO_COMPILED
MPO_DETAIL_LAYER_OF(float)
MPO_DETAIL_LAYER_OF(double)
MPO_DETAIL_LAYER_OF(std::complex<float>)
MPO_DETAIL_LAYER_OF(std::complex<double>)
#undef MPO_DETAIL_LAYER_OF
#undef MPO_DETAIL_INSTANTIATE
#endif
