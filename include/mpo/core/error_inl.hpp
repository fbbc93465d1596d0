// How messages are joined, see core/error.hpp.
#pragma once

#include <cstdio>

#include "mpo/core/error.hpp"
#include "mpo/core/inline.hpp"

namespace mpo {
namespace detail {

inline void append_formatted(std::string& message, const char* format, auto number) {
    char digits[32];
    std::snprintf(digits, sizeof digits, format, number);
    message += digits;
}

MPO_DETAIL_INLINE void MessagePart::append_to(std::string& message) const {
    switch (kind_) {
        case Kind::text:
            message += text_;
            break;
        case Kind::letter:
            message += letter_;
            break;
        case Kind::integer:
            append_formatted(message, "%lld", integer_);
            break;
        case Kind::natural:
            append_formatted(message, "%llu", natural_);
            break;
        case Kind::real:
            append_formatted(message, "%g", number_[0]);
            break;
        case Kind::complex:
            append_formatted(message += '(', "%g", number_[0]);
            append_formatted(message += ',', "%g", number_[1]);
            message += ')';
    }
}

MPO_DETAIL_INLINE std::string join(std::initializer_list<MessagePart> parts) {
    std::string message;
    for (const MessagePart& part : parts) part.append_to(message);
    return message;
}

}  // namespace detail
}  // namespace mpo
