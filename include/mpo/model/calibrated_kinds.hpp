// What calibration says of linears, added up: losses and winners of a kind, and the linears for which a chain is not
// the best thing to store.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/model/compress_report.hpp"

namespace mpo {

/// How many linears a layout won.
struct LayoutWins {
    LinearForm form = LinearForm::low_rank;  // of the layout
    Layout layout;                           // legs out : in
    Index count = 0;                         // linears
};

/// The calibrated linears of one kind that were compressed.
struct CalibratedKind {
    LinearKind kind = LinearKind::q;     // its place in the layer
    Index count = 0;                     // of them; means are over these
    double mean_loss = 0, max_loss = 0;  // as stored
    double mean_low_rank_loss = 0;       // of the best low rank within the same limits, not rounded
    std::optional<double>
        mean_plain_loss;              // of plain MPOs of the same layouts and bonds, where known
    Index mpo_count = 0;              // that an MPO won
    Index beaten_count = 0;           // for which something else is better at equal bytes
    std::vector<LayoutWins> winners;  // the most frequent first
};

/// Linears for which one rival is the best at no more bytes.
struct BetterStorage {
    std::string form;  // of the rival
    Index count = 0;   // linears
};

namespace detail {

/// 4 for "Q4_1" and "IQ4_NL"; 0 for a type of numbers that were not rounded to a grid.
[[nodiscard]] int grid_bits(std::string_view source_type);

/// Whether a rival says something of the weight: rounding to as many bits as the source came from finds its grid again.
[[nodiscard]] bool is_comparable(const RivalReport& rival, std::string_view source_type);

/// The comparable rival that loses least of those that need no more bits than `bits_per_weight`.
[[nodiscard]] const RivalReport* best_rival(const std::vector<RivalReport>& rivals,
                                            double bits_per_weight, std::string_view source_type);

/// Bits written for each number of the dense weight.
[[nodiscard]] double bits_per_weight(const LinearReport& linear);

/// Whether a linear was compressed in the metric of its inputs: one that stayed dense has no loss.
[[nodiscard]] inline bool has_loss(const LinearReport& linear) {
    return linear.calibration && linear.form != LinearForm::dense;
}

}  // namespace detail

/// What would lose less than what was stored, at no more bytes; null where nothing that was measured, and can be compared,
/// would.
[[nodiscard]] const RivalReport* better_rival(const LinearReport& linear);

/// One entry per kind with a linear that was compressed and calibrated, in the order of LinearKind.
[[nodiscard]] std::vector<CalibratedKind> calibrated_kinds(const CompressReport& report);

/// What would be better for how many linears, the most frequent first.
[[nodiscard]] std::vector<BetterStorage> better_storage(const CompressReport& report);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/calibrated_kinds_inl.hpp"
#endif
