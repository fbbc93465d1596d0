// How often a text says something.
#pragma once

#include <string>

namespace mpo::test {

/// Occurrences of `part`, overlapping ones too.
[[nodiscard]] inline int count_of(const std::string& text, const std::string& part) {
    int count = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
    return count;
}

}  // namespace mpo::test
