// The bodies of model/calibrated_linear.hpp that are no templates.
#pragma once

#include "mpo/core/plot.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/calibrated_linear.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE std::string verdict_on(const CalibrationReport& report, bool is_mpo,
                                               double bits_per_weight,
                                               std::string_view source_type) {
    std::string verdict =
        is_mpo ? concat("an MPO loses ", short_number(report.fitted_loss / report.low_rank_loss, 3),
                        " of what low rank loses")
               : std::string("low rank loses least of all chains");
    const auto* best = best_rival(report.rivals, bits_per_weight, source_type);
    if (best && best->loss < report.loss)
        verdict += concat("; do not compress this layer by chains alone: ", best->form, ", ",
                          short_number(best->bits_per_weight, 3), " bits per weight, loses ",
                          short_number(best->loss / report.loss, 3), " of that");
    return verdict;
}

MPO_DETAIL_MODEL_INLINE std::vector<Layout> LayoutMemory::layouts(LinearKind kind,
                                                                  const Shape& shape) const {
    const auto found = seen_.find({kind, shape});
    return found != seen_.end() && found->second.searches >= searches_of_all
               ? found->second.close
               : std::vector<Layout>{};
}

MPO_DETAIL_MODEL_INLINE void LayoutMemory::learn(LinearKind kind, const Shape& shape,
                                                 const std::vector<FitCandidate>& candidates) {
    auto& [searches, close] = seen_[{kind, shape}];
    if (++searches > searches_of_all) return;
    for (const auto& candidate : candidates) {
        const bool near =
            candidate.first_loss || candidate.layout == low_rank_layout(shape[0], shape[1]);
        if (near && std::find(close.begin(), close.end(), candidate.layout) == close.end())
            close.push_back(candidate.layout);
    }
}

MPO_DETAIL_MODEL_INLINE FitSearchOptions<float> search_options(
    LinearKind kind, const Shape& shape, double share, const LayoutMemory& memory,
    const CompressOptions& options, const CalibratedFitOptions& calibrated) {
    const Index m = shape[0], n = shape[1];
    FitSearchOptions<float> search;
    search.max_parameters =
        (std::max)(Index{1}, static_cast<Index>(share * static_cast<double>(m * n)));
    search.stored_as = options.stored_as;
    search.max_flops_ratio = calibrated.max_flops_ratio;
    search.objective = calibrated.objective;
    search.max_sites = options.sites;
    search.fit = calibrated.fit;
    search.fit.seed = options.seed;
    if (const auto given = options.layouts.find(kind); given != options.layouts.end()) {
        search.layouts = {given->second};
    } else if (options.form == CompressForm::low_rank) {
        search.layouts = {low_rank_layout(m, n)};
    } else {
        search.layouts = memory.layouts(kind, shape);
        if (options.form == CompressForm::mpo) {
            if (search.layouts.empty()) search.layouts = fit_layouts(m, n, search.max_sites);
            std::erase(search.layouts, low_rank_layout(m, n));
        }
    }
    return search;
}

MPO_DETAIL_MODEL_INLINE void describe_stored(const StoredForm& form, LinearReport& report) {
    const bool low_rank = form.layout == low_rank_layout(report.shape[0], report.shape[1]);
    report.layout = form.layout;
    report.bonds = form.bonds;
    report.stored_as = form.stored_as;
    report.form = low_rank ? LinearForm::low_rank : LinearForm::mpo;
    report.size.parameters = form.num_parameters();
    report.size.bytes = form.num_bytes();
    report.size.multiply_adds = multiply_adds_of_best_sweep(report.layout, report.bonds);
    report.relative_error = report.error_as_cores = report.low_rank_error = form.relative_error;
}

}  // namespace mpo::detail
