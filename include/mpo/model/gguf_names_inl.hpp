// The bodies of model/gguf_names.hpp that are no templates.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/gguf_names.hpp"

namespace mpo {
namespace detail {

inline constexpr std::array model_names{
    NamePair{"token_embd", "model.embed_tokens"},
    NamePair{"output_norm", "model.norm"},
    NamePair{"output", "lm_head"},
};

inline constexpr std::array layer_names{
    NamePair{"attn_norm", "input_layernorm"},    NamePair{"attn_q", "self_attn.q_proj"},
    NamePair{"attn_k", "self_attn.k_proj"},      NamePair{"attn_v", "self_attn.v_proj"},
    NamePair{"attn_output", "self_attn.o_proj"}, NamePair{"attn_q_norm", "self_attn.q_norm"},
    NamePair{"attn_k_norm", "self_attn.k_norm"}, NamePair{"ffn_norm", "post_attention_layernorm"},
    NamePair{"ffn_gate", "mlp.gate_proj"},       NamePair{"ffn_up", "mlp.up_proj"},
    NamePair{"ffn_down", "mlp.down_proj"},
};

/// blk.<layer>.<module>.<kind>, or <module>.<kind> with an empty layer; kind is weight or bias.
struct GgufName {
    std::string_view layer, module, kind;
};

[[nodiscard]] inline GgufName split_gguf_name(std::string_view name) {
    GgufName result;
    constexpr std::string_view prefix = "blk.";
    if (name.starts_with(prefix)) {
        name.remove_prefix(prefix.size());
        const auto dot = name.find('.');
        if (dot == std::string_view::npos) return {};
        result.layer = name.substr(0, dot);
        const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
        if (!std::all_of(result.layer.begin(), result.layer.end(), is_digit)) return {};
        name.remove_prefix(dot + 1);
    }
    const auto dot = name.rfind('.');
    if (dot == std::string_view::npos) return {};
    result.module = name.substr(0, dot);
    result.kind = name.substr(dot + 1);
    if (result.kind != "weight" && result.kind != "bias") return {};
    return result;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE std::string hugging_face_name(std::string_view architecture,
                                                      const std::string& name) {
    const bool known =
        architecture == "llama" || architecture == "qwen2" || architecture == "qwen3";
    const auto parts = detail::split_gguf_name(name);
    if (!known || parts.module.empty()) return name;
    const auto translate = [&](const auto& table, const std::string& prefix) {
        for (const auto& [gguf, hugging_face] : table)
            if (gguf == parts.module)
                return prefix + std::string(hugging_face) + "." + std::string(parts.kind);
        return name;
    };
    if (parts.layer.empty()) return translate(detail::model_names, "");
    return translate(detail::layer_names, "model.layers." + std::string(parts.layer) + ".");
}

MPO_DETAIL_MODEL_INLINE std::optional<Index> permuted_heads(const Hyperparameters& parameters,
                                                            std::string_view gguf_name) {
    const auto parts = detail::split_gguf_name(gguf_name);
    if (parameters.model_type != "llama" || parts.layer.empty()) return std::nullopt;
    if (parts.module == "attn_q") return parameters.num_attention_heads;
    if (parts.module == "attn_k") return parameters.num_key_value_heads;
    return std::nullopt;
}

MPO_DETAIL_MODEL_INLINE void restore_rotary_rows(const std::byte* gguf, std::byte* hugging_face,
                                                 Index rows, Index row_bytes, Index heads) {
    const Index pairs = rows / heads / 2;
    for (Index head = 0; head < heads; ++head)
        for (Index half = 0; half < 2; ++half)
            for (Index j = 0; j < pairs; ++j) {
                const Index from = (head * pairs + j) * 2 + half;
                const Index to = (head * 2 + half) * pairs + j;
                std::copy_n(gguf + from * row_bytes, row_bytes, hugging_face + to * row_bytes);
            }
}

}  // namespace mpo
