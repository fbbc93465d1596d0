// The bodies of model/rope_scaling.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include "mpo/io/inline.hpp"
#include "mpo/model/rope_scaling.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE RopeScaling scaling_of_divisors(const Tensor<float>& divisors,
                                                        double theta) {
    double factor = 1;
    for (Index j = 0; j < divisors.size(); ++j)
        factor = (std::max)(factor, static_cast<double>(divisors.data()[j]));
    for (Index j = 0; j < divisors.size(); ++j) {
        const double exponent = static_cast<double>(j) / static_cast<double>(divisors.size());
        const double turns = 8192 * std::pow(theta, -exponent) / (2 * std::numbers::pi);
        const double s = std::clamp((turns - 1) / 3, 0.0, 1.0);
        const double expected = 1 / ((1 - s) / factor + s);
        if (!(std::abs(static_cast<double>(divisors.data()[j]) - expected) <= 1e-4 * expected))
            return {gguf_rope_divisors, 0, 0, 0, 0};
    }
    return {"llama3", factor, 1, 4, 8192};
}

}  // namespace mpo::detail
