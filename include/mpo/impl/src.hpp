// The templates of one layer that mpo::compiled instantiates once a scalar: declared here to whoever
// links it, defined in cmake/compiled/<scalar>.cpp. What is no template is in ordinary.cpp.
#pragma once

#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/linalg/low_rank.hpp"
#include "mpo/network/algebra.hpp"
#include "mpo/network/canonical.hpp"
#include "mpo/network/contract.hpp"
#include "mpo/network/decompose.hpp"
#include "mpo/network/gauge_fix.hpp"
#include "mpo/network/matrix_product.hpp"
#include "mpo/network/mpo_linear.hpp"
#include "mpo/network/stored_form.hpp"
#include "mpo/network/tensorize.hpp"

// NOLINTBEGIN(bugprone-macro-parentheses): a keyword and a type stand without them
#define MPO_DETAIL_LAYER_OF(INSTANTIATE, T)                                                        \
    namespace mpo {                                                                                \
    INSTANTIATE class Mpo<T>;                                                                      \
    INSTANTIATE class Plan<T, EigenBackend>;                                                       \
    INSTANTIATE class MpoLinear<T, EigenBackend>;                                                  \
    INSTANTIATE Plan<T, EigenBackend> make_plan<T>(const Mpo<T>&, const PlanOptions&,              \
                                                   const EigenBackend&);                           \
    INSTANTIATE LowRank<T, EigenBackend> low_rank<T>(MatrixView<const T>, const LowRankOptions&,   \
                                                     const EigenBackend&);                         \
    INSTANTIATE Decomposition<T> decompose<T>(const TensorView<const T>&, const DecomposeOptions&, \
                                              const EigenBackend&);                                \
    INSTANTIATE Mpo<T> move_center<T>(Mpo<T>, Index, const EigenBackend&);                         \
    INSTANTIATE Mpo<T> left_canonicalize<T>(Mpo<T>, const EigenBackend&);                          \
    INSTANTIATE Mpo<T> right_canonicalize<T>(Mpo<T>, const EigenBackend&);                         \
    INSTANTIATE Truncated<T> truncate<T>(Mpo<T>, const Truncation&, const EigenBackend&);          \
    INSTANTIATE class GaugeFixedMpo<T>;                                                            \
    INSTANTIATE GaugeFixedMpo<T> gauge_fix<T>(const Mpo<T>&, const GaugeFixOptions&,               \
                                              const EigenBackend&);                                \
    INSTANTIATE Mpo<T> compose<T>(const Mpo<T>&, const Mpo<T>&, const EigenBackend&);              \
    INSTANTIATE T inner<T>(const Mpo<T>&, const Mpo<T>&, const EigenBackend&);                     \
    INSTANTIATE double norm<T>(const Mpo<T>&, const EigenBackend&);                                \
    INSTANTIATE Tensor<T> to_dense<T>(const Mpo<T>&, const EigenBackend&);                         \
    INSTANTIATE Tensorized<T, EigenBackend> tensorize<T>(const TensorView<const T>&,               \
                                                         const TensorizeOptions<T>&,               \
                                                         const EigenBackend&);                     \
    }

// NOLINTEND(bugprone-macro-parentheses)

MPO_DETAIL_LAYER_OF(extern template, float)
MPO_DETAIL_LAYER_OF(extern template, double)
MPO_DETAIL_LAYER_OF(extern template, std::complex<float>)
MPO_DETAIL_LAYER_OF(extern template, std::complex<double>)
