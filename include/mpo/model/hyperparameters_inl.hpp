// The bodies of model/hyperparameters.hpp that are no templates.
#pragma once

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/json_tree.hpp"
#include "mpo/model/hyperparameters.hpp"

namespace mpo {
namespace detail {

/// Fields of a config.json; absent and null are the same, a wrong type is a FormatError.
class ConfigFields {
  public:
    ConfigFields(std::string_view text, std::string source) : source_(std::move(source)) {
        json_ = parse_json_tree(text, source_);
        if (!json_.is_object()) throw FormatError(source_ + ": must be a JSON object");
    }

    [[nodiscard]] const nlohmann::json* find(const char* key) const {
        const auto found = json_.find(key);
        return found == json_.end() || found->is_null() ? nullptr : &*found;
    }

    [[nodiscard]] Index integer(const char* key, Index otherwise = 0) const {
        const auto* value = find(key);
        return value ? integer(*value, key) : otherwise;
    }

    [[nodiscard]] std::vector<Index> integers(const char* key) const {
        const auto* value = find(key);
        if (!value) return {};
        if (!value->is_array()) return {integer(*value, key)};
        std::vector<Index> result;
        for (const auto& element : *value) result.push_back(integer(element, key));
        return result;
    }

    [[nodiscard]] double real(const char* key) const {
        const auto* value = find(key);
        return value ? real(*value, key) : 0;
    }

    /// rope_theta, at the top or, in newer files, inside rope_parameters.
    [[nodiscard]] double rope_theta() const {
        const auto* nested = find("rope_parameters");
        if (find("rope_theta") || !nested || !nested->is_object()) return real("rope_theta");
        const auto found = nested->find("rope_theta");
        return found == nested->end() ? 0 : real(*found, "rope_parameters.rope_theta");
    }

    /// rope_scaling or, in newer files, rope_parameters; "default" is no scaling.
    [[nodiscard]] RopeScaling rope_scaling() const {
        const bool older = find("rope_scaling") != nullptr;
        const char* key = older ? "rope_scaling" : "rope_parameters";
        const auto* nested = find(key);
        if (!nested) return {};
        if (!nested->is_object()) fail(key, "an object", *nested);
        const auto member = [&](const char* name) -> const nlohmann::json* {
            const auto found = nested->find(name);
            return found == nested->end() || found->is_null() ? nullptr : &*found;
        };
        const auto number = [&](const char* name) {
            const auto* value = member(name);
            return value ? real(*value, name) : 0.0;
        };
        RopeScaling result;
        const auto* type = member("rope_type") ? member("rope_type") : member("type");
        if (type && !type->is_string()) fail("rope_type", "a string", *type);
        if (type && *type != "default") result.type = type->get<std::string>();
        result.factor = number("factor");
        result.low_freq_factor = number("low_freq_factor");
        result.high_freq_factor = number("high_freq_factor");
        const auto* context = member("original_max_position_embeddings");
        if (context)
            result.original_max_position_embeddings =
                integer(*context, "original_max_position_embeddings");
        return result;
    }

    [[nodiscard]] std::string text(const char* key) const {
        const auto* value = find(key);
        if (value && !value->is_string()) fail(key, "a string", *value);
        return value ? value->get<std::string>() : "";
    }

    [[nodiscard]] TiedEmbeddings tied() const {
        const auto* value = find("tie_word_embeddings");
        if (!value) return TiedEmbeddings::unknown;
        if (!value->is_boolean()) fail("tie_word_embeddings", "a boolean", *value);
        return value->get<bool>() ? TiedEmbeddings::yes : TiedEmbeddings::no;
    }

  private:
    [[noreturn]] void fail(const char* key, const char* rule, const nlohmann::json& got) const {
        raise<FormatError>({source_, ": '", key, "' must be ", rule, ", got ", described(got)});
    }
    [[nodiscard]] Index integer(const nlohmann::json& value, const char* key) const {
        const bool fits =
            value.is_number_unsigned() && std::in_range<Index>(value.get<std::uint64_t>());
        if (!fits) fail(key, "a non-negative integer", value);
        return value.get<Index>();
    }
    [[nodiscard]] double real(const nlohmann::json& value, const char* key) const {
        if (!value.is_number()) fail(key, "a number", value);
        return value.get<double>();
    }

    std::string source_;
    nlohmann::json json_;
};

/// The double whose shortest decimal is that of the float: 1e-5f becomes 1e-05, not 9.99999974e-06.
[[nodiscard]] inline double shortest_decimal(float value) {
    if (!std::isfinite(value)) return static_cast<double>(value);
    char text[32];
    const auto printed = std::to_chars(text, text + sizeof text, value);
    return nlohmann::json::parse(text, printed.ptr).get<double>();
}

/// Hyperparameters of a GGUF file under "<architecture>.<key>".
class GgufFields {
  public:
    GgufFields(const GgufFile& file, std::string architecture)
        : file_(file), architecture_(std::move(architecture)) {}

    /// An integer, or an array (one value per layer) that repeats the same one.
    [[nodiscard]] Index integer(const std::string& key, Index otherwise = 0) const {
        const std::string full = architecture_ + "." + key;
        const auto* value = file_.find(full);
        if (!value) return otherwise;
        const auto* array = std::get_if<GgufArray>(value);
        const auto single = array ? uniform(*array) : as_integer(*value);
        if (!single || *single < 0)
            raise<FormatError>({file_.path().string(), ": metadata ", in_quotes(full),
                                " must be one non-negative integer, the same for all layers"});
        return *single;
    }

    [[nodiscard]] double real(const std::string& key, double otherwise = 0) const {
        const std::string full = architecture_ + "." + key;
        const auto* value = file_.find(full);
        if (!value) return otherwise;
        if (const auto* single = std::get_if<float>(value)) return shortest_decimal(*single);
        const auto result = as_real(*value);
        if (!result)
            raise<FormatError>(
                {file_.path().string(), ": metadata ", in_quotes(full), " must be a fraction"});
        return *result;
    }

    [[nodiscard]] std::string text(const std::string& key) const {
        const std::string full = architecture_ + "." + key;
        const auto* value = file_.find(full);
        const auto* result = value ? std::get_if<std::string>(value) : nullptr;
        if (value && !result)
            raise<FormatError>(
                {file_.path().string(), ": metadata ", in_quotes(full), " must be text"});
        return result ? *result : "";
    }

    [[nodiscard]] std::vector<Index> token(const std::string& key) const {
        const auto* value = file_.find("tokenizer.ggml." + key);
        const auto id = value ? as_integer(*value) : std::nullopt;
        return id ? std::vector<Index>{*id} : std::vector<Index>{};
    }

  private:
    [[nodiscard]] static std::optional<Index> uniform(const GgufArray& array) {
        return std::visit(
            [](const auto& elements) -> std::optional<Index> {
                using T = typename std::decay_t<decltype(elements)>::value_type;
                if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
                    for (const T element : elements)
                        if (element != elements.front()) return std::nullopt;
                    if (!elements.empty()) return as_integer(GgufValue(elements.front()));
                }
                return std::nullopt;
            },
            array.elements);
    }

    const GgufFile& file_;
    std::string architecture_;
};

/// rope.scaling.* under llama.cpp's rules: a factor without a type is linear; llama3 is no type but the
/// tensor rope_freqs.weight.
[[nodiscard]] inline RopeScaling gguf_rope_scaling(const GgufFile& file, const GgufFields& fields,
                                                   const Hyperparameters& parameters) {
    RopeScaling result;
    result.type = fields.text("rope.scaling.type");
    result.factor = fields.real("rope.scaling.factor", fields.real("rope.scale_linear"));
    result.original_max_position_embeddings =
        fields.integer("rope.scaling.original_context_length");
    if (result.type.empty() && result.factor > 0) result.type = "linear";
    if (result.type == "none" || (result.type == "linear" && result.factor == 0)) result = {};
    const std::string name = "rope_freqs.weight";
    if (!file.contains(name)) return result;
    const auto& info = file.info(name);
    if (!result.type.empty()) return {result.type + " and " + name, 0, 0, 0, 0};
    if (info.type != StoredType(DType::f32) || info.shape != Shape{parameters.head_dim / 2})
        return {gguf_rope_divisors, 0, 0, 0, 0};
    Tensor<float> divisors(info.shape);
    decode(DType::f32, file.bytes(name).data(), divisors.data(), divisors.size());
    return scaling_of_divisors(divisors, parameters.rope_theta);
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const RopeScaling& scaling) {
    nlohmann::ordered_json json{{"rope_type", scaling.type}};
    if (scaling.factor > 0) json["factor"] = scaling.factor;
    if (scaling.low_freq_factor > 0) json["low_freq_factor"] = scaling.low_freq_factor;
    if (scaling.high_freq_factor > 0) json["high_freq_factor"] = scaling.high_freq_factor;
    if (scaling.original_max_position_embeddings > 0)
        json["original_max_position_embeddings"] = scaling.original_max_position_embeddings;
    return json;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE Hyperparameters parse_config(std::string_view text,
                                                     const std::string& source) {
    const detail::ConfigFields config(text, source);
    Hyperparameters result;
    result.model_type = config.text("model_type");
    result.hidden_size = config.integer("hidden_size");
    result.intermediate_size = config.integer("intermediate_size");
    result.num_hidden_layers = config.integer("num_hidden_layers");
    result.num_attention_heads = config.integer("num_attention_heads");
    result.num_key_value_heads = config.integer("num_key_value_heads", result.num_attention_heads);
    const Index heads = result.num_attention_heads;
    result.head_dim = config.integer("head_dim", heads == 0 ? 0 : result.hidden_size / heads);
    result.vocab_size = config.integer("vocab_size");
    result.max_position_embeddings = config.integer("max_position_embeddings");
    result.rms_norm_eps = config.real("rms_norm_eps");
    result.rope_theta = config.rope_theta();
    result.rope_scaling = config.rope_scaling();
    result.tied_embeddings = config.tied();
    result.bos_token_ids = config.integers("bos_token_id");
    result.eos_token_ids = config.integers("eos_token_id");
    return result;
}

MPO_DETAIL_MODEL_INLINE std::optional<Hyperparameters> parse_gguf_metadata(const GgufFile& file) {
    const auto* value = file.find("general.architecture");
    const auto* architecture = value ? std::get_if<std::string>(value) : nullptr;
    if (!architecture) return std::nullopt;
    if (detail::printable(*architecture) != *architecture)
        detail::raise<FormatError>({file.path().string(), ": metadata 'general.architecture' ",
                                    "must be printable text of at most 100 bytes, got ",
                                    detail::in_quotes(*architecture)});
    const detail::GgufFields fields(file, *architecture);
    Hyperparameters result;
    result.model_type = *architecture;
    result.hidden_size = fields.integer("embedding_length");
    result.intermediate_size = fields.integer("feed_forward_length");
    result.num_hidden_layers = fields.integer("block_count");
    result.num_attention_heads = fields.integer("attention.head_count");
    const Index heads = result.num_attention_heads;
    result.num_key_value_heads = fields.integer("attention.head_count_kv", heads);
    result.head_dim =
        fields.integer("attention.key_length", heads == 0 ? 0 : result.hidden_size / heads);
    result.vocab_size = fields.integer("vocab_size");
    if (file.contains("token_embd.weight") && file.info("token_embd.weight").shape.size() == 2)
        result.vocab_size = file.info("token_embd.weight").shape.front();
    result.max_position_embeddings = fields.integer("context_length");
    result.rms_norm_eps = fields.real("attention.layer_norm_rms_epsilon");
    result.rope_theta = fields.real("rope.freq_base", 10000);  // GGUF's default
    result.rope_scaling = detail::gguf_rope_scaling(file, fields, result);
    if (!file.tensors().empty())
        result.tied_embeddings =
            file.contains("output.weight") ? TiedEmbeddings::no : TiedEmbeddings::yes;
    result.bos_token_ids = fields.token("bos_token_id");
    result.eos_token_ids = fields.token("eos_token_id");
    return result;
}

MPO_DETAIL_MODEL_INLINE std::string to_config_json(const Hyperparameters& parameters, DType stored,
                                                   AttentionBias bias) {
    nlohmann::ordered_json config;
    const auto& type = parameters.model_type;
    if (type == "llama") config["architectures"] = {"LlamaForCausalLM"};
    if (type == "qwen2") config["architectures"] = {"Qwen2ForCausalLM"};
    if (type == "qwen3") config["architectures"] = {"Qwen3ForCausalLM"};
    config["model_type"] = type;
    config["hidden_size"] = parameters.hidden_size;
    config["intermediate_size"] = parameters.intermediate_size;
    config["num_hidden_layers"] = parameters.num_hidden_layers;
    config["num_attention_heads"] = parameters.num_attention_heads;
    config["num_key_value_heads"] = parameters.num_key_value_heads;
    config["head_dim"] = parameters.head_dim;
    config["hidden_act"] = "silu";
    config["attention_bias"] = bias == AttentionBias::yes;
    config["max_position_embeddings"] = parameters.max_position_embeddings;
    config["rms_norm_eps"] = parameters.rms_norm_eps;
    config["rope_theta"] = parameters.rope_theta;
    if (!parameters.rope_scaling.type.empty())
        config["rope_scaling"] = detail::to_json(parameters.rope_scaling);
    config["vocab_size"] = parameters.vocab_size;
    config["tie_word_embeddings"] = parameters.tied_embeddings == TiedEmbeddings::yes;
    const auto ids = [&](const char* key, const std::vector<Index>& tokens) {
        if (tokens.size() == 1) config[key] = tokens.front();
        if (tokens.size() > 1) config[key] = tokens;
    };
    ids("bos_token_id", parameters.bos_token_ids);
    ids("eos_token_id", parameters.eos_token_ids);
    config["torch_dtype"] = stored == DType::bf16  ? "bfloat16"
                            : stored == DType::f16 ? "float16"
                            : stored == DType::f64 ? "float64"
                                                   : "float32";
    return config.dump(2) + "\n";
}

}  // namespace mpo
