// A whole JSON document in memory, for the small ones: unlike the parser's own tree it refuses what
// parse_json refuses, and keys that occur twice.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "mpo/io/json_events.hpp"

namespace mpo::detail {

/// Hears a document and builds it.
class JsonTree final : public JsonEvents {
  public:
    explicit JsonTree(std::string_view path) : path_(path) {}

    nlohmann::json root;

    void scalar(JsonScalar value) override {
        std::visit([&](auto& x) { add(std::move(x)); }, value);
    }
    void begin_object() override;
    void end_object() override { open_.pop_back(); }
    void begin_array() override;
    void end_array() override { open_.pop_back(); }
    void key(std::string name, Index byte) override;

  private:
    nlohmann::json* add(nlohmann::json value);

    std::string_view path_;
    std::vector<nlohmann::json*> open_;  // from the root to where the next value belongs
    std::string key_;
};

/// The document of `text`. Throws FormatError, with path and byte, where it is none.
[[nodiscard]] nlohmann::json parse_json_tree(std::string_view text, std::string_view path);

/// A value for messages: numbers, booleans and strings as they are, the kind of anything larger.
[[nodiscard]] std::string described(const nlohmann::json& value);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/io/json_tree_inl.hpp"
#endif
