// The bodies of model/report_texts.hpp that are no templates.
#pragma once

#include <cstddef>

#include "mpo/core/error.hpp"
#include "mpo/core/plot.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/report_html.hpp"
#include "mpo/model/report_texts.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE std::string perplexity_text(double value) {
    if (value < 1e6) return fixed_number(value, value < 100 ? 2 : 0);
    return short_number(value, 4);
}

MPO_DETAIL_MODEL_INLINE std::string cost_cells(const ModelCost& cost, const std::string& at) {
    const auto ms = [&](std::size_t k) {
        return datum(cost.batches[k].ms_per_token, short_number(cost.batches[k].ms_per_token, 3),
                     concat(at, "/cost/batches/", k, "/ms_per_token"));
    };
    auto text = cell("bytes of the model", bytes_datum(cost.bytes, at + "/cost/bytes"));
    if (cost.batches.empty()) return text + "<td></td><td></td><td></td>";
    const auto last = cost.batches.size() - 1;
    return text +
           cell("multiply-adds per token",
                count_datum(cost.batches[0].multiply_adds, at + "/cost/batches/0/multiply_adds")) +
           cell("ms per token alone", ms(0)) + cell("ms per token, many", ms(last));
}

MPO_DETAIL_MODEL_INLINE std::string source_row(const TextReport& text, const std::string& at) {
    const auto& source = text.compressed().reference;
    return concat(
        "<tr><th scope=\"row\"><bdi class=\"name\">", html_escape(text.text), "</bdi></th>",
        cell("tokens scored",
             datum(source.scored, std::to_string(source.scored), at + "/dense/scored")),
        cell("form", "source", "left"), cost_cells(text.source_cost, at + "/dense"),
        cell("perplexity", datum(source.perplexity.mean, perplexity_text(source.perplexity.mean),
                                 at + "/dense/perplexity")),
        "<td></td><td></td><td></td></tr>\n");
}

MPO_DETAIL_MODEL_INLINE std::string form_row(const FormReport& form, const std::string& at) {
    const auto& result = form.result;
    const auto& perplexity = result.model.perplexity;
    return concat(
        "<tr><td></td><td></td>", cell("form", title_of(form.form), "left"),
        cost_cells(form.cost, at),
        cell("perplexity",
             datum(perplexity.mean, perplexity_text(perplexity.mean), at + "/perplexity")),
        cell("divergence, mean", error_datum(result.kld.mean, at + "/kld_mean")),
        cell("divergence, 99 %", error_datum(result.kld_99, at + "/kld_p99")),
        cell("same first choice", error_datum(result.same_top.mean, at + "/top1_agreement")),
        "</tr>\n");
}

/// "1 and 512": the batches that were timed.
[[nodiscard]] inline std::string timed_batches(const ModelCost& cost) {
    std::string text;
    for (const auto& one : cost.batches) text += concat(text.empty() ? "" : " and ", one.batch);
    return text;
}

MPO_DETAIL_MODEL_INLINE std::string text_section(const CompressReport& report) {
    if (report.texts.empty()) return {};
    const auto& first = report.texts.front();
    const auto& shape = first.compressed().model;
    std::string text = concat(
        "<section><h2>What it did to the language</h2>\n<p class=\"how\">Perplexity, and the "
        "Kullback-Leibler divergence from the source in nats per token, in windows of ",
        shape.window, " tokens, ", shape.stride,
        " apart. Multiply-adds and milliseconds are of the layers, per token, of calls of ",
        timed_batches(first.source_cost), " tokens; each row stands for itself. ",
        report.calibration
            ? "Uniform low rank: the closed form of every linear in the metric of its inputs, the "
              "same share for all, without compensation, of no more numbers than as compressed."
            : "The other forms store no more parameters per linear.",
        "</p>\n<table class=\"cards\"><thead><tr><th>Text</th><th>Tokens<br>scored</th><th "
        "class=\"left\">Form</th><th>Bytes</th><th>Multiply-<br>adds</th><th>ms, token<br>alone"
        "</th><th>ms, of<br>many</th><th>Perplexity</th><th>Divergence,<br>mean</th>"
        "<th>Divergence,<br>99 %</th><th>Same first<br>choice</th></tr></thead><tbody>\n");
    for (std::size_t k = 0; k < report.texts.size(); ++k) {
        const auto& one = report.texts[k];
        const std::string at = concat("/texts/", k);
        text += source_row(one, at);
        for (const auto& form : one.forms)
            if (form.form == ComparedForm::compressed || !report.is_written_as(form.form))
                text += form_row(form, at + "/" + to_string(form.form));
    }
    return text + "</tbody></table></section>\n";
}

}  // namespace mpo::detail
