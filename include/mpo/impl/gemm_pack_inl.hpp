// Memory and element access for packing: per-thread scratch, conjugation, the transposing copy.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>

#include "mpo/core/tensor.hpp"
#include "mpo/impl/gemm_kernel_inl.hpp"

namespace mpo::detail {

/// Grows, never shrinks, 64-byte aligned; one per thread and purpose, so products do not allocate.
template <class R>
class Scratch {
  public:
    [[nodiscard]] R* at_least(Index n) {
        if (n > size_) {
            data_.reset();
            size_ = 0;
            data_.reset(static_cast<R*>(
                ::operator new (static_cast<std::size_t>(n) * sizeof(R), std::align_val_t{64})));
            size_ = n;
        }
        return data_.get();
    }

  private:
    struct Release {
        void operator()(R* p) const noexcept { ::operator delete (p, std::align_val_t{64}); }
    };
    std::unique_ptr<R, Release> data_;
    Index size_ = 0;
};

template <class R, int purpose>
[[nodiscard]] Scratch<R>& thread_scratch() {
    thread_local Scratch<R> scratch;
    return scratch;
}

/// Element of a view with its conjugation, in the type that the product computes in.
template <class TC, class T>
[[nodiscard]] TC value_at(const MatrixView<const T>& A, Index i, Index j) {
    const T x = A.data[i * A.row_stride + j * A.col_stride];
    if constexpr (is_complex<T>) {
        const auto im = static_cast<Real<TC>>(x.imag());
        return TC(static_cast<Real<TC>>(x.real()), A.conjugation == Conjugation::none ? im : -im);
    } else {
        return static_cast<TC>(x);
    }
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define MPO_DETAIL_SHUFFLE 1
#endif
#endif

/// Whether transposing a square of T and storing it as R has a form in registers: 16 bytes a row,
/// and the same or, from float to double, twice as many on the way out.
template <class R, class T>
inline constexpr bool has_square = std::is_same_v<R, T> ||
                                   (std::is_same_v<T, float> && std::is_same_v<R, double>);

/// A square of 16 / sizeof(T) rows and as many steps: the transpose in registers.
template <class R, class T>
[[gnu::always_inline]] inline void transpose_square(const T* in, Index stride_i, R* out, Index ld) {
#ifdef MPO_DETAIL_SHUFFLE
    using V = typename Simd<T, 16>::type;
    using Loose = typename Simd<T, 16>::loose;
    using Out = Simd<R, 16 / sizeof(T) * sizeof(R)>;
    const auto load = [&](Index i) -> V {
        return *reinterpret_cast<const Loose*>(in + i * stride_i);
    };
    const auto store = [&](Index q, const V& v) {
        *reinterpret_cast<typename Out::loose*>(out + q * ld) =
            __builtin_convertvector(v, typename Out::type);
    };
    if constexpr (sizeof(T) == 4) {
        const V a = load(0), b = load(1), c = load(2), d = load(3);
        const V ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5),
                ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        const V cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5),
                cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        store(0, __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5));
        store(1, __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7));
        store(2, __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5));
        store(3, __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7));
    } else {
        const V a = load(0), b = load(1);
        store(0, __builtin_shufflevector(a, b, 0, 2));
        store(1, __builtin_shufflevector(a, b, 1, 3));
    }
#else
    constexpr Index W = 16 / sizeof(T);
    for (Index q = 0; q < W; ++q)
        for (Index i = 0; i < W; ++i) out[q * ld + i] = static_cast<R>(in[i * stride_i + q]);
#endif
}
#undef MPO_DETAIL_SHUFFLE

/// Rows of N vectors of 16 bytes, the last of which ends with the row and may overlap the one before.
template <int N, class T>
void copy_vectors(const T* in, Index in_ld, Index h, Index steps, T* out, Index out_ld) {
    constexpr Index W = 16 / sizeof(T);
    for (Index q = 0; q < steps; ++q, in += in_ld, out += out_ld) {
#pragma GCC unroll 4
        for (Index v = 0; v < N; ++v) {
            const Index i = v + 1 < N ? v * W : h - W;
            std::memcpy(out + i, in + i, 16);
        }
    }
}

/// Rows of N numbers.
template <int N, class T>
void copy_numbers(const T* in, Index in_ld, Index steps, T* out, Index out_ld) {
    for (Index q = 0; q < steps; ++q, in += in_ld, out += out_ld)
        std::memcpy(out, in, N * sizeof(T));
}

/// out[q out_ld + i] = in[q in_ld + i], i < h, q < steps. The rows of a panel, and of an item that has two or three
/// columns, are too short for a call each.
template <class T>
void copy_short_rows(const T* in, Index in_ld, Index h, Index steps, T* out, Index out_ld) {
    constexpr Index W = 16 / sizeof(T);
    if (h < W) {
        if (h == 1) return copy_numbers<1>(in, in_ld, steps, out, out_ld);
        if (h == 2) return copy_numbers<2>(in, in_ld, steps, out, out_ld);
        return copy_numbers<3>(in, in_ld, steps, out, out_ld);
    }
    switch ((h + W - 1) / W) {
        case 1:
            return copy_vectors<1>(in, in_ld, h, steps, out, out_ld);
        case 2:
            return copy_vectors<2>(in, in_ld, h, steps, out, out_ld);
        case 3:
            return copy_vectors<3>(in, in_ld, h, steps, out, out_ld);
        case 4:
            return copy_vectors<4>(in, in_ld, h, steps, out, out_ld);
        default:
            break;
    }
    for (Index q = 0; q < steps; ++q, in += in_ld, out += out_ld) std::copy_n(in, h, out);
}

/// Rows of four panels, each of `Bytes`, whose rows lie ld apart, to panels of the same that lie `slot` apart. Rows far
/// apart lie on pages of their own: they are visited once for all four.
template <int Bytes, class R>
void copy_four(const std::array<const R*, 4>& from, Index ld, Index steps, R* out, Index slot) {
    constexpr Index width = Bytes / sizeof(R);
    for (Index q = 0; q < steps; ++q)
        for (std::size_t panel = 0; panel < 4; ++panel)
            std::memcpy(out + static_cast<Index>(panel) * slot + q * width, from[panel] + q * ld,
                        Bytes);
}
template <class R>
void copy_panels(const std::array<const R*, 4>& from, Index ld, Index width, Index steps, R* out,
                 Index slot) {
    if (width == 128 / Index{sizeof(R)}) return copy_four<128>(from, ld, steps, out, slot);
    if (width == 64 / Index{sizeof(R)}) return copy_four<64>(from, ld, steps, out, slot);
    copy_four<32>(from, ld, steps, out, slot);
}

/// out[q ld + i] = in[i stride_i + q stride_q], i < h, q < steps: i is contiguous in the target.
template <class R, class T>
void pack_transposed(const T* in, Index stride_i, Index stride_q, Index h, Index steps, R* out,
                     Index ld) {
    if (stride_i == 1) {
        if constexpr (std::is_same_v<R, T>) return copy_short_rows(in, stride_q, h, steps, out, ld);
        for (Index q = 0; q < steps; ++q, in += stride_q, out += ld)
            for (Index i = 0; i < h; ++i) out[i] = static_cast<R>(in[i]);
        return;
    }
    if constexpr (has_square<R, T>) {
        constexpr Index W = 16 / sizeof(T);
        if (stride_q == 1 && h >= W) {
            for (Index k = 0; k < h; k += W) {
                const Index i = (std::min)(k, h - W);  // the last square overlaps the one before
                Index q = 0;
                for (; q + W <= steps; q += W)
                    transpose_square(in + i * stride_i + q, stride_i, out + q * ld + i, ld);
                for (; q < steps; ++q)
                    for (Index j = i; j < i + W; ++j)
                        out[q * ld + j] = static_cast<R>(in[j * stride_i + q]);
            }
            return;
        }
    }
    for (Index i = 0; i < h; ++i)
        for (Index q = 0; q < steps; ++q)
            out[q * ld + i] = static_cast<R>(in[i * stride_i + q * stride_q]);
}

}  // namespace mpo::detail
