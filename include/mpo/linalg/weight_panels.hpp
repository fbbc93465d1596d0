// A constant matrix W (out, in) as the products Y = X W^T of a decoder like it best, be it for one token
// or for thousands: panels of 32 rows of W, each stored column after column,
//
//   element (o, i) of W lies at (o / 32) 32 in + 32 i + o % 32,   rows beyond `out` are 0
//
// (of bfloat16 column c beside column c + 16).
//
// A few tokens stream through the panels once, at the speed of memory. Many tokens are a product of the
// backend, whose tiles read the panels where they are. Numbers are kept as float, or as bfloat16 and
// widened in registers: half the bytes, and no loss where the weights were bfloat16 before.
#pragma once

#include <cstdint>
#include <span>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"

namespace mpo {

/// How a constant matrix keeps its numbers.
enum class WeightStorage { f32, bf16 };

/// A matrix in panels, on the host. Movable; const calls are safe from many threads.
class WeightPanels {
  public:
    /// 0 x 0.
    WeightPanels() = default;
    /// Copies W (out, in), any strides; bf16 rounds to nearest, ties to even. Throws std::bad_alloc.
    WeightPanels(MatrixView<const float> W, WeightStorage storage);

    /// Length of an output: rows of W.
    [[nodiscard]] Index rows() const { return rows_; }
    /// Length of an input: columns of W.
    [[nodiscard]] Index cols() const { return cols_; }
    /// How the numbers are kept.
    [[nodiscard]] WeightStorage storage() const { return storage_; }
    /// Bytes of the panels, padding included.
    [[nodiscard]] Index num_bytes() const {
        return wide_.size() * static_cast<Index>(sizeof(float)) +
               narrow_.size() * static_cast<Index>(sizeof(std::uint16_t));
    }

    /// Y (B, out) = X (B, in) W^T.
    ///
    /// X, Y      rows contiguous (col_stride 1), any row stride
    /// backend   multiplies where there are many tokens
    /// cost      2 B in out flops; num_bytes() of memory traffic for few tokens
    /// throws    ShapeError
    void apply(MatrixView<const float> X, MatrixView<float> Y, const EigenBackend& backend) const;

    /// Whether so many tokens stream through the panels, rather than being a product.
    [[nodiscard]] bool streams(Index tokens) const;
    /// Y[k] (B, out_k) = X (B, in) W[k]^T for several matrices, in one parallel loop where X streams.
    ///
    /// X, Y     as apply; as many Y as weights W
    /// throws   ShapeError
    static void apply_together(std::span<const WeightPanels* const> W, MatrixView<const float> X,
                               std::span<const MatrixView<float>> Y, const EigenBackend& backend);

    /// Row `o` of W, 0 <= o < rows(), as cols() floats into `row`: what an embedding looks up.
    void read_row(Index o, float* row) const;

  private:
    [[nodiscard]] Index panels() const;
    void require_shapes(MatrixView<const float> X, MatrixView<float> Y) const;
    void stream(Index first, Index last, MatrixView<const float> X, MatrixView<float> Y) const;
    void apply_widened(MatrixView<const float> X, MatrixView<float> Y,
                       const EigenBackend& backend) const;

    Index rows_ = 0, cols_ = 0;
    WeightStorage storage_ = WeightStorage::f32;
    EigenBackend::Buffer<float> wide_;            // of f32
    EigenBackend::Buffer<std::uint16_t> narrow_;  // of bf16
};

namespace detail {

/// Y (rows, 32) = X (rows, steps) P (steps, 32); rows of X, P and Y lie ldx, ldp and ldy apart.
void multiply_panel(Index rows, Index steps, const float* X, Index ldx, const float* P, Index ldp,
                    float* Y, Index ldy);

}  // namespace detail
}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/impl/weight_panels_inl.hpp"
#endif
