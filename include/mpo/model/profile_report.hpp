// A Profile as one page of HTML, of the parts of a compression's report: which linears the model suffers from, as a
// map of blocks and kinds, and what every rank of them would lose.
#pragma once

#include <string>

#include "mpo/model/profile_results.hpp"
#include "mpo/model/report.hpp"

namespace mpo {

/// The page. Its numbers are those of to_json(profile), as those of a compression's report are; it carries that JSON.
/// cost     the JSON and some 3 kB per linear
[[nodiscard]] std::string to_html(const Profile& profile);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/profile_report_inl.hpp"
#endif
