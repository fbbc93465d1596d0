// The bodies of model/json_lines.hpp that are no templates.
#pragma once

#include "mpo/io/inline.hpp"
#include "mpo/model/json_lines.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE std::string json_line(const nlohmann::ordered_json& json) {
    return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

MPO_DETAIL_MODEL_INLINE std::string json_lines(const nlohmann::ordered_json& object) {
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
