// A CompressReport as one page of HTML: no script, no network, light and dark, for wide and narrow
// screens. Whatever comes from a file is text in it and nothing else.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "mpo/model/compress_report.hpp"

namespace mpo {

namespace detail {

/// "SmolLM2-135M.Q4_1" of a path to a file or a folder.
[[nodiscard]] std::string model_name(const std::string& source);

/// A capital at the beginning, a full stop at the end.
[[nodiscard]] std::string sentence(std::string text);

[[nodiscard]] std::string header(const CompressReport& report);

/// A page around its content, with the JSON that `command` writes.
[[nodiscard]] std::string page(const std::string& title, const std::string& content,
                               std::string_view command, const nlohmann::ordered_json& json);

}  // namespace detail

/// The page. Its numbers are those of to_json(report), which it carries as a block of data; every
/// shown number is a `data` element with the exact value and its place in that JSON.
/// cost     some 3 kB per linear
[[nodiscard]] std::string to_html(const CompressReport& report);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/report_inl.hpp"
#endif
