// Block formats of GGML: a few dozen numbers share one or two half-precision scales.
//
//   format  values  bytes  value          block, in file order (d, m: half, little-endian)
//   Q4_0        32     18  d (q - 8)      d, 16 bytes: low nibbles are q 0..15, high are 16..31
//   Q4_1        32     20  d q + m        d, m, 16 bytes as above
//   Q5_0        32     22  d (q - 16)     d, 32 fifth bits, 16 bytes as above
//   Q5_1        32     24  d q + m        d, m, 32 fifth bits, 16 bytes as above
//   Q8_0        32     34  d q            d, 32 signed bytes
//   Q4_K       256    144  d s q - m t    d, m, 12 bytes: 8 scales s and 8 minima t of 6 bits,
//                                         128 bytes: each 32 hold 64 values, low nibbles first
//   Q6_K       256    210  d s (q - 32)   128 bytes: low 4 bits, 64 bytes: high 2 bits,
//                                         16 signed scales s, d
//
// Source: the GGUF specification and ggml's reference dequantisation.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <variant>

#include "mpo/core/dtype.hpp"
#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo {

/// The block formats we decode; the numbers are GGML's type ids.
enum class PackedType : std::uint32_t {
    q4_0 = 2,
    q4_1 = 3,
    q5_0 = 6,
    q5_1 = 7,
    q8_0 = 8,
    q4_k = 12,
    q6_k = 14
};

/// Size of one block.
struct PackedBlock {
    std::string_view name;  // GGML's: "Q4_1"
    Index values = 1;       // numbers in a block
    Index bytes = 1;        // bytes of a block
};

/// Name and block size of a format. Throws ArgumentError where no format has the value of `type`.
[[nodiscard]] constexpr PackedBlock packed_block(PackedType type) {
    switch (type) {
        case PackedType::q4_0:
            return {"Q4_0", 32, 18};
        case PackedType::q4_1:
            return {"Q4_1", 32, 20};
        case PackedType::q5_0:
            return {"Q5_0", 32, 22};
        case PackedType::q5_1:
            return {"Q5_1", 32, 24};
        case PackedType::q8_0:
            return {"Q8_0", 32, 34};
        case PackedType::q4_k:
            return {"Q4_K", 256, 144};
        case PackedType::q6_k:
            return {"Q6_K", 256, 210};
    }
    detail::raise<ArgumentError>(
        {"packed_block: no format has the id ", static_cast<std::uint32_t>(type)});
}

/// "Q4_1" for PackedType::q4_1.
[[nodiscard]] inline std::string to_string(PackedType type) {
    return std::string(packed_block(type).name);
}

/// A type that a file names and we cannot decode; its tensors are listed only.
struct OpaqueType {
    std::uint32_t id = 0;  // GGML's type id
    std::string name;      // GGML's: "Q2_K"; "GGML type 99" for one that is not known
    /// Equal in both members.
    friend bool operator==(const OpaqueType&, const OpaqueType&) = default;
};

/// How the elements of a stored tensor are coded.
using StoredType = std::variant<DType, PackedType, OpaqueType>;

/// The name of whichever type is stored: "BF16", "Q4_1".
[[nodiscard]] inline std::string to_string(const StoredType& type) {
    if (const auto* plain = std::get_if<DType>(&type)) return to_string(*plain);
    if (const auto* packed = std::get_if<PackedType>(&type)) return to_string(*packed);
    return std::get<OpaqueType>(type).name;
}

/// True where decode gives numbers.
[[nodiscard]] inline bool is_convertible(const StoredType& type) {
    if (const auto* plain = std::get_if<DType>(&type)) return is_convertible(*plain);
    return std::holds_alternative<PackedType>(type);
}

namespace detail {

[[nodiscard]] inline float load_half(const std::uint8_t* source) {
    std::uint16_t bits;
    std::memcpy(&bits, source, sizeof bits);
    return half_to_float(bits);
}

template <class T>
[[nodiscard]] T as_scalar(float value) {
    return T(static_cast<Real<T>>(value));
}

/// Q4_0, Q4_1, Q5_0, Q5_1: nibbles q, `fifth` bits on top, value = scale q + offset.
template <class T>
void decode_nibbles(const std::uint8_t* nibbles, float scale, float offset, T* target) {
    for (std::size_t k = 0; k < 16; ++k) {
        target[k] = as_scalar<T>(scale * static_cast<float>(nibbles[k] & 15) + offset);
        target[k + 16] = as_scalar<T>(scale * static_cast<float>(nibbles[k] >> 4) + offset);
    }
}

template <class T>
void decode_five_bits(const std::uint8_t* bits, float scale, int zero, float offset, T* target) {
    std::uint32_t fifth;
    std::memcpy(&fifth, bits, sizeof fifth);
    const std::uint8_t* nibbles = bits + sizeof fifth;
    for (std::size_t k = 0; k < 16; ++k) {
        const auto low = static_cast<int>((nibbles[k] & 15u) | (((fifth >> k) & 1u) << 4));
        const auto high = static_cast<int>((nibbles[k] >> 4) | (((fifth >> (k + 16)) & 1u) << 4));
        target[k] = as_scalar<T>(scale * static_cast<float>(low - zero) + offset);
        target[k + 16] = as_scalar<T>(scale * static_cast<float>(high - zero) + offset);
    }
}

template <class T>
void decode_q4_0(const std::uint8_t* block, T* target) {
    const float d = load_half(block);
    for (std::size_t k = 0; k < 16; ++k) {
        const int low = (block[2 + k] & 15) - 8, high = (block[2 + k] >> 4) - 8;
        target[k] = as_scalar<T>(d * static_cast<float>(low));
        target[k + 16] = as_scalar<T>(d * static_cast<float>(high));
    }
}

template <class T>
void decode_q8_0(const std::uint8_t* block, T* target) {
    const float d = load_half(block);
    for (std::size_t k = 0; k < 32; ++k)
        target[k] = as_scalar<T>(d * static_cast<float>(static_cast<std::int8_t>(block[2 + k])));
}

/// Scale and minimum of 32-value group g: groups 0..3 lie in the low 6 bits of bytes 0..7, groups
/// 4..7 take 4 bits from bytes 8..11 and their top 2 bits from the top of bytes 0..7.
template <class T>
void decode_q4_k(const std::uint8_t* block, T* target) {
    const float d = load_half(block), m = load_half(block + 2);
    const std::uint8_t* packed = block + 4;
    for (std::size_t g = 0; g < 8; ++g) {
        const int scale =
            g < 4 ? packed[g] & 63 : (packed[g + 4] & 15) | ((packed[g - 4] >> 6) << 4);
        const int least =
            g < 4 ? packed[g + 4] & 63 : (packed[g + 4] >> 4) | ((packed[g] >> 6) << 4);
        const float step = d * static_cast<float>(scale), base = m * static_cast<float>(least);
        const std::uint8_t* nibbles = block + 16 + 32 * (g / 2);
        const int shift = g % 2 == 0 ? 0 : 4;
        for (std::size_t k = 0; k < 32; ++k) {
            const auto q = static_cast<float>((nibbles[k] >> shift) & 15);
            target[32 * g + k] = as_scalar<T>(step * q - base);
        }
    }
}

/// Group g of 32 values (g = 0..7, four per half block): low bits from 32 bytes at
/// 64 (g / 4) + 32 (g % 2), high nibble for g % 4 >= 2; high bits 2 (g % 4) of 32 bytes at 32 (g /
/// 4).
template <class T>
void decode_q6_k(const std::uint8_t* block, T* target) {
    const float d = load_half(block + 208);
    for (std::size_t g = 0; g < 8; ++g) {
        const std::uint8_t* low = block + 64 * (g / 4) + 32 * (g % 2);
        const std::uint8_t* high = block + 128 + 32 * (g / 4);
        const int low_shift = g % 4 < 2 ? 0 : 4, high_shift = static_cast<int>(2 * (g % 4));
        for (std::size_t half = 0; half < 2; ++half) {
            const auto scale = static_cast<std::int8_t>(block[192 + 2 * g + half]);
            const float step = d * static_cast<float>(scale);
            for (std::size_t k = 16 * half; k < 16 * half + 16; ++k) {
                const int q = ((low[k] >> low_shift) & 15) | (((high[k] >> high_shift) & 3) << 4);
                target[32 * g + k] = as_scalar<T>(step * static_cast<float>(q - 32));
            }
        }
    }
}

template <class T>
void decode_block(PackedType type, const std::uint8_t* block, T* target) {
    switch (type) {
        case PackedType::q4_0:
            return decode_q4_0(block, target);
        case PackedType::q4_1:
            return decode_nibbles(block + 4, load_half(block), load_half(block + 2), target);
        case PackedType::q5_0:
            return decode_five_bits(block + 2, load_half(block), 16, 0, target);
        case PackedType::q5_1:
            return decode_five_bits(block + 4, load_half(block), 0, load_half(block + 2), target);
        case PackedType::q8_0:
            return decode_q8_0(block, target);
        case PackedType::q4_k:
            return decode_q4_k(block, target);
        case PackedType::q6_k:
            return decode_q6_k(block, target);
    }
}

}  // namespace detail

/// Decodes n packed numbers, whole blocks from `source` on, into `target`.
/// Throws ArgumentError where n is not a multiple of the block.
template <Scalar T>
void decode(PackedType type, const std::byte* source, T* target, Index n) {
    const auto [name, values, bytes] = packed_block(type);
    if (n < 0 || n % values != 0)
        detail::raise<ArgumentError>({"decode: ", n, " values are not whole blocks of ", name, " (",
                                      values, " values each)"});
    const auto* block = reinterpret_cast<const std::uint8_t*>(source);
    for (Index k = 0; k < n; k += values, block += bytes)
        detail::decode_block(type, block, target + k);
}

/// Decodes n stored numbers, whatever their coding, from `source` into `target`. Throws
/// ArgumentError where it is not convertible.
template <Scalar T>
void decode(const StoredType& type, const std::byte* source, T* target, Index n) {
    if (const auto* plain = std::get_if<DType>(&type)) return decode(*plain, source, target, n);
    if (const auto* packed = std::get_if<PackedType>(&type))
        return decode(*packed, source, target, n);
    detail::raise<ArgumentError>({"decode: no decoder for the type ", to_string(type), " (id ",
                                  std::get<OpaqueType>(type).id, ")"});
}

}  // namespace mpo
