// The bodies of model/json_object.hpp that are no templates.
#pragma once

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "mpo/io/inline.hpp"
#include "mpo/io/json_tree.hpp"
#include "mpo/model/json_object.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE JsonObject::JsonObject(const nlohmann::json& json, std::string where)
    : json_(json), where_(std::move(where)) {
    if (!json_.is_object()) fail(concat("must be an object, got ", described(json_)));
}

MPO_DETAIL_MODEL_INLINE bool JsonObject::has(const char* key) const {
    return json_.contains(key);
}

MPO_DETAIL_MODEL_INLINE const nlohmann::json& JsonObject::member(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end()) fail(concat("has no '", key, "'"));
    return *found;
}

MPO_DETAIL_MODEL_INLINE std::string JsonObject::text(const char* key) const {
    const auto& value = member(key);
    if (!value.is_string()) fail(concat("'", key, "' must be text, got ", described(value)));
    return value.get<std::string>();
}

MPO_DETAIL_MODEL_INLINE std::vector<double> JsonObject::numbers(const char* key) const {
    std::vector<double> result;
    for (const auto& value : list(key)) result.push_back(number(key, value));
    return result;
}

MPO_DETAIL_MODEL_INLINE std::vector<Index> JsonObject::integers(const char* key) const {
    std::vector<Index> result;
    for (const auto& value : list(key)) result.push_back(integer(key, value));
    return result;
}

MPO_DETAIL_MODEL_INLINE std::vector<std::string> JsonObject::texts(const char* key) const {
    std::vector<std::string> result;
    for (const auto& value : list(key)) {
        if (!value.is_string()) fail(concat("'", key, "' must be texts, got ", described(value)));
        result.push_back(value.get<std::string>());
    }
    return result;
}

MPO_DETAIL_MODEL_INLINE const nlohmann::json& JsonObject::list(const char* key) const {
    const auto& value = member(key);
    if (!value.is_array()) fail(concat("'", key, "' must be a list, got ", described(value)));
    return value;
}

MPO_DETAIL_MODEL_INLINE Index JsonObject::integer(const char* key,
                                                  const nlohmann::json& value) const {
    if (!value.is_number_unsigned() || !std::in_range<Index>(value.get<std::uint64_t>()))
        fail(concat("'", key, "' must be a whole number >= 0, got ", described(value)));
    return value.get<Index>();
}

MPO_DETAIL_MODEL_INLINE double JsonObject::number(const char* key,
                                                  const nlohmann::json& value) const {
    if (!value.is_number() || !(value.get<double>() >= 0) || !std::isfinite(value.get<double>()))
        fail(concat("'", key, "' must be a number >= 0, got ", described(value)));
    return value.get<double>();
}

}  // namespace mpo::detail
