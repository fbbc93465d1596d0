// The loss of one position from its logits, and its gradient in their place: the formulas of head_loss.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/row_softmax.hpp"

namespace mpo::detail {

/// What one position is compared with, and how much it counts.
struct RowTargets {
    Index top = 0;  // K
    const std::int32_t* ids = nullptr;
    const float* log_probabilities = nullptr;
    double log_rest = 0;
    Index next = -1;  // -1: none
    double weight = 1;
};

/// What one position adds to the sums.
struct RowLoss {
    double divergence = 0, cross_entropy = 0;
    bool agrees = false, hits = false;
};

/// The loss of one row of logits, which becomes its gradient: the classes first, then the loss, then dL/dz.
template <class T>
class RowOfLogits {
  public:
    /// z      (vocab), overwritten
    /// kept   (K), scratch
    RowOfLogits(Index vocab, T* z, const RowTargets& targets, std::span<double> kept)
        : vocab_(vocab), z_(z), targets_(targets), kept_(kept) {
        if (targets_.next >= 0) following_ = static_cast<double>(z_[targets_.next]);
        const double lead = take_top();
        if (has_rest()) {
            const T most = row_top(vocab_, z_);
            rest_sum_ = exponentiate_row(vocab_, most, z_);
            largest_ = static_cast<double>(most);
            rest_log_ = largest_ + std::log(rest_sum_);
        }
        largest_ = (std::max)(largest_, lead);
        const double shift = (std::max)(rest_log_, lead);
        double sum = std::exp(rest_log_ - shift);
        for (const double z_k : kept_) sum += std::exp(z_k - shift);
        log_sum_ = shift + std::log(sum);
    }

    /// Whether the logits had a softmax.
    [[nodiscard]] bool is_finite() const { return std::isfinite(log_sum_); }
    /// An id whose logit was taken before, or is -inf; -1: none.
    [[nodiscard]] Index repeated() const { return repeated_; }

    /// D and C of this position; remembers M and r for the gradient.
    [[nodiscard]] RowLoss loss() {
        RowLoss result;
        for (std::size_t k = 0; k < kept_.size(); ++k) {
            const double log_p = static_cast<double>(targets_.log_probabilities[k]);
            const double p = std::exp(log_p);
            total_ += p;
            if (p > 0) result.divergence += p * (log_p - (kept_[k] - log_sum_));
        }
        if (!kept_.empty()) {
            rest_ = std::exp(targets_.log_rest);
            total_ += rest_;
            if (rest_ > 0)
                result.divergence += rest_ * (targets_.log_rest - (rest_log_ - log_sum_));
            result.agrees = kept_[0] >= largest_;
        }
        if (targets_.next >= 0) {
            result.cross_entropy = log_sum_ - following_;
            result.hits = following_ >= largest_;
        }
        return result;
    }

    /// The row becomes weight d(alpha D + (1 - alpha) C)/dz. Comes after loss().
    void differentiate(double alpha, double weight) {
        const double c = alpha * total_ + 1 - alpha;
        if (has_rest()) {
            const double q_rest = std::exp(rest_log_ - log_sum_);
            const double factor = weight * (c * q_rest - alpha * rest_) / rest_sum_;
            EigenOperations<T>::scale(vocab_, static_cast<T>(factor), z_);
        }
        for (std::size_t k = 0; k < kept_.size(); ++k) {
            const double q = std::exp(kept_[k] - log_sum_);
            const double p = std::exp(static_cast<double>(targets_.log_probabilities[k]));
            z_[targets_.ids[k]] = static_cast<T>(weight * (c * q - alpha * p));
        }
        if (targets_.next >= 0) z_[targets_.next] -= static_cast<T>(weight * (1 - alpha));
    }

  private:
    [[nodiscard]] bool has_rest() const { return targets_.top < vocab_; }

    /// Moves the logits of the teacher's ids out of the row; returns the largest.
    double take_top() {
        constexpr T nothing = -std::numeric_limits<T>::infinity();
        double lead = -std::numeric_limits<double>::infinity();
        for (std::size_t k = 0; k < kept_.size(); ++k) {
            T& z = z_[targets_.ids[k]];
            if (z == nothing) repeated_ = targets_.ids[k];
            kept_[k] = static_cast<double>(z);
            lead = (std::max)(lead, kept_[k]);
            z = nothing;
        }
        return lead;
    }

    Index vocab_;
    T* z_;
    const RowTargets& targets_;
    std::span<double> kept_;  // the logits of the K ids
    double following_ = 0;    // the logit of the next token
    double largest_ = -std::numeric_limits<double>::infinity();
    double rest_sum_ = 0;  // of exp(z - largest of the rest) over the rest
    double rest_log_ = -std::numeric_limits<double>::infinity();  // log of the sum of exp z there
    double log_sum_ = 0;                                          // of all
    double total_ = 0, rest_ = 0;                                 // M, r
    Index repeated_ = -1;
};

}  // namespace mpo::detail
