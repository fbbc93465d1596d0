// The bodies of io/json_tree.hpp that are no templates.
#pragma once

#include <cstddef>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/json_tree.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void JsonTree::begin_object() {
    open_.push_back(add(nlohmann::json::object()));
}

MPO_DETAIL_MODEL_INLINE void JsonTree::begin_array() {
    open_.push_back(add(nlohmann::json::array()));
}

MPO_DETAIL_MODEL_INLINE void JsonTree::key(std::string name, Index byte) {
    if (open_.back()->contains(name))
        raise<FormatError>(
            {path_, ": the key ", in_quotes(name), " at byte ", byte, " occurs twice"});
    key_ = std::move(name);
}

MPO_DETAIL_MODEL_INLINE nlohmann::json* JsonTree::add(nlohmann::json value) {
    if (open_.empty()) return &(root = std::move(value));
    auto& parent = *open_.back();
    if (parent.is_object()) return &(parent[key_] = std::move(value));
    parent.push_back(std::move(value));
    return &parent.back();
}

MPO_DETAIL_MODEL_INLINE nlohmann::json parse_json_tree(std::string_view text,
                                                       std::string_view path) {
    JsonTree tree(path);
    parse_json(text, tree, {path});
    return std::move(tree.root);
}

MPO_DETAIL_MODEL_INLINE std::string described(const nlohmann::json& value) {
    return value.is_structured() ? value.type_name() : printable(value.dump());
}

}  // namespace mpo::detail
