// What a compression did to the language, as a table of the page: every text under every form.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "mpo/core/error.hpp"
#include "mpo/model/compress_report.hpp"
#include "mpo/model/report_html.hpp"

namespace mpo::detail {

/// 14.41, 5213, 1.2e+12: at least four digits, each of them right.
[[nodiscard]] inline std::string perplexity_text(double value) {
    if (value < 1e6) return fixed_number(value, value < 100 ? 2 : 0);
    return short_number(value, 4);
}

/// A text, its tokens and what the source makes of it.
[[nodiscard]] inline std::string source_row(const TextReport& text, const std::string& at) {
    const auto& source = text.compressed.reference;
    return concat(
        "<tr><th scope=\"row\"><bdi class=\"name\">", html_escape(text.text), "</bdi></th>",
        cell("tokens scored",
             datum(source.scored, std::to_string(source.scored), at + "/dense/scored")),
        cell("form", "source", "left"),
        cell("perplexity", datum(source.perplexity.mean, perplexity_text(source.perplexity.mean),
                                 at + "/dense/perplexity")),
        "<td></td><td></td><td></td></tr>\n");
}

[[nodiscard]] inline std::string form_row(const Comparison& form, std::string_view name,
                                          const std::string& at) {
    const auto& perplexity = form.model.perplexity;
    return concat(
        "<tr><td></td><td></td>", cell("form", name, "left"),
        cell("perplexity",
             datum(perplexity.mean, perplexity_text(perplexity.mean), at + "/perplexity")),
        cell("divergence, mean", error_datum(form.kld.mean, at + "/kld_mean")),
        cell("divergence, 99 %", error_datum(form.kld_99, at + "/kld_p99")),
        cell("same first choice", error_datum(form.same_top.mean, at + "/top1_agreement")),
        "</tr>\n");
}

/// Nothing where no text was read.
[[nodiscard]] inline std::string text_section(const CompressReport& report) {
    if (report.texts.empty()) return {};
    const auto& shape = report.texts.front().compressed.model;
    std::string text = concat(
        "<section><h2>What it did to the language</h2>\n<p class=\"how\">Perplexity, and the "
        "Kullback-Leibler divergence from the source in nats per token, in windows of ",
        shape.window, " tokens, ", shape.stride,
        " apart; the other forms store no more parameters per linear.</p>\n<table "
        "class=\"cards\"><thead><tr><th>Text</th><th>Tokens<br>scored</th><th "
        "class=\"left\">Form</th><th>Perplexity</th><th>Divergence,<br>mean</th><th>Divergence,"
        "<br>99 %</th><th>Same first<br>choice</th></tr></thead><tbody>\n");
    for (std::size_t k = 0; k < report.texts.size(); ++k) {
        const auto& one = report.texts[k];
        const std::string at = concat("/texts/", k);
        text += source_row(one, at) + form_row(one.compressed, "as compressed", at + "/compressed");
        if (!report.is_all(LinearForm::mpo)) text += form_row(one.mpo, "all MPO", at + "/mpo");
        if (!report.is_all(LinearForm::low_rank))
            text += form_row(one.low_rank, "all low rank", at + "/low_rank");
    }
    return text + "</tbody></table></section>\n";
}

}  // namespace mpo::detail
