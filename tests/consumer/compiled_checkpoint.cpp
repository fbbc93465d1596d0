// The same from mpo::compiled_model: a checkpoint is written, opened and read, and the bodies come from the library.
#include <filesystem>

#include "mpo/model.hpp"

#if !defined MPO_COMPILED || !defined MPO_MODEL_COMPILED
#error "mpo::compiled_model must define MPO_COMPILED and MPO_MODEL_COMPILED for whoever links it"
#endif

int main() {
    const std::filesystem::path path = "compiled_checkpoint.safetensors";
    const auto W = mpo::normal_tensor<float>({6, 4}, 1);
    mpo::SafetensorsWriter file(path);
    file.append("W", W);
    file.finish();
    const mpo::Checkpoint checkpoint(path);
    const auto read = checkpoint.read<float>("W");
    std::filesystem::remove(path);
    return read.size() == W.size() && checkpoint.tensors().size() == 1 ? 0 : 1;
}
