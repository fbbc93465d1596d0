// Bytes of files built field by field. Nothing of the test framework: tests/fuzz uses it too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mpo::test {

/// Bytes in the making, little-endian.
class Bytes {
  public:
    template <class T>
    Bytes& number(T value) {
        const auto* first = reinterpret_cast<const char*>(&value);
        data_.append(first, sizeof value);
        return *this;
    }
    Bytes& text(std::string_view text) {
        data_.append(text);
        return *this;
    }
    /// A u64 length and the text, as GGUF writes strings.
    Bytes& string(std::string_view text) { return number<std::uint64_t>(text.size()).text(text); }
    Bytes& zeros(std::size_t count) {
        data_.append(count, '\0');
        return *this;
    }
    Bytes& pad_to(std::size_t alignment) {
        return zeros((alignment - data_.size() % alignment) % alignment);
    }
    Bytes& cut(std::size_t size) {
        data_.resize(size);
        return *this;
    }
    [[nodiscard]] std::size_t size() const { return data_.size(); }
    [[nodiscard]] const std::string& data() const { return data_; }

  private:
    std::string data_;
};

/// A file that breaks one rule, the rule's name, and what the refusal must say.
struct Lie {
    std::string what;
    Bytes file;
    std::vector<std::string> message;
};

}  // namespace mpo::test
