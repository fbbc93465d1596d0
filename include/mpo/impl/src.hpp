// What mpo::compiled instantiates: cmake/compiled/<scalar>.cpp includes this and names one scalar.
#pragma once

#ifdef MPO_COMPILED
#error \
    "mpo/impl/src.hpp is for building mpo::compiled itself, where MPO_COMPILED must not be defined"
#endif

#include "mpo/linalg/eigen_backend.hpp"
