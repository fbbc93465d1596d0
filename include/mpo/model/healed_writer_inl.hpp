// The bodies of model/healed_writer.hpp that are no templates.
#pragma once

#include <algorithm>
#include <charconv>
#include <set>
#include <system_error>
#include <variant>

#include "mpo/core/dtype.hpp"
#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/healed_writer.hpp"
#include "mpo/model/stored_linear.hpp"
#include "mpo/model/trainable_transformer.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void HealedWriter::write(
    const std::filesystem::path& folder, const TrainedParts& parts,
    const std::map<std::string, const Tensor<float>*>& outside) {
    CompressedWriter writer(folder);
    for (const auto& [checkpoint, stored] : sources()) {
        const auto& source = checkpoint->checkpoint();
        const auto& tensor = *stored;
        const auto core = checkpoint->core_of(tensor.name);
        if (core.linear != nullptr) {
            if (tensor.name != core_name(core.linear->name, 0)) continue;  // with the first
            if (parts.cores)
                append(*core.linear, writer);
            else
                keep(source, *core.linear, writer);
        } else if (const auto found = outside.find(tensor.name); found != outside.end()) {
            writer.append(tensor.name, *found->second, std::get<DType>(tensor.type));
        } else if (const auto* healed = array_of(tensor.name, parts)) {
            writer.append(tensor.name, *healed, std::get<DType>(tensor.type));
        } else {
            const auto* dtype = std::get_if<DType>(&tensor.type);
            writer.copy(source, tensor.name, dtype != nullptr ? *dtype : DType::f32);
        }
    }
    const auto written = writer.finish(student_.checkpoint(), DType::bf16);
    writer.commit();
}

MPO_DETAIL_MODEL_INLINE std::vector<HealedWriter::Source> HealedWriter::sources() const {
    std::vector<Source> all;
    std::set<Index> entered;
    for (const auto& tensor : student_.checkpoint().tensors()) {
        const auto k = layer_of(tensor.name);
        if (!k || !std::binary_search(rival_.layers.begin(), rival_.layers.end(), *k)) {
            all.push_back({&student_, &tensor});
            continue;
        }
        if (!entered.insert(*k).second) continue;  // with the first
        for (const auto& other : rival_.rival->checkpoint().tensors())
            if (layer_of(other.name) == k) all.push_back({rival_.rival, &other});
    }
    return all;
}

MPO_DETAIL_MODEL_INLINE std::optional<Index> HealedWriter::layer_of(std::string_view name) {
    constexpr std::string_view prefix = "model.layers.";
    if (!name.starts_with(prefix)) return {};
    Index layer = 0;
    const auto read =
        std::from_chars(name.data() + prefix.size(), name.data() + name.size(), layer);
    if (read.ec != std::errc() || layer < 0) return {};
    return layer;
}

MPO_DETAIL_MODEL_INLINE const LayerWeights<float>& HealedWriter::layer(Index k) {
    if (at_ != k) current_ = layers_(k);
    at_ = k;
    return current_;
}

MPO_DETAIL_MODEL_INLINE const LinearWeight<float>& HealedWriter::linear(const std::string& name) {
    for (const auto& candidate : layer(layer_of(name).value()).linears)
        if (candidate.name == name) return candidate;
    raise<FormatError>({"heal: no layer has the linear ", in_quotes(name)});
}

MPO_DETAIL_MODEL_INLINE const Tensor<float>* HealedWriter::array_of(const std::string& name,
                                                                    const TrainedParts& parts) {
    const auto k = layer_of(name);
    if (!k) return nullptr;
    if (parts.norms && name.ends_with(".input_layernorm.weight")) return &layer(*k).input_norm;
    if (parts.norms && name.ends_with(".post_attention_layernorm.weight"))
        return &layer(*k).post_attention_norm;
    constexpr std::string_view bias = ".bias", weight = ".weight";
    if (parts.biases && name.ends_with(bias))
        return &linear(name.substr(0, name.size() - bias.size())).bias;
    if (parts.weights && name.ends_with("_proj.weight"))
        return std::get_if<Tensor<float>>(
            &linear(name.substr(0, name.size() - weight.size())).weight);
    return nullptr;
}

MPO_DETAIL_MODEL_INLINE void HealedWriter::append(const CompressedLinear& was,
                                                  CompressedWriter& writer) {
    const auto W = teacher_.read<float>(was.name + ".weight");
    const auto form = stored_form(W, std::get<Mpo<float>>(linear(was.name).weight), was.dtype,
                                  was.stored_as, backend_);
    auto now = was;
    now.layout = form.layout;
    now.bonds = form.bonds;
    now.relative_error = form.relative_error;
    now.error_kind = ErrorKind::exact;
    now.center = form.center;
    writer.append(std::move(now), form);
}

MPO_DETAIL_MODEL_INLINE void HealedWriter::keep(const Checkpoint& source,
                                                const CompressedLinear& was,
                                                CompressedWriter& writer) const {
    StoredForm form;
    const auto read = [&](const std::string& name) {
        const auto& tensor = source.info(name);
        const auto bytes = source.raw(name);
        return StoredTensor{tensor.shape,
                            std::get<DType>(tensor.type),
                            {bytes.data(), bytes.data() + bytes.size()}};
    };
    for (Index k = 0; k < num_sites(was.layout); ++k)
        form.cores.push_back(read(core_name(was.name, k)));
    for (Index k = 1; was.stored_as == StoredAs::gauge_fixed && k < num_sites(was.layout); ++k)
        form.pivots.push_back(read(pivots_name(was.name, k)));
    writer.append(was, form);
}

}  // namespace mpo::detail
