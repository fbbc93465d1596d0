// JSON as a stream of events, so that an untrusted header is judged before anything is built of it:
// duplicate keys, nesting and types are seen as they come. The parser is nlohmann's, which neither
// recurses nor accepts broken UTF-8. Limits of ours: nested 32 deep, strings of 16 MiB.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <variant>

#include "mpo/core/tensor.hpp"

namespace mpo::detail {

using JsonScalar =
    std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string>;

/// "a string" for messages.
[[nodiscard]] const char* kind_of(const JsonScalar& value);

/// What a reader of one particular document hears. Each call may throw.
class JsonEvents {
  public:
    virtual ~JsonEvents() = default;
    virtual void scalar(JsonScalar value) = 0;
    virtual void begin_object() = 0;
    virtual void key(std::string name, Index byte) = 0;  // byte: of the quote before it
    virtual void end_object() = 0;
    virtual void begin_array() = 0;
    virtual void end_array() = 0;
};

/// Where a document comes from: the file's path, and the position of its first byte there.
struct JsonSource {
    std::string_view path;
    Index first_byte = 0;
};

/// Plays `text` to `events`. Throws FormatError, with path and byte, where it is not JSON.
void parse_json(std::string_view text, JsonEvents& events, const JsonSource& source);

/// The text in quotes, escaped. Throws ArgumentError where it is not UTF-8.
[[nodiscard]] std::string json_quote(const std::string& text);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/io/json_events_inl.hpp"
#endif
