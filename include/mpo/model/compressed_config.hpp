// mpo_config.json: what a compressed checkpoint says of its linears. Rule 2 of model/compressed.hpp.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/io/json_events.hpp"
#include "mpo/io/json_tree.hpp"
#include "mpo/io/limits.hpp"
#include "mpo/network/decompose.hpp"
#include "mpo/network/layout.hpp"
#include "mpo/network/stored_form.hpp"

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
[[nodiscard]] inline DType pivots_dtype(Index rows) {
    if (rows <= Index{1} << 16) return DType::u16;
    return rows <= Index{1} << 31 ? DType::i32 : DType::i64;
}

/// Bytes that a linear takes on the disk, pivots included. Throws as num_stored.
///
/// layout, bonds   of its cores
/// dtype           of their numbers
/// stored_as       all numbers, or what the gauge leaves: then gauge_fix has chosen the centre
[[nodiscard]] inline Index stored_bytes(const Layout& layout, const Shape& bonds, DType dtype,
                                        StoredAs stored_as) {
    Index bytes = num_stored(layout, bonds, stored_as) * bits_per_element(dtype) / 8;
    if (stored_as != StoredAs::gauge_fixed) return bytes;
    const Shape supported = supported_bonds(layout, bonds);
    const Index center = largest_core(layout, supported);
    for (Index k = 1; k < num_sites(layout); ++k)
        bytes += supported[static_cast<std::size_t>(k)] *
                 bits_per_element(pivots_dtype(pivot_rows(layout, supported, center, k))) / 8;
    return bytes;
}

/// The text of mpo_config.json.
[[nodiscard]] inline std::string to_compressed_config(
    const std::vector<CompressedLinear>& linears) {
    nlohmann::ordered_json entries = nlohmann::ordered_json::object();
    for (const auto& linear : linears) {
        entries[linear.name] = {{"layout", {{"out", linear.layout.out}, {"in", linear.layout.in}}},
                                {"bonds", linear.bonds},
                                {"stored_as", to_string(linear.stored_as)},
                                {"dtype", to_string(linear.dtype)},
                                {"original_dtype", linear.original_dtype},
                                {"original_shape", linear.original_shape},
                                {"relative_error", linear.relative_error},
                                {"error_kind", to_string(linear.error_kind)}};
        if (linear.stored_as == StoredAs::gauge_fixed)
            entries[linear.name]["center"] = linear.center;
    }
    const nlohmann::ordered_json config{{"format_version", compressed_format_version},
                                        {"linears", entries}};
    return config.dump(2) + "\n";
}

namespace detail {

/// Reads rule 2 of the format; every refusal names the file and the linear. What it does not know
/// goes by unseen, and each linear is a small tree of its own.
class CompressedConfigReader final : public JsonEvents {
  public:
    using Json = nlohmann::json;

    CompressedConfigReader(std::string_view text, std::string source) : source_(std::move(source)) {
        parse_json(text, *this, {source_});
    }

    [[nodiscard]] std::vector<CompressedLinear> read() {
        if (!version_) fail("'format_version' is missing");
        const Index version = integer(version_->root, "format_version");
        if (version != compressed_format_version)
            fail(concat("format_version ", version, " is unknown, this library reads ",
                        compressed_format_version));
        if (!seen_linears_) fail("'linears' is missing");
        std::vector<CompressedLinear> linears;
        for (const auto& [name, tree] : entries_) {
            where_ = concat(" of linear ", in_quotes(name));
            linears.push_back(linear(name, tree.root));
        }
        return linears;
    }

    void scalar(JsonScalar value) override {
        require_object(kind_of(value));
        count_value();
        if (kept_) kept_->scalar(std::move(value));
    }
    void begin_array() override {
        require_object("an array");
        count_value();
        if (kept_) kept_->begin_array();
        ++depth_;
    }
    void begin_object() override {
        count_value();
        if (kept_) kept_->begin_object();
        ++depth_;
    }
    void end_array() override {
        if (leave()) kept_->end_array();
    }
    void end_object() override {
        if (leave()) kept_->end_object();
    }
    void key(std::string name, Index byte) override {
        const bool member = depth_ == 1, linear = depth_ == 2 && section_ == "linears";
        if (member || linear) {
            kept_ = nullptr;
            kept_depth_ = depth_;
        }
        if (member)
            begin_member(std::move(name), byte);
        else if (linear)
            begin_linear(std::move(name), byte);
        else if (kept_)
            kept_->key(std::move(name), byte);
    }

  private:
    [[noreturn]] void fail(const std::string& what) const {
        raise<FormatError>({source_, ": ", what});
    }
    /// The document and `linears` are objects.
    void require_object(const char* got) const {
        if (depth_ == 0) fail(concat("an object belongs here, not ", got));
        if (depth_ == 1 && section_ == "linears")
            fail(concat("'linears' must be an object, not ", got));
    }
    /// Keeps a file of many tiny values from taking many times its size in memory.
    void count_value() {
        constexpr Index max_values = Index{1} << 22;
        if (++num_values_ > max_values) fail(concat("more than ", max_values, " values"));
    }
    /// Whether what ends belongs to what is kept.
    [[nodiscard]] bool leave() {
        --depth_;
        if (depth_ < kept_depth_) kept_ = nullptr;
        return kept_ != nullptr;
    }
    void begin_member(std::string name, Index byte) {
        section_ = std::move(name);
        const bool version = section_ == "format_version", linears = section_ == "linears";
        if ((version && version_) || (linears && seen_linears_))
            fail(concat("the key ", in_quotes(section_), " at byte ", byte, " occurs twice"));
        seen_linears_ = seen_linears_ || linears;
        if (version) kept_ = &version_.emplace(source_);
    }
    void begin_linear(std::string name, Index byte) {
        if (!names_.insert(name).second)
            fail(concat("the linear ", in_quotes(name), " at byte ", byte, " occurs twice"));
        if (static_cast<Index>(entries_.size()) == max_num_tensors)
            fail(concat("more than ", max_num_tensors, " linears"));
        kept_ = &entries_.emplace_back(std::move(name), JsonTree(source_)).second;
    }

    [[nodiscard]] const Json& member(const Json& object, const char* key) const {
        if (!object.is_object()) fail(concat("a JSON object must hold '", key, "'", where_));
        const auto found = object.find(key);
        if (found == object.end()) fail(concat("'", key, "'", where_, " is missing"));
        return *found;
    }
    [[nodiscard]] Index integer(const Json& value, const char* key) const {
        if (!value.is_number_unsigned() || !std::in_range<Index>(value.get<std::uint64_t>()))
            fail(concat("'", key, "'", where_, " must be a non-negative integer, got ",
                        described(value)));
        return value.get<Index>();
    }
    [[nodiscard]] Shape integers(const Json& value, const char* key) const {
        if (!value.is_array())
            fail(concat("'", key, "'", where_, " must be an array, got ", described(value)));
        Shape result;
        for (const auto& element : value) result.push_back(integer(element, key));
        return result;
    }
    [[nodiscard]] std::string text(const Json& object, const char* key) const {
        const Json& value = member(object, key);
        if (!value.is_string())
            fail(concat("'", key, "'", where_, " must be a string, got ", described(value)));
        return value.get<std::string>();
    }

    [[nodiscard]] CompressedLinear linear(const std::string& name, const Json& entry) const {
        const auto stored_as = text(entry, "stored_as");
        if (stored_as != "cores" && stored_as != "gauge_fixed")
            fail(concat("'stored_as'", where_, " is ", in_quotes(stored_as),
                        ", this library reads 'cores' and 'gauge_fixed'"));
        CompressedLinear result;
        result.name = name;
        if (stored_as == "gauge_fixed") {
            result.stored_as = StoredAs::gauge_fixed;
            result.center = integer(member(entry, "center"), "center");
        }
        const Json& layout = member(entry, "layout");
        result.layout = {integers(member(layout, "out"), "out"),
                         integers(member(layout, "in"), "in")};
        result.bonds = integers(member(entry, "bonds"), "bonds");
        result.original_shape = integers(member(entry, "original_shape"), "original_shape");
        result.original_dtype = text(entry, "original_dtype");
        result.dtype = dtype(text(entry, "dtype"));
        result.relative_error = error(member(entry, "relative_error"));
        const auto kind = text(entry, "error_kind");
        if (kind != "exact" && kind != "bound")
            fail(concat("'error_kind'", where_, " must be exact or bound, got ", in_quotes(kind)));
        result.error_kind = kind == "exact" ? ErrorKind::exact : ErrorKind::bound;
        require_consistent(result);
        return result;
    }
    [[nodiscard]] DType dtype(const std::string& name) const {
        const auto parsed = parse_dtype(name);
        if (!parsed || !is_convertible(*parsed) || *parsed == DType::c64)
            fail(
                concat("'dtype'", where_, " must be BF16, F16, F32 or F64, got ", in_quotes(name)));
        return *parsed;
    }
    [[nodiscard]] double error(const Json& value) const {
        if (!value.is_number() || !(value.get<double>() >= 0))
            fail(concat("'relative_error'", where_, " must be a number >= 0, got ",
                        described(value)));
        return value.get<double>();
    }
    void require_consistent(const CompressedLinear& linear) const {
        try {
            const auto& shape = linear.original_shape;
            if (shape.size() != 2) throw ShapeError("original_shape must be [out, in]");
            validate(linear.layout, shape[0], shape[1], "layout");
            require_bonds(linear.layout, linear.bonds, "bonds");
            if (linear.stored_as == StoredAs::gauge_fixed) require_gauge(linear);
        } catch (const Error& wrong) {
            fail(concat(wrong.what(), where_));
        }
    }

    static void require_gauge(const CompressedLinear& linear) {
        const Index sites = num_sites(linear.layout);
        if (linear.center >= sites)
            raise<ArgumentError>({"the center of ", sites, " sites must be in 0..", sites - 1,
                                  ", got ", linear.center});
        (void)num_parameters(linear.layout, linear.bonds);  // refuses what no index holds
        const Shape supported = supported_bonds(linear.layout, linear.bonds);
        if (supported != linear.bonds)
            raise<ShapeError>({"cores of these legs support the bonds ", joined(supported, ", "),
                               ", not ", joined(linear.bonds, ", ")});
    }

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
