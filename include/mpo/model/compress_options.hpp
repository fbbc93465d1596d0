// What compress is asked for: which linears, how small, in which form. Text and integers only.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <regex>
#include <string>
#include <string_view>

#include "mpo/core/dtype.hpp"
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
[[nodiscard]] std::optional<LinearKind> parse_linear_kind(std::string_view name);

/// The kind of a module ("model.layers.3.mlp.up_proj"); nothing where it is no decoder linear.
[[nodiscard]] std::optional<LinearKind> linear_kind(std::string_view module);

/// The inverse of to_string(Layout): "24x24:24x24", out legs first; '*' for 'x' and blanks are
/// accepted. Throws ArgumentError for anything else; legs of 0 are left to validate.
[[nodiscard]] Layout parse_layout(std::string_view text);

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

/// Throws ArgumentError for a pattern that is no regular expression.
[[nodiscard]] std::regex compiled_regex(const std::string& pattern, std::string_view who);

}  // namespace detail

/// Throws ArgumentError where an option is outside its domain or two exclude each other.
void validate(const CompressOptions& options);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/compress_options_inl.hpp"
#endif
