// What mpo compress prints: tables of kinds and of texts, and notes.

#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/plot.hpp"
#include "mpo/model/calibrated_kinds.hpp"
#include "mpo/model/compress_notes.hpp"
#include "mpo/model/compress_report.hpp"
#include "mpo_command.hpp"
#include "mpo_output.hpp"

namespace command {
namespace {

[[nodiscard]] std::string form_and_layout(mpo::LinearForm form, const mpo::Layout& layout) {
    return (form == mpo::LinearForm::low_rank ? "low rank " : "mpo ") + mpo::to_string(layout);
}

/// "low rank 576x1 : 1x576 (28/30)", or "dense".
[[nodiscard]] std::string form_of(const mpo::KindReport& kind) {
    const auto& typical = kind.typical;
    std::string form = "dense";
    if (typical.form != mpo::LinearForm::dense)
        form = form_and_layout(typical.form, typical.layout);
    if (kind.typical_count < kind.count) form += text(" (%td/%td)", kind.typical_count, kind.count);
    return form;
}

[[nodiscard]] std::vector<std::string> size_cells(const mpo::SizeChange& size) {
    return {readable_count(size.parameters_before), readable_count(size.parameters),
            readable_bytes(size.bytes_before), readable_bytes(size.bytes),
            text("%.2f", static_cast<double>(size.multiply_adds) /
                             static_cast<double>(size.multiply_adds_before))};
}

/// Errors of weights; where the report is calibrated losses of outputs too.
[[nodiscard]] std::vector<std::string> error_cells(const mpo::KindReport& kind) {
    return {text("%.4f", kind.mean_relative_error), text("%.4f", kind.max_relative_error),
            text("%.4f", kind.mean_low_rank_error)};
}

[[nodiscard]] std::vector<std::string> loss_cells(const mpo::KindReport& kind,
                                                  const std::vector<mpo::CalibratedKind>& all) {
    std::vector<std::string> cells{text("%.4f", kind.mean_relative_error)};
    for (const auto& one : all) {
        if (one.kind != kind.kind) continue;
        for (const double loss : {one.mean_loss, one.max_loss, one.mean_low_rank_loss})
            cells.push_back(mpo::short_number(loss, 3));
        cells.push_back(one.mean_plain_loss ? mpo::short_number(*one.mean_plain_loss, 3) : "-");
    }
    return cells;
}

void explain_columns(bool calibrated) {
    std::cout << "error: norm(W - W') / norm(W) with the cores as stored; "
              << (calibrated
                      ? "loss: of the outputs on the calibration texts,\nE norm(y - W' x)^2 / E "
                        "norm(y)^2; low rank: the best one within the same limits; plain MPO: the "
                        "same layout\nand bonds without calibration; madds: multiply-adds per "
                        "token against dense;\n"
                      : "low rank: the same for plain low rank of the same size;\nmadds: "
                        "multiply-adds per token against dense; ")
              << "(n/m): so many of the kind have this form\n";
}

void print_kinds(const mpo::CompressReport& report) {
    const bool calibrated = report.calibration.has_value();
    const auto losses = mpo::calibrated_kinds(report);
    Table table(4);
    std::vector<std::string> head{"kind",      "shape",      "form and layout (out : in)",
                                  "bonds",     "parameters", "after",
                                  "bytes",     "after",      "madds",
                                  "error mean"};
    for (const char* column : {"max", "low rank"})
        if (!calibrated) head.emplace_back(column);
    for (const char* column : {"loss mean", "worst", "low rank", "plain MPO"})
        if (calibrated) head.emplace_back(column);
    table.add(std::move(head));
    for (const auto& kind : report.kinds()) {
        std::vector<std::string> row{mpo::to_string(kind.kind), joined(kind.typical.shape, "x"),
                                     form_of(kind), joined(kind.typical.bonds, " ")};
        for (auto& cell : size_cells(kind.size)) row.push_back(std::move(cell));
        for (auto& cell : calibrated ? loss_cells(kind, losses) : error_cells(kind))
            row.push_back(std::move(cell));
        table.add(std::move(row));
    }
    std::vector<std::string> row{"all", "", "", ""};
    for (auto& cell : size_cells(report.size())) row.push_back(std::move(cell));
    table.add(std::move(row));
    table.print();
    explain_columns(calibrated);
}

/// "layouts of v: 20 of 30 mpo 24x24 : 8x8, 10 of 30 low rank 192x1 : 1x576; something else is better for 3".
void print_winners(const mpo::CompressReport& report) {
    for (const auto& kind : mpo::calibrated_kinds(report)) {
        std::string line = "layouts of " + mpo::to_string(kind.kind) + ":";
        for (const auto& winner : kind.winners)
            line += text("%s %td of %td ", &winner == &kind.winners.front() ? "" : ",",
                         winner.count, kind.count) +
                    form_and_layout(winner.form, winner.layout);
        if (kind.beaten_count > 0)
            line += text("; something else is better for %td", kind.beaten_count);
        std::cout << line << '\n';
    }
}

/// 14.41, 5213, 1.2e+12.
[[nodiscard]] std::string perplexity_cell(double value) {
    return text(value < 100 ? "%.2f" : value < 1e6 ? "%.0f" : "%.3g", value);
}

[[nodiscard]] std::vector<std::string> cost_cells(const mpo::ModelCost& cost) {
    std::vector<std::string> cells{readable_bytes(cost.bytes)};
    if (!cost.batches.empty()) cells.push_back(readable_count(cost.batches.front().multiply_adds));
    for (const auto& one : cost.batches) cells.push_back(mpo::short_number(one.ms_per_token, 3));
    return cells;
}

[[nodiscard]] std::vector<std::string> form_row(const mpo::FormReport& form) {
    const auto& result = form.result;
    const auto& perplexity = result.model.perplexity;
    std::vector<std::string> row{"", std::string(mpo::title_of(form.form))};
    for (auto& cell : cost_cells(form.cost)) row.push_back(std::move(cell));
    for (auto& cell : {perplexity_cell(perplexity.mean), perplexity_cell(perplexity.standard_error),
                       text("%.3f", result.kld.mean), text("%.3f", result.kld.standard_error),
                       text("%.3f", result.kld_99), text("%.1f %%", 100 * result.same_top.mean)})
        row.push_back(cell);
    return row;
}

[[nodiscard]] std::vector<std::string> source_row(const mpo::TextReport& text) {
    const auto& perplexity = text.compressed().reference.perplexity;
    std::vector<std::string> row{name(text.text), "source"};
    for (auto& cell : cost_cells(text.source_cost)) row.push_back(std::move(cell));
    row.push_back(perplexity_cell(perplexity.mean));
    row.push_back(perplexity_cell(perplexity.standard_error));
    return row;
}

void explain_texts(const mpo::CompressReport& report) {
    const auto& shape = report.texts.front().compressed().model;
    std::cout << "divergence: Kullback-Leibler, of the source from the model, nats per token, in "
                 "windows of "
              << shape.window << " tokens, " << shape.stride
              << " apart;\nmadds, ms/B: multiply-adds and milliseconds per token of the layers, "
                 "in calls of B tokens;\n"
              << (report.calibration
                      ? "uniform low rank: its closed form in the metric of the inputs, one share "
                        "for all linears, no compensation,\nno more numbers than as compressed\n"
                      : "no linear of a form has more parameters than the same as compressed\n");
}

/// What the compression did to the language: every text under the source and under the forms, each with its cost.
void print_texts(const mpo::CompressReport& report) {
    if (report.texts.empty()) return;
    Table table(2);
    std::vector<std::string> head{"text", "model", "bytes", "madds"};
    for (const auto& one : report.texts.front().source_cost.batches)
        head.push_back(text("ms/%td", one.batch));
    for (const char* column : {"perplexity", "+-", "divergence", "+-", "99 %", "same choice"})
        head.emplace_back(column);
    table.add(std::move(head));
    for (const auto& one : report.texts) {
        table.add(source_row(one));
        for (const auto& form : one.forms)
            if (form.form == mpo::ComparedForm::compressed || !report.is_written_as(form.form))
                table.add(form_row(form));
    }
    table.print();
    explain_texts(report);
}

}  // namespace

void print_report(const mpo::CompressReport& report) {
    print_kinds(report);
    print_winners(report);
    print_texts(report);
    std::cout << "whole model: " << report.num_tensors << " tensors, "
              << readable_bytes(report.bytes_before) << " before, " << readable_bytes(report.bytes)
              << " after as " << mpo::to_string(report.dtype) << "; " << report.linears.size()
              << " linears in " << effort(report.seconds) << '\n';
    for (const auto& note : mpo::notes(report)) print_note(note);
}

}  // namespace command
