#include "mpo/impl/src.hpp"

template struct mpo::detail::EigenOperations<std::complex<double>>;
MPO_DETAIL_LAYER_OF(std::complex<double>)
