// One linear in the metric of its inputs: the best chain within its share, rounded to its stored type,
// measured, and beside it what a sceptic would store instead.
#pragma once

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/linalg/weighted_loss.hpp"
#include "mpo/model/calibrated_kinds.hpp"
#include "mpo/model/compress_linear.hpp"
#include "mpo/model/compress_report.hpp"
#include "mpo/model/quantize.hpp"
#include "mpo/network/fit_search.hpp"

namespace mpo {

/// Which rivals are measured beside every linear.
enum class Rivals { none, all };

/// How a linear is compressed in the metric of its inputs.
struct CalibratedFitOptions {
    double max_flops_ratio =
        std::numeric_limits<double>::infinity();  // multiply-adds per token relative to dense, > 0
    FitObjective objective = FitObjective::before_healing;  // what the chain is for
    FitOptions fit = {.max_sweeps = 6};                     // of the finalists
    Rivals rivals = Rivals::all;                            // what else is measured
};

namespace detail {

/// A linear that is to be compressed: its weight, what it should answer to the inputs that it will have, and
/// their second moment.
struct CalibratedTarget {
    const Tensor<float>& weight;   // W (out, in): Frobenius errors are against it
    const Tensor<float>& target;   // W P, see linalg/compensation.hpp
    const Tensor<double>& moment;  // (in, in)
    double total = 0;              // tr(target S target^T)
};

/// tr((target - A) S (target - A)^T) / tr(target S target^T).
template <Backend B>
[[nodiscard]] double relative_loss(const CalibratedTarget& linear, const Tensor<float>& A,
                                   const B& backend) {
    if (!(linear.total > 0)) return 0;
    return weighted_loss<float>(as_matrix(linear.target.view()), as_matrix(A.view()),
                                as_matrix(linear.moment.view()), backend) /
           linear.total;
}

/// What else could be stored: the plain MPO of the winner's layout, and rounding.
template <Backend B>
[[nodiscard]] std::vector<RivalReport> rivals_of(const CalibratedTarget& linear,
                                                 const CalibrationReport& report,
                                                 const Layout& layout, const Shape& bonds,
                                                 Index dtype_bits, const B& backend) {
    const Index dense = linear.target.size();
    const double bits = static_cast<double>(dtype_bits);
    std::vector<RivalReport> rivals;
    for (const auto& candidate : report.candidates)
        if (candidate.layout == low_rank_layout(linear.target.extent(0), linear.target.extent(1)))
            rivals.push_back(
                {"low rank",
                 bits * static_cast<double>(candidate.parameters) / static_cast<double>(dense),
                 report.low_rank_loss});
    DecomposeOptions plain;
    plain.layout = layout;
    plain.truncation.max_bond_dim = *std::max_element(bonds.begin(), bonds.end());
    rivals.push_back(
        {"plain MPO",
         bits * static_cast<double>(num_stored(layout, bonds)) / static_cast<double>(dense),
         relative_loss(linear, to_dense(decompose(linear.weight, plain, backend).mpo, backend),
                       backend)});
    for (const int width : {8, 4, 3, 2}) {
        QuantizeOptions options;
        options.bits = width;
        const auto rounded =
            quantize(linear.target, as_matrix(linear.moment.view()), options, backend);
        rivals.push_back({concat("rounded to ", width, " bits"), rounded.bits_per_weight,
                          relative_loss(linear, rounded.values, backend)});
    }
    return rivals;
}

/// One sentence: what was stored, what else would have been better.
[[nodiscard]] std::string verdict_on(const CalibrationReport& report, bool is_mpo,
                                     double bits_per_weight, std::string_view source_type);

/// Which layouts compete for the linears of a kind: all at first, then those that came close in one of the
/// first searches. Layers of a model are alike in this.
class LayoutMemory {
  public:
    /// Nothing while all compete.
    [[nodiscard]] std::vector<Layout> layouts(LinearKind kind, const Shape& shape) const;
    void learn(LinearKind kind, const Shape& shape, const std::vector<FitCandidate>& candidates);

  private:
    static constexpr int searches_of_all = 3;
    struct Seen {
        int searches = 0;
        std::vector<Layout> close;
    };
    std::map<std::pair<LinearKind, Shape>, Seen> seen_;
};

/// The limits of a share, and the layouts that compete within them.
[[nodiscard]] FitSearchOptions<float> search_options(LinearKind kind, const Shape& shape,
                                                     double share, const LayoutMemory& memory,
                                                     const CompressOptions& options,
                                                     const CalibratedFitOptions& calibrated);

/// What is stored of a linear, the same as a matrix, and what there is to say of it.
struct CalibratedLinear {
    StoredForm form;          // no cores: it stays dense
    Tensor<float> stands_in;  // what takes the place of W in the compressed flow
    LinearReport report;
};

/// Fills in what the stored form alone says.
void describe_stored(const StoredForm& form, LinearReport& report);

/// report: as of the dense weight. Stays dense where the share is 1 or no chain within it is smaller than W.
template <Backend B>
[[nodiscard]] CalibratedLinear compress_calibrated_linear(
    const CalibratedTarget& linear, LinearReport report, double share, LayoutMemory& memory,
    const CompressOptions& options, const CalibratedFitOptions& calibrated, const B& backend) {
    const Index m = linear.weight.extent(0), n = linear.weight.extent(1), dense = m * n;
    report.calibration.emplace();
    auto& said = *report.calibration;
    said.share = share;
    if (share >= 1) {
        said.verdict = "the budget leaves it dense";
        return {{}, linear.weight, std::move(report)};
    }
    const auto search =
        search_options(report.kind, report.shape, share, memory, options, calibrated);
    auto found = search_fit(linear.target, linear.moment, search, backend);
    memory.learn(report.kind, report.shape, found.candidates);
    const auto& chain = found.best.mpo;
    auto [form, as_stored] =
        rounded_form(linear.weight, chain, options.dtype, options.stored_as, backend);
    auto rounded = to_dense(as_stored, backend);
    describe_stored(form, report);
    report.truncation_error = measured_error(linear.weight, chain, backend);
    report.norm = frobenius_norm(linear.weight);
    said.fitted_loss = found.best.report.relative_loss();
    said.sweeps = static_cast<Index>(found.best.report.losses.size()) - 1;
    said.loss = relative_loss(linear, rounded, backend);
    said.candidates = std::move(found.candidates);
    said.low_rank_loss = 1;
    for (const auto& candidate : said.candidates)
        if (candidate.layout == low_rank_layout(m, n)) said.low_rank_loss = *candidate.loss;
    if (calibrated.rivals == Rivals::all)
        said.rivals = rivals_of(linear, said, form.layout, form.bonds,
                                bits_per_element(options.dtype), backend);
    said.verdict =
        verdict_on(said, report.form == LinearForm::mpo,
                   8 * static_cast<double>(report.size.bytes) / static_cast<double>(dense),
                   report.source_type);
    return {std::move(form), std::move(rounded), std::move(report)};
}

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/calibrated_linear_inl.hpp"
#endif
