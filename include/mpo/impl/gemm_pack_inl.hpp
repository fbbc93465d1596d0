// Memory and element access for packing: per-thread scratch, conjugation, the transposing copy.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

#include "mpo/core/tensor.hpp"

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

/// out[q ld + i] = in[i stride_i + q stride_q], i < h, q < steps: i is contiguous in the target.
/// A source contiguous along q is read in short runs of several i at once, so that each target line
/// is written whole.
template <class R, class T>
void pack_transposed(const T* in, Index stride_i, Index stride_q, Index h, Index steps, R* out,
                     Index ld) {
    if (stride_i == 1) {
        for (Index q = 0; q < steps; ++q, in += stride_q, out += ld)
            for (Index i = 0; i < h; ++i) out[i] = static_cast<R>(in[i]);
        return;
    }
    Index i = 0;
    for (; i + 4 <= h; i += 4) {
        const T *a = in + i * stride_i, *b = a + stride_i, *c = b + stride_i, *d = c + stride_i;
        R* target = out + i;
        for (Index q = 0; q < steps; ++q, target += ld) {
            target[0] = static_cast<R>(a[q * stride_q]);
            target[1] = static_cast<R>(b[q * stride_q]);
            target[2] = static_cast<R>(c[q * stride_q]);
            target[3] = static_cast<R>(d[q * stride_q]);
        }
    }
    for (; i < h; ++i)
        for (Index q = 0; q < steps; ++q)
            out[q * ld + i] = static_cast<R>(in[i * stride_i + q * stride_q]);
}

}  // namespace mpo::detail
