// The bodies of io/gguf_metadata.hpp that are no templates.
#pragma once

#include <algorithm>
#include <utility>

#include "mpo/io/gguf_metadata.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/limits.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE std::optional<Index> as_integer(const GgufValue& value) {
    return std::visit(
        [](const auto& x) -> std::optional<Index> {
            using T = std::decay_t<decltype(x)>;
            if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
                if (std::in_range<Index>(x)) return static_cast<Index>(x);
            }
            return std::nullopt;
        },
        value);
}

MPO_DETAIL_MODEL_INLINE std::optional<double> as_real(const GgufValue& value) {
    if (const auto* x = std::get_if<float>(&value)) return static_cast<double>(*x);
    if (const auto* x = std::get_if<double>(&value)) return *x;
    return std::nullopt;
}

namespace detail {

MPO_DETAIL_MODEL_INLINE void GgufCursor::keep(std::uint64_t bytes, const std::string& what) {
    if (bytes > static_cast<std::uint64_t>(max_metadata_bytes - kept_))
        fail(what, concat("more metadata than the limit of ", max_metadata_bytes, " bytes"));
    kept_ += static_cast<Index>(bytes);
}

MPO_DETAIL_MODEL_INLINE std::string GgufCursor::string(const std::string& what,
                                                       std::uint64_t limit) {
    const auto length = number<std::uint64_t>(what);
    if (length > limit) fail(what, concat(length, " bytes long, more than the limit ", limit));
    const auto* text = take(length, what);
    keep(length, what);
    return {reinterpret_cast<const char*>(text), static_cast<std::size_t>(length)};
}

MPO_DETAIL_MODEL_INLINE GgufValue GgufCursor::value(std::uint32_t type, const std::string& what) {
    if (type >= std::variant_size_v<GgufValue>)
        fail(what, concat("unknown value type ", type, " (0 to 12 exist)"));
    return alternative<GgufValue>(
        type, [&](auto tag) { return GgufValue(element<typename decltype(tag)::type>(what, 0)); });
}

MPO_DETAIL_MODEL_INLINE const std::byte* GgufCursor::take(std::uint64_t count,
                                                          const std::string& what) {
    value_begin_ = at_;
    if (count > left())
        fail(what, concat("needs ", count, " bytes, the file has ", left(), " left"));
    const auto size = static_cast<Index>(count);
    if (at_ + size > window_begin_ + window_.size()) {
        constexpr Index piece = 1 << 18;
        window_ = file_.bytes(at_, (std::min)((std::max)(size, piece), file_.size() - at_));
        window_begin_ = at_;
    }
    const auto* from = window_.data() + (at_ - window_begin_);
    at_ += size;
    return from;
}

MPO_DETAIL_MODEL_INLINE bool GgufCursor::boolean(const std::string& what) {
    const int value = number<std::uint8_t>(what);
    if (value > 1) fail(what, concat("a boolean must be 0 or 1, got ", value));
    return value == 1;
}

MPO_DETAIL_MODEL_INLINE GgufArray GgufCursor::array(const std::string& what, int depth) {
    if (depth > max_array_depth)
        fail(what, concat("arrays nested more than ", max_array_depth, " deep"));
    const auto type = number<std::uint32_t>(what);
    const auto count = number<std::uint64_t>(what);
    if (type >= std::variant_size_v<GgufValue>)
        fail(what, concat("unknown array element type ", type, " (0 to 12 exist)"));
    return {alternative<GgufArray::Elements>(type, [&](auto tag) {
        using Vector = typename decltype(tag)::type;
        return GgufArray::Elements(elements<typename Vector::value_type>(count, what, depth));
    })};
}

}  // namespace detail

}  // namespace mpo
