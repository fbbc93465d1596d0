// A whole JSON document in memory, for the small ones: unlike the parser's own tree it refuses what
// parse_json refuses, and keys that occur twice.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
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
    void begin_object() override { open_.push_back(add(nlohmann::json::object())); }
    void end_object() override { open_.pop_back(); }
    void begin_array() override { open_.push_back(add(nlohmann::json::array())); }
    void end_array() override { open_.pop_back(); }
    void key(std::string name, Index byte) override {
        if (open_.back()->contains(name))
            raise<FormatError>(
                {path_, ": the key ", in_quotes(name), " at byte ", byte, " occurs twice"});
        key_ = std::move(name);
    }

  private:
    nlohmann::json* add(nlohmann::json value) {
        if (open_.empty()) return &(root = std::move(value));
        auto& parent = *open_.back();
        if (parent.is_object()) return &(parent[key_] = std::move(value));
        parent.push_back(std::move(value));
        return &parent.back();
    }

    std::string_view path_;
    std::vector<nlohmann::json*> open_;  // from the root to where the next value belongs
    std::string key_;
};

/// The document of `text`. Throws FormatError, with path and byte, where it is none.
[[nodiscard]] inline nlohmann::json parse_json_tree(std::string_view text, std::string_view path) {
    JsonTree tree(path);
    parse_json(text, tree, {path});
    return std::move(tree.root);
}

/// A value for messages: numbers, booleans and strings as they are, the kind of anything larger.
[[nodiscard]] inline std::string described(const nlohmann::json& value) {
    return value.is_structured() ? value.type_name() : printable(value.dump());
}

}  // namespace mpo::detail
