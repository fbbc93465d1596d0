#include "mpo/impl/src.hpp"

template struct mpo::detail::EigenOperations<std::complex<float>>;
MPO_DETAIL_LAYER_OF(std::complex<float>)
