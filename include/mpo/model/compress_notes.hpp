// What must be said beside the numbers of a compression, in sentences: one source for the command,
// the page and the JSON.
#pragma once

#include <string>
#include <vector>

#include "mpo/model/compress_report.hpp"

namespace mpo {

namespace detail {

/// The type that most linears had in the source.
[[nodiscard]] std::string frequent_source_type(const CompressReport& report);

}  // namespace detail

/// Plain sentences, without a full stop where they are one clause, in the order of their weight.
[[nodiscard]] std::vector<std::string> notes(const CompressReport& report);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/compress_notes_inl.hpp"
#endif
