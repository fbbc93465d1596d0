// The bodies of io/json_events.hpp that are no templates.
#pragma once

#include <cstddef>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/json_events.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE const char* kind_of(const JsonScalar& value) {
    constexpr const char* kinds[] = {"null",       "a boolean",  "a negative number",
                                     "an integer", "a fraction", "a string"};
    return kinds[value.index()];
}

/// Walks over a text and tells how far the parser has come.
class CountingIterator {
  public:
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = const char*;
    using reference = const char&;

    CountingIterator(const char* at, const char*& reached) : at_(at), reached_(&reached) {}
    [[nodiscard]] reference operator*() const { return *at_; }
    CountingIterator& operator++() {
        *reached_ = ++at_;
        return *this;
    }
    [[nodiscard]] bool operator==(const CountingIterator& other) const { return at_ == other.at_; }

  private:
    const char* at_;
    const char** reached_;
};

/// Adapts JsonEvents to the interface the parser calls.
class JsonAdapter {
  public:
    JsonAdapter(std::string_view text, JsonEvents& events, const JsonSource& source)
        : text_(text), reached_(text.data()), events_(events), source_(source) {}

    [[nodiscard]] CountingIterator begin() { return {text_.data(), reached_}; }
    [[nodiscard]] CountingIterator end() { return {text_.data() + text_.size(), reached_}; }

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
        events_.key(std::move(name), source_.first_byte + begin_of_string());
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
    bool parse_error(std::size_t count, const std::string&,
                     const nlohmann::json::exception& error) {
        raise<FormatError>({source_.path, ": the JSON breaks off at byte ",
                            source_.first_byte + static_cast<Index>(count) - 1, ": ",
                            printable(error.what(), 300)});
    }

  private:
    static constexpr int max_depth = 32;

    bool value(JsonScalar x) {
        events_.scalar(std::move(x));
        return true;
    }
    void deeper() {
        if (++depth_ > max_depth)
            raise<FormatError>({source_.path, ": the JSON is nested more than ", max_depth,
                                " levels deep at byte ",
                                source_.first_byte + (reached_ - text_.data()) - 1});
    }
    /// Position of the quote that opens the string that was just read.
    [[nodiscard]] Index begin_of_string() const {
        auto at = static_cast<std::size_t>(reached_ - text_.data()) - 1;  // the closing quote
        while (true) {
            at = text_.rfind('"', at - 1);
            std::size_t escapes = 0;
            while (text_[at - escapes - 1] == '\\') ++escapes;  // a '{' or ',' comes before
            if (escapes % 2 == 0) return static_cast<Index>(at);
        }
    }

    std::string_view text_;
    const char* reached_;
    JsonEvents& events_;
    const JsonSource& source_;
    int depth_ = 0;
};

/// Refuses what the parser would take: a NUL byte as the end of the text, a string of any length.
inline void require_plain_text(std::string_view text, const JsonSource& source) {
    constexpr std::size_t max_string_bytes = std::size_t{16} << 20;
    const auto fail = [&](std::size_t at, const auto&... what) {
        throw FormatError(concat(source.path, ": the JSON at byte ",
                                 source.first_byte + static_cast<Index>(at), ": ", what...));
    };
    if (const auto at = text.find('\0'); at != std::string_view::npos) fail(at, "a NUL byte");
    std::size_t begin = text.find('"');
    while (begin != std::string_view::npos) {
        std::size_t end = begin + 1;
        while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2u : 1u;
        if (end - begin > max_string_bytes)
            fail(begin, "a string of more than ", max_string_bytes, " bytes");
        begin = end < text.size() ? text.find('"', end + 1) : std::string_view::npos;
    }
}

MPO_DETAIL_MODEL_INLINE void parse_json(std::string_view text, JsonEvents& events,
                                        const JsonSource& source) {
    require_plain_text(text, source);
    JsonAdapter adapter(text, events, source);
    nlohmann::json::sax_parse(adapter.begin(), adapter.end(), &adapter);
}

MPO_DETAIL_MODEL_INLINE std::string json_quote(const std::string& text) {
    try {
        return nlohmann::json(text).dump();
    } catch (const nlohmann::json::exception& error) {
        raise<ArgumentError>({"a name cannot be written as JSON: ", error.what()});
    }
}

}  // namespace mpo::detail
