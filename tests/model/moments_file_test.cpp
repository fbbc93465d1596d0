#include "mpo/model/moments_file.hpp"

#include <cstring>
#include <functional>
#include <limits>

#include "mpo/model/calibrate.hpp"
#include "mpo/model/moment_tiles.hpp"
#include "support/calibration.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/hashed_weights.hpp"
#include "support/models.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

[[nodiscard]] TransformerConfig config_of(const std::string& decoder) {
    const TemporaryFolder folder;
    write_decoder(folder / "model", tiny_decoder(decoder));
    return transformer_config(Checkpoint(folder / "model"));
}

/// Moments of linears that read the same, of both flows, with sinks where there are to be some.
[[nodiscard]] InputMoments some_moments(const TransformerConfig& config, Index layer,
                                        BlockStage stage, MomentFlows flows, Index sinks = 0,
                                        std::uint64_t seed = 1) {
    const Index n = inputs_of(config, stage);
    InputMoments moments(linears_of(layer, stage), n, flows);
    const auto X = normal_tensor<float>({9, n}, seed), Z = normal_tensor<float>({9, n}, seed + 1);
    if (flows == MomentFlows::both)
        moments.add(as_matrix(X.view()), as_matrix(Z.view()), {}, cpu);
    else
        moments.add(as_matrix(X.view()), {}, cpu);
    moments.add_output_energy(3.25);
    const auto size = static_cast<std::size_t>(n);
    for (Index p = 0; p < sinks; ++p) {
        const std::span<const float> dense(X.data() + p * n, size), other(Z.data() + p * n, size);
        moments.add_sink(dense, flows == MomentFlows::both ? other : std::span<const float>(),
                         0.5 + static_cast<double>(p), 1e5);
    }
    return moments;
}

[[nodiscard]] CalibrationSummary some_summary() {
    return {3, 70, {{-1, BlockStage::down, 0, 4, 500, 7}, {1, BlockStage::output, 2, 0, 1e5, 30}}};
}

void write_some(const std::filesystem::path& path, const TransformerConfig& config,
                std::uint64_t seed = 1) {
    MomentsWriter writer(path, config);
    writer.append(some_moments(config, 0, BlockStage::attention, MomentFlows::dense, 0, seed));
    writer.append(some_moments(config, 1, BlockStage::down, MomentFlows::both, 2, seed + 7));
    writer.finish(some_summary());
}

[[nodiscard]] bool same_moments(const MomentSums& a, const MomentSums& b) {
    const auto bits = [](const Tensor<double>& x, const Tensor<double>& y) {
        return x.shape() == y.shape() && std::equal(x.data(), x.data() + x.size(), y.data());
    };
    return a.linears == b.linears && a.inputs == b.inputs && a.flows == b.flows &&
           a.tokens == b.tokens && a.weight == b.weight && a.output_energy == b.output_energy &&
           a.sink_weight == b.sink_weight && bits(a.dense, b.dense) &&
           bits(a.compressed, b.compressed) && bits(a.cross, b.cross) &&
           a.sink_scales == b.sink_scales && a.sink_dense == b.sink_dense &&
           a.sink_compressed == b.sink_compressed;
}

/// The sums with both triangles, as a file has them.
[[nodiscard]] MomentSums completed(MomentSums sums) {
    detail::mirror_lower(sums.dense);
    if (sums.flows == MomentFlows::both) detail::mirror_lower(sums.compressed);
    return sums;
}

using Tensors = std::map<std::string, Tensor<double>>;

/// Writes a file again with other tensors or metadata; those called sink_dense and sink_compressed as F32.
void rewrite(const std::filesystem::path& path, const std::function<void(Tensors&)>& change,
             const std::map<std::string, std::string>& metadata = {}) {
    Tensors tensors;
    std::map<std::string, std::string> pairs;
    {
        const SafetensorsFile file(path);
        pairs = file.metadata();
        for (const auto& entry : file.tensors())
            tensors[entry.name] = file.read<double>(entry.name);
    }
    change(tensors);
    for (const auto& [key, value] : metadata) pairs[key] = value;
    for (const auto& [key, value] : metadata)
        if (value.empty()) pairs.erase(key);
    SafetensorsWriter writer(path, {.metadata = pairs});
    for (const auto& [name, tensor] : tensors) {
        const bool rows = name.ends_with("sink_dense") || name.ends_with("sink_compressed");
        writer.append(name, tensor, rows ? DType::f32 : DType::f64);
    }
    writer.finish();
}

}  // namespace

TEST_CASE("moments file: what was written is read, bit for bit") {
    const auto config = config_of("group_3");
    const TemporaryFolder folder;
    const auto path = folder / "moments.safetensors";
    const auto dense = some_moments(config, 0, BlockStage::attention, MomentFlows::dense);
    const auto guarded = some_moments(config, 0, BlockStage::output, MomentFlows::dense, 1);
    const auto both = some_moments(config, 1, BlockStage::down, MomentFlows::both, 2);
    const auto plain = some_moments(config, 1, BlockStage::mlp, MomentFlows::both);
    {
        MomentsWriter writer(path, config);
        for (const auto* moments : {&both, &dense, &guarded, &plain}) writer.append(*moments);
        CHECK_FALSE(std::filesystem::exists(path));
        writer.finish(some_summary());
    }
    const MomentsFile file(path, config);
    CHECK(file.linears() == std::vector<std::string>{"model.layers.0.self_attn.q_proj",
                                                     "model.layers.0.self_attn.o_proj",
                                                     "model.layers.1.mlp.gate_proj",
                                                     "model.layers.1.mlp.down_proj"});
    for (const auto* moments : {&dense, &guarded, &both, &plain})
        for (const auto& linear : moments->linears()) {
            INFO(linear);
            const auto read = file.read(linear);
            CHECK(same_moments(read.sums(), completed(moments->sums())));
            CHECK(moments_apart(read.cross_moment(cpu), moments->cross_moment(cpu)) == 0);
        }
    CHECK(file.summary().windows == 3);
    CHECK(file.summary().tokens == 70);
    REQUIRE(file.summary().sinks.size() == 2);
    CHECK(file.summary().sinks[0].module() == "model.embed_tokens");
    CHECK(file.summary().sinks[1].module() == "model.layers.1.self_attn.o_proj");
    CHECK(file.summary().sinks[1].window == 2);
    CHECK(file.summary().sinks[1].norm == 1e5);
    check_throws<ArgumentError>([&] { (void)file.read("model.layers.1.self_attn.q_proj"); },
                                {path.string(), "no moments of 'model.layers.1.self_attn.q_proj'"});
    check_throws<ArgumentError>([&] { (void)file.read("calibration"); }, {"'calibration'"});
}

TEST_CASE("moments file: two files merge to the moments of both") {
    const auto config = config_of("group_3");
    const TemporaryFolder folder;
    write_some(folder / "a", config);
    write_some(folder / "b", config, 40);
    const MomentsFile one(folder / "a", config), other(folder / "b", config);
    merge_moments(one, other, config, folder / "sum");
    const MomentsFile sum(folder / "sum", config);
    CHECK(sum.linears() == one.linears());
    for (const auto& linear : sum.linears()) {
        auto expected = one.read(linear);
        expected.merge(other.read(linear));
        CHECK(same_moments(sum.read(linear).sums(), completed(expected.sums())));
    }
    CHECK(sum.summary().windows == 6);
    CHECK(sum.summary().tokens == 140);
    REQUIRE(sum.summary().sinks.size() == 4);
    CHECK(sum.summary().sinks[3].window == 5);
    {
        MomentsWriter writer(folder / "c", config);
        writer.append(some_moments(config, 0, BlockStage::attention, MomentFlows::dense));
        writer.finish(some_summary());
    }
    check_throws<ArgumentError>(
        [&] { merge_moments(one, MomentsFile(folder / "c", config), config, folder / "none"); },
        {"2 stages", "of 1"});
    CHECK_FALSE(std::filesystem::exists(folder / "none"));
}

TEST_CASE("moments file: moments of another model are refused") {
    const auto config = config_of("group_3"), other = config_of("deep");
    const TemporaryFolder folder;
    const auto path = folder / "moments";
    write_some(path, config);
    check_throws<FormatError>([&] { (void)MomentsFile(path, other); },
                              {path.string(), "hidden_size 36", "hidden_size 16", "num_layers 7"});
    MomentsWriter writer(folder / "b", config);
    check_throws<ArgumentError>(
        [&] { writer.append(some_moments(other, 0, BlockStage::attention, MomentFlows::dense)); },
        {"model.layers.0.self_attn.q_proj", "3 linears of 16", "hidden_size 36"});
    check_throws<ArgumentError>(
        [&] { writer.append(some_moments(config, 2, BlockStage::down, MomentFlows::dense)); },
        {"model.layers.2.mlp.down_proj", "no place"});
    check_throws<ArgumentError>(
        [&] { writer.append(InputMoments({"lm_head"}, 36, MomentFlows::dense)); }, {"lm_head"});
    const auto moments = some_moments(config, 1, BlockStage::down, MomentFlows::dense);
    writer.append(moments);
    check_throws<ArgumentError>([&] { writer.append(moments); }, {"appended before"});
}

TEST_CASE("moments file: a hostile file is refused, naming the tensor") {
    const auto config = config_of("group_3");
    const std::string q = "model.layers.0.self_attn.q_proj", down = "model.layers.1.mlp.down_proj";
    const double nan = std::numeric_limits<double>::quiet_NaN();
    struct Lie {
        const char* what;
        std::function<void(Tensors&)> change;
        std::vector<std::string> message;
    };
    const auto set = [](const std::string& name, Index k, double value) {
        return [=](Tensors& tensors) { tensors.at(name).data()[k] = value; };
    };
    const auto drop = [](const std::string& name) {
        return [=](Tensors& tensors) { tensors.erase(name); };
    };
    const auto shape = [](const std::string& name, const Shape& other) {
        return [=](Tensors& tensors) { tensors[name] = Tensor<double>(other); };
    };
    const Lie lies[] = {
        {"NaN", set(q + ".dense_sum", 3, nan), {q + ".dense_sum", "nan", "element 3"}},
        {"not symmetric", set(q + ".dense_sum", 2, 1e9), {q + ".dense_sum", "(2, 0)", "(0, 2)"}},
        {"negative", set(q + ".dense_sum", 37, -1), {q + ".dense_sum", "-1 at (1, 1)"}},
        {"NaN across", set(down + ".cross_sum", 0, nan), {down + ".cross_sum", "nan"}},
        {"not symmetric either", set(down + ".compressed_sum", 1, 1e9), {".compressed_sum"}},
        {"half a token", set(q + ".totals", 0, 0.5), {q + ".totals", "0.5", "integer"}},
        {"too many tokens", set(q + ".totals", 0, 1e30), {q + ".totals", "integer"}},
        {"negative weight", set(q + ".totals", 1, -2), {q + ".totals", "-2"}},
        {"infinite energy", set(q + ".totals", 2, nan), {q + ".totals", "nan"}},
        {"sinks without rows", set(q + ".totals", 3, 1), {q + ".totals", "missing"}},
        {"rows without sinks", set(down + ".totals", 3, 0), {down + ".totals", "there"}},
        {"a sink of no weight", set(down + ".sink_scales", 1, 0), {down + ".sink_scales", "0"}},
        {"a sink of NaN", set(down + ".sink_dense", 1, nan), {down + ".sink_dense", "nan"}},
        {"no sum", drop(q + ".dense_sum"), {q + ".dense_sum", "missing"}},
        {"no sum of one flow", drop(down + ".compressed_sum"), {".compressed_sum", "missing"}},
        {"no rows", drop(down + ".sink_compressed"), {down + ".sink_compressed", "missing"}},
        {"no totals", drop(q + ".totals"), {q + ".dense_sum", "no place"}},
        {"another size", shape(q + ".dense_sum", {35, 36}), {"36 x 36", "35 x 36"}},
        {"rows of another size", shape(down + ".sink_dense", {3, 50}), {"2 x 50", "3 x 50"}},
        {"scales in a square", shape(down + ".sink_scales", {2, 2}), {down + ".sink_scales"}},
        {"a stranger", shape("lm_head.dense_sum", {36, 36}), {"lm_head.dense_sum", "no place"}},
        {"a layer too many",
         shape("model.layers.2.mlp.down_proj.totals", {4}),
         {"model.layers.2.mlp.down_proj.totals"}},
        {"a tensor too many", shape(q + ".compressed_sum", {36, 36}), {"tensors", "no place"}},
        {"no summary", drop("calibration.totals"), {"calibration.totals", "missing"}},
        {"no windows", set("calibration.totals", 0, 0), {"calibration.totals"}},
        {"no list", drop("calibration.sinks"), {"calibration.sinks", "missing"}},
        {"a list of another shape", shape("calibration.sinks", {12}), {"12 x 6", "got F64 12"}},
        {"a sink in no layer", set("calibration.sinks", 6, 2), {"calibration.sinks", "row 1"}},
        {"a sink at no stage", set("calibration.sinks", 1, 4), {"calibration.sinks", "row 0"}},
        {"a sink in no window", set("calibration.sinks", 2, 3), {"calibration.sinks", "row 0"}},
        {"a sink of NaN norm", set("calibration.sinks", 4, nan), {"calibration.sinks", "nan"}},
    };
    for (const auto& lie : lies) {
        INFO(lie.what);
        const TemporaryFolder folder;
        const auto path = folder / "moments";
        write_some(path, config);
        rewrite(path, lie.change);
        auto message = lie.message;
        message.push_back(path.string());
        check_throws<FormatError>(
            [&] {
                const MomentsFile file(path, config);
                for (const auto& linear : file.linears()) (void)file.read(linear);
            },
            message);
    }
    const TemporaryFolder folder;
    const auto path = folder / "moments";
    const auto with = [&](const std::string& key, const std::string& value) {
        write_some(path, config);
        rewrite(path, [](Tensors&) {}, {{key, value}});
        return message_of<FormatError>([&] { (void)MomentsFile(path, config); });
    };
    CHECK(with("mpo_calibration", "2").find("'2' is the version") != std::string::npos);
    CHECK(with("mpo_calibration", "").find("are these moments?") != std::string::npos);
    CHECK(with("model", "").find("'model' are missing") != std::string::npos);
    CHECK(with("note", "harmless") == "(nothing thrown)");
    auto bytes = read_file(path);
    bytes.resize(bytes.size() - 1);
    write_file(path, bytes);
    CHECK_THROWS_AS(MomentsFile(path, config), FormatError);
    CHECK_THROWS_AS(MomentsFile(folder / "none", config), FileError);
}
