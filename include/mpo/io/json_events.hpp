// JSON as a stream of events, so that an untrusted header is judged before anything is built of it:
// duplicate keys, nesting and types are seen as they come. The parser is nlohmann's, which neither
// recurses nor accepts broken UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "mpo/core/error.hpp"

namespace mpo::detail {

using JsonScalar =
    std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string>;

/// "a string" for messages.
[[nodiscard]] inline const char* kind_of(const JsonScalar& value) {
    constexpr const char* kinds[] = {"null",       "a boolean",  "a negative number",
                                     "an integer", "a fraction", "a string"};
    return kinds[value.index()];
}

/// What a reader of one particular document hears. Each call may throw.
class JsonEvents {
  public:
    virtual ~JsonEvents() = default;
    virtual void scalar(JsonScalar value) = 0;
    virtual void begin_object() = 0;
    virtual void key(std::string name) = 0;
    virtual void end_object() = 0;
    virtual void begin_array() = 0;
    virtual void end_array() = 0;
};

/// Adapts JsonEvents to the interface the parser calls.
class JsonAdapter {
  public:
    JsonAdapter(JsonEvents& events, std::string_view source) : events_(events), source_(source) {}

    bool null() { return value(nullptr); }
    bool boolean(bool x) { return value(x); }
    bool number_integer(std::int64_t x) { return value(x); }
    bool number_unsigned(std::uint64_t x) { return value(x); }
    bool number_float(double x, const std::string&) { return value(x); }
    bool string(std::string& x) { return value(std::move(x)); }
    bool binary(nlohmann::json::binary_t&) { return false; }  // no JSON text contains one
    bool start_object(std::size_t) {
        deeper();
        events_.begin_object();
        return true;
    }
    bool key(std::string& name) {
        events_.key(std::move(name));
        return true;
    }
    bool end_object() {
        --depth_;
        events_.end_object();
        return true;
    }
    bool start_array(std::size_t) {
        deeper();
        events_.begin_array();
        return true;
    }
    bool end_array() {
        --depth_;
        events_.end_array();
        return true;
    }
    bool parse_error(std::size_t byte, const std::string&, const nlohmann::json::exception& error) {
        throw FormatError(
            concat(source_, ": the JSON breaks off at its byte ", byte, ": ", error.what()));
    }

  private:
    static constexpr int max_depth = 32;

    bool value(JsonScalar x) {
        events_.scalar(std::move(x));
        return true;
    }
    void deeper() {
        if (++depth_ > max_depth)
            throw FormatError(
                concat(source_, ": the JSON is nested more than ", max_depth, " levels deep"));
    }

    JsonEvents& events_;
    std::string_view source_;
    int depth_ = 0;
};

/// Plays `text` to `events`. Throws FormatError, with `source` in front, where it is not JSON.
inline void parse_json(std::string_view text, JsonEvents& events, std::string_view source) {
    JsonAdapter adapter(events, source);
    nlohmann::json::sax_parse(text.begin(), text.end(), &adapter);
}

/// The text in quotes, escaped. Throws ArgumentError where it is not UTF-8.
[[nodiscard]] inline std::string json_quote(const std::string& text) {
    try {
        return nlohmann::json(text).dump();
    } catch (const nlohmann::json::exception& error) {
        throw ArgumentError(concat("a name cannot be written as JSON: ", error.what()));
    }
}

}  // namespace mpo::detail
