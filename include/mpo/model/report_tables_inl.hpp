// The bodies of model/report_tables.hpp that are no templates.
#pragma once

#include <utility>
#include <vector>

#include "mpo/io/inline.hpp"
#include "mpo/model/compress_notes.hpp"
#include "mpo/model/report_tables.hpp"

namespace mpo::detail {

/// One quantity before and after, and where the JSON has it.
struct SizeRow {
    std::string_view title, before_pointer, after_pointer;
    Index before = 0, after = 0;
    bool in_bytes = false;
    std::string before_note, after_note;  // "as Q4_1"
};

/// Two bars on a scale of their own, numbers at their ends.
[[nodiscard]] inline std::string size_bars(const SizeRow& row) {
    const auto largest = static_cast<double>((std::max)({row.before, row.after, Index{1}}));
    const auto bar = [&](Index value, std::string_view pointer, const std::string& style,
                         const std::string& rest) {
        const double share = 100 * static_cast<double>(value) / largest;
        return concat("<div class=\"bar", style, "\"><i style=\"--w:", fixed_number(share, 1),
                      "%\"></i><span>",
                      row.in_bytes ? bytes_datum(value, pointer) : count_datum(value, pointer),
                      " <span class=\"rest\">", html_escape(rest), "</span></span></div>");
    };
    return concat("<p>", row.title, "</p><div class=\"bars\">",
                  bar(row.before, row.before_pointer, " before", row.before_note),
                  bar(row.after, row.after_pointer, "",
                      "\u00d7 " + share_text(row.after, row.before) + row.after_note),
                  "</div>\n");
}

MPO_DETAIL_MODEL_INLINE std::string size_section(const CompressReport& report) {
    const auto size = report.size();
    const auto stored = ", as " + to_string(report.dtype);
    const auto source = "as " + frequent_source_type(report);
    const SizeRow linears[] = {
        {"Parameters", "/parameters_before", "/parameters", size.parameters_before, size.parameters,
         false, "before", ""},
        {"Bytes", "/bytes_before", "/bytes", size.bytes_before, size.bytes, true, source, stored},
        {"Multiply-adds per token", "/multiply_adds_before", "/multiply_adds",
         size.multiply_adds_before, size.multiply_adds, false, "before", ""}};
    const SizeRow model[] = {{"Parameters", "/model_parameters_before", "/model_parameters",
                              report.parameters_before, report.parameters, false, "before", ""},
                             {"Bytes", "/model_bytes_before", "/model_bytes", report.bytes_before,
                              report.bytes, true, "before", stored}};
    std::string text = concat("<section><h2>Size</h2>\n<div class=\"size\">\n<h3>The ",
                              report.linears.size(), " linears</h3>\n");
    for (const auto& row : linears) text += size_bars(row);
    text += concat("<h3>The whole model, ", report.num_tensors, " tensors</h3>\n");
    for (const auto& row : model) text += size_bars(row);
    return text + "</div></section>\n";
}

/// Every error of a kind as a tick on a line from 0 to 1.
[[nodiscard]] inline std::string error_strip(const CompressReport& report, LinearKind kind) {
    constexpr double width = 110, height = 18;
    Svg svg(width, height, "Errors of the linears of kind " + to_string(kind) + ", from 0 to 1");
    svg.line({0, height - 1}, {width, height - 1}, {.opacity = 0.25});
    for (const auto& linear : report.linears)
        if (linear.kind == kind && linear.form != LinearForm::dense) {
            const double x =
                1 + std::round(10 * (width - 2) * (std::min)(1.0, linear.relative_error)) / 10;
            svg.line({x, 3}, {x, height - 1}, {.stroke = form_colour(linear.form), .opacity = 0.6});
        }
    return svg.to_string();
}

[[nodiscard]] inline std::string kind_form(const KindReport& kind) {
    const auto& typical = kind.typical;
    if (typical.form == LinearForm::dense) return "left dense";
    const bool low_rank = typical.form == LinearForm::low_rank;
    std::string text =
        concat("<span class=\"", low_rank ? "low\">low rank" : "chain\">MPO", "</span> ",
               to_string(typical.layout), ", <span class=\"keep\">bonds ",
               joined(typical.bonds, " "), "</span>");
    if (kind.typical_count < kind.count)
        text += concat(" <span class=\"soft keep\">(", kind.typical_count, " of ", kind.count,
                       ")</span>");
    return text;
}

MPO_DETAIL_MODEL_INLINE std::string size_cells(const SizeChange& size, const std::string& at) {
    return cell("parameters", change(count_datum(size.parameters_before, at + "parameters_before"),
                                     count_datum(size.parameters, at + "parameters"))) +
           cell("bytes", change(bytes_datum(size.bytes_before, at + "bytes_before"),
                                bytes_datum(size.bytes, at + "bytes"))) +
           cell("multiply-adds, of dense",
                share_text(size.multiply_adds, size.multiply_adds_before));
}

[[nodiscard]] inline std::string kind_row(const CompressReport& report, const KindReport& kind,
                                          std::size_t k) {
    const std::string at = concat("/kinds/", k, "/");
    return concat(
        "<tr><th scope=\"row\">", to_string(kind.kind), "</th>",
        cell("linears", concat("<span class=\"keep\">",
                               datum(kind.count, std::to_string(kind.count), at + "count"), " of ",
                               joined(kind.typical.shape, " \u00d7 "), "</span>")),
        cell("form", kind_form(kind), "left"), size_cells(kind.size, at),
        cell("each linear's error, 0 to 1", error_strip(report, kind.kind), "strip"),
        cell("mean error", error_datum(kind.mean_relative_error, at + "mean_relative_error")),
        cell("largest error", error_datum(kind.max_relative_error, at + "max_relative_error")),
        report.calibration  // no other weights were made: losses have a table of their own
            ? std::string()
            : cell("low rank's mean",
                   error_datum(kind.mean_low_rank_error, at + "mean_low_rank_error")),
        "</tr>\n");
}

MPO_DETAIL_MODEL_INLINE std::string kind_section(const CompressReport& report) {
    const bool beside_low_rank = !report.calibration;
    std::string text = concat(
        "<section><h2>By kind of linear</h2>\n<p class=\"how\">Error: norm(W \u2212 W\u2032) / "
        "norm(W), Frobenius, measured with the cores as stored.",
        beside_low_rank ? " Low rank\u2019s mean: the same for plain low rank of the same size."
                        : "",
        "</p>\n<table class=\"cards\"><thead><tr><th>Kind</th><th>Linears,<br>out \u00d7 in</th>"
        "<th class=\"left\">Most frequent form,<br>legs out : in</th><th>Parameters</th>"
        "<th>Bytes</th><th>Multiply-adds,<br>of dense</th><th>Each error,<br>0 to 1</th><th>Mean"
        "<br>error</th><th>Largest<br>error</th>",
        beside_low_rank ? "<th>Low rank\u2019s<br>mean</th>" : "", "</tr></thead><tbody>\n");
    const auto kinds = report.kinds();
    for (std::size_t k = 0; k < kinds.size(); ++k) text += kind_row(report, kinds[k], k);
    return concat(text, "</tbody><tfoot><tr><th scope=\"row\">all</th>",
                  cell("linears", std::to_string(report.linears.size())), "<td></td>",
                  size_cells(report.size(), "/"), "<td></td><td></td><td></td>",
                  beside_low_rank ? "<td></td>" : "", "</tr></tfoot></table></section>\n");
}

MPO_DETAIL_MODEL_INLINE HeatScale::HeatScale(double smallest, double largest) {
    const double raw = (std::max)((largest - smallest) / steps, 1e-6);
    double power = std::pow(10.0, std::floor(std::log10(raw)));
    for (;; power *= 10)
        for (const double factor : {1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0}) {
            step = factor * power;
            begin = step * std::floor(smallest / step + 1e-9);
            if (largest > begin + steps * step) continue;
            while (decimals < 8 &&
                   std::abs(std::remainder(step * std::pow(10.0, decimals), 1)) > 1e-6)
                ++decimals;
            return;
        }
}

MPO_DETAIL_MODEL_INLINE std::string HeatQuantity::shown(double number) const {
    if (is_square) return short_number(number, 2);
    return number >= 0.01 ? fixed_number(number, 2) : short_number(number, 1);
}

MPO_DETAIL_MODEL_INLINE HeatQuantity heat_quantity(const CompressReport& report) {
    if (report.calibration)
        return {"Loss by block and kind",
                "What the outputs of every linear lose on the calibration texts, of what they are",
                "calibration/loss",
                [](const LinearReport& linear) {
                    return linear.calibration ? linear.calibration->loss : 0;
                },
                true};
    return {"Error by block and kind", "Relative error of every linear", "relative_error",
            [](const LinearReport& linear) { return linear.relative_error; }};
}

[[nodiscard]] inline std::string heat_row(const CompressReport& report,
                                          const HeatQuantity& quantity, const BlockPlace& place,
                                          const std::map<LinearKind, std::size_t>& row,
                                          const std::vector<LinearKind>& columns,
                                          const HeatScale& scale, bool one_prefix) {
    std::string text = "<tr><th scope=\"row\">";
    text += html_escape(one_prefix && place.number >= 0 ? std::to_string(place.number)
                        : place.number >= 0 ? place.prefix + std::to_string(place.number)
                                            : place.prefix);
    text += "</th>";
    for (const auto kind : columns) {
        const auto found = row.find(kind);
        if (found == row.end()) {
            text += "<td></td>";
            continue;
        }
        const auto& linear = report.linears[found->second];
        if (linear.form == LinearForm::dense) {
            text += "<td class=\"soft\">dense</td>";
            continue;
        }
        const double value = quantity.value(linear);
        text += concat("<td class=\"h", scale.class_of(quantity.on_scale(linear)), "\" title=\"",
                       html_escape(linear.name), ": ", short_number(value, 4), "\">",
                       datum(value, quantity.shown(value),
                             concat("/linears/", found->second, "/", quantity.member)),
                       "</td>");
    }
    return text + "</tr>\n";
}

MPO_DETAIL_MODEL_INLINE std::string heat_section(const CompressReport& report) {
    const auto quantity = heat_quantity(report);
    HeatRows rows;
    std::vector<LinearKind> columns;
    double smallest = 1e300, largest = 0;
    for (const auto& kind : report.kinds()) columns.push_back(kind.kind);
    for (std::size_t k = 0; k < report.linears.size(); ++k) {
        const auto& linear = report.linears[k];
        rows[block_of(linear)][linear.kind] = k;
        if (linear.form == LinearForm::dense) continue;
        smallest = (std::min)(smallest, quantity.on_scale(linear));
        largest = (std::max)(largest, quantity.on_scale(linear));
    }
    const HeatScale scale((std::min)(smallest, largest), largest);
    const bool one_prefix =
        !rows.empty() && rows.begin()->first.prefix == rows.rbegin()->first.prefix;
    std::string text = concat(
        "<section><h2>", quantity.title, "</h2>\n<p class=\"how\">", quantity.what,
        "; rows are the decoder\u2019s blocks, from the input down to the output. Below each "
        "colour "
        "stands where it begins.</p>\n",
        quantity.is_square ? scale.legend([](double root) { return short_number(root * root, 2); })
                           : scale.legend(),
        "<table class=\"heat\"><thead><tr><th scope=\"col\">block</th>");
    for (const auto kind : columns) text += "<th scope=\"col\">" + to_string(kind) + "</th>";
    text += "</tr></thead><tbody>\n";
    for (const auto& [place, row] : rows)
        text += heat_row(report, quantity, place, row, columns, scale, one_prefix);
    return text + "</tbody></table></section>\n";
}

/// Indices of at most ten linears, the largest value first.
template <class Value>
[[nodiscard]] std::vector<std::size_t> ten_largest(const CompressReport& report, Value&& value) {
    std::vector<std::size_t> order(report.linears.size());
    for (std::size_t k = 0; k < order.size(); ++k) order[k] = k;
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return value(report.linears[a]) > value(report.linears[b]);
    });
    order.resize((std::min)(order.size(), std::size_t{10}));
    return order;
}

MPO_DETAIL_MODEL_INLINE std::string rank_bar(double share) {
    return concat("<span class=\"bar\"><i style=\"--w:",
                  fixed_number(100 * std::clamp(share, 0.0, 1.0), 0), "%\"></i></span>");
}

MPO_DETAIL_MODEL_INLINE std::string slowest_to_compress(const CompressReport& report) {
    const auto seconds = [](const LinearReport& linear) { return linear.seconds; };
    const auto order = ten_largest(report, seconds);
    double all = 0;
    for (const auto& linear : report.linears) all += linear.seconds;
    std::string text = concat(
        "<section><h2>Slowest to compress</h2>\n<p class=\"how\">Seconds to read, factor and "
        "measure, on one of ",
        report.made_by.threads, " threads; all linears together ", fixed_number(all, 1),
        " s.</p>\n<table class=\"rank\"><tbody>\n");
    for (const auto k : order) {
        const auto& linear = report.linears[k];
        text += concat("<tr>", cell("linear", linear_name(linear)),
                       cell("", rank_bar(linear.seconds / report.linears[order[0]].seconds)),
                       cell("seconds", datum(linear.seconds, fixed_number(linear.seconds, 2) + " s",
                                             concat("/linears/", k, "/seconds"))),
                       "</tr>\n");
    }
    return text + "</tbody></table></section>\n";
}

MPO_DETAIL_MODEL_INLINE std::string slowest_to_apply(const CompressReport& report) {
    const auto ratio = [](const LinearReport& linear) {
        return static_cast<double>(linear.size.multiply_adds) /
               static_cast<double>((std::max)(linear.size.multiply_adds_before, Index{1}));
    };
    const auto order = ten_largest(report, ratio);
    std::string text =
        "<section><h2>Slowest to apply</h2>\n<p class=\"how\">Multiply-adds per token, and how "
        "many "
        "times those of the dense weight they are.</p>\n<table class=\"rank\"><tbody>\n";
    for (const auto k : order) {
        const auto& linear = report.linears[k];
        const auto& size = linear.size;
        text += concat(
            "<tr>", cell("linear", linear_name(linear)),
            cell("", rank_bar(ratio(linear) / ratio(report.linears[order[0]]))),
            cell("multiply-adds per token",
                 count_datum(size.multiply_adds, concat("/linears/", k, "/multiply_adds"))),
            cell("of dense", "\u00d7 " + share_text(size.multiply_adds, size.multiply_adds_before)),
            "</tr>\n");
    }
    return text + "</tbody></table></section>\n";
}

}  // namespace mpo::detail
