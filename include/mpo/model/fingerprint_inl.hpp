// The bodies of model/fingerprint.hpp that are no templates.
#pragma once

#include <algorithm>
#include <filesystem>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/text_file.hpp"
#include "mpo/model/compressed_config.hpp"
#include "mpo/model/fingerprint.hpp"
#include "mpo/model/transformer_config.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void Fingerprint::add(const void* data, std::size_t bytes) {
    const auto* at = static_cast<const unsigned char*>(data);
    for (; bytes > 0; at += 8, bytes -= (std::min)(bytes, std::size_t{8})) {
        std::uint64_t word = 0;
        for (std::size_t k = 0; k < (std::min)(bytes, std::size_t{8}); ++k)
            word |= std::uint64_t{at[k]} << (8 * k);
        hash_ = (hash_ ^ word) * 0x100000001b3;
        hash_ ^= hash_ >> 29;  // words are not bytes: high bits must reach low ones
    }
}

MPO_DETAIL_MODEL_INLINE std::string Fingerprint::to_string() const {
    constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (int shift = 60; shift >= 0; shift -= 4) text += digits[hash_ >> shift & 15];
    return text;
}

MPO_DETAIL_MODEL_INLINE std::string fingerprint(const Checkpoint& checkpoint) {
    Fingerprint result;
    for (const auto& tensor : checkpoint.tensors()) {
        result.add(concat(tensor.name, ' ', mpo::to_string(tensor.type), ' ',
                          mpo::to_string(tensor.shape)));
        const auto bytes = checkpoint.raw(tensor.name);
        result.add(bytes.data(), static_cast<std::size_t>(bytes.size()));
    }
    return result.to_string();
}

MPO_DETAIL_MODEL_INLINE std::string decoder_fingerprint(const Checkpoint& checkpoint) {
    Fingerprint result;
    result.add(fingerprint(checkpoint));
    const auto config = transformer_config(checkpoint);
    result.add(concat(config.num_heads, ' ', config.num_kv_heads, ' ', config.head_dim, ' ',
                      config.tied_head, ' ', config.qkv_bias, ' ', config.mlp_bias));
    result.add(&config.rms_norm_eps, sizeof(double));
    result.add(config.rotary.data(), config.rotary.size() * sizeof(double));
    const auto chains = checkpoint.path() / compressed_config_file;
    if (std::filesystem::exists(chains)) result.add(read_text_file(chains));
    return result.to_string();
}

MPO_DETAIL_MODEL_INLINE std::string fingerprint(const std::vector<CalibrationWindow>& windows) {
    Fingerprint result;
    for (const auto& window : windows) {
        result.add(concat(window.tokens.size(), ' ', window.weight));
        result.add(window.tokens.data(), window.tokens.size() * sizeof(Index));
    }
    return result.to_string();
}

}  // namespace mpo::detail
