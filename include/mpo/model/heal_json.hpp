// HealResults as JSON; docs/schema/heal.json says what every member means.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "mpo/model/evaluate_results.hpp"
#include "mpo/model/heal_results.hpp"
#include "mpo/model/heal_snapshots.hpp"
#include "mpo/model/made_by.hpp"

namespace mpo {

namespace detail {

[[nodiscard]] nlohmann::ordered_json to_json(const HealedText& text);

}  // namespace detail

/// The results as a JSON object.
[[nodiscard]] nlohmann::ordered_json describe(const HealResults& results);

/// The same as text: one line per layer, look of distillation and text.
[[nodiscard]] std::string to_json(const HealResults& results);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/heal_json_inl.hpp"
#endif
