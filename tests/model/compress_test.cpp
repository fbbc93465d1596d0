#include "mpo/model/compress.hpp"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>

#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/compress_json.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/limits.hpp"
#include "support/models.hpp"
#include "support/naive.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// A small model in a folder of its own, and room for results beside it.
struct Workshop {
    explicit Workshop(const Weights& weights_in = small_weights(), DType dtype = DType::f32)
        : weights(weights_in) {
        write_model(folder / "model", weights, dtype);
    }
    CompressReport run(const CompressOptions& options, const std::string& name = "out") const {
        return compress(Checkpoint(folder / "model"), folder / name, options, cpu);
    }
    TemporaryFolder folder;
    Weights weights;
};

[[nodiscard]] CompressOptions with_budget(double budget) {
    CompressOptions options;
    options.budget = budget;
    return options;
}

/// A model whose only decoder linear is W, as model.layers.0.self_attn.q_proj.
[[nodiscard]] Weights one_linear(Tensor<float> W) {
    Weights weights;
    weights["model.layers.0.self_attn.q_proj.weight"] = std::move(W);
    return weights;
}

[[nodiscard]] Tensor<float> narrow_dense(const Mpo<float>& mpo) {
    return naive::narrow<float>(naive::to_dense(mpo));
}

/// Largest relative error of rounding one number of a core.
[[nodiscard]] double unit_of(DType dtype) {
    return dtype == DType::bf16 ? 0x1p-8 : (dtype == DType::f16 ? 0x1p-11 : 0x1p-24);
}

}  // namespace

TEST_CASE("compress: every linear keeps to its share, everything else stays as it was") {
    const Workshop shop;
    for (const double budget : {0.25, 0.5, 0.9})
        for (const auto form :
             {CompressForm::automatic, CompressForm::mpo, CompressForm::low_rank}) {
            auto options = with_budget(budget);
            options.form = form;
            options.dtype = DType::f32;
            const std::string name = detail::concat("out", budget, static_cast<int>(form));
            const auto report = shop.run(options, name);
            const CompressedCheckpoint written(shop.folder / name);
            CHECK(report.linears.size() == 14);
            CHECK(written.linears().size() == 14);
            CHECK(report.num_tensors == static_cast<Index>(shop.weights.size()));
            std::size_t stored = 0;
            for (const auto& linear : report.linears) {
                INFO(linear.name << ", budget " << budget);
                CHECK(static_cast<double>(linear.size.parameters) <=
                      budget * static_cast<double>(linear.size.parameters_before));
                CHECK(linear.size.parameters ==
                      num_stored(linear.layout, linear.bonds, linear.stored_as));
                CHECK(linear.size.bytes ==
                      stored_bytes(linear.layout, linear.bonds, DType::f32, linear.stored_as));
                CHECK_FALSE(written.checkpoint().contains(linear.name + ".weight"));
                if (form != CompressForm::automatic)
                    CHECK(linear.form ==
                          (form == CompressForm::mpo ? LinearForm::mpo : LinearForm::low_rank));
                stored += linear.layout.out.size();
                if (linear.stored_as == StoredAs::gauge_fixed)
                    stored += linear.layout.out.size() - 1;
            }
            for (const auto& [tensor, values] : shop.weights) {
                if (tensor.find("proj") != std::string::npos) continue;
                CHECK(same_values(written.checkpoint().read<float>(tensor), values));
                ++stored;
            }
            CHECK(written.checkpoint().tensors().size() == stored);
            CHECK(contents(shop.folder / name).count("tokenizer.json") == 1);
        }
}

TEST_CASE("compress: the error it states is the error of what is stored") {
    const Workshop shop;
    for (const auto dtype : {DType::f32, DType::bf16, DType::f16}) {
        auto options = with_budget(0.6);
        options.dtype = dtype;
        const auto report = shop.run(options, to_string(dtype));
        const CompressedCheckpoint written(shop.folder / to_string(dtype));
        for (std::size_t k = 0; k < report.linears.size(); ++k) {
            const auto& linear = report.linears[k];
            const auto& entry = written.linears()[k];
            INFO(linear.name << " as " << to_string(dtype));
            REQUIRE(entry.name == linear.name);
            const auto& W = shop.weights.at(linear.name + ".weight");
            const double error =
                naive::distance(W, naive::to_dense(written.read<float>(entry))) / naive::norm(W);
            CHECK(std::abs(linear.relative_error - error) <= tolerance<float>(W.size(), 1));
            CHECK(entry.relative_error == linear.relative_error);
            CHECK(entry.error_kind == ErrorKind::exact);
            CHECK(entry.original_dtype == "F32");
            CHECK(std::abs(linear.truncation_error - error) <=
                  2 * unit_of(dtype) + tolerance<float>(W.size(), 1));
        }
    }
}

TEST_CASE("compress: rounding is part of the error, even where truncation loses nothing") {
    const auto layout = low_rank_layout(24, 24);
    const auto W = narrow_dense(random_mpo<float>(layout, {1, 2, 1}, 7));  // (out, in)
    const Workshop shop(one_linear(W));
    const auto linear = shop.run(with_budget(0.3)).linears.at(0);
    const CompressedCheckpoint written(shop.folder / "out");
    const auto stored = naive::to_dense(written.read<float>(written.linears().at(0)));
    const double error = naive::distance(W, stored) / naive::norm(W);
    CHECK(linear.truncation_error <= tolerance<float>(W.size(), 1));
    CHECK(error > unit_of(DType::bf16) / 8);
    CHECK(std::abs(linear.relative_error - error) <= tolerance<float>(W.size(), 1));
}

TEST_CASE("compress: forms compete, and the one that fits the matrix wins") {
    const Layout balanced = balanced_layout(24, 24, 2);
    const struct {
        Layout layout;
        LinearForm form;
    } cases[] = {{low_rank_layout(24, 24), LinearForm::low_rank},
                 {balanced, LinearForm::mpo},
                 {*opposed_layout(24, 24, 4), LinearForm::mpo}};
    for (const auto& [layout, form] : cases) {
        const auto W = narrow_dense(random_mpo<float>(layout, {1, 2, 1}, 5));  // (out, in)
        const Workshop shop(one_linear(W));
        auto options = with_budget(0.3);
        options.dtype = DType::f32;
        const auto linear = shop.run(options).linears.at(0);
        INFO(to_string(layout) << " found as " << to_string(linear.layout));
        CHECK(linear.form == form);
        CHECK(linear.layout == layout);
        CHECK(linear.relative_error <= tolerance<float>(W.size(), 1));
        if (form == LinearForm::low_rank)
            CHECK(linear.low_rank_error == linear.relative_error);
        else
            CHECK(linear.low_rank_error > 100 * linear.relative_error);
    }
}

TEST_CASE("compress: a tolerance is kept by every linear, a cap by every bond") {
    const Workshop shop;
    for (const double eps : {0.5, 0.1, 0.0}) {
        CompressOptions options;
        options.tolerance = eps;
        options.dtype = DType::f32;
        for (const auto& linear : shop.run(options, detail::concat("eps", eps)).linears) {
            CHECK(linear.relative_error <= eps + tolerance<float>(24 * 35, 1));
            if (eps == 0) CHECK(linear.form == LinearForm::dense);  // nothing smaller is exact
        }
    }
    for (const Index cap : {1, 3}) {
        CompressOptions options;
        options.max_bond_dim = cap;
        for (const auto& linear : shop.run(options, detail::concat("cap", cap)).linears)
            CHECK(linear.bonds == Shape{1, cap, 1});
    }
}

TEST_CASE("compress: a budget in bytes is one for all linears together") {
    const Workshop shop;
    CompressOptions options;
    options.budget_bytes = 4000;
    const auto size = shop.run(options).size();
    CHECK(size.bytes <= 4000);
    CHECK(size.bytes > 2 * size.parameters);  // pivots count, too
    CHECK(size.bytes > 2000);
    for (Index bytes = 2500; bytes < 6000; bytes += 311) {  // pivots break no share either
        options.budget_bytes = bytes;
        const auto report = shop.run(options, detail::concat("bytes", bytes));
        const Index total = report.size().parameters_before;
        for (const auto& linear : report.linears)
            CHECK(linear.size.bytes * total <= bytes * linear.size.parameters_before);
    }
    options.budget_bytes = 4000;
    options.stored_as = StoredAs::cores;
    const auto whole = shop.run(options, "whole").size();
    CHECK(whole.bytes <= 4000);
    CHECK(whole.bytes == 2 * whole.parameters);
}

TEST_CASE("compress: what it reports is what lies on the disk, and a file is that and its header") {
    const Workshop shop;
    for (const auto stored_as : {StoredAs::gauge_fixed, StoredAs::cores})
        for (const auto dtype : {DType::f32, DType::bf16, DType::f16}) {
            auto options = with_budget(0.6);
            options.stored_as = stored_as;
            options.dtype = dtype;
            options.sites = 3;
            options.layouts[LinearKind::q] = balanced_layout(24, 24, 3);
            const auto name = std::string(to_string(stored_as)) + to_string(dtype);
            const auto report = shop.run(options, name);
            const CompressedCheckpoint written(shop.folder / name);
            Index numbers = 0, bytes = 0;
            for (const auto& tensor : written.checkpoint().tensors()) {
                const bool pivots = tensor.name.find(".pivots.") != std::string::npos;
                CHECK((tensor.type == StoredType(pivots ? DType::u16 : dtype)));
                CHECK((!pivots || stored_as == StoredAs::gauge_fixed));
                numbers += pivots ? 0 : num_elements(tensor.shape);
                bytes += tensor.bytes;
            }
            CHECK(report.parameters == numbers);
            CHECK(report.bytes == bytes);
            const auto file = shop.folder / name / "model.safetensors";
            std::uint64_t header = 0;
            const std::string contents = read_file(file);
            std::memcpy(&header, contents.data(), sizeof header);
            CHECK(static_cast<Index>(contents.size() - 8 - header) == report.bytes);
            for (std::size_t k = 0; k < report.linears.size(); ++k) {
                const auto& linear = report.linears[k];
                const auto& entry = written.linears()[k];
                CHECK(entry.stored_as == linear.stored_as);
                Index parameters = 0, stored = 0;
                for (const auto& tensor : written.tensors_of(entry)) {
                    const auto& info = written.checkpoint().info(tensor);
                    stored += info.bytes;
                    if (tensor.find(".pivots.") == std::string::npos)
                        parameters += num_elements(info.shape);
                }
                CHECK(linear.size.parameters == parameters);
                CHECK(linear.size.bytes == stored);
            }
        }
}

TEST_CASE("compress: a gauge-fixed budget buys larger bonds, and a smaller error") {
    const Workshop shop;
    auto options = with_budget(0.6);
    options.form = CompressForm::low_rank;
    const auto fixed = shop.run(options, "fixed");
    options.stored_as = StoredAs::cores;
    const auto whole = shop.run(options, "whole");
    for (std::size_t k = 0; k < fixed.linears.size(); ++k) {
        const auto &a = fixed.linears[k], &b = whole.linears[k];
        INFO(a.name);
        CHECK(a.stored_as == StoredAs::gauge_fixed);
        CHECK(a.bonds[1] ==
              max_uniform_bond(
                  a.layout, static_cast<Index>(0.6 * static_cast<double>(a.size.parameters_before)),
                  StoredAs::gauge_fixed));
        CHECK(a.bonds[1] > b.bonds[1]);
        CHECK(a.relative_error < b.relative_error);
        CHECK(b.error_as_cores == b.relative_error);
        CHECK(std::abs(a.error_as_cores - a.relative_error) <= 4 * unit_of(DType::bf16));
        CHECK(a.error_as_cores != a.relative_error);
    }
}

TEST_CASE("compress: where rounding costs more than larger bonds gain, cores are stored whole") {
    // exact at rank 24: larger bonds gain nothing, and the rounding of whole cores is smaller
    const auto W = narrow_dense(random_mpo<float>(low_rank_layout(96, 96), {1, 24, 1}, 7));
    const Workshop shop(one_linear(W));
    auto options = with_budget(0.55);
    options.form = CompressForm::low_rank;
    const auto report = shop.run(options, "share");
    const auto& linear = report.linears.at(0);
    CHECK(linear.stored_as == StoredAs::cores);
    CHECK(linear.error_as_cores == linear.relative_error);
    CHECK(linear.relative_error < 2 * unit_of(DType::bf16));
    const CompressedCheckpoint written(shop.folder / "share");
    CHECK(written.linears().at(0).stored_as == StoredAs::cores);
    CHECK(linear.size.parameters == written.num_parameters());
    // the spectrum is that of what is stored
    CHECK(linear.spectra.at(0).bond_dim == linear.bonds[1]);

    options.budget.reset();  // a tolerance between the two errors
    options.max_bond_dim = 24;
    const auto fixed = shop.run(options, "cap").linears.at(0);
    CHECK(fixed.stored_as == StoredAs::gauge_fixed);  // a cap asks for bonds, not for an error
    REQUIRE(fixed.error_as_cores < fixed.relative_error);
    options.max_bond_dim.reset();
    options.tolerance = (fixed.relative_error + fixed.error_as_cores) / 2;
    const auto kept = shop.run(options, "tolerance").linears.at(0);
    CHECK(kept.stored_as == StoredAs::cores);
    CHECK(kept.relative_error <= *options.tolerance);
    options.tolerance = 2 * fixed.relative_error;
    CHECK(shop.run(options, "loose").linears.at(0).stored_as == StoredAs::gauge_fixed);
}

TEST_CASE("compress: what cannot become smaller is left dense") {
    const Workshop shop;
    const auto whole = shop.run(with_budget(1));
    for (const auto& linear : whole.linears) {
        CHECK(linear.form == LinearForm::dense);
        CHECK(linear.relative_error == 0);
    }
    CHECK(CompressedCheckpoint(shop.folder / "out").linears().empty());
    for (const auto& kind : whole.kinds()) CHECK(kind.dense_count == kind.count);

    for (const Shape& shape : {Shape{1, 1}, Shape{1, 7}, Shape{2, 2}}) {
        const Workshop tiny(one_linear(normal_tensor<float>(shape, 3)));
        CHECK(tiny.run(with_budget(0.9)).linears.at(0).form == LinearForm::dense);
    }
    const Workshop zero(one_linear(Tensor<float>({12, 18})));
    const auto linear = zero.run(with_budget(0.5)).linears.at(0);
    CHECK(linear.relative_error == 0);
    CHECK(linear.form == LinearForm::low_rank);
}

TEST_CASE("compress: only and skip choose, layouts and sites are obeyed") {
    const Workshop shop;
    auto options = with_budget(0.8);
    options.only = "layers\\.1\\.";
    options.skip = "mlp|v_proj";
    options.layouts[LinearKind::q] = parse_layout("6x4:3x8");
    options.form = CompressForm::mpo;
    options.sites = 3;
    const auto report = shop.run(options);
    std::set<std::string> names;
    for (const auto& linear : report.linears) {
        names.insert(linear.name);
        CHECK(linear.layout == (linear.kind == LinearKind::q
                                    ? parse_layout("6x4:3x8")
                                    : balanced_layout(linear.shape[0], linear.shape[1], 3)));
    }
    CHECK(names == std::set<std::string>{"model.layers.1.self_attn.q_proj",
                                         "model.layers.1.self_attn.k_proj",
                                         "model.layers.1.self_attn.o_proj"});
}

TEST_CASE("compress: the same bits for the same seed and for any number of threads") {
    const Workshop shop;
    const int before = num_threads();
    std::map<std::string, std::string> expected;
    for (const int threads : {1, 2, 3, 3}) {
        set_num_threads(threads);
        shop.run(with_budget(0.5));
        if (expected.empty()) expected = contents(shop.folder / "out");
        CHECK(contents(shop.folder / "out") == expected);
        std::filesystem::remove_all(shop.folder / "out");
    }
    set_num_threads(before);
}

TEST_CASE("compress: progress counts every linear, and cancels without a trace") {
    const Workshop shop;
    auto options = with_budget(0.5);
    Index calls = 0;
    options.progress = [&](const Progress& progress) {
        CHECK(progress.done == ++calls);
        CHECK(progress.count == 14);
        CHECK(progress.seconds_left >= 0);
        CHECK(progress.linear.find("proj") != std::string_view::npos);
        return ProgressReply::go_on;
    };
    const auto report = shop.run(options);
    CHECK(calls == 14);
    options.progress = [](const Progress& progress) {
        return progress.done == 5 ? ProgressReply::cancel : ProgressReply::go_on;
    };
    check_throws<Cancelled>([&] { shop.run(options, "stopped"); }, {"5 of 14"});
    CHECK(shop.folder.names() == std::vector<std::string>{"model", "out"});
}

TEST_CASE("compress: sums per kind are sums") {
    const Workshop shop;
    const auto report = shop.run(with_budget(0.5));
    SizeChange sum;
    Index count = 0;
    for (const auto& kind : report.kinds()) {
        sum += kind.size;
        count += kind.count;
        CHECK(kind.count == 2);
        CHECK(kind.typical_count >= 1);
        CHECK(kind.mean_relative_error <= kind.max_relative_error);
    }
    CHECK(count == 14);
    CHECK(sum.parameters == report.size().parameters);
    CHECK(sum.multiply_adds == report.size().multiply_adds);
    CHECK(report.bytes_before == Checkpoint(shop.folder / "model").bytes());
    const auto json = nlohmann::json::parse(to_json(report));
    CHECK(json["linears"].size() == 14);
    CHECK(json["kinds"].size() == 7);
    CHECK(json["parameters"] == report.size().parameters);
}

TEST_CASE("compress: spectra end in the error that was made, and stay few") {
    const Workshop shop;
    for (const Index sites : {2, 3}) {
        auto options = with_budget(0.6);
        options.sites = sites;
        options.form = CompressForm::mpo;
        const auto report = shop.run(options, detail::concat("sites", sites));
        for (const auto& linear : report.linears) {
            INFO(linear.name << ", " << sites << " sites");
            const auto& W = shop.weights.at(linear.name + ".weight");
            CHECK(std::abs(linear.norm - naive::norm(W)) <=
                  tolerance<float>(W.size(), naive::norm(W)));
            REQUIRE(static_cast<Index>(linear.spectra.size()) == sites - 1);
            double lost = 0;
            for (std::size_t k = 0; k < linear.spectra.size(); ++k) {
                const auto& spectrum = linear.spectra[k];
                CHECK(spectrum.bond_dim == linear.bonds[k + 1]);
                CHECK(static_cast<Index>(spectrum.points.size()) <= max_spectrum_points);
                for (const auto& point : spectrum.points)
                    if (point.rank == spectrum.bond_dim)
                        lost += point.relative_error * point.relative_error;
            }
            CHECK(std::abs(std::sqrt(lost) - linear.truncation_error) <=
                  tolerance<float>(W.size(), 1));
            CHECK(linear.seconds > 0);
        }
    }
}

TEST_CASE("compress: the report says what made it, and counts the whole model") {
    const Workshop shop;
    auto options = with_budget(0.5);
    options.seed = 7;
    const auto report = shop.run(options);
    CHECK(report.source == (shop.folder / "model").string());
    CHECK(report.made_by.seed == 7);
    CHECK(report.made_by.threads == num_threads());
    CHECK(report.made_by.version == version_text());
    CHECK(report.made_by.command.empty());
    Index before = 0;
    for (const auto& [name, tensor] : shop.weights) before += tensor.size();
    CHECK(report.parameters_before == before);
    CHECK(report.parameters == before - report.size().parameters_before + report.size().parameters);
}

TEST_CASE("compress: a GGUF brings its metadata, a lone file needs none") {
    TemporaryFolder folder;
    const auto report =
        compress(Checkpoint(fixture("tiny_llama.gguf")), folder / "gguf", with_budget(0.5), cpu);
    CHECK(report.linears.front().source_type != "F32");
    CHECK(contents(folder / "gguf").count(gguf_metadata_file) == 1);
    CHECK(Checkpoint(folder / "gguf").hyperparameters()->model_type == "llama");

    SafetensorsWriter writer(folder / "lone.safetensors");
    writer.append("model.layers.0.self_attn.q_proj.weight", normal_tensor<float>({16, 16}, 1));
    writer.finish();
    (void)compress(Checkpoint(folder / "lone.safetensors"), folder / "lone", with_budget(0.5), cpu);
    CHECK(CompressedCheckpoint(folder / "lone").linears().size() == 1);
}

TEST_CASE("compress: wrong options are refused before anything is written") {
    const Workshop shop;
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    const auto refuse = [&](const std::vector<std::string>& pieces, auto change,
                            double budget = 0.5) {
        auto options = with_budget(budget);
        change(options);
        check_throws<ArgumentError>([&] { shop.run(options); }, pieces);
        CHECK(shop.folder.names() == std::vector<std::string>{"model"});
    };
    using O = CompressOptions;
    for (const double budget : {0.0, -0.5, 1.5, nan})
        refuse(
            {"budget", detail::concat(budget)}, [](O&) {}, budget);
    refuse({"exactly one", "got 0"}, [](O& o) { o.budget.reset(); });
    refuse({"exactly one", "got 2"}, [](O& o) { o.tolerance = 0.1; });
    const auto instead = [&](const std::vector<std::string>& pieces, auto change) {
        refuse(pieces, [&](O& o) {
            o.budget.reset();
            change(o);
        });
    };
    instead({"max_bond_dim", "got 0"}, [](O& o) { o.max_bond_dim = 0; });
    instead({"budget_bytes", "got 0"}, [](O& o) { o.budget_bytes = 0; });
    instead({"tolerance", "got -0.1"}, [](O& o) { o.tolerance = -0.1; });
    instead({"tolerance", "nan"}, [=](O& o) { o.tolerance = nan; });
    refuse({"2 to 12 sites", "got 1"}, [](O& o) { o.sites = 1; });
    refuse({"2 to 12 sites", "got 13"}, [](O& o) { o.sites = 13; });
    refuse({"dtype", "F64"}, [](O& o) { o.dtype = DType::f64; });
    refuse({"only", "'('"}, [](O& o) { o.only = "("; });
    refuse({"skip", "'['"}, [](O& o) { o.skip = "["; });
    refuse({"none of the 18 tensors"}, [](O& o) { o.only = "lm_head"; });
    refuse({"layouts", "low rank"}, [](O& o) {
        o.form = CompressForm::low_rank;
        o.layouts[LinearKind::q] = {{24, 1}, {1, 24}};
    });
    refuse({"layout of k", "at least 1"}, [](O& o) {
        o.layouts[LinearKind::k] = {{0, 1}, {1, 1}};
    });
    refuse(
        {"mlp.down_proj", "leaves 8 of 840"}, [](O&) {}, 0.01);
}

TEST_CASE("compress: legs that do not multiply up are refused with the linear's name") {
    const Workshop shop;
    auto options = with_budget(0.5);
    options.layouts[LinearKind::gate] = {{6, 6}, {4, 6}};
    check_throws<ShapeError>([&] { shop.run(options); },
                             {"6*6 = 36", "35", "model.layers.0.mlp.gate_proj"});
    CHECK(shop.folder.names() == std::vector<std::string>{"model"});
}

TEST_CASE("compress: numbers it cannot work with are refused with the tensor's name") {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
        auto weights = small_weights();
        const std::string name = "model.layers.1.mlp.up_proj.weight";
        weights.at(name)(3, 4) = bad;
        const Workshop shop(weights);
        check_throws<NumericalError>([&] { shop.run(with_budget(0.5)); }, {name, "W(3, 4)"});
        CHECK(shop.folder.names() == std::vector<std::string>{"model"});
    }
    auto large = normal_tensor<float>({16, 16}, 1);
    for (Index k = 0; k < large.size(); ++k) large.data()[k] *= 1e6f;
    const Workshop shop(one_linear(large));
    auto options = with_budget(0.5);
    options.dtype = DType::f16;
    check_throws<NumericalError>([&] { shop.run(options); }, {"q_proj.weight", "F16"});
    CHECK(shop.folder.names() == std::vector<std::string>{"model"});
}

TEST_CASE("compress: a linear must be a matrix of real numbers") {
    for (const Shape& shape : {Shape{4}, Shape{2, 2, 2}, Shape{0, 4}}) {
        const Workshop shop(one_linear(Tensor<float>(shape)));
        check_throws<ArgumentError>([&] { shop.run(with_budget(0.5)); },
                                    {"q_proj.weight", to_string(shape)});
    }
    TemporaryFolder folder;
    SafetensorsWriter writer(folder / "a.safetensors");
    const std::vector<std::byte> bytes(16);
    writer.append("model.layers.0.self_attn.q_proj.weight", DType::i8, {4, 4}, bytes);
    writer.finish();
    check_throws<ArgumentError>(
        [&] {
            (void)compress(Checkpoint(folder / "a.safetensors"), folder / "out", with_budget(0.5),
                           cpu);
        },
        {"q_proj.weight", "I8"});
    CHECK(folder.names() == std::vector<std::string>{"a.safetensors"});
}

TEST_CASE("compress: nothing half-written ever has a name") {
    const Workshop shop;
    std::filesystem::create_directory(shop.folder / "taken");
    for (const char* name : {"taken", "taken/", "model/config.json"})
        check_throws<ArgumentError>([&] { shop.run(with_budget(0.5), name); }, {"exists already"});
    check_throws<FileError>([&] { shop.run(with_budget(0.5), "no/where"); }, {"no/", "No such"});
    for (const rlim_t bytes : {rlim_t{100}, rlim_t{70000}}) {
        const FileSizeLimit full(bytes);
        check_throws<FileError>([&] { shop.run(with_budget(0.9), "full"); },
                                {"model.safetensors", "too large"});
    }
    CHECK(std::filesystem::is_empty(shop.folder / "taken"));
    CHECK(shop.folder.names() == std::vector<std::string>{"model", "taken"});
    (void)shop.run(with_budget(0.5), "out/");
    check_throws<ArgumentError>(
        [&] {
            (void)compress(Checkpoint(shop.folder / "out"), shop.folder / "again", with_budget(0.5),
                           cpu);
        },
        {"compressed already"});
    CHECK(shop.folder.names() == std::vector<std::string>{"model", "out", "taken"});
}

TEST_CASE("compress: peers are the same model in another form, and no larger") {
    const TemporaryFolder folder;
    write_model(folder / "model", small_weights());
    const Checkpoint source(folder / "model");
    CompressOptions options;
    options.budget = 0.7;
    options.form = CompressForm::mpo;
    options.peers = {{CompressForm::low_rank, folder / "low_rank"},
                     {CompressForm::mpo, folder / "mpo"}};
    const auto report = compress(source, folder / "small", options, cpu);
    CHECK(report.is_all(LinearForm::mpo));
    const CompressedCheckpoint low_rank(folder / "low_rank");
    CHECK(contents(folder / "mpo") == contents(folder / "small"));
    REQUIRE(low_rank.linears().size() == report.linears.size());
    for (std::size_t k = 0; k < report.linears.size(); ++k) {
        const auto& peer = low_rank.linears()[k];
        CHECK(peer.name == report.linears[k].name);
        CHECK(peer.layout == low_rank_layout(peer.original_shape[0], peer.original_shape[1]));
        CHECK(peer.relative_error == report.linears[k].low_rank_error);
        CHECK(num_stored(peer.layout, peer.bonds, peer.stored_as) <=
              report.linears[k].size.parameters);
    }

    options.peers = {{CompressForm::automatic, folder / "x"}};
    check_throws<ArgumentError>([&] { (void)compress(source, folder / "y", options, cpu); },
                                {"peer"});
    options.form = CompressForm::low_rank;
    options.peers = {{CompressForm::mpo, folder / "other"}};
    const auto plain = compress(source, folder / "plain", options, cpu);
    const CompressedCheckpoint other(folder / "other");
    for (std::size_t k = 0; k < plain.linears.size(); ++k) {
        const auto& peer = other.linears()[k];
        CHECK(peer.layout != plain.linears[k].layout);
        CHECK(num_stored(peer.layout, peer.bonds, peer.stored_as) <=
              plain.linears[k].size.parameters);
    }
}
