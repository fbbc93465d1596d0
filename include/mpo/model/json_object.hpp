// Objects of the JSON files that this library wrote itself and reads again: nothing in them is trusted.
#pragma once

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/json_tree.hpp"

namespace mpo::detail {

/// One object; every refusal names file, place and member.
class JsonObject {
  public:
    JsonObject(const nlohmann::json& json, std::string where)
        : json_(json), where_(std::move(where)) {
        if (!json_.is_object()) fail(concat("must be an object, got ", described(json_)));
    }
    [[noreturn]] void fail(std::string_view problem) const {
        raise<FormatError>({where_, ": ", problem});
    }
    [[nodiscard]] bool has(const char* key) const { return json_.contains(key); }
    [[nodiscard]] const nlohmann::json& member(const char* key) const {
        const auto found = json_.find(key);
        if (found == json_.end()) fail(concat("has no '", key, "'"));
        return *found;
    }
    [[nodiscard]] JsonObject object(const char* key) const {
        return {member(key), concat(where_, ", '", key, "'")};
    }
    [[nodiscard]] std::string text(const char* key) const {
        const auto& value = member(key);
        if (!value.is_string()) fail(concat("'", key, "' must be text, got ", described(value)));
        return value.get<std::string>();
    }
    [[nodiscard]] Index integer(const char* key) const { return integer(key, member(key)); }
    [[nodiscard]] double number(const char* key) const { return number(key, member(key)); }
    [[nodiscard]] std::vector<double> numbers(const char* key) const {
        std::vector<double> result;
        for (const auto& value : list(key)) result.push_back(number(key, value));
        return result;
    }
    [[nodiscard]] std::vector<Index> integers(const char* key) const {
        std::vector<Index> result;
        for (const auto& value : list(key)) result.push_back(integer(key, value));
        return result;
    }
    [[nodiscard]] std::vector<std::string> texts(const char* key) const {
        std::vector<std::string> result;
        for (const auto& value : list(key)) {
            if (!value.is_string())
                fail(concat("'", key, "' must be texts, got ", described(value)));
            result.push_back(value.get<std::string>());
        }
        return result;
    }
    [[nodiscard]] const nlohmann::json& list(const char* key) const {
        const auto& value = member(key);
        if (!value.is_array()) fail(concat("'", key, "' must be a list, got ", described(value)));
        return value;
    }
    [[nodiscard]] const std::string& where() const { return where_; }

  private:
    [[nodiscard]] Index integer(const char* key, const nlohmann::json& value) const {
        if (!value.is_number_unsigned() || !std::in_range<Index>(value.get<std::uint64_t>()))
            fail(concat("'", key, "' must be a whole number >= 0, got ", described(value)));
        return value.get<Index>();
    }
    /// Numbers are sizes, errors, seconds: all >= 0.
    [[nodiscard]] double number(const char* key, const nlohmann::json& value) const {
        if (!value.is_number() || !(value.get<double>() >= 0) ||
            !std::isfinite(value.get<double>()))
            fail(concat("'", key, "' must be a number >= 0, got ", described(value)));
        return value.get<double>();
    }

    const nlohmann::json& json_;
    std::string where_;
};

}  // namespace mpo::detail
