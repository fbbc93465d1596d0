// The bodies of model/transformer_config.hpp that are no templates.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/json_tree.hpp"
#include "mpo/model/rotary.hpp"
#include "mpo/model/transformer_config.hpp"

namespace mpo {
namespace detail {

/// Fields of config.json that leave the mathematics as it is, or are read and checked elsewhere.
inline constexpr std::array harmless_config_fields{"_attn_implementation",
                                                   "_attn_implementation_autoset",
                                                   "_name_or_path",
                                                   "architectures",
                                                   "attention_bias",
                                                   "attention_dropout",
                                                   "attn_implementation",
                                                   "bad_words_ids",
                                                   "begin_suppress_tokens",
                                                   "bos_token_id",
                                                   "chunk_size_feed_forward",
                                                   "cross_attention_hidden_size",
                                                   "decoder_start_token_id",
                                                   "diversity_penalty",
                                                   "do_sample",
                                                   "dtype",
                                                   "early_stopping",
                                                   "embd_pdrop",
                                                   "encoder_no_repeat_ngram_size",
                                                   "eos_token_id",
                                                   "exponential_decay_length_penalty",
                                                   "finetuning_task",
                                                   "forced_bos_token_id",
                                                   "forced_eos_token_id",
                                                   "head_dim",
                                                   "hidden_dropout",
                                                   "hidden_size",
                                                   "id2label",
                                                   "initializer_range",
                                                   "intermediate_size",
                                                   "is_decoder",
                                                   "is_llama_config",
                                                   "keys_to_ignore_at_inference",
                                                   "label2id",
                                                   "length_penalty",
                                                   "max_length",
                                                   "max_position_embeddings",
                                                   "max_window_layers",
                                                   "min_length",
                                                   "mlp_bias",
                                                   "model_type",
                                                   "no_repeat_ngram_size",
                                                   "num_attention_heads",
                                                   "num_beam_groups",
                                                   "num_beams",
                                                   "num_hidden_layers",
                                                   "num_key_value_heads",
                                                   "num_return_sequences",
                                                   "output_attentions",
                                                   "output_hidden_states",
                                                   "output_scores",
                                                   "pad_token_id",
                                                   "prefix",
                                                   "pretraining_tp",
                                                   "problem_type",
                                                   "remove_invalid_values",
                                                   "repetition_penalty",
                                                   "resid_pdrop",
                                                   "return_dict",
                                                   "return_dict_in_generate",
                                                   "rms_norm_eps",
                                                   "rope_parameters",
                                                   "rope_scaling",
                                                   "rope_theta",
                                                   "sep_token_id",
                                                   "suppress_tokens",
                                                   "task_specific_params",
                                                   "temperature",
                                                   "tf_legacy_loss",
                                                   "tie_word_embeddings",
                                                   "tokenizer_class",
                                                   "top_k",
                                                   "top_p",
                                                   "torch_dtype",
                                                   "torchscript",
                                                   "transformers.js_config",
                                                   "transformers_version",
                                                   "typical_p",
                                                   "unk_token_id",
                                                   "unsloth_fixed",
                                                   "unsloth_version",
                                                   "use_bfloat16",
                                                   "use_cache",
                                                   "vocab_size"};

/// Fields that have one value, as JSON, under which the mathematics are ours.
struct RequiredValue {
    std::string_view field, value;
};

inline constexpr std::array required_config_values{
    RequiredValue{"hidden_act", "\"silu\""},
    RequiredValue{"rope_interleaved", "false"},
    RequiredValue{"partial_rotary_factor", "1.0"},
    RequiredValue{"use_sliding_window", "false"},
};

inline constexpr std::array rope_fields{"rope_type",
                                        "type",
                                        "rope_theta",
                                        "factor",
                                        "low_freq_factor",
                                        "high_freq_factor",
                                        "original_max_position_embeddings"};

template <class Names>
[[nodiscard]] bool has_name(const Names& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

/// Checks every field of a config.json.
class ConfigCheck {
  public:
    ConfigCheck(std::string_view text, std::string source)
        : source_(std::move(source)), json_(parse_json_tree(text, source_)) {}

    void run() const {
        for (const auto& [key, value] : json_.items()) field(key, value);
        for (const char* key : {"rope_scaling", "rope_parameters"})
            if (json_.contains(key) && json_[key].is_object())
                for (const auto& [name, value] : json_[key].items())
                    if (!has_name(rope_fields, name) && !value.is_null())
                        fail(concat(key, ".", name), value, "is not known");
    }

    [[nodiscard]] bool is_true(const char* key) const {
        const auto* value = find(key);
        return value && *value == true;
    }

  private:
    [[nodiscard]] const nlohmann::json* find(const char* key) const {
        const auto found = json_.find(key);
        return found == json_.end() || found->is_null() ? nullptr : &*found;
    }
    [[noreturn]] void fail(const std::string& field, const nlohmann::json& value,
                           const std::string& why) const {
        raise<FormatError>({source_, ": the field ", in_quotes(field), " with the value ",
                            described(value), " ", why,
                            " and may change the mathematics; this decoder is LLaMA's"});
    }
    void field(const std::string& key, const nlohmann::json& value) const {
        if (value.is_null() || has_name(harmless_config_fields, key)) return;
        for (const auto& required : required_config_values)
            if (required.field == key) {
                const auto wanted = nlohmann::json::parse(required.value);
                if (value != wanted) fail(key, value, concat("must be ", required.value));
                return;
            }
        if (key == "layer_types") return layer_types(value);
        if (key == "sliding_window") return sliding_window(value);
        if (value != false) fail(key, value, "is not known");
    }
    void layer_types(const nlohmann::json& value) const {
        if (!value.is_array()) fail("layer_types", value, "must be an array");
        for (const auto& type : value)
            if (type != "full_attention")
                fail("layer_types", type, "must be full_attention in every layer");
    }
    /// Qwen2 states a window that it does not use.
    void sliding_window(const nlohmann::json& value) const {
        const auto* type = find("model_type");
        if (type && *type == "qwen2") return;
        const auto* context = find("max_position_embeddings");
        if (!context || !value.is_number() || value < *context)
            fail("sliding_window", value, "must be null, or no shorter than the context");
    }

    std::string source_;
    nlohmann::json json_;
};

/// Keys below "<architecture>." of GGUF metadata that are read elsewhere or leave the mathematics alone.
inline constexpr std::array known_gguf_fields{
    "attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon",
    "attention.key_length", "attention.value_length",  "block_count",
    "context_length",       "embedding_length",        "feed_forward_length",
    "rope.dimension_count", "rope.freq_base",          "rope.scale_linear",
    "rope.scaling.factor",  "rope.scaling.finetuned",  "rope.scaling.original_context_length",
    "rope.scaling.type",    "tensor_data_layout",      "vocab_size"};

inline void require_known_gguf_fields(const GgufMetadata& metadata, const Hyperparameters& of,
                                      const std::string& source) {
    const std::string prefix = of.model_type + ".";
    for (const auto& [key, value] : metadata) {
        if (!key.starts_with(prefix)) continue;
        const auto name = key.substr(prefix.size());
        const auto number = as_integer(value);
        if (name == "rope.dimension_count" || name == "attention.value_length") {
            if (number != of.head_dim)
                raise<FormatError>({source, ": metadata ", in_quotes(key), " must be the ",
                                    of.head_dim, " elements of a head, got ", number.value_or(-1)});
        } else if (!has_name(known_gguf_fields, name) && number != 0) {
            raise<FormatError>({source, ": metadata ", in_quotes(key),
                                " is not known and may change ",
                                "the mathematics; this decoder is LLaMA's"});
        }
    }
}

inline void require_positive(Index value, const char* name, const std::string& source) {
    if (value < 1) raise<FormatError>({source, ": '", name, "' must be at least 1, got ", value});
}

MPO_DETAIL_MODEL_INLINE void require_shapes(const Hyperparameters& of, const std::string& source) {
    require_positive(of.hidden_size, "hidden_size", source);
    require_positive(of.intermediate_size, "intermediate_size", source);
    require_positive(of.num_hidden_layers, "num_hidden_layers", source);
    require_positive(of.num_attention_heads, "num_attention_heads", source);
    require_positive(of.num_key_value_heads, "num_key_value_heads", source);
    require_positive(of.head_dim, "head_dim", source);
    require_positive(of.vocab_size, "vocab_size", source);
    require_positive(of.max_position_embeddings, "max_position_embeddings", source);
    if (of.num_attention_heads % of.num_key_value_heads != 0)
        raise<FormatError>({source, ": ", of.num_attention_heads, " heads are no multiple of ",
                            of.num_key_value_heads, " key-value heads"});
    if (of.head_dim % 2 != 0)
        raise<FormatError>({source, ": head_dim must be even, got ", of.head_dim});
    if (!(of.rms_norm_eps > 0) || !(of.rope_theta >= 0))
        raise<FormatError>({source, ": rms_norm_eps and rope_theta must be above 0, got ",
                            of.rms_norm_eps, " and ", of.rope_theta});
}

MPO_DETAIL_MODEL_INLINE std::vector<double> frequencies(const Checkpoint& checkpoint,
                                                        const Hyperparameters& of) {
    const std::string source = checkpoint.path().string(), divisors = "rope_freqs.weight";
    const double theta = of.rope_theta > 0 ? of.rope_theta : 10000;  // the first models state none
    RopeScaling scaling = of.rope_scaling;
    const bool divide = scaling.type == gguf_rope_divisors;
    if (divide) scaling = {};
    std::vector<double> result;
    try {
        result = rotary_frequencies(of.head_dim, theta, scaling);
    } catch (const ArgumentError& wrong) {
        throw FormatError(source + ": " + wrong.what());
    }
    if (!divide) return result;
    if (!checkpoint.contains(divisors))
        raise<FormatError>({source, ": the tensor '", divisors, "' is missing"});
    const auto& info = checkpoint.info(divisors);
    if (info.type != StoredType(DType::f32) || info.shape != Shape{of.head_dim / 2})
        raise<FormatError>({source, ": the tensor '", divisors, "' must be ", of.head_dim / 2,
                            " numbers of F32, got ", mpo::to_string(info.shape), " of ",
                            mpo::to_string(info.type)});
    const auto values = checkpoint.read<float>(divisors);
    for (std::size_t j = 0; j < result.size(); ++j) {
        const auto divisor = static_cast<double>(values.data()[j]);
        if (!(divisor > 0) || !std::isfinite(divisor))
            raise<FormatError>({source, ": '", divisors, "' must be above 0, got ", divisor});
        result[j] /= divisor;
    }
    return result;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE TransformerConfig transformer_config(const Checkpoint& checkpoint) {
    const std::string source = checkpoint.path().string();
    if (!checkpoint.hyperparameters())
        detail::raise<FormatError>({source, ": holds no config.json and no metadata, a decoder ",
                                    "cannot be made of tensors alone"});
    const Hyperparameters& of = *checkpoint.hyperparameters();
    const auto& type = of.model_type;
    if (type != "llama" && type != "mistral" && type != "qwen2")
        detail::raise<FormatError>({source, ": the architecture ", detail::in_quotes(type),
                                    " is none of llama, mistral, qwen2"});
    bool bias = type == "qwen2", mlp_bias = false;
    if (const auto* metadata = checkpoint.gguf_metadata()) {
        detail::require_known_gguf_fields(*metadata, of, source);
    } else {
        const detail::ConfigCheck check(checkpoint.config_json(), source + "/config.json");
        check.run();
        bias = bias || check.is_true("attention_bias");
        mlp_bias = check.is_true("mlp_bias");
    }
    detail::require_shapes(of, source);
    return {of.hidden_size,
            of.intermediate_size,
            of.num_hidden_layers,
            of.num_attention_heads,
            of.num_key_value_heads,
            of.head_dim,
            of.vocab_size,
            of.max_position_embeddings,
            of.rms_norm_eps,
            detail::frequencies(checkpoint, of),
            of.tied_embeddings == TiedEmbeddings::yes,
            bias,
            mlp_bias,
            of.bos_token_ids,
            of.eos_token_ids};
}

}  // namespace mpo
