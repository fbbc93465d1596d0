// Whether one model answers more items rightly than another, from the items on which they differ
// [mcnemar1947]: with b items that only the first has right and c that only the second has, b is
// binomial(b + c, 1/2) where both are equally good.
#pragma once

#include <vector>

#include "mpo/core/tensor.hpp"

namespace mpo {

/// Two models on the same items.
struct McNemar {
    Index num_items = 0;        // answered by both
    Index only_first = 0;       // b: right by the first alone
    Index only_second = 0;      // c: right by the second alone
    double difference = 0;      // accuracy of the first minus that of the second: (b - c) / n
    double standard_error = 0;  // of the difference, paired: sqrt(b + c - (b - c)^2 / n) / n
    double exact_p = 1;         // two-sided binomial: min(1, 2 P(X <= min(b, c)))
    double chi_square = 0;      // (|b - c| - 1)^2 / (b + c), 0 where b = c
    double chi_square_p = 1;    // P(chi^2_1 > chi_square) = erfc(sqrt(chi_square / 2))
};

/// The test from counts: `only_first` and `only_second` of `num_items` are right by one model alone. Throws
/// ArgumentError where they are negative or do not fit together.
[[nodiscard]] McNemar mcnemar(Index only_first, Index only_second, Index num_items);

/// The test from what the `first` and the `second` model answered rightly, item by item. Throws
/// ArgumentError where the lists differ in length or are empty.
[[nodiscard]] McNemar mcnemar(const std::vector<bool>& first, const std::vector<bool>& second);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/mcnemar_inl.hpp"
#endif
