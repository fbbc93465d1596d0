// Parameters: the arrays that training may change, under names, each beside the array in which its gradient
// adds up. What a model does not list is frozen and keeps its bits.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo {

/// One array. The numbers belong to the model, which must outlive this view.
template <class T>
struct Parameter {
    std::string name;       // of its tensor: "model.layers.3.mlp.up_proj.cores.0"
    std::span<T> values;    // what a step changes
    std::span<T> gradient;  // as many numbers: dL/dvalues, added up since the last clear_gradients
    bool decays =
        true;  // whether weight decay applies: to weights and cores, not to norms and biases
};

/// A list of parameters, in an order that is the same in every run.
template <class T>
class Parameters {
  public:
    /// Adds one. Throws ShapeError, naming it, where the gradient has another length.
    void add(Parameter<T> parameter) {
        if (parameter.gradient.size() != parameter.values.size())
            detail::raise<ShapeError>({"Parameters: ", parameter.name, " has ",
                                       parameter.values.size(), " numbers and a gradient of ",
                                       parameter.gradient.size()});
        all_.push_back(std::move(parameter));
    }

    /// All of them.
    [[nodiscard]] const std::vector<Parameter<T>>& all() const { return all_; }
    /// Numbers that a step changes.
    [[nodiscard]] Index num_values() const {
        std::size_t sum = 0;
        for (const auto& parameter : all_) sum += parameter.values.size();
        return static_cast<Index>(sum);
    }

    /// Every gradient 0.
    void clear_gradients() const {
        for (const auto& parameter : all_)
            std::fill(parameter.gradient.begin(), parameter.gradient.end(), T{0});
    }

  private:
    std::vector<Parameter<T>> all_;
};

}  // namespace mpo
