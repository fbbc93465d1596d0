// mpo_config.json: what a compressed checkpoint says of its linears. Rule 2 of model/compressed.hpp.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/io/json_events.hpp"
#include "mpo/io/json_tree.hpp"
#include "mpo/network/decompose.hpp"
#include "mpo/network/layout.hpp"

namespace mpo {

/// The file that makes a folder a compressed checkpoint.
inline constexpr const char* compressed_config_file = "mpo_config.json";
/// The version that is written, and the only one that is read.
inline constexpr Index compressed_format_version = 1;

/// What mpo_config.json says of one linear.
struct CompressedLinear {
    std::string name;                         // of the module, without ".weight"
    Layout layout;                            // of its cores
    Shape bonds;                              // D[0] .. D[N]
    DType dtype = DType::bf16;                // of the cores
    std::string original_dtype;               // of the dense weight in its file
    Shape original_shape;                     // (out, in)
    double relative_error = 0;                // of the cores as stored, against the dense weight
    ErrorKind error_kind = ErrorKind::exact;  // of relative_error
    StoredAs stored_as = StoredAs::cores;     // all numbers of the cores, or what the gauge leaves
    Index center = 0;                         // the core that is whole, where gauge-fixed
};

/// Name of core k of a module: "model.layers.0.mlp.up_proj.cores.1".
[[nodiscard]] inline std::string core_name(const std::string& module, Index k) {
    return detail::concat(module, ".cores.", k);
}

/// Name of the pivots of bond k of a module, k = 1 .. N-1: "model.layers.0.mlp.up_proj.pivots.1".
[[nodiscard]] inline std::string pivots_name(const std::string& module, Index k) {
    return detail::concat(module, ".pivots.", k);
}

/// The type that stores rows of an unfolding: U16 up to 65,536 of them, then I32, then I64.
[[nodiscard]] DType pivots_dtype(Index rows);

/// Bytes that a linear takes on the disk, pivots included. Throws as num_stored.
///
/// layout, bonds   of its cores
/// dtype           of their numbers
/// stored_as       all numbers, or what the gauge leaves: then gauge_fix has chosen the centre
[[nodiscard]] Index stored_bytes(const Layout& layout, const Shape& bonds, DType dtype,
                                 StoredAs stored_as);

/// The text of mpo_config.json.
[[nodiscard]] std::string to_compressed_config(const std::vector<CompressedLinear>& linears);

namespace detail {

/// Reads rule 2 of the format; every refusal names the file and the linear. What it does not know
/// goes by unseen, and each linear is a small tree of its own.
class CompressedConfigReader final : public JsonEvents {
  public:
    using Json = nlohmann::json;

    CompressedConfigReader(std::string_view text, std::string source);

    [[nodiscard]] std::vector<CompressedLinear> read();

    void scalar(JsonScalar value) override;
    void begin_array() override;
    void begin_object() override;
    void end_array() override {
        if (leave()) kept_->end_array();
    }
    void end_object() override {
        if (leave()) kept_->end_object();
    }
    void key(std::string name, Index byte) override;

  private:
    [[noreturn]] void fail(const std::string& what) const {
        raise<FormatError>({source_, ": ", what});
    }
    /// The document and `linears` are objects.
    void require_object(const char* got) const;
    /// Keeps a file of many tiny values from taking many times its size in memory.
    void count_value();
    /// Whether what ends belongs to what is kept.
    [[nodiscard]] bool leave();
    void begin_member(std::string name, Index byte);
    void begin_linear(std::string name, Index byte);

    [[nodiscard]] const Json& member(const Json& object, const char* key) const;
    [[nodiscard]] Index integer(const Json& value, const char* key) const;
    [[nodiscard]] Shape integers(const Json& value, const char* key) const;
    [[nodiscard]] std::string text(const Json& object, const char* key) const;

    [[nodiscard]] CompressedLinear linear(const std::string& name, const Json& entry) const;
    [[nodiscard]] DType dtype(const std::string& name) const;
    [[nodiscard]] double error(const Json& value) const;
    void require_consistent(const CompressedLinear& linear) const;

    static void require_gauge(const CompressedLinear& linear);

    std::string source_;
    std::string where_;
    int depth_ = 0;
    std::string section_;                                    // key of the document
    std::optional<JsonTree> version_;                        // its value
    std::vector<std::pair<std::string, JsonTree>> entries_;  // of `linears`
    std::unordered_set<std::string> names_;                  // of the entries
    bool seen_linears_ = false;
    JsonTree* kept_ = nullptr;  // where values go
    int kept_depth_ = 0;        // what is kept lies deeper
    Index num_values_ = 0;
};

}  // namespace detail

/// The inverse of to_compressed_config. Throws FormatError, naming `source`, where the text breaks
/// rule 2 of the format.
[[nodiscard]] inline std::vector<CompressedLinear> parse_compressed_config(
    std::string_view text, const std::string& source) {
    return detail::CompressedConfigReader(text, source).read();
}

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/compressed_config_inl.hpp"
#endif
