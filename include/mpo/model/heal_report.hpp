// HealResults as one page of HTML, of the parts of a compression's report: what texts say, losses over layers and steps,
// and the training table.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "mpo/model/heal_results.hpp"
#include "mpo/model/report.hpp"

namespace mpo {

namespace detail {

/// Mean over the layers of a number before and after.
struct LayerMeans {
    double before = 0, after = 0;

    explicit LayerMeans(const std::vector<BlockHealing>& layers);
};

/// The look whose numbers distillation kept.
[[nodiscard]] std::size_t kept_look(const Distillation& run);

}  // namespace detail

/// The page. Its numbers are those of to_json(results), as those of a compression's report are; it carries that JSON.
/// cost     the JSON and some 1 kB per layer
[[nodiscard]] std::string to_html(const HealResults& results);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/heal_report_inl.hpp"
#endif
