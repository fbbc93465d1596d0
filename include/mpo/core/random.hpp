// Seeded random numbers that are the same with every standard library: std::mt19937_64 is fixed by
// the standard, the standard's distributions are not, so the transforms are ours.
#pragma once

#include <cmath>
#include <complex>
#include <cstdint>
#include <random>

#include "mpo/core/tensor.hpp"

namespace mpo {

/// A stream of numbers; the same seed gives the same stream everywhere.
class Random {
  public:
    /// Begins the stream that belongs to `seed`.
    explicit Random(std::uint64_t seed) : engine_(seed) {}

    /// 64 random bits.
    [[nodiscard]] std::uint64_t bits() { return engine_(); }

    /// Uniform in [0, 1): 53 random bits over 2^53.
    [[nodiscard]] double uniform() { return static_cast<double>(engine_() >> 11) * 0x1.0p-53; }

    /// Uniform integer in [0, n), n >= 1, without modulo bias.
    [[nodiscard]] Index below(Index n) {
        const auto range = static_cast<std::uint64_t>(n);
        const std::uint64_t limit = range * (~std::uint64_t{0} / range);
        std::uint64_t draw = engine_();
        while (draw >= limit) draw = engine_();
        return static_cast<Index>(draw % range);
    }

    /// Standard normal by the polar method of Marsaglia.
    [[nodiscard]] double normal() {
        if (has_spare_) {
            has_spare_ = false;
            return spare_;
        }
        double u = 0, v = 0, s = 0;
        do {
            u = 2 * uniform() - 1;
            v = 2 * uniform() - 1;
            s = u * u + v * v;
        } while (s >= 1 || s == 0);
        const double factor = std::sqrt(-2 * std::log(s) / s);
        spare_ = v * factor;
        has_spare_ = true;
        return u * factor;
    }

    /// Fills data[0] .. data[n-1] with standard normals; complex entries have independent parts of variance 1/2.
    template <Scalar T>
    void fill_normal(T* data, Index n) {
        for (Index k = 0; k < n; ++k) {
            if constexpr (is_complex<T>) {
                const double re = normal() * std::sqrt(0.5), im = normal() * std::sqrt(0.5);
                data[k] = T(static_cast<Real<T>>(re), static_cast<Real<T>>(im));
            } else {
                data[k] = static_cast<T>(normal());
            }
        }
    }

  private:
    std::mt19937_64 engine_;
    double spare_ = 0;
    bool has_spare_ = false;
};

/// Tensor of standard normals.
template <Scalar T>
[[nodiscard]] Tensor<T> normal_tensor(Shape shape, std::uint64_t seed) {
    Tensor<T> tensor(std::move(shape));
    Random(seed).fill_normal(tensor.data(), tensor.size());
    return tensor;
}

}  // namespace mpo
