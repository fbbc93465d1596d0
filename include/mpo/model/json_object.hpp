// Objects of the JSON files that this library wrote itself and reads again: nothing in them is trusted.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo::detail {

/// One object; every refusal names file, place and member.
class JsonObject {
  public:
    JsonObject(const nlohmann::json& json, std::string where);
    [[noreturn]] void fail(std::string_view problem) const {
        raise<FormatError>({where_, ": ", problem});
    }
    [[nodiscard]] bool has(const char* key) const;
    [[nodiscard]] const nlohmann::json& member(const char* key) const;
    [[nodiscard]] JsonObject object(const char* key) const {
        return {member(key), concat(where_, ", '", key, "'")};
    }
    [[nodiscard]] std::string text(const char* key) const;
    [[nodiscard]] Index integer(const char* key) const { return integer(key, member(key)); }
    [[nodiscard]] double number(const char* key) const { return number(key, member(key)); }
    [[nodiscard]] std::vector<double> numbers(const char* key) const;
    [[nodiscard]] std::vector<Index> integers(const char* key) const;
    [[nodiscard]] std::vector<std::string> texts(const char* key) const;
    [[nodiscard]] const nlohmann::json& list(const char* key) const;
    [[nodiscard]] const std::string& where() const { return where_; }

  private:
    [[nodiscard]] Index integer(const char* key, const nlohmann::json& value) const;
    /// Numbers are sizes, errors, seconds: all >= 0.
    [[nodiscard]] double number(const char* key, const nlohmann::json& value) const;

    const nlohmann::json& json_;
    std::string where_;
};

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/json_object_inl.hpp"
#endif
