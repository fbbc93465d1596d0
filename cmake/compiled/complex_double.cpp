#include "mpo/impl/src.hpp"

template struct mpo::detail::EigenOperations<std::complex<double>>;
