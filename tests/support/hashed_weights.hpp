// The tiny decoders of fixtures/decoder_models.json, written as checkpoints; their weights come from the
// integer hash that fixtures/make_decoder_fixtures.py documents.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "files.hpp"
#include "mpo/core/dtype.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/safetensors_writer.hpp"

namespace mpo::test {

/// One entry of decoder_models.json.
struct TinyDecoder {
    std::string name;
    std::uint64_t seed = 0;
    DType dtype = DType::f32;
    Index shards = 1;
    nlohmann::ordered_json config;
    std::vector<Index> tokens;
    std::vector<std::pair<std::string, Shape>> shapes;
};

[[nodiscard]] inline std::vector<TinyDecoder> tiny_decoders() {
    std::vector<TinyDecoder> decoders;
    const auto json = nlohmann::ordered_json::parse(read_file(fixture("decoder_models.json")));
    for (const auto& entry : json) {
        TinyDecoder decoder{entry["name"],
                            entry["seed"],
                            parse_dtype(entry["dtype"].get<std::string>()).value(),
                            entry["shards"],
                            entry["config"],
                            entry["tokens"],
                            {}};
        for (const auto& [name, shape] : entry["shapes"].items())
            decoder.shapes.emplace_back(name, shape.get<Shape>());
        decoders.push_back(std::move(decoder));
    }
    return decoders;
}

[[nodiscard]] inline TinyDecoder tiny_decoder(const std::string& name) {
    for (auto& decoder : tiny_decoders())
        if (decoder.name == name) return decoder;
    FAIL("no tiny decoder is called " << name);
    return {};
}

[[nodiscard]] inline Tensor<float> hashed_tensor(const std::string& name, const Shape& shape,
                                                 std::uint64_t seed) {
    std::uint64_t base = 0xcbf29ce484222325;
    for (const char c : name) base = (base ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    Tensor<float> tensor(shape);
    const bool matrix = shape.size() == 2, embedding = name.find("embed") != std::string::npos;
    const float unit = matrix && !embedding
                           ? static_cast<float>(2 / std::sqrt(static_cast<double>(shape.at(1))))
                           : 1.0f;
    const float one = name.find("norm") != std::string::npos ? 1.0f : 0.0f;
    for (Index k = 0; k < tensor.size(); ++k) {
        std::uint64_t h = base + seed + static_cast<std::uint64_t>(k) + 0x9e3779b97f4a7c15;
        h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9;
        h = (h ^ (h >> 27)) * 0x94d049bb133111eb;
        h ^= h >> 31;
        const auto u = static_cast<float>(static_cast<double>(h >> 40) / 8388608 - 1);
        tensor.data()[k] = matrix ? u * unit : u / 4 + one;
    }
    return tensor;
}

using ChangeTensor = std::function<Tensor<float>(const std::string&, Tensor<float>)>;

/// Writes the folder of a decoder; `change` may replace tensors, or drop those it makes empty.
inline void write_decoder(const std::filesystem::path& folder, const TinyDecoder& decoder,
                          const ChangeTensor& change = {}) {
    std::filesystem::create_directory(folder);
    write_file(folder / "config.json", decoder.config.dump(2));
    const auto append = [&](auto& writer) {
        for (const auto& [name, shape] : decoder.shapes) {
            auto tensor = hashed_tensor(name, shape, decoder.seed);
            if (change) tensor = change(name, std::move(tensor));
            if (tensor.size() > 0) writer.append(name, tensor, decoder.dtype);
        }
        writer.finish();
    };
    Index bytes = 0;
    for (const auto& entry : decoder.shapes) bytes += 4 * num_elements(entry.second);
    if (decoder.shards > 1) {
        ShardedSafetensorsWriter writer(folder, {.max_shard_bytes = bytes / (2 * decoder.shards)});
        append(writer);
    } else {
        SafetensorsWriter writer(folder / "model.safetensors");
        append(writer);
    }
}

}  // namespace mpo::test
