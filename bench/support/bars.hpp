// Bars: numbers that the library promises, each with its limit and a verdict. Declared before
// anything runs, so that one whose measurement failed stays visible.
#pragma once

#include <cmath>
#include <cstdio>
#include <deque>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "mpo/core/error.hpp"
#include "support/pairs.hpp"

namespace mpo::bench {

enum class Comparison { at_least, at_most };

struct Bar {
    std::string name;
    std::string unit = "x";
    Comparison comparison = Comparison::at_least;
    double limit = 0;
    std::string what = {};  // what is divided by what
    Interval value = {NAN, NAN, NAN};
    std::string note = "not run";  // of this run: why there is no value, what disturbed it

    void measured(const Interval& result, std::string remark = {}) {
        value = result;
        note = std::move(remark);
    }
};

/// All bars of this program, in the order of their declaration; references stay valid.
[[nodiscard]] inline std::deque<Bar>& all_bars() {
    static std::deque<Bar> bars;
    return bars;
}

inline Bar& declare_bar(Bar bar) {
    return all_bars().emplace_back(std::move(bar));
}

/// Of the median; a bar that was not measured passes nothing.
[[nodiscard]] inline std::string_view verdict(const Bar& bar) {
    if (std::isnan(bar.value.median)) return "NOT MEASURED";
    const bool holds = bar.comparison == Comparison::at_least ? bar.value.median >= bar.limit
                                                              : bar.value.median <= bar.limit;
    return holds ? "PASS" : "FAIL";
}

[[nodiscard]] inline std::string json_string(std::string_view text) {
    std::string quoted = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') quoted += '\\';
        quoted += c == '\n' ? ' ' : c;
    }
    return quoted + '"';
}

[[nodiscard]] inline std::string json_number(double x) {
    if (!std::isfinite(x)) return "null";
    char text[32];
    std::snprintf(text, sizeof text, "%.9g", x);
    return text;
}

/// An array, one object a bar.
[[nodiscard]] inline std::string bars_as_json(const std::deque<Bar>& bars) {
    std::string text = "[";
    for (const Bar& bar : bars) {
        text += text.size() > 1 ? ",\n " : "\n ";
        text += detail::concat(
            "{\"name\": ", json_string(bar.name), ", \"median\": ", json_number(bar.value.median),
            ", \"low\": ", json_number(bar.value.low), ", \"high\": ", json_number(bar.value.high),
            ", \"unit\": ", json_string(bar.unit), ", \"comparison\": \"",
            bar.comparison == Comparison::at_least ? ">=" : "<=", "\", \"limit\": ",
            json_number(bar.limit), ", \"verdict\": \"", verdict(bar),
            "\", \"what\": ", json_string(bar.what), ", \"note\": ", json_string(bar.note), "}");
    }
    return text + "\n]\n";
}

/// One line of the table: verdict, bar, median [interval], limit, what was compared.
[[nodiscard]] inline std::string bar_line(const Bar& bar) {
    char value[64] = "-", line[256];
    if (!std::isnan(bar.value.median))
        std::snprintf(value, sizeof value, "%.5g [%.5g, %.5g]", bar.value.median, bar.value.low,
                      bar.value.high);
    std::snprintf(line, sizeof line, "%-12s  %-42s  %-29s  %s %-5g %-3s  ",
                  std::string(verdict(bar)).c_str(), bar.name.c_str(), value,
                  bar.comparison == Comparison::at_least ? ">=" : "<=", bar.limit,
                  bar.unit.c_str());
    return line + bar.what + (bar.note.empty() ? "" : " (" + bar.note + ")");
}

/// `path` with the bars as JSON, and beside it path + ".txt" with the lines of the table.
inline void write_bars(const std::string& path) {
    std::ofstream json(path), lines(path + ".txt");
    json << bars_as_json(all_bars());
    for (const Bar& bar : all_bars()) lines << bar_line(bar) << '\n';
    if (!json.flush() || !lines.flush()) throw Error(detail::concat("bars: cannot write ", path));
}

}  // namespace mpo::bench
