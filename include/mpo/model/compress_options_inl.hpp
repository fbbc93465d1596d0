// The bodies of model/compress_options.hpp that are no templates.
#pragma once

#include <charconv>
#include <cmath>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/compress_options.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE std::optional<LinearKind> parse_linear_kind(std::string_view name) {
    for (std::size_t k = 0; k < detail::linear_kinds.size(); ++k)
        if (detail::linear_kinds[k].name == name) return static_cast<LinearKind>(k);
    return std::nullopt;
}

MPO_DETAIL_MODEL_INLINE std::optional<LinearKind> linear_kind(std::string_view module) {
    for (std::size_t k = 0; k < detail::linear_kinds.size(); ++k)
        if (module.ends_with(detail::linear_kinds[k].module)) return static_cast<LinearKind>(k);
    return std::nullopt;
}

MPO_DETAIL_MODEL_INLINE Layout parse_layout(std::string_view text) {
    const auto fail = [&] {
        detail::raise<ArgumentError>(
            {"layout '", text, "' must be out legs : in legs, as in 24x24:24x24"});
    };
    std::string dense;
    for (const char c : text)
        if (c != ' ') dense += c == '*' || c == 'X' ? 'x' : c;
    Layout layout;
    Shape* side = &layout.out;
    const char* const end = dense.data() + dense.size();
    for (const char* at = dense.data();; ++at) {
        Index leg = 0;
        const auto [after, error] = std::from_chars(at, end, leg);
        if (error != std::errc() || leg < 0) fail();
        side->push_back(leg);
        at = after;
        if (at == end) break;
        if (*at == ':' && side == &layout.out)
            side = &layout.in;
        else if (*at != 'x')
            fail();
    }
    if (layout.in.empty()) fail();
    return layout;
}

namespace detail {

inline void validate_amount(const CompressOptions& options) {
    const int given = (options.budget ? 1 : 0) + (options.budget_bytes ? 1 : 0) +
                      (options.max_bond_dim ? 1 : 0) + (options.tolerance ? 1 : 0);
    if (given != 1)
        raise<ArgumentError>({"compress: need exactly one of budget, budget_bytes, ",
                              "max_bond_dim and tolerance, got ", given});
    if (options.budget && !(*options.budget > 0 && *options.budget <= 1))
        raise<ArgumentError>(
            {"compress: budget must be above 0 and at most 1, got ", *options.budget});
    if (options.budget_bytes && *options.budget_bytes < 1)
        raise<ArgumentError>(
            {"compress: budget_bytes must be at least 1, got ", *options.budget_bytes});
    if (options.max_bond_dim && *options.max_bond_dim < 1)
        raise<ArgumentError>(
            {"compress: max_bond_dim must be at least 1, got ", *options.max_bond_dim});
    if (options.tolerance && !(*options.tolerance >= 0 && std::isfinite(*options.tolerance)))
        raise<ArgumentError>(
            {"compress: tolerance must be finite and >= 0, got ", *options.tolerance});
}

MPO_DETAIL_MODEL_INLINE std::regex compiled_regex(const std::string& pattern,
                                                  std::string_view who) {
    try {
        return std::regex(pattern, std::regex::ECMAScript | std::regex::optimize);
    } catch (const std::regex_error& error) {
        raise<ArgumentError>({who, " '", pattern, "' is no regular expression: ", error.what()});
    }
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE void validate(const CompressOptions& options) {
    detail::validate_amount(options);
    if (options.sites < 2 || options.sites > max_num_sites)
        detail::raise<ArgumentError>(
            {"compress: need 2 to ", max_num_sites, " sites, got ", options.sites});
    if (options.form == CompressForm::low_rank && !options.layouts.empty())
        detail::raise<ArgumentError>({"compress: ", options.layouts.size(),
                                      " layouts were given, and the form low rank has its own"});
    for (const auto& [kind, layout] : options.layouts)
        validate(layout, "compress: layout of " + to_string(kind));
    if (options.dtype != DType::bf16 && options.dtype != DType::f16 && options.dtype != DType::f32)
        detail::raise<ArgumentError>(
            {"compress: dtype must be BF16, F16 or F32, got ", to_string(options.dtype)});
    if (options.peers.count(CompressForm::automatic) > 0)
        throw ArgumentError("compress: a peer must have the form mpo or low rank");
}

}  // namespace mpo
