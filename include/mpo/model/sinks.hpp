// Sinks: positions whose state is far above all others' of their text, on which the heads of later layers
// rest (Xiao et al., arXiv:2309.17453; Sun et al., arXiv:2402.17762). In SmolLM2-135M it is position 0, whose
// norm grows from 140 to 23,800 in one layer. A compressed model that loses them loses everything behind.
#pragma once

#include <string>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/decoder_block.hpp"

namespace mpo {

/// A sink, where it appeared.
struct SinkPosition {
    Index layer = -1;                     // whose outputs made it; -1: the embedding did
    BlockStage stage = BlockStage::down;  // of the layer: output or down
    Index window = 0;                     // of those calibrated on
    Index position = 0;                   // in the window
    double norm = 0;                      // of its state behind the module
    double median = 0;                    // of the norms of all states of the window there

    /// What made it: "model.layers.11.mlp.down_proj", or "model.embed_tokens".
    [[nodiscard]] std::string module() const {
        return layer < 0 ? "model.embed_tokens" : linears_of(layer, stage).front();
    }
};

namespace detail {

/// States of one window, row by row.
struct StateNorms {
    std::vector<double> norms;
    double median = 0;         // the lower one
    std::vector<Index> sinks;  // positions whose norm exceeds factor * median, ascending
};

/// norm(x_t + update_t) of every row, update may be null; and the sinks among them. Throws NumericalError,
/// naming `module`, where a norm is not finite.
[[nodiscard]] StateNorms state_norms(MatrixView<const float> x, const float* update, double factor,
                                     const std::string& module);

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/sinks_inl.hpp"
#endif
