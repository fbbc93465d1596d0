// What a training step reads and changes, in a snapshot: the values of an optimizer's parameters, both moments
// and the number of the step. With the same gradients the steps that follow have the same bits.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/model/optimizer.hpp"
#include "mpo/model/snapshot.hpp"

namespace mpo {
namespace detail {

inline constexpr const char* training_step = "optimizer.step";

/// Name in a snapshot of one of the three arrays of a parameter: "values", "first" or "second".
[[nodiscard]] inline std::string training_array(const char* which, const std::string& parameter) {
    return concat("optimizer.", which, '.', parameter);
}

}  // namespace detail

/// Adds everything to a snapshot, under names that begin with "optimizer.". Throws as SnapshotWriter::add.
template <class T>
void add_training(SnapshotWriter& writer, const AdamW<T>& optimizer) {
    const auto state = optimizer.state();
    writer.add(detail::training_step, std::vector<std::int64_t>{state.step});
    for (std::size_t k = 0; k < state.moments.size(); ++k) {
        const auto& [name, first, second] = state.moments[k];
        writer.add(detail::training_array("values", name),
                   std::span<const T>(optimizer.parameters().all()[k].values));
        writer.add(detail::training_array("first", name), first);
        writer.add(detail::training_array("second", name), second);
    }
}

/// Takes it over, values of the parameters included; the snapshot may hold more parameters.
///
/// cost     all of it in memory once more while it is checked
/// throws   FormatError, naming file and array, where one is missing or of another type or length;
///          NumericalError as AdamW::restore; then nothing has changed
template <class T>
void restore_training(const Snapshot& snapshot, AdamW<T>& optimizer) {
    const auto& parameters = optimizer.parameters().all();
    std::int64_t step = 0;
    snapshot.read(detail::training_step, std::span(&step, 1));
    std::vector<std::vector<T>> values, moments;
    AdamWState<T> state;
    state.step = static_cast<Index>(step);
    for (const auto& parameter : parameters) {
        const auto read = [&](const char* which) {
            std::vector<T> array(parameter.values.size());
            snapshot.read(detail::training_array(which, parameter.name), std::span<T>(array));
            return array;
        };
        values.push_back(read("values"));
        moments.push_back(read("first"));
        moments.push_back(read("second"));
    }
    for (std::size_t k = 0; k < parameters.size(); ++k)
        state.moments.push_back({parameters[k].name, moments[2 * k], moments[2 * k + 1]});
    optimizer.restore(state);
    for (std::size_t k = 0; k < parameters.size(); ++k)
        std::copy(values[k].begin(), values[k].end(), parameters[k].values.begin());
}

}  // namespace mpo
