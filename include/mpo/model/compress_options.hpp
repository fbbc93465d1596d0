// What compress is asked for: which linears, how small, in which form. Text and integers only.
#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <regex>
#include <string>
#include <string_view>

#include "mpo/core/dtype.hpp"
#include "mpo/core/error.hpp"
#include "mpo/model/progress.hpp"
#include "mpo/network/layout.hpp"

namespace mpo {

/// The linears of a decoder layer of the LLaMA family.
enum class LinearKind { q, k, v, o, gate, up, down };

namespace detail {

struct LinearKindEntry {
    std::string_view name, module;
};
inline constexpr std::array<LinearKindEntry, 7> linear_kinds{{{"q", ".self_attn.q_proj"},
                                                              {"k", ".self_attn.k_proj"},
                                                              {"v", ".self_attn.v_proj"},
                                                              {"o", ".self_attn.o_proj"},
                                                              {"gate", ".mlp.gate_proj"},
                                                              {"up", ".mlp.up_proj"},
                                                              {"down", ".mlp.down_proj"}}};

}  // namespace detail

/// "gate" for LinearKind::gate.
[[nodiscard]] inline std::string to_string(LinearKind kind) {
    return std::string(detail::linear_kinds.at(static_cast<std::size_t>(kind)).name);
}

/// The inverse of to_string; nothing for any other text.
[[nodiscard]] inline std::optional<LinearKind> parse_linear_kind(std::string_view name) {
    for (std::size_t k = 0; k < detail::linear_kinds.size(); ++k)
        if (detail::linear_kinds[k].name == name) return static_cast<LinearKind>(k);
    return std::nullopt;
}

/// The kind of a module ("model.layers.3.mlp.up_proj"); nothing where it is no decoder linear.
[[nodiscard]] inline std::optional<LinearKind> linear_kind(std::string_view module) {
    for (std::size_t k = 0; k < detail::linear_kinds.size(); ++k)
        if (module.ends_with(detail::linear_kinds[k].module)) return static_cast<LinearKind>(k);
    return std::nullopt;
}

/// The inverse of to_string(Layout): "24x24:24x24", out legs first; '*' for 'x' and blanks are
/// accepted. Throws ArgumentError for anything else; legs of 0 are left to validate.
[[nodiscard]] inline Layout parse_layout(std::string_view text) {
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

/// automatic compares low rank with MPOs by their error at equal parameters.
enum class CompressForm { automatic, mpo, low_rank };

/// How small: exactly one of the first four.
struct CompressOptions {
    std::optional<double> budget = {};       // share of the linears' parameters to keep, (0, 1]
    std::optional<Index> budget_bytes = {};  // bytes that all linears together may take, >= 1
    std::optional<Index> max_bond_dim = {};  // cap at every bond, >= 1
    std::optional<double> tolerance = {};    // relative error of each linear, Frobenius, >= 0

    CompressForm form = CompressForm::automatic;  // which forms compete
    Index sites = 2;                              // of balanced MPOs, 2 to 12
    std::map<LinearKind, Layout> layouts = {};    // this layout for this kind, whatever `form` says
    std::string only = {};  // ECMAScript regex: of the decoder linears only modules that contain it
    std::string skip = {};  // none that contain it
    DType dtype = DType::bf16;                   // of what is written: bf16, f16 or f32
    StoredAs stored_as = StoredAs::gauge_fixed;  // of the cores; parameters are counted as stored
    std::uint64_t seed = 1;                      // of randomized factorisations
    ProgressCallback progress = {};              // hears of every linear, and may cancel
    /// Folders for the same model in another form, mpo or low_rank: every linear in the best of that form
    /// with no more parameters than what was chosen for it has; as chosen where none is so small.
    std::map<CompressForm, std::filesystem::path> peers = {};
};

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

/// Throws ArgumentError for a pattern that is no regular expression.
[[nodiscard]] inline std::regex compiled_regex(const std::string& pattern, std::string_view who) {
    try {
        return std::regex(pattern, std::regex::ECMAScript | std::regex::optimize);
    } catch (const std::regex_error& error) {
        raise<ArgumentError>({who, " '", pattern, "' is no regular expression: ", error.what()});
    }
}

}  // namespace detail

/// Throws ArgumentError where an option is outside its domain or two exclude each other.
inline void validate(const CompressOptions& options) {
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
