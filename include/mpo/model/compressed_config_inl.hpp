// The bodies of model/compressed_config.hpp that are no templates.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>

#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/limits.hpp"
#include "mpo/model/compressed_config.hpp"
#include "mpo/network/stored_form.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE DType pivots_dtype(Index rows) {
    if (rows <= Index{1} << 16) return DType::u16;
    return rows <= Index{1} << 31 ? DType::i32 : DType::i64;
}

MPO_DETAIL_MODEL_INLINE Index stored_bytes(const Layout& layout, const Shape& bonds, DType dtype,
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

MPO_DETAIL_MODEL_INLINE std::string to_compressed_config(
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

MPO_DETAIL_MODEL_INLINE CompressedConfigReader::CompressedConfigReader(std::string_view text,
                                                                       std::string source)
    : source_(std::move(source)) {
    parse_json(text, *this, {source_});
}

MPO_DETAIL_MODEL_INLINE std::vector<CompressedLinear> CompressedConfigReader::read() {
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

MPO_DETAIL_MODEL_INLINE void CompressedConfigReader::scalar(JsonScalar value) {
    require_object(kind_of(value));
    count_value();
    if (kept_) kept_->scalar(std::move(value));
}

MPO_DETAIL_MODEL_INLINE void CompressedConfigReader::begin_array() {
    require_object("an array");
    count_value();
    if (kept_) kept_->begin_array();
    ++depth_;
}

MPO_DETAIL_MODEL_INLINE void CompressedConfigReader::begin_object() {
    count_value();
    if (kept_) kept_->begin_object();
    ++depth_;
}

MPO_DETAIL_MODEL_INLINE void CompressedConfigReader::key(std::string name, Index byte) {
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

MPO_DETAIL_MODEL_INLINE void CompressedConfigReader::require_object(const char* got) const {
    if (depth_ == 0) fail(concat("an object belongs here, not ", got));
    if (depth_ == 1 && section_ == "linears")
        fail(concat("'linears' must be an object, not ", got));
}

MPO_DETAIL_MODEL_INLINE void CompressedConfigReader::count_value() {
    constexpr Index max_values = Index{1} << 21;
    if (++num_values_ > max_values) fail(concat("more than ", max_values, " values"));
}

MPO_DETAIL_MODEL_INLINE bool CompressedConfigReader::leave() {
    --depth_;
    if (depth_ < kept_depth_) kept_ = nullptr;
    return kept_ != nullptr;
}

MPO_DETAIL_MODEL_INLINE void CompressedConfigReader::begin_member(std::string name, Index byte) {
    section_ = std::move(name);
    const bool version = section_ == "format_version", linears = section_ == "linears";
    if ((version && version_) || (linears && seen_linears_))
        fail(concat("the key ", in_quotes(section_), " at byte ", byte, " occurs twice"));
    seen_linears_ = seen_linears_ || linears;
    if (version) kept_ = &version_.emplace(source_);
}

MPO_DETAIL_MODEL_INLINE void CompressedConfigReader::begin_linear(std::string name, Index byte) {
    if (!names_.insert(name).second)
        fail(concat("the linear ", in_quotes(name), " at byte ", byte, " occurs twice"));
    if (static_cast<Index>(entries_.size()) == max_num_tensors)
        fail(concat("more than ", max_num_tensors, " linears"));
    kept_ = &entries_.emplace_back(std::move(name), JsonTree(source_)).second;
}

MPO_DETAIL_MODEL_INLINE const CompressedConfigReader::Json& CompressedConfigReader::member(
    const Json& object, const char* key) const {
    if (!object.is_object()) fail(concat("a JSON object must hold '", key, "'", where_));
    const auto found = object.find(key);
    if (found == object.end()) fail(concat("'", key, "'", where_, " is missing"));
    return *found;
}

MPO_DETAIL_MODEL_INLINE Index CompressedConfigReader::integer(const Json& value,
                                                              const char* key) const {
    if (!value.is_number_unsigned() || !std::in_range<Index>(value.get<std::uint64_t>()))
        fail(concat("'", key, "'", where_, " must be a non-negative integer, got ",
                    described(value)));
    return value.get<Index>();
}

MPO_DETAIL_MODEL_INLINE Shape CompressedConfigReader::integers(const Json& value,
                                                               const char* key) const {
    if (!value.is_array())
        fail(concat("'", key, "'", where_, " must be an array, got ", described(value)));
    Shape result;
    for (const auto& element : value) result.push_back(integer(element, key));
    return result;
}

MPO_DETAIL_MODEL_INLINE std::string CompressedConfigReader::text(const Json& object,
                                                                 const char* key) const {
    const Json& value = member(object, key);
    if (!value.is_string())
        fail(concat("'", key, "'", where_, " must be a string, got ", described(value)));
    return value.get<std::string>();
}

MPO_DETAIL_MODEL_INLINE CompressedLinear CompressedConfigReader::linear(const std::string& name,
                                                                        const Json& entry) const {
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
    result.layout = {integers(member(layout, "out"), "out"), integers(member(layout, "in"), "in")};
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

MPO_DETAIL_MODEL_INLINE DType CompressedConfigReader::dtype(const std::string& name) const {
    const auto parsed = parse_dtype(name);
    if (!parsed || !is_convertible(*parsed) || *parsed == DType::c64)
        fail(concat("'dtype'", where_, " must be BF16, F16, F32 or F64, got ", in_quotes(name)));
    return *parsed;
}

MPO_DETAIL_MODEL_INLINE double CompressedConfigReader::error(const Json& value) const {
    if (!value.is_number() || !(value.get<double>() >= 0))
        fail(concat("'relative_error'", where_, " must be a number >= 0, got ", described(value)));
    return value.get<double>();
}

MPO_DETAIL_MODEL_INLINE void CompressedConfigReader::require_consistent(
    const CompressedLinear& linear) const {
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

MPO_DETAIL_MODEL_INLINE void CompressedConfigReader::require_gauge(const CompressedLinear& linear) {
    const Index sites = num_sites(linear.layout);
    if (linear.center >= sites)
        raise<ArgumentError>(
            {"the center of ", sites, " sites must be in 0..", sites - 1, ", got ", linear.center});
    (void)num_parameters(linear.layout, linear.bonds);  // refuses what no index holds
    const Shape supported = supported_bonds(linear.layout, linear.bonds);
    if (supported != linear.bonds)
        raise<ShapeError>({"cores of these legs support the bonds ", joined(supported, ", "),
                           ", not ", joined(linear.bonds, ", ")});
}

}  // namespace detail

}  // namespace mpo
