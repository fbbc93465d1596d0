#include "mpo/impl/eigen_backend_inl.hpp"
#include "mpo/impl/src.hpp"

template struct mpo::detail::EigenOperations<float>;
MPO_DETAIL_LAYER_OF(template, float)
