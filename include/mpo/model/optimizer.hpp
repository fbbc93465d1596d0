// AdamW: the step that training takes along the gradients of a list of parameters (Loshchilov and
// Hutter, arXiv:1711.05101).
//
//   m <- beta1 m + (1 - beta1) g,   v <- beta2 v + (1 - beta2) g^2
//   x <- (1 - rate decay) x - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
//
// with g the gradient times a factor, and times clip_norm / norm(g) where that is below 1, norm(g) over
// all parameters. A relative rate is taken times the root mean square of the numbers of each parameter (Shazeer and
// Stern, arXiv:1804.04235, section 8), with which a step changes arrays of every scale by the same share. Everything is decided before anything changes: a step that throws leaves parameters
// and moments with their bits. The same gradients give the same bits at every number of threads: pieces
// are of fixed length, and the norm is their sum in order.
//
// Gradients of several batches simply add up in place; the step takes the mean by its factor:
//   for (k batches) model.backward(..);  optimizer.step({.gradient_factor = 1.0 / k});
//   parameters.clear_gradients();
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/adam_update.hpp"
#include "mpo/model/learning_rate.hpp"
#include "mpo/model/parameters.hpp"

namespace mpo {

/// What a learning rate is measured by: the number one, or each parameter's root mean square (least_scale at least).
enum class RateScale { absolute, relative };

/// What AdamW is told once.
struct AdamWOptions {
    LearningRate learning_rate = {};  // > 0
    Index total_steps = 0;            // that the rate decays over; read by no constant rate
    double beta1 = 0.9;               // in [0, 1)
    double beta2 = 0.999;             // in [0, 1)
    double epsilon = 1e-8;            // > 0
    double weight_decay = 0;          // >= 0, decoupled; of parameters that decay
    double clip_norm = 0;             // >= 0: the largest norm of all gradients together; 0: any
    RateScale rate_scale = RateScale::absolute;  // of the learning rate
    double least_scale = 1e-3;  // > 0: of parameters that are smaller, zeros among them
};

/// What a step is told.
struct AdamWStepOptions {
    double gradient_factor = 1;  // > 0: 1/k where the gradients of k batches were added up
    double loss = 0;             // of these gradients; only looked at for NaN and infinity
};

/// What a step did.
struct AdamWStep {
    Index step = 0;            // its number: 1, 2, ..
    double learning_rate = 0;  // it went along with
    double gradient_norm = 0;  // of all gradients times their factor, before clipping
    double clip_factor = 1;    // of the gradients: below 1 where they were clipped
};

/// Views of all that AdamW remembers.
template <class T>
struct AdamWState {
    /// Of one parameter.
    struct Moments {
        std::string name;           // of the parameter
        std::span<const T> first;   // m
        std::span<const T> second;  // v
    };
    Index step = 0;                     // steps done
    std::vector<Moments> moments = {};  // in the order of the parameters
};

/// Throws ArgumentError for an option outside its domain, for parameters of type T; `who` asked for it.
template <class T>
void require_valid(const AdamWOptions& options, const char* who = "AdamW") {
    const auto refuse = [&](const char* what, const char* rule, double got) {
        detail::raise<ArgumentError>({who, ": ", what, " must ", rule, ", got ", got});
    };
    options.learning_rate.require_valid(who);
    if (options.total_steps < 0)
        detail::raise<ArgumentError>({who, ": total_steps ", options.total_steps, " is negative"});
    if (options.learning_rate.decay != LearningRateDecay::constant && options.total_steps == 0)
        detail::raise<ArgumentError>(
            {who, ": a learning rate that decays needs total_steps, got 0"});
    if (!(options.beta1 >= 0 && options.beta1 < 1)) refuse("beta1", "lie in [0, 1)", options.beta1);
    if (!(options.beta2 >= 0 && options.beta2 < 1)) refuse("beta2", "lie in [0, 1)", options.beta2);
    if (!(options.learning_rate.peak / (1 - options.beta1) < (std::numeric_limits<T>::max)()))
        refuse("learning rate over 1 - beta1", "be a finite number",
               options.learning_rate.peak / (1 - options.beta1));
    if (!(options.epsilon >= (std::numeric_limits<T>::min)()) || !std::isfinite(options.epsilon))
        refuse("epsilon", "be a positive normal number", options.epsilon);
    if (!(options.weight_decay >= 0) || !std::isfinite(options.weight_decay))
        refuse("weight_decay", "be a number >= 0", options.weight_decay);
    if (!(options.learning_rate.peak * options.weight_decay < 1))
        refuse("learning rate times weight_decay", "be below 1",
               options.learning_rate.peak * options.weight_decay);
    if (!(options.clip_norm >= 0) || !std::isfinite(options.clip_norm))
        refuse("clip_norm", "be a number >= 0", options.clip_norm);
    if (!(options.least_scale > 0) || !std::isfinite(options.least_scale))
        refuse("least_scale", "be a positive number", options.least_scale);
}

/// The optimizer. It holds views of parameters and gradients, which must outlive it, and two numbers per
/// value. Not to be shared between threads; runs on the pool itself.
template <class T>
class AdamW {
  public:
    /// Both moments 0. Throws ArgumentError for an option outside its domain, for a name that two
    /// parameters share, and where there is nothing to train.
    explicit AdamW(Parameters<T> parameters, const AdamWOptions& options = {})
        : parameters_(std::move(parameters)), options_(options) {
        require_valid<T>(options_);
        if (parameters_.num_values() == 0)
            detail::raise<ArgumentError>(
                {"AdamW: none of ", parameters_.all().size(), " parameters has a number to train"});
        first_.resize(static_cast<std::size_t>(parameters_.num_values()));
        second_.resize(first_.size());
        std::size_t begin = 0;
        for (std::size_t k = 0; k < parameters_.all().size(); ++k) {
            const auto& parameter = parameters_.all()[k];
            if (!places_.emplace(parameter.name, k).second)
                detail::raise<ArgumentError>({"AdamW: two parameters are called ", parameter.name});
            begins_.push_back(begin);
            for (std::size_t at = 0; at < parameter.values.size(); at += piece_length)
                pieces_.push_back({k, at, (std::min)(piece_length, parameter.values.size() - at)});
            begin += parameter.values.size();
        }
        sums_.resize(pieces_.size());
        scales_.assign(parameters_.all().size(), 1);
    }

    /// What it was told.
    [[nodiscard]] const AdamWOptions& options() const { return options_; }
    /// What it changes.
    [[nodiscard]] const Parameters<T>& parameters() const { return parameters_; }
    /// Steps done, those before restore included.
    [[nodiscard]] Index num_steps() const { return num_steps_; }

    /// One step along the gradients, which stay as they are.
    ///
    /// error    a few eps(T) of every term
    /// cost     8 numbers read or written per value, by all threads; 9 with a relative rate
    /// throws   ArgumentError (gradient_factor), NumericalError, naming parameter and step, for a loss or
    ///          gradient that is NaN or infinite, or whose square would be; then nothing has changed
    AdamWStep step(const AdamWStepOptions& options = {}) {
        if (!(options.gradient_factor > 0) || !std::isfinite(options.gradient_factor))
            detail::raise<ArgumentError>({"AdamW: gradient_factor must be a positive number, got ",
                                          options.gradient_factor});
        AdamWStep result;
        result.step = num_steps_ + 1;
        result.learning_rate = options_.learning_rate.at(num_steps_, options_.total_steps);
        if (!std::isfinite(options.loss))
            detail::raise<NumericalError>(
                {"AdamW: the loss at step ", result.step, " is ", options.loss});
        result.gradient_norm = gradient_norm(result.step) * options.gradient_factor;
        if (options_.clip_norm > 0 && result.gradient_norm > options_.clip_norm)
            result.clip_factor = options_.clip_norm / result.gradient_norm;
        require_square(result);
        if (options_.rate_scale == RateScale::relative) measure_scales();
        const auto update = update_of(result, options.gradient_factor * result.clip_factor);
        parallel_for(0, static_cast<Index>(pieces_.size()), 1, [&](Index begin, Index end) {
            for (Index k = begin; k < end; ++k)
                change(pieces_[static_cast<std::size_t>(k)], update);
        });
        num_steps_ = result.step;
        return result;
    }

    /// Tells that somebody multiplied every value of a parameter by `factor`, as balance_bonds does. Its
    /// gradient is the old one over factor from now on, and so m is divided by factor, v by its square.
    ///
    /// name     of the parameter; ArgumentError where there is none
    /// factor   finite and not 0; else ArgumentError
    void rescale(const std::string& name, double factor) {
        const auto found = places_.find(name);
        if (found == places_.end())
            detail::raise<ArgumentError>({"AdamW: rescale: no parameter is called ", name});
        if (!std::isfinite(factor) || factor == 0)
            detail::raise<ArgumentError>({"AdamW: rescale: the factor of ", name,
                                          " must be finite and not 0, got ", factor});
        const auto m = moments_of(first_, found->second), v = moments_of(second_, found->second);
        for (T& number : m) number = static_cast<T>(static_cast<double>(number) / factor);
        for (T& number : v) number = static_cast<T>(static_cast<double>(number) / factor / factor);
    }

    /// Views of its memory, in the order of the parameters: good until the next call that changes it.
    [[nodiscard]] AdamWState<T> state() const {
        AdamWState<T> result;
        result.step = num_steps_;
        for (std::size_t k = 0; k < begins_.size(); ++k)
            result.moments.push_back(
                {parameters_.all()[k].name, moments_of(first_, k), moments_of(second_, k)});
        return result;
    }

    /// Takes over what state() gave, whole: the following steps have the bits they would have had.
    /// Throws ArgumentError, naming the parameter, where `state` is one of other parameters, and
    /// NumericalError where it holds what no step can have left; then nothing has changed.
    void restore(const AdamWState<T>& state) {
        if (state.step < 0)
            detail::raise<ArgumentError>({"AdamW: restore: step ", state.step, " is negative"});
        if (state.moments.size() != begins_.size())
            detail::raise<ArgumentError>({"AdamW: restore: the state is one of ",
                                          state.moments.size(), " parameters, here are ",
                                          begins_.size()});
        for (std::size_t k = 0; k < begins_.size(); ++k) require_fits(state.moments[k], k);
        for (std::size_t k = 0; k < begins_.size(); ++k) {
            const auto& moments = state.moments[k];
            std::copy(moments.first.begin(), moments.first.end(), moments_of(first_, k).begin());
            std::copy(moments.second.begin(), moments.second.end(), moments_of(second_, k).begin());
        }
        num_steps_ = state.step;
    }

  private:
    /// Numbers that one thread changes at a time: fixed, so that sums do not depend on the threads.
    static constexpr std::size_t piece_length = std::size_t{1} << 15;
    struct Piece {
        std::size_t parameter, begin, length;
    };

    /// Squares summed over every piece of the gradients, or of the values.
    void sum_squares(std::span<T> Parameter<T>::*array) {
        parallel_for(0, static_cast<Index>(pieces_.size()), 1, [&](Index begin, Index end) {
            for (auto k = static_cast<std::size_t>(begin); k < static_cast<std::size_t>(end); ++k) {
                const auto& piece = pieces_[k];
                sums_[k] = detail::sum_of_squares(
                    static_cast<Index>(piece.length),
                    (parameters_.all()[piece.parameter].*array).data() + piece.begin);
            }
        });
    }

    /// What the rate of every parameter is relative to.
    void measure_scales() {
        sum_squares(&Parameter<T>::values);
        std::fill(scales_.begin(), scales_.end(), 0.0);
        for (std::size_t k = 0; k < pieces_.size(); ++k) scales_[pieces_[k].parameter] += sums_[k];
        for (std::size_t k = 0; k < scales_.size(); ++k) {
            const auto count = static_cast<double>(parameters_.all()[k].values.size());
            scales_[k] = (std::max)(options_.least_scale, std::sqrt(scales_[k] / count));
        }
    }

    /// sqrt of the sum of all squares; throws where that is no number.
    [[nodiscard]] double gradient_norm(Index step) {
        sum_squares(&Parameter<T>::gradient);
        double sum = 0;
        for (std::size_t k = 0; k < sums_.size(); ++k) {
            if (!std::isfinite(sums_[k])) refuse_piece(pieces_[k], step);
            sum += sums_[k];
        }
        return std::sqrt(sum);
    }

    [[noreturn]] void refuse_piece(const Piece& piece, Index step) const {
        const auto& parameter = parameters_.all()[piece.parameter];
        std::size_t at = piece.begin;
        const auto fits = [](T g) { return std::isfinite(static_cast<double>(g * g)); };
        while (at + 1 < piece.begin + piece.length && fits(parameter.gradient[at])) ++at;
        detail::raise<NumericalError>({"AdamW: the gradient of ", parameter.name, " at step ", step,
                                       " is ", parameter.gradient[at], " at element ", at, " of ",
                                       parameter.gradient.size()});
    }

    /// No square may become infinite in T: v would stay so, and its values would never move again.
    void require_square(const AdamWStep& result) const {
        const double clipped = result.gradient_norm * result.clip_factor;
        if (clipped * clipped <= static_cast<double>((std::numeric_limits<T>::max)()) / 4) return;
        const auto largest = std::max_element(sums_.begin(), sums_.end()) - sums_.begin();
        const auto& piece = pieces_[static_cast<std::size_t>(largest)];
        detail::raise<NumericalError>(
            {"AdamW: gradients of norm ", clipped, " at step ", result.step, ", most of it in ",
             parameters_.all()[piece.parameter].name, ", have squares that are no finite numbers"});
    }

    [[nodiscard]] detail::AdamUpdate<T> update_of(const AdamWStep& result, double factor) const {
        const auto t = static_cast<double>(result.step);
        return {
            .gradient_factor = static_cast<T>(factor),
            .keep_first = static_cast<T>(options_.beta1),
            .take_first = static_cast<T>(1 - options_.beta1),
            .keep_second = static_cast<T>(options_.beta2),
            .take_second = static_cast<T>(1 - options_.beta2),
            .step_size = static_cast<T>(result.learning_rate / (1 - std::pow(options_.beta1, t))),
            .second_factor = static_cast<T>(1 / std::sqrt(1 - std::pow(options_.beta2, t))),
            .epsilon = static_cast<T>(options_.epsilon),
            .keep_value = static_cast<T>(1 - result.learning_rate * options_.weight_decay)};
    }

    void change(const Piece& piece, detail::AdamUpdate<T> update) {
        const auto& parameter = parameters_.all()[piece.parameter];
        if (!parameter.decays) update.keep_value = 1;
        update.step_size *= static_cast<T>(scales_[piece.parameter]);
        const std::size_t at = begins_[piece.parameter] + piece.begin;
        detail::adam_update(static_cast<Index>(piece.length), update,
                            parameter.gradient.data() + piece.begin, first_.data() + at,
                            second_.data() + at, parameter.values.data() + piece.begin);
    }

    void require_fits(const typename AdamWState<T>::Moments& moments, std::size_t k) const {
        const auto& parameter = parameters_.all()[k];
        if (moments.name != parameter.name)
            detail::raise<ArgumentError>({"AdamW: restore: parameter ", k, " is ", parameter.name,
                                          ", in the state ", moments.name});
        if (moments.first.size() != parameter.values.size() ||
            moments.second.size() != parameter.values.size())
            detail::raise<ArgumentError>({"AdamW: restore: ", parameter.name, " has ",
                                          parameter.values.size(), " numbers, in the state ",
                                          moments.first.size(), " and ", moments.second.size()});
        for (std::size_t i = 0; i < parameter.values.size(); ++i)
            if (!std::isfinite(moments.first[i]) || !(moments.second[i] >= 0) ||
                !std::isfinite(moments.second[i]))
                detail::raise<NumericalError>({"AdamW: restore: the moments of ", parameter.name,
                                               " at element ", i, " are ", moments.first[i],
                                               " and ", moments.second[i]});
    }

    [[nodiscard]] std::span<T> moments_of(std::vector<T>& all, std::size_t k) {
        return {all.data() + begins_[k], parameters_.all()[k].values.size()};
    }
    [[nodiscard]] std::span<const T> moments_of(const std::vector<T>& all, std::size_t k) const {
        return {all.data() + begins_[k], parameters_.all()[k].values.size()};
    }

    Parameters<T> parameters_;
    AdamWOptions options_;
    std::vector<std::size_t> begins_;  // of each parameter among the moments
    std::unordered_map<std::string, std::size_t> places_;
    std::vector<Piece> pieces_;
    std::vector<double> sums_;    // of squares, per piece
    std::vector<double> scales_;  // of the rate, per parameter
    std::vector<T> first_, second_;
    Index num_steps_ = 0;
};

}  // namespace mpo

#ifdef MPO_MODEL_COMPILED
namespace mpo {
extern template class AdamW<float>;
}  // namespace mpo
#endif
