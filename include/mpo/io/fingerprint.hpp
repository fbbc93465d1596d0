// Whether bytes are those that were there before: against mistakes and broken disks, not against malice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace mpo::detail {

/// FNV-1a over words of eight bytes, the last one padded: fast enough for a checkpoint.
class Fingerprint {
  public:
    void add(const void* data, std::size_t bytes);
    void add(const std::string& text) { add(text.data(), text.size()); }
    [[nodiscard]] std::string to_string() const;

  private:
    std::uint64_t hash_ = 0xcbf29ce484222325;
};

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/io/fingerprint_inl.hpp"
#endif
