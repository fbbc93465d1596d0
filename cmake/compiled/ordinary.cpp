// The definitions of mpo::compiled that are no templates.
#include "mpo/core/error_inl.hpp"
#include "mpo/core/parallel_inl.hpp"
#include "mpo/core/tensor_inl.hpp"
#include "mpo/network/contract_inl.hpp"
#include "mpo/network/layout_inl.hpp"
#include "mpo/network/optimize_path_inl.hpp"
#include "mpo/network/path_inl.hpp"
#include "mpo/network/sweep_inl.hpp"
