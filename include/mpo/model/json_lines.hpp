// How JSON is laid out for readers and line tools: one line per member, long lists one line per entry.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace mpo::detail {

/// The value, or null.
template <class T>
[[nodiscard]] nlohmann::ordered_json or_null(const std::optional<T>& value) {
    return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}

/// On one line. What is not UTF-8 becomes U+FFFD.
[[nodiscard]] std::string json_line(const nlohmann::ordered_json& json);

/// An object, one line per member; a member that is a list of objects has one line per entry.
[[nodiscard]] std::string json_lines(const nlohmann::ordered_json& object);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/json_lines_inl.hpp"
#endif
