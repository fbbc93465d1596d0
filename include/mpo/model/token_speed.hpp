// What a token costs in a decoder: multiply-adds as its linears are applied, and measured time.
#pragma once

#include <filesystem>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/model_cost.hpp"
#include "mpo/model/transformer.hpp"

namespace mpo {

/// What is measured, and how often.
struct TokenSpeedOptions {
    std::vector<Index> batches = {1, 512};  // tokens in one call; cut to the context of the model
    int rounds = 5;                         // passes whose median counts, behind one that does not
};

/// Multiply-adds and time per token of the layers of a decoder, its head and its embedding left out: they are the
/// same in every form of it. Time holds attention and norms, multiply-adds are those of the linears.
///
/// options   batches >= 1, one that exceeds the context is cut to it; rounds >= 1
/// returns   one entry per batch, ascending, none twice
/// cost      rounds + 1 passes per batch
/// throws    ArgumentError (options)
[[nodiscard]] std::vector<BatchCost> measure_batches(const Transformer& model,
                                                     const TokenSpeedOptions& options = {});

/// The same of the decoder in a checkpoint, with what it stores. Chains are applied as such: dense weights that would
/// be faster are not kept, for a model of that size is another one.
///
/// throws   as Transformer and measure_batches
[[nodiscard]] ModelCost measure_cost(const std::filesystem::path& path,
                                     const TokenSpeedOptions& options, const EigenBackend& backend);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/token_speed_inl.hpp"
#endif
