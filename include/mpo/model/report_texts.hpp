// What a compression did to the language, as a table of the page: every text under every form, and beside each
// quality what that same form costs.
#pragma once

#include <string>
#include <string_view>

#include "mpo/model/compress_report.hpp"

namespace mpo::detail {

/// 14.41, 5213, 1.2e+12: at least four digits, each of them right.
[[nodiscard]] std::string perplexity_text(double value);

/// Bytes, multiply-adds at the smallest batch, and milliseconds per token at the smallest and the largest one.
[[nodiscard]] std::string cost_cells(const ModelCost& cost, const std::string& at);

/// A text, its tokens and what the source makes of it.
[[nodiscard]] std::string source_row(const TextReport& text, const std::string& at);

[[nodiscard]] std::string form_row(const FormReport& form, const std::string& at);

/// Nothing where no text was read.
[[nodiscard]] std::string text_section(const CompressReport& report);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/report_texts_inl.hpp"
#endif
