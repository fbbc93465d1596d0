// How the rows of a product split into the panels that its tiles take.
#pragma once

#include <algorithm>

#include "mpo/core/tensor.hpp"

namespace mpo::detail {

/// How rows split into panels of heights that have kernels and differ by little, so that no panel is
/// nearly empty. Complex rows are two real ones, so that any number of them has a kernel.
struct RowPanels {
    Index rows;
    Index tallest;  // panel; even
    bool real;

    [[nodiscard]] Index count() const { return even_panels() + (odd() > 0 ? 1 : 0); }
    /// First row of a panel; of panel count(): the end.
    [[nodiscard, gnu::noinline]] Index begin(Index panel) const {
        const Index first = odd(), step = real ? 2 : 1;
        if (first > 0 && --panel <= 0) return panel < 0 ? 0 : first;
        return first + (rows - first) / step * panel / even_panels() * step;
    }

  private:
    /// Height of the first panel where the number of rows is odd, else 0: tall tiles have even heights,
    /// and four or five rows already keep the processor busy.
    [[nodiscard]] Index odd() const {
        if (!real || rows % 2 == 0) return 0;
        const Index tallest_odd = std::min<Index>(tallest, 6) - 1;
        return rows <= tallest_odd ? rows : rows == 7 ? 3 : tallest_odd;
    }
    [[nodiscard]] Index even_panels() const { return (rows - odd() + tallest - 1) / tallest; }
};

}  // namespace mpo::detail
