#include "mpo/impl/eigen_backend_inl.hpp"
#include "mpo/impl/src.hpp"

template struct mpo::detail::EigenOperations<std::complex<float>>;
MPO_DETAIL_LAYER_OF(template, std::complex<float>)
