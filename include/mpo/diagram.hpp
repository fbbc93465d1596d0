// Networks of any shape: their legs, the order in which to contract them, and pictures. Apart from
// mpo.hpp, which it costs a third more time to compile with.
#pragma once

#include "mpo/core/svg.hpp"
#include "mpo/network/optimize_path.hpp"
#include "mpo/network/path.hpp"
