// Networks of any shape: diagrams of tensors with named legs, the order in which to contract them, and
// pictures. Apart from mpo.hpp: headers alone, both together take 1.7 times as long to compile.
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
