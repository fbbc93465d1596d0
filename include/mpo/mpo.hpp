// Everything for one layer: tensors, backends, MPOs. Needs Eigen and nothing else.
#pragma once

#include "mpo/core/communicator.hpp"
#include "mpo/core/dtype.hpp"
#include "mpo/core/error.hpp"
#include "mpo/core/packed.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/core/random.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/linalg/low_rank.hpp"
#include "mpo/linalg/truncation.hpp"
#include "mpo/linalg/weighted_low_rank.hpp"
#include "mpo/network/algebra.hpp"
#include "mpo/network/canonical.hpp"
#include "mpo/network/contract.hpp"
#include "mpo/network/decompose.hpp"
#include "mpo/network/gauge_fix.hpp"
#include "mpo/network/layout.hpp"
#include "mpo/network/layout_search.hpp"
#include "mpo/network/matrix_product.hpp"
#include "mpo/network/mpo_linear.hpp"
#include "mpo/network/stored_form.hpp"
#include "mpo/network/tensorize.hpp"
#include "mpo/network/tensorize_verdict.hpp"
#include "mpo/version.hpp"

#ifdef MPO_COMPILED
#include "mpo/impl/src.hpp"
#endif
