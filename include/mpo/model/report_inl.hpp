// The bodies of model/report.hpp that are no templates.
#pragma once

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "mpo/io/inline.hpp"
#include "mpo/model/compress_json.hpp"
#include "mpo/model/compress_notes.hpp"
#include "mpo/model/json_lines.hpp"
#include "mpo/model/report.hpp"
#include "mpo/model/report_calibration.hpp"
#include "mpo/model/report_charts.hpp"
#include "mpo/model/report_html.hpp"
#include "mpo/model/report_tables.hpp"
#include "mpo/model/report_texts.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE std::string model_name(const std::string& source) {
    auto path = std::filesystem::path(source);
    if (path.filename().empty() || path.filename() == ".") path = path.parent_path();
    const auto extension = path.extension();
    const bool file = extension == ".gguf" || extension == ".safetensors";
    const auto name = file ? path.stem().string() : path.filename().string();
    return name.empty() ? "model" : name;
}

MPO_DETAIL_MODEL_INLINE std::string sentence(std::string text) {
    if (!text.empty() && text[0] >= 'a' && text[0] <= 'z')
        text[0] = static_cast<char>(text[0] - 'a' + 'A');
    if (!text.ends_with('.')) text += '.';
    return text;
}

MPO_DETAIL_MODEL_INLINE std::string header(const CompressReport& report) {
    const auto size = report.size();
    const auto quantity = heat_quantity(report);
    double sum = 0, smallest = 1e300, largest = 0;
    for (const auto& linear : report.linears) {
        const double value = quantity.value(linear);
        sum += value;
        smallest = (std::min)(smallest, value);
        largest = (std::max)(largest, value);
    }
    const auto count = report.linears.size();
    std::string text = concat(
        "<header><p class=\"over\">mpo compress</p>\n<h1>", html_escape(model_name(report.source)),
        "</h1>\n<p class=\"lead\">", count, " linears keep ",
        share_text(size.parameters, size.parameters_before), " of their parameters, ",
        readable_count(size.parameters), " of ", readable_count(size.parameters_before), ". ");
    if (count > 0)
        text += concat(
            report.calibration ? "Their outputs lose " : "Their weights are off by ",
            error_text(sum / static_cast<double>(count)), " on average, ",
            report.calibration ? "" : "by ", error_text(smallest), " to ", error_text(largest),
            report.calibration ? " (squared, of what they are on the calibration texts). "
                               : " (relative error, Frobenius norm). ");
    text += concat("The whole model went from ", readable_bytes(report.bytes_before), " to ",
                   readable_bytes(report.bytes), ".</p></header>\n");
    const auto sentences = notes(report);
    text += "<aside class=\"notes\"><ul>\n";
    for (auto note = sentences.rbegin(); note != sentences.rend(); ++note)  // weightiest first
        text += "<li>" + html_escape(sentence(*note)) + "</li>\n";
    return text + "</ul></aside>\n";
}

[[nodiscard]] inline std::string chart_sections(const CompressReport& report) {
    const auto kinds = chart_kinds(report);
    return "<section><h2>Error against bond dimension</h2>\n<p class=\"how\">What would be lost of "
           "norm(W) by cutting a bond there, as far as the factorisation looked: one line per "
           "linear "
           "and bond, a dot where it was cut, the smallest and the largest named.</p>\n" +
           panels(kinds, error_axis(kinds), error_panel) +
           "</section>\n<section><h2>Spectra of the bonds</h2>\n<p class=\"how\">Singular values "
           "of "
           "each linear, the largest being 1; strong where kept, pale where dropped.</p>\n" +
           panels(kinds, spectrum_axis(kinds), spectrum_panel) + "</section>\n";
}

[[nodiscard]] inline std::string made_by_section(const CompressReport& report) {
    const auto& made = report.made_by;
    const auto entry = [](std::string_view term, const std::string& content) {
        return concat("<dt>", term, "</dt><dd>", content, "</dd>\n");
    };
    const auto code = [](const std::string& text) {
        return "<code>" + html_escape(text) + "</code>";
    };
    std::string text = "<section><h2>Made by</h2>\n<dl>\n";
    if (!made.command.empty()) text += entry("Command", code(made.command));
    text += entry("Source", code(report.source));
    text += entry("mpo", html_escape(made.version + ", compiled by " + made.compiler));
    text += entry("Stored type", html_escape(to_string(report.dtype)));
    text += entry("Seed, threads",
                  concat(datum(made.seed, std::to_string(made.seed), "/made_by/seed"), ", ",
                         datum(made.threads, std::to_string(made.threads), "/made_by/threads")));
    text +=
        entry("Time", datum(report.seconds, fixed_number(report.seconds, 1) + " s", "/seconds"));
    return text + "</dl></section>\n";
}

/// JSON as a block of data: no browser runs it, and no text in it can end it.
[[nodiscard]] inline std::string data_block(const nlohmann::ordered_json& json) {
    std::string text;
    for (const char c : json_line(json)) {
        if (c == '<')
            text += "\\u003c";
        else
            text += c;
    }
    return "<script type=\"application/json\" id=\"mpo-report\">" + text + "</script>\n";
}

MPO_DETAIL_MODEL_INLINE std::string page(const std::string& title, const std::string& content,
                                         std::string_view command,
                                         const nlohmann::ordered_json& json) {
    return concat(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
        "'unsafe-inline'\">\n<title>",
        html_escape(title), "</title>\n<style>", page_style, "</style></head>\n<body><main>\n",
        content, "<footer><p>The data of this page, as ", command,
        " writes them, are in its element <code>mpo-report</code>.</p></footer>\n</main>\n",
        data_block(json), "</body></html>\n");
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE std::string to_html(const CompressReport& report) {
    return detail::page(
        detail::model_name(report.source) + ", compressed by mpo",
        detail::concat(detail::header(report), detail::size_section(report),
                       detail::text_section(report), detail::kind_section(report),
                       report.calibration ? detail::calibration_sections(report)
                                          : detail::chart_sections(report),
                       "<div class=\"two\"><div>", detail::heat_section(report), "</div><div>",
                       detail::slowest_to_compress(report), detail::slowest_to_apply(report),
                       "</div></div>\n", detail::made_by_section(report)),
        "mpo compress --json", detail::describe(report));
}

}  // namespace mpo
