// Networks of any shape: their legs, the order in which to contract them, and pictures. Apart from
// mpo.hpp, which it costs a third more time to compile with.
#pragma once

#include "mpo/core/svg.hpp"
#include "mpo/network/chain_wiring.hpp"
#include "mpo/network/contract_network.hpp"
#include "mpo/network/contract_pair.hpp"
#include "mpo/network/draw.hpp"
#include "mpo/network/draw_scene.hpp"
#include "mpo/network/optimize_path.hpp"
#include "mpo/network/path.hpp"
#include "mpo/network/tensor_diagram.hpp"
#include "mpo/network/wiring.hpp"
