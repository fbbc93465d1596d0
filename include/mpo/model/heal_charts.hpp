// The charts of a healing's page: losses over the layers, losses over the steps of all layers, and distillation.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/core/plot.hpp"
#include "mpo/model/distill_options.hpp"
#include "mpo/model/heal_options.hpp"

namespace mpo::detail {

/// What a logarithmic axis cannot show lies at its foot.
[[nodiscard]] inline SvgPoint on(const Axis& y, double x, double value) {
    return {x, (std::max)(value, y.min)};
}

/// Whether there was any.
[[nodiscard]] bool has_sinks(const std::vector<BlockHealing>& layers);

/// The charts of the block stage.
[[nodiscard]] std::string block_charts(const std::vector<BlockHealing>& layers);

/// The charts of distillation.
[[nodiscard]] std::string distillation_charts(const Distillation& run, double alpha);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/heal_charts_inl.hpp"
#endif
