// The bodies of model/moments_file.hpp that are no templates.
#pragma once

#include <utility>

#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/moment_tiles.hpp"
#include "mpo/model/moments_file.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE std::string shapes_of(const TransformerConfig& model) {
    return concat("hidden_size ", model.hidden_size, ", intermediate_size ",
                  model.intermediate_size, ", num_layers ", model.num_layers, ", num_heads ",
                  model.num_heads, ", num_kv_heads ", model.num_kv_heads, ", head_dim ",
                  model.head_dim, ", vocab_size ", model.vocab_size);
}

/// The place of every linear of a decoder.
[[nodiscard]] inline std::map<std::string, MomentsPlace> moments_places(
    const TransformerConfig& model) {
    std::map<std::string, MomentsPlace> places;
    for (Index layer = 0; layer < model.num_layers; ++layer)
        for (const auto stage : block_stages)
            for (const auto& linear : linears_of(layer, stage)) places[linear] = {layer, stage};
    return places;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE MomentsWriter::MomentsWriter(const std::filesystem::path& path,
                                                     const TransformerConfig& model)
    : model_(model),
      places_(detail::moments_places(model)),
      writer_(path, {.metadata = {{"mpo_calibration", moments_format_version},
                                  {"model", detail::shapes_of(model)}}}) {}

MPO_DETAIL_MODEL_INLINE void MomentsWriter::append(const InputMoments& moments) {
    const auto& sums = moments.sums();
    const auto& name = sums.linears.front();
    const auto place = places_.find(name);
    if (place == places_.end() ||
        linears_of(place->second.layer, place->second.stage) != sums.linears ||
        inputs_of(model_, place->second.stage) != sums.inputs)
        detail::raise<ArgumentError>({"MomentsWriter: ", detail::in_quotes(name), " with ",
                                      sums.linears.size(), " linears of ", sums.inputs,
                                      " inputs has no place in the decoder of ",
                                      detail::shapes_of(model_)});
    append_numbers(name + ".totals", {static_cast<double>(sums.tokens), sums.weight,
                                      sums.output_energy, sums.sink_weight});
    append_symmetric(name + ".dense_sum", sums.dense);
    const bool both = sums.flows == MomentFlows::both;
    if (both) {
        append_symmetric(name + ".compressed_sum", sums.compressed);
        writer_.append(name + ".cross_sum", sums.cross);
    }
    if (moments.sinks() == 0) return;
    append_numbers(name + ".sink_scales", sums.sink_scales);
    const Shape rows{moments.sinks(), sums.inputs};
    writer_.append(name + ".sink_dense", TensorView<const float>{sums.sink_dense.data(), rows});
    if (both)
        writer_.append(name + ".sink_compressed",
                       TensorView<const float>{sums.sink_compressed.data(), rows});
}

MPO_DETAIL_MODEL_INLINE void MomentsWriter::finish(const CalibrationSummary& summary) {
    append_numbers("calibration.totals",
                   {static_cast<double>(summary.windows), static_cast<double>(summary.tokens)});
    Tensor<double> sinks({static_cast<Index>(summary.sinks.size()), 6});
    for (Index k = 0; k < sinks.extent(0); ++k) {
        const auto& sink = summary.sinks[static_cast<std::size_t>(k)];
        Index column = 0;
        for (const double value :
             {static_cast<double>(sink.layer), static_cast<double>(static_cast<int>(sink.stage)),
              static_cast<double>(sink.window), static_cast<double>(sink.position), sink.norm,
              sink.median})
            sinks(k, column++) = value;
    }
    writer_.append("calibration.sinks", sinks);
    writer_.finish();
}

MPO_DETAIL_MODEL_INLINE void MomentsWriter::append_numbers(const std::string& name,
                                                           const std::vector<double>& numbers) {
    const Shape shape{static_cast<Index>(numbers.size())};
    writer_.append(name, TensorView<const double>{numbers.data(), shape});
}

MPO_DETAIL_MODEL_INLINE void MomentsWriter::append_symmetric(const std::string& name,
                                                             Tensor<double> sum) {
    detail::mirror_lower(sum);
    writer_.append(name, sum);
}

MPO_DETAIL_MODEL_INLINE MomentsFile::MomentsFile(const std::filesystem::path& path,
                                                 const TransformerConfig& model)
    : file_(path), model_(model), places_(detail::moments_places(model)) {
    require_metadata("mpo_calibration", moments_format_version,
                     "is the version of the moments, this library reads");
    require_metadata("model", detail::shapes_of(model), "are the shapes of the model, not");
    summary_ = read_summary();
    std::size_t known = 2;
    for (Index layer = 0; layer < model.num_layers; ++layer)
        for (const auto stage : block_stages) {
            const std::string name = linears_of(layer, stage).front();
            if (const auto tensors = tensors_of(name, inputs_of(model, stage)); tensors > 0) {
                known += tensors;
                linears_.push_back(name);
            }
        }
    if (known != file_.tensors().size()) refuse_stranger();
}

MPO_DETAIL_MODEL_INLINE InputMoments MomentsFile::read(const std::string& linear) const {
    const auto place = places_.find(linear);
    MomentSums sums;
    if (place != places_.end()) sums.linears = linears_of(place->second.layer, place->second.stage);
    if (sums.linears.empty() || !file_.contains(sums.linears.front() + ".totals"))
        detail::raise<ArgumentError>(
            {file_.path().string(), ": there are no moments of ", detail::in_quotes(linear)});
    const auto& name = sums.linears.front();
    sums.inputs = inputs_of(model_, place->second.stage);
    const bool both = file_.contains(name + ".cross_sum");
    sums.flows = both ? MomentFlows::both : MomentFlows::dense;
    const auto totals = numbers<double>(name + ".totals");
    sums.tokens = integer(name + ".totals", totals[0], 0);
    for (const double total : totals)
        if (total < 0) fail(name + ".totals", detail::concat("holds ", total));
    sums.weight = totals[1];
    sums.output_energy = totals[2];
    sums.sink_weight = totals[3];
    sums.dense = symmetric(name + ".dense_sum");
    if (both) {
        sums.compressed = symmetric(name + ".compressed_sum");
        sums.cross = finite<double>(name + ".cross_sum");
    }
    read_sinks(name, sums);
    return InputMoments(std::move(sums));
}

MPO_DETAIL_MODEL_INLINE void MomentsFile::fail(const std::string& tensor,
                                               const std::string& what) const {
    detail::raise<FormatError>(
        {file_.path().string(), ": the tensor ", detail::in_quotes(tensor), " ", what});
}

MPO_DETAIL_MODEL_INLINE void MomentsFile::require_metadata(const std::string& key,
                                                           const std::string& expected,
                                                           const char* rule) const {
    const auto found = file_.metadata().find(key);
    if (found == file_.metadata().end())
        detail::raise<FormatError>(
            {file_.path().string(), ": the metadata '", key, "' are missing; are these moments?"});
    if (found->second != expected)
        detail::raise<FormatError>({file_.path().string(), ": ", detail::in_quotes(found->second),
                                    " ", rule, " ", detail::in_quotes(expected)});
}

MPO_DETAIL_MODEL_INLINE void MomentsFile::require_tensor(const std::string& name, DType dtype,
                                                         const Shape& shape) const {
    if (!file_.contains(name)) fail(name, "is missing");
    const auto& entry = file_.info(name);
    if (entry.dtype != dtype || entry.shape != shape)
        fail(name, detail::concat("must be ", to_string(dtype), " ", to_string(shape), ", got ",
                                  to_string(entry.dtype), " ", to_string(entry.shape)));
}

MPO_DETAIL_MODEL_INLINE std::size_t MomentsFile::tensors_of(const std::string& name,
                                                            Index n) const {
    if (!file_.contains(name + ".totals")) return 0;
    require_tensor(name + ".totals", DType::f64, {4});
    require_tensor(name + ".dense_sum", DType::f64, {n, n});
    const bool both = file_.contains(name + ".cross_sum");
    if (both) {
        require_tensor(name + ".cross_sum", DType::f64, {n, n});
        require_tensor(name + ".compressed_sum", DType::f64, {n, n});
    }
    const std::size_t tensors = both ? 4 : 2;
    if (!file_.contains(name + ".sink_scales")) return tensors;
    const auto& shape = file_.info(name + ".sink_scales").shape;
    const Index sinks = shape.size() == 1 ? shape[0] : 0;
    require_tensor(name + ".sink_scales", DType::f64, {sinks});
    require_tensor(name + ".sink_dense", DType::f32, {sinks, n});
    if (both) require_tensor(name + ".sink_compressed", DType::f32, {sinks, n});
    return tensors + (both ? 3 : 2);
}

MPO_DETAIL_MODEL_INLINE void MomentsFile::refuse_stranger() const {
    for (const auto& tensor : file_.tensors()) {
        const auto dot = tensor.name.rfind('.');
        const std::string linear = tensor.name.substr(0, dot);
        const bool first = std::find(linears_.begin(), linears_.end(), linear) != linears_.end();
        if (linear == "calibration" || first) continue;
        fail(tensor.name, "has no place among moments of this decoder");
    }
    detail::raise<FormatError>({file_.path().string(), ": of its ", file_.tensors().size(),
                                " tensors some have no place among moments"});
}

MPO_DETAIL_MODEL_INLINE Tensor<double> MomentsFile::symmetric(const std::string& name) const {
    auto G = finite<double>(name);
    for (Index i = 0; i < G.extent(0); ++i) {
        if (G(i, i) < 0) fail(name, detail::concat("holds ", G(i, i), " at (", i, ", ", i, ")"));
        for (Index j = 0; j < i; ++j)
            if (G(i, j) != G(j, i))
                fail(name, detail::concat("is not symmetric: ", G(i, j), " at (", i, ", ", j, "), ",
                                          G(j, i), " at (", j, ", ", i, ")"));
    }
    return G;
}

MPO_DETAIL_MODEL_INLINE Index MomentsFile::integer(const std::string& name, double value,
                                                   double least) const {
    constexpr double most = 9007199254740992.0;  // 2^53
    if (!(value >= least) || value > most || value != std::floor(value))
        fail(name,
             detail::concat("holds ", value, ", where an integer from ", least, " on belongs"));
    return static_cast<Index>(value);
}

MPO_DETAIL_MODEL_INLINE void MomentsFile::read_sinks(const std::string& name,
                                                     MomentSums& sums) const {
    const bool sinks = file_.contains(name + ".sink_scales");
    if (sinks != (sums.sink_weight > 0))
        fail(name + ".totals",
             detail::concat("states the weight ", sums.sink_weight,
                            " of sinks, and their rows are ", sinks ? "there" : "missing"));
    if (!sinks) return;
    sums.sink_scales = numbers<double>(name + ".sink_scales");
    for (const double scale : sums.sink_scales)
        if (!(scale > 0)) fail(name + ".sink_scales", detail::concat("holds ", scale));
    sums.sink_dense = numbers<float>(name + ".sink_dense");
    if (sums.flows == MomentFlows::both)
        sums.sink_compressed = numbers<float>(name + ".sink_compressed");
}

MPO_DETAIL_MODEL_INLINE CalibrationSummary MomentsFile::read_summary() const {
    const std::string totals = "calibration.totals", list = "calibration.sinks";
    require_tensor(totals, DType::f64, {2});
    const auto counts = numbers<double>(totals);
    CalibrationSummary summary{integer(totals, counts[0], 1), integer(totals, counts[1], 2), {}};
    const Index sinks =
        file_.contains(list) && !file_.info(list).shape.empty() ? file_.info(list).shape[0] : 0;
    require_tensor(list, DType::f64, {sinks, 6});
    const auto rows = finite<double>(list);
    for (Index k = 0; k < sinks; ++k) {
        SinkPosition sink;
        sink.layer = integer(list, rows(k, 0), -1);
        const Index stage = integer(list, rows(k, 1), 0);
        sink.window = integer(list, rows(k, 2), 0);
        sink.position = integer(list, rows(k, 3), 0);
        sink.norm = rows(k, 4);
        sink.median = rows(k, 5);
        if (sink.layer >= model_.num_layers || stage > 3 || sink.window >= summary.windows ||
            sink.norm < 0 || sink.median < 0)
            fail(list, detail::concat("holds no sink in row ", k));
        sink.stage = static_cast<BlockStage>(stage);
        summary.sinks.push_back(sink);
    }
    return summary;
}

MPO_DETAIL_MODEL_INLINE void merge_moments(const MomentsFile& one, const MomentsFile& other,
                                           const TransformerConfig& model,
                                           const std::filesystem::path& path) {
    if (one.linears() != other.linears())
        detail::raise<ArgumentError>({"merge_moments: one file has moments of ",
                                      one.linears().size(), " stages, the other of ",
                                      other.linears().size(), ", or of others"});
    MomentsWriter writer(path, model);
    for (const auto& linear : one.linears()) {
        auto moments = one.read(linear);
        moments.merge(other.read(linear));
        writer.append(moments);
    }
    CalibrationSummary summary = one.summary();
    for (auto sink : other.summary().sinks) {
        sink.window += one.summary().windows;
        summary.sinks.push_back(sink);
    }
    summary.windows += other.summary().windows;
    summary.tokens += other.summary().tokens;
    writer.finish(summary);
}

}  // namespace mpo
