// One layer in a safetensors file: the path that a layer's save and load lack. Templates on the layer,
// so that io knows nothing of networks: MpoLinear is such a layer (network/mpo_linear.hpp).
#pragma once

#include <filesystem>

#include "mpo/io/safetensors.hpp"
#include "mpo/io/safetensors_writer.hpp"

namespace mpo {

/// Writes a layer into a new file, complete or not at all; an old one of that name is replaced.
///
/// layer    has save(writer)
/// path     of the file
/// throws   FileError
template <class Layer>
void save_layer(const Layer& layer, const std::filesystem::path& path) {
    SafetensorsWriter writer(path);
    layer.save(writer);
    writer.finish();
}

/// Reads a layer as save_layer wrote it: load_layer<MpoLinear<float>>(path, {.batch = 32}, cpu).
///
/// path      of the file; nothing in it is trusted
/// options   of the plan
/// backend   must outlive the layer
/// throws    FileError; FormatError where the file holds no such layer; as Layer::load
template <class Layer, class B>
[[nodiscard]] Layer load_layer(const std::filesystem::path& path,
                               const typename Layer::Options& options, const B& backend) {
    return Layer::load(SafetensorsFile(path), options, backend);
}

}  // namespace mpo
