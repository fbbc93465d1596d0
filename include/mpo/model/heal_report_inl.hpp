// The bodies of model/heal_report.hpp that are no templates.
#pragma once

#include <optional>

#include "mpo/core/plot.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/heal_charts.hpp"
#include "mpo/model/heal_json.hpp"
#include "mpo/model/heal_report.hpp"
#include "mpo/model/report_html.hpp"
#include "mpo/model/report_texts.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE LayerMeans::LayerMeans(const std::vector<BlockHealing>& layers) {
    for (const auto& layer : layers) {
        before += layer.before().held_out / static_cast<double>(layers.size());
        after += layer.after().held_out / static_cast<double>(layers.size());
    }
}

MPO_DETAIL_MODEL_INLINE std::size_t kept_look(const Distillation& run) {
    std::size_t k = 0;
    while (k + 1 < run.curve.size() && run.curve[k].step != run.best_step) ++k;
    return k;
}

[[nodiscard]] inline std::string heal_header(const HealResults& results) {
    const auto& report = results.report;
    std::string text = concat("<header><p class=\"over\">mpo heal</p>\n<h1>",
                              html_escape(model_name(results.student)),
                              "</h1>\n<p class=\"lead\">Trained towards ",
                              html_escape(model_name(results.teacher)), ". ");
    if (!report.blocks.empty()) {
        const LayerMeans means(report.blocks);
        text += concat("Layer by layer the loss of the outputs fell from ",
                       error_text(means.before), " to ", error_text(means.after), ", the mean of ",
                       report.blocks.size(), " layers on held-out windows. ");
    }
    if (report.distillation) {
        const auto& curve = report.distillation->curve;
        text += concat("Distillation brought the divergence of the next token from ",
                       error_text(curve.front().divergence), " to ",
                       error_text(curve[kept_look(*report.distillation)].divergence),
                       " nats, held out too. ");
    }
    return text + "</p></header>\n";
}

[[nodiscard]] inline std::string healed_form_row(const HealedFormResult& form,
                                                 const std::string& at) {
    const auto& [model, reference, kld, median, p99, max, same, ratio] = form.result;
    return concat(
        "<tr><td></td>", cell("model", title_of(form.form), "left"),
        cell("perplexity", datum(model.perplexity.mean, perplexity_text(model.perplexity.mean),
                                 at + "/perplexity")),
        cell("divergence, mean",
             concat(error_datum(kld.mean, at + "/kld_mean"), " \u00b1 ",
                    datum(kld.standard_error, short_number(kld.standard_error, 2),
                          at + "/kld_error"))),
        cell("divergence, 99 %", error_datum(p99, at + "/kld_p99")),
        cell("same first choice", error_datum(same.mean, at + "/top1_agreement")), "</tr>\n");
}

/// Nothing where no text was read.
[[nodiscard]] inline std::string healed_texts(const HealResults& results) {
    if (results.evaluation.empty()) return {};
    constexpr std::string_view names[] = {"before", "blocks", "distillation"};
    const auto& shape = results.evaluation.front().forms.front().result.model;
    std::string text = concat(
        "<section><h2>What it did to the language</h2>\n<p class=\"how\">Texts that were not "
        "trained on: perplexity, and the Kullback-Leibler divergence from the teacher in nats per "
        "token with its standard error, in windows of ",
        shape.window,
        " tokens.</p>\n<table class=\"cards\"><thead><tr><th>Text</th><th "
        "class=\"left\">Model</th><th>Perplexity</th><th>Divergence,<br>mean</th>"
        "<th>Divergence,<br>99 %</th><th>Same first<br>choice</th></tr></thead>"
        "<tbody>\n");
    for (std::size_t k = 0; k < results.evaluation.size(); ++k) {
        const auto& one = results.evaluation[k];
        const auto& teacher = one.forms.front().result.reference.perplexity;
        const std::string at = concat("/evaluation/", k, "/");
        text += concat("<tr><th scope=\"row\"><bdi class=\"name\">", html_escape(one.text),
                       "</bdi></th>", cell("model", "teacher", "left"),
                       cell("perplexity", datum(teacher.mean, perplexity_text(teacher.mean),
                                                at + "teacher/perplexity")),
                       "<td></td><td></td><td></td></tr>\n");
        for (const auto& form : one.forms)
            text += healed_form_row(form, concat(at, names[static_cast<int>(form.form)]));
    }
    return text + "</tbody></table></section>\n";
}

/// The steps after which a layer fell back, one behind the other.
[[nodiscard]] inline std::string fell_back_text(const BlockHealing& layer, std::size_t k) {
    std::string text;
    for (std::size_t j = 0; j < layer.fell_back.size(); ++j)
        text +=
            concat(j > 0 ? ", " : "", datum(layer.fell_back[j], std::to_string(layer.fell_back[j]),
                                            concat("/layers/", k, "/fell_back/", j)));
    return text.empty() ? "-" : text;
}

/// The look that a course kept.
[[nodiscard]] inline std::size_t kept_look(const HealCourse& course) {
    std::size_t k = 0;
    while (k + 1 < course.curve.size() && course.curve[k].step != course.best_step) ++k;
    return k;
}

/// The form of a layer that was kept, and what became of the other one.
[[nodiscard]] inline std::string choice_cells(const BlockHealing& layer, std::size_t k, bool sinks,
                                              bool judged) {
    if (!layer.other)
        return concat(cell("form", "both", "left"), judged ? "<td></td><td></td><td></td>" : "",
                      "<td></td><td></td>", sinks ? "<td></td>" : "");
    const auto& course = *layer.other;
    const std::size_t kept = kept_look(course);
    const auto look = [&](std::string_view label, std::size_t p, const char* member, double value) {
        return cell(label,
                    error_datum(value, concat("/layers/", k, "/other/curve/", p, '/', member)));
    };
    const auto &before = course.before(), &after = course.after();
    const auto divergence = [&](std::string_view label, const std::optional<double>& value,
                                const char* at) {
        return cell(label, value ? error_datum(*value, concat("/layers/", k, at)) : std::string());
    };
    std::string text = concat(
        cell("form", layer.form == LayerForm::rival ? "rival" : "student", "left"),
        judged
            ? divergence("divergence", layer.divergence, "/divergence") +
                  divergence("other form, divergence", course.divergence, "/other/divergence") +
                  divergence("error of the difference", layer.divergence_error, "/divergence_error")
            : std::string(),
        look("other form, before", 0, "held_out", before.held_out),
        look("other form, after", kept, "held_out", after.held_out));
    if (sinks) text += look("other form, sinks", kept, "sinks", after.sinks);
    return text;
}

[[nodiscard]] inline std::string layer_row(const BlockHealing& layer, std::size_t k, bool sinks,
                                           bool chosen, bool judged) {
    const std::size_t kept = kept_look(layer);
    const auto point = [&](std::size_t p, const char* member) {
        return concat("/layers/", k, "/curve/", p, '/', member);
    };
    const auto &before = layer.before(), &after = layer.after();
    std::string text =
        concat("<tr><th scope=\"row\">layer ", layer.layer, "</th>",
               cell("held out, before", error_datum(before.held_out, point(0, "held_out"))),
               cell("after", error_datum(after.held_out, point(kept, "held_out"))),
               cell("of before",
                    before.held_out > 0 ? fixed_number(after.held_out / before.held_out, 2) : "-"));
    if (sinks)
        text += cell("sinks, before", error_datum(before.sinks, point(0, "sinks"))) +
                cell("sinks, after", error_datum(after.sinks, point(kept, "sinks")));
    if (chosen) text += choice_cells(layer, k, sinks, judged);
    return text +
           cell("kept step", datum(layer.best_step, std::to_string(layer.best_step),
                                   concat("/layers/", k, "/best_step"))) +
           cell("fell back at", fell_back_text(layer, k)) +
           cell("s per step", datum(layer.seconds_per_step, short_number(layer.seconds_per_step, 3),
                                    concat("/layers/", k, "/seconds_per_step"))) +
           "</tr>\n";
}

/// What the choice was between, and how it was made.
[[nodiscard]] inline std::string choice_text(const HealResults& results) {
    const auto& options = results.options;
    if (options.rival.empty()) return {};
    return concat(
        " Every layer was healed in two forms, the rival being that of ",
        html_escape(model_name(options.rival.string())), "; of both at their best ",
        options.blocks->trial_steps > 0 ? concat("within ", options.blocks->trial_steps, " steps ")
                                        : std::string(),
        options.blocks->choose_by == HealChoice::loss
            ? concat("the one with the lower loss was kept, the sinks\u2019 error weighing ",
                     short_number(options.blocks->sink_weight, 3), " times.")
            : std::string(
                  "the one was kept with which the held-out windows, going on through the "
                  "teacher\u2019s layers, diverge less from the teacher, in nats per token; "
                  "the error of the difference is a standard error over windows."),
        " Layers that are the same in both were healed once.");
}

[[nodiscard]] inline std::string block_section(const HealResults& results) {
    const auto& layers = results.report.blocks;
    if (layers.empty()) return {};
    const bool sinks = has_sinks(layers), chosen = !results.options.rival.empty(),
               judged = chosen && results.options.blocks->choose_by == HealChoice::divergence;
    std::string text = concat(
        "<section><h2>Layer after layer</h2>\n<p class=\"how\">Loss: squared error of a "
        "layer\u2019s outputs, along a line beyond the median length of a state, of the squares of "
        "what the dense layer adds; inputs are those that the healed layers before it give. The "
        "best look at the held-out windows was kept; a layer that was worse than before healing "
        "fell back, and went on with a quarter of the rate.",
        sinks ? " Sinks: squared error of their states, of these." : "", choice_text(results),
        "</p>\n", block_charts(layers),
        "<table class=\"cards\"><thead><tr><th></th><th>Held out,<br>before</th><th>after</th>"
        "<th>of before</th>",
        sinks ? "<th>Sinks,<br>before</th><th>after</th>" : "",
        chosen ? "<th class=\"left\">Form</th>" : "",
        judged
            ? "<th>Diver-<br>gence</th><th>of the<br>other</th><th>error of the<br>difference</th>"
            : "",
        chosen ? "<th>Other form,<br>before</th><th>after</th>" : "",
        chosen && sinks ? "<th>sinks,<br>after</th>" : "",
        "<th>Kept<br>step</th><th>Fell back<br>at</th><th>s "
        "per<br>step</th></tr></thead><tbody>\n");
    for (std::size_t k = 0; k < layers.size(); ++k)
        text += layer_row(layers[k], k, sinks, chosen, judged);
    return text + "</tbody></table></section>\n";
}

[[nodiscard]] inline std::string distillation_section(const HealResults& results) {
    const auto& run = results.report.distillation;
    if (!run) return {};
    const double alpha = results.options.distillation->alpha;
    const auto kept = kept_look(*run);
    const auto pair = [&](double before, double after, const char* member) {
        return concat(error_datum(before, concat("/curve/0/", member)), " \u2192 ",
                      error_datum(after, concat("/curve/", kept, '/', member)));
    };
    const auto &first = run->curve.front(), &last = run->curve[kept];
    return concat("<section><h2>Distillation</h2>\n<p class=\"how\">Loss: ", short_number(alpha, 3),
                  " times the divergence of the next token from the teacher\u2019s, the rest its "
                  "cross-entropy with the text, nats per token. Held out: divergence ",
                  pair(first.divergence, last.divergence, "divergence"), ", cross-entropy ",
                  pair(first.cross_entropy, last.cross_entropy, "cross_entropy"),
                  ", same first choice ", pair(first.agreement, last.agreement, "agreement"),
                  ".</p>\n", distillation_charts(*run, alpha), "</section>\n");
}

[[nodiscard]] inline std::string training_section(const HealResults& results) {
    std::string text =
        "<section><h2>Training</h2>\n<p class=\"how\">A step of the block stage is one of a single "
        "layer. Peak memory: of the process until the stage\u2019s last look.</p>\n<table "
        "class=\"cards\"><thead><tr><th>Stage</th><th>Parameters</th><th>Steps</"
        "th><th>Tokens<br>per "
        "step</th><th>Tokens<br>seen</th><th>s per<br>step</th><th>Tokens<br>per s</th><th>Peak<br>"
        "memory</th></tr></thead><tbody>\n";
    for (const auto& cost : results.costs) {
        const bool blocks = cost.stage == HealStage::blocks;
        const std::string at = blocks ? "/blocks/" : "/distillation/";
        text += concat(
            "<tr><th scope=\"row\">", blocks ? "layers" : "distillation", "</th>",
            cell("parameters", count_datum(cost.parameters, at + "parameters")),
            cell("steps", datum(cost.steps, std::to_string(cost.steps), at + "steps")),
            cell("tokens per step",
                 datum(cost.tokens_per_step, std::to_string(cost.tokens_per_step),
                       at + "tokens_per_step")),
            cell("tokens seen", count_datum(cost.tokens_seen(), at + "tokens_seen")),
            cell("s per step", datum(cost.seconds_per_step, short_number(cost.seconds_per_step, 3),
                                     at + "seconds_per_step")),
            cell("tokens per s", readable_count(static_cast<Index>(cost.tokens_per_second()))),
            cell("peak memory",
                 cost.peak_bytes > 0 ? bytes_datum(cost.peak_bytes, at + "peak_bytes") : "-"),
            "</tr>\n");
    }
    return text + "</tbody></table></section>\n";
}

[[nodiscard]] inline std::string heal_made_by(const HealResults& results) {
    const auto entry = [](std::string_view term, const std::string& content) {
        return concat("<dt>", term, "</dt><dd>", content, "</dd>\n");
    };
    const auto code = [](const std::string& text) {
        return "<code>" + html_escape(text) + "</code>";
    };
    const auto& made = results.made_by;
    const auto& report = results.report;
    std::string text = "<section><h2>Made by</h2>\n<dl>\n";
    if (!made.command.empty()) text += entry("Command", code(made.command));
    text += entry("Model", code(results.student));
    text += entry("Teacher", code(results.teacher));
    if (!results.options.rival.empty())
        text += entry("Rival", code(results.options.rival.string()));
    for (const auto& file : results.texts) text += entry("Text", code(file));
    text += entry(
        "Windows",
        concat(datum(report.windows, std::to_string(report.windows), "/windows"), " trained on, ",
               datum(report.held_out, std::to_string(report.held_out), "/held_out"),
               " held out, of ",
               datum(report.tokens_per_window, std::to_string(report.tokens_per_window),
                     "/tokens_per_window"),
               " tokens each"));
    text += entry("mpo", html_escape(made.version + ", compiled by " + made.compiler));
    text += entry("Seed, threads",
                  concat(datum(made.seed, std::to_string(made.seed), "/made_by/seed"), ", ",
                         datum(made.threads, std::to_string(made.threads), "/made_by/threads")));
    text +=
        entry("Time", datum(report.seconds, fixed_number(report.seconds, 1) + " s", "/seconds"));
    return text + "</dl></section>\n";
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE std::string to_html(const HealResults& results) {
    return detail::page(
        detail::model_name(results.student) + ", healed by mpo",
        detail::concat(detail::heal_header(results), detail::healed_texts(results),
                       detail::block_section(results), detail::distillation_section(results),
                       detail::training_section(results), detail::heal_made_by(results)),
        "mpo heal --json", describe(results));
}

}  // namespace mpo
