// The bodies of model/calibrated_kinds.hpp that are no templates.
#pragma once

#include <algorithm>
#include <map>
#include <utility>

#include "mpo/io/inline.hpp"
#include "mpo/model/calibrated_kinds.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE int grid_bits(std::string_view source_type) {
    if (source_type.starts_with('I')) source_type.remove_prefix(1);
    const bool digit = source_type.size() > 1 && source_type[0] == 'Q' && source_type[1] >= '1' &&
                       source_type[1] <= '9';
    return digit ? source_type[1] - '0' : 0;
}

MPO_DETAIL_MODEL_INLINE bool is_comparable(const RivalReport& rival, std::string_view source_type) {
    const int bits = grid_bits(source_type);
    return bits == 0 || rival.form != concat("rounded to ", bits, " bits");
}

MPO_DETAIL_MODEL_INLINE const RivalReport* best_rival(const std::vector<RivalReport>& rivals,
                                                      double bits_per_weight,
                                                      std::string_view source_type) {
    const RivalReport* best = nullptr;
    for (const auto& rival : rivals)
        if (rival.bits_per_weight <= bits_per_weight && is_comparable(rival, source_type) &&
            (!best || rival.loss < best->loss))
            best = &rival;
    return best;
}

MPO_DETAIL_MODEL_INLINE double bits_per_weight(const LinearReport& linear) {
    return 8 * static_cast<double>(linear.size.bytes) /
           static_cast<double>((std::max)(linear.size.parameters_before, Index{1}));
}

[[nodiscard]] inline const RivalReport* find_rival(const CalibrationReport& report,
                                                   std::string_view form) {
    for (const auto& rival : report.rivals)
        if (rival.form == form) return &rival;
    return nullptr;
}

inline void add_win(std::vector<LayoutWins>& winners, const LinearReport& linear) {
    for (auto& winner : winners)
        if (winner.layout == linear.layout) {
            ++winner.count;
            return;
        }
    winners.push_back({linear.form, linear.layout, 1});
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE const RivalReport* better_rival(const LinearReport& linear) {
    if (!detail::has_loss(linear)) return nullptr;
    const auto* best = detail::best_rival(linear.calibration->rivals,
                                          detail::bits_per_weight(linear), linear.source_type);
    return best && best->loss < linear.calibration->loss ? best : nullptr;
}

MPO_DETAIL_MODEL_INLINE std::vector<CalibratedKind> calibrated_kinds(const CompressReport& report) {
    std::map<LinearKind, CalibratedKind> found;
    std::map<LinearKind, Index> plain_counts;
    for (const auto& linear : report.linears) {
        if (!detail::has_loss(linear)) continue;
        const auto& said = *linear.calibration;
        auto& kind = found[linear.kind];
        kind.kind = linear.kind;
        ++kind.count;
        kind.mean_loss += said.loss;
        kind.max_loss = (std::max)(kind.max_loss, said.loss);
        kind.mean_low_rank_loss += said.low_rank_loss;
        if (linear.form == LinearForm::mpo) ++kind.mpo_count;
        if (better_rival(linear)) ++kind.beaten_count;
        detail::add_win(kind.winners, linear);
        if (const auto* plain = detail::find_rival(said, "plain MPO")) {
            kind.mean_plain_loss = kind.mean_plain_loss.value_or(0) + plain->loss;
            ++plain_counts[linear.kind];
        }
    }
    std::vector<CalibratedKind> result;
    for (auto& [name, kind] : found) {
        const auto count = static_cast<double>(kind.count);
        kind.mean_loss /= count;
        kind.mean_low_rank_loss /= count;
        if (kind.mean_plain_loss) *kind.mean_plain_loss /= static_cast<double>(plain_counts[name]);
        std::stable_sort(
            kind.winners.begin(), kind.winners.end(),
            [](const LayoutWins& a, const LayoutWins& b) { return a.count > b.count; });
        result.push_back(std::move(kind));
    }
    return result;
}

MPO_DETAIL_MODEL_INLINE std::vector<BetterStorage> better_storage(const CompressReport& report) {
    std::vector<BetterStorage> result;
    for (const auto& linear : report.linears) {
        const auto* rival = better_rival(linear);
        if (!rival) continue;
        const auto known = std::find_if(result.begin(), result.end(),
                                        [&](const auto& one) { return one.form == rival->form; });
        if (known == result.end())
            result.push_back({rival->form, 1});
        else
            ++known->count;
    }
    std::stable_sort(
        result.begin(), result.end(),
        [](const BetterStorage& a, const BetterStorage& b) { return a.count > b.count; });
    return result;
}

}  // namespace mpo
