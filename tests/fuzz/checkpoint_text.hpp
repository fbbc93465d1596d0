// Everything that can be asked of an opened checkpoint, as one text.
#pragma once

#include <string>

#include "fuzz.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/describe.hpp"

namespace mpo::fuzz {

[[nodiscard]] inline std::string text_of(const Checkpoint& checkpoint) {
    std::string text = to_json(checkpoint) + checkpoint.config_json();
    for (const auto& tensor : checkpoint.tensors()) {
        const auto stored = checkpoint.raw(tensor.name);
        require(stored.size() == tensor.bytes, "a tensor has its bytes");
        for (const std::byte byte : stored.span()) text += static_cast<char>(byte);
        const bool complex = tensor.type == StoredType(DType::c64);
        if (is_convertible(tensor.type) && !complex)
            require(checkpoint.read<float>(tensor.name).shape() == tensor.shape,
                    "a tensor has its shape");
    }
    return text;
}

}  // namespace mpo::fuzz
