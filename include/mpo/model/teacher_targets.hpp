// What a teacher says of the next token: its K most probable ids, and the mass of all others in one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "mpo/core/tensor.hpp"

namespace mpo {

/// Targets of some positions, row-major, of somebody else's memory. No positions: no teacher.
struct TeacherTargets {
    Index positions = 0;                            // rows
    Index top = 0;                                  // K, ids in a row
    std::span<const std::int32_t> ids = {};         // (positions, K), by descending probability
    std::span<const float> log_probabilities = {};  // (positions, K), of these ids
    std::span<const float> log_rest = {};  // (positions), of all others: -inf where there are none
};

/// The same, owned.
struct TeacherTargetRows {
    Index positions = 0;                        // rows
    Index top = 0;                              // K, ids in a row
    std::vector<std::int32_t> ids = {};         // (positions, K), by descending probability
    std::vector<float> log_probabilities = {};  // (positions, K), of these ids
    std::vector<float> log_rest = {};           // (positions), of all others

    /// As head_loss takes them.
    [[nodiscard]] TeacherTargets view() const {
        return {positions, top, ids, log_probabilities, log_rest};
    }
};

}  // namespace mpo
