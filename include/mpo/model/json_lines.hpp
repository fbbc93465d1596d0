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
[[nodiscard]] inline std::string json_line(const nlohmann::ordered_json& json) {
    return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

/// An object, one line per member; a member that is a list of objects has one line per entry.
[[nodiscard]] inline std::string json_lines(const nlohmann::ordered_json& object) {
    std::string text = "{";
    for (const auto& [key, value] : object.items()) {
        text += (text.size() == 1 ? "\n  " : ",\n  ") + json_line(key) + ": ";
        const bool list = value.is_array() && !value.empty() && value.front().is_object();
        if (!list) {
            text += json_line(value);
            continue;
        }
        std::string entries;
        for (const auto& entry : value)
            entries += (entries.empty() ? "\n    " : ",\n    ") + json_line(entry);
        text += '[' + entries + "\n  ]";
    }
    return text + "\n}\n";
}

}  // namespace mpo::detail
