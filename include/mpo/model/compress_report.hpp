// What compress did: per linear, and added up per kind.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/model/calibration_run.hpp"
#include "mpo/model/compress_options.hpp"
#include "mpo/model/evaluate_results.hpp"
#include "mpo/model/made_by.hpp"
#include "mpo/model/model_cost.hpp"
#include "mpo/model/spectrum_report.hpp"
#include "mpo/network/decompose.hpp"
#include "mpo/network/fit_search.hpp"
#include "mpo/network/layout.hpp"

namespace mpo {

/// dense: no form of the size asked for is smaller than the weight itself, so it was left alone.
enum class LinearForm { dense, low_rank, mpo };

/// "low_rank" for LinearForm::low_rank.
[[nodiscard]] std::string to_string(LinearForm form);

/// Parameters, bytes and work before and after; sums over linears are of the same type.
struct SizeChange {
    Index parameters_before = 0, parameters = 0;        // numbers of the weight; numbers stored
    Index bytes_before = 0, bytes = 0;                  // as stored in the source; as written
    Index multiply_adds_before = 0, multiply_adds = 0;  // per token

    /// Adds member by member.
    SizeChange& operator+=(const SizeChange& other);
};

/// Another form of a linear and what it loses, for comparison: nothing of it is written.
struct RivalReport {
    std::string form;            // "plain MPO", "low rank", "rounded to 4 bits"
    double bits_per_weight = 0;  // of what it would store, over m n
    double loss = 0;             // relative, in the metric of the inputs
};

/// What calibration says of one linear. Losses are E norm(y - A x)^2 over that of A = 0, x the inputs behind
/// the compressed prefix, y what the linear should answer to them.
struct CalibrationReport {
    double share = 1;        // of its numbers that the budget left to it
    double loss = 0;         // of the cores as stored
    double fitted_loss = 0;  // before they were rounded
    double low_rank_loss =
        0;  // of the best low rank within the same limits, not rounded; 1 where none fits
    Index sweeps = 0;                           // of the winner
    std::vector<RivalReport> rivals = {};       // what else could be stored
    std::vector<FitCandidate> candidates = {};  // the layouts that competed, with their prices
    std::string verdict = {};                   // one sentence on all of this
};

/// What became of one linear.
struct LinearReport {
    std::string name;                     // of the module
    LinearKind kind = LinearKind::q;      // its place in the layer
    Shape shape;                          // (out, in)
    LinearForm form = LinearForm::dense;  // what is stored
    Layout layout;                        // empty where dense
    Shape bonds;                          // D[0] .. D[N]; empty where dense
    SizeChange size;                      // before and after
    double truncation_error = 0;  // relative, before the cores were rounded to their stored type
    double relative_error = 0;    // norm(W - W') / norm(W) with the cores as stored
    ErrorKind error_kind = ErrorKind::exact;  // of relative_error
    double low_rank_error = 0;                // the same for plain low rank of no more parameters
    StoredAs stored_as = StoredAs::cores;     // of the cores
    double error_as_cores =
        0;  // relative_error of the same bonds with every number of the cores stored
    std::string source_type;              // "Q4_1"
    double norm = 0;                      // norm(W), Frobenius; 0 where left dense unread
    std::vector<SpectrumReport> spectra;  // of the inner bonds, left to right; few points each
    double seconds = 0;                   // to read, factor and measure it, on one of the threads
    std::optional<CalibrationReport> calibration = {};  // of a compression that was calibrated
};

/// All linears of one kind.
struct KindReport {
    LinearKind kind = LinearKind::q;  // the kind
    Index count = 0;                  // linears of this kind
    Index dense_count = 0;            // left dense
    LinearReport typical;             // one with the most frequent form, layout and shape
    Index typical_count = 0;          // how many are like it
    SizeChange size;                  // summed
    double mean_relative_error = 0, max_relative_error = 0;  // over the linears
    double mean_low_rank_error = 0;                          // over the linears
};

/// The forms of a model that a text is read by, beside the source.
enum class ComparedForm {
    compressed,       // what was written
    mpo,              // every linear an MPO of no more parameters
    low_rank,         // every linear plain low rank of no more parameters
    uniform_low_rank  // see uniform_low_rank.hpp: what a sceptic would store of as many numbers
};

/// "uniform_low_rank" for ComparedForm::uniform_low_rank: its member in the JSON.
[[nodiscard]] std::string to_string(ComparedForm form);

/// "uniform low rank" for the same, to be read.
[[nodiscard]] std::string_view title_of(ComparedForm form);

/// A form of the model beside the source on one text, and what it costs.
struct FormReport {
    ComparedForm form = ComparedForm::compressed;  // which
    ModelCost cost = {};                           // of this form and no other
    Comparison result = {};                        // against the source
};

/// What became of the language: one text under the forms that were compared, what was written first. A form that was
/// chosen for every linear is the compressed model itself.
struct TextReport {
    std::string text;                    // its file
    ModelCost source_cost = {};          // of the reference of all forms
    std::vector<FormReport> forms = {};  // what was written first

    /// What was written, against the source. Throws ArgumentError where it was not compared.
    [[nodiscard]] const Comparison& compressed() const { return of(ComparedForm::compressed); }
    /// The same of any form.
    [[nodiscard]] const Comparison& of(ComparedForm form) const;
};

/// What became of a whole checkpoint.
struct CompressReport {
    std::vector<LinearReport> linears;   // in the order of the source
    std::string source;                  // path of what was compressed
    DType dtype = DType::bf16;           // as written
    Index num_tensors = 0;               // of the source
    Index parameters_before = 0;         // numbers in all tensors of the source
    Index parameters = 0;                // in all tensors written
    Index bytes_before = 0;              // of all tensors of the source
    Index bytes = 0;                     // of all tensors written
    double seconds = 0;                  // wall clock
    MadeBy made_by;                      // compress leaves the command line to its caller
    std::vector<TextReport> texts = {};  // of compare_forms; compress leaves them to its caller
    std::optional<CalibrationRun> calibration = {};  // of a compression that was calibrated

    /// Sums over all linears.
    [[nodiscard]] SizeChange size() const;

    /// Whether every compressed linear has this form.
    [[nodiscard]] bool is_all(LinearForm form) const;

    /// Whether what was written is this form itself.
    [[nodiscard]] bool is_written_as(ComparedForm form) const;

    /// One entry per kind that occurs, in the order of LinearKind.
    [[nodiscard]] std::vector<KindReport> kinds() const;

  private:
    [[nodiscard]] Index count_like(const LinearReport& one) const;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/compress_report_inl.hpp"
#endif
