#include "mpo/model/compressed.hpp"

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>

#include "mpo/io/safetensors_writer.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/models.hpp"
#include "support/naive.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;
using nlohmann::json;

const std::string linear_name = "model.layers.0.self_attn.q_proj";

/// The entry of a linear 6 x 4 with legs 3*2 : 2*2 and a bond of 3.
[[nodiscard]] CompressedLinear small_entry() {
    return {linear_name, {{3, 2}, {2, 2}}, {1, 3, 1}, DType::f32,
            "Q4_1",      {6, 4},           0.25,      ErrorKind::bound};
}

/// The same, gauge-fixed: of the first core 3 of 6 rows are the identity.
[[nodiscard]] CompressedLinear fixed_entry() {
    auto entry = small_entry();
    entry.stored_as = StoredAs::gauge_fixed;
    entry.center = 1;
    return entry;
}

/// A folder that holds that linear, and whatever a test changes of it.
struct SmallFolder {
    SmallFolder() { std::filesystem::create_directory(folder / "m"); }
    void write(const std::string& config, const Weights& tensors) const {
        SafetensorsWriter writer(folder / "m" / "model.safetensors");
        for (const auto& [name, tensor] : tensors) writer.append(name, tensor);
        writer.finish();
        write_file(folder / "m" / "config.json", "{}");
        write_file(folder / "m" / compressed_config_file, config);
    }
    [[nodiscard]] CompressedCheckpoint open() const { return CompressedCheckpoint(folder / "m"); }
    TemporaryFolder folder;
};

[[nodiscard]] Weights small_cores() {
    Weights tensors;
    tensors[core_name(linear_name, 0)] = normal_tensor<float>({1, 3, 2, 3}, 1);
    tensors[core_name(linear_name, 1)] = normal_tensor<float>({3, 2, 2, 1}, 2);
    return tensors;
}

}  // namespace

TEST_CASE("compressed: what is written can be read, whatever else stands there") {
    auto config = json::parse(to_compressed_config({small_entry()}));
    config["something_new"] = {1, 2};
    const auto linears = parse_compressed_config(config.dump(), "test");
    REQUIRE(linears.size() == 1);
    const auto &read = linears.front(), written = small_entry();
    CHECK(read.name == written.name);
    CHECK(read.layout == written.layout);
    CHECK(read.bonds == written.bonds);
    CHECK(read.dtype == written.dtype);
    CHECK(read.original_dtype == written.original_dtype);
    CHECK(read.original_shape == written.original_shape);
    CHECK(read.relative_error == written.relative_error);
    CHECK(read.error_kind == written.error_kind);
    CHECK(parse_compressed_config(to_compressed_config({}), "test").empty());
}

TEST_CASE("compressed: the cores of a linear become an Mpo") {
    const SmallFolder small;
    const auto cores = small_cores();
    small.write(to_compressed_config({small_entry()}), cores);
    CHECK(is_compressed(small.folder / "m"));
    CHECK_FALSE(is_compressed(small.folder.path()));
    const auto compressed = small.open();
    const auto& linear = compressed.linears().at(0);
    const auto mpo = compressed.read<double>(linear);
    CHECK(mpo.layout() == linear.layout);
    CHECK(mpo.bond_dims() == linear.bonds);
    CHECK(mpo.core(1)(2, 1, 0, 0) ==
          static_cast<double>(cores.at(core_name(linear_name, 1))(2, 1, 0, 0)));
    CHECK(compressed.core_of(core_name(linear_name, 1)).linear == &linear);
    CHECK(compressed.core_of(core_name(linear_name, 1)).site == 1);
    CHECK(compressed.core_of("model.norm.weight").linear == nullptr);
}

TEST_CASE("compressed: a config that lies is refused by what is wrong with it") {
    const auto refuse = [](auto change, const std::vector<std::string>& pieces) {
        auto config = json::parse(to_compressed_config({small_entry()}));
        change(config, config["linears"][linear_name]);
        auto all = pieces;
        all.emplace_back("test: ");
        check_throws<FormatError>([&] { (void)parse_compressed_config(config.dump(), "test"); },
                                  all);
    };
    using J = json;
    refuse([](J& c, J&) { c["format_version"] = 2; }, {"format_version 2", "reads 1"});
    refuse([](J& c, J&) { c["format_version"] = "1"; }, {"format_version", "\"1\""});
    refuse([](J& c, J&) { c["format_version"] = -1; }, {"format_version", "-1"});
    refuse([](J& c, J&) { c.erase("format_version"); }, {"format_version", "missing"});
    refuse([](J& c, J&) { c.erase("linears"); }, {"linears", "missing"});
    refuse([](J& c, J&) { c["linears"] = {1}; }, {"linears", "object"});
    refuse([](J&, J& l) { l["stored_as"] = "packed"; }, {"stored_as", "'packed'", linear_name});
    refuse([](J&, J& l) { l["stored_as"] = "gauge_fixed"; }, {"center", "missing", linear_name});
    const auto fixed = [](J& l, const J& center) {
        l["stored_as"] = "gauge_fixed";
        l["center"] = center;
    };
    refuse([&](J&, J& l) { fixed(l, 2); }, {"center", "0..1", "got 2", linear_name});
    refuse([&](J&, J& l) { fixed(l, -1); }, {"center", "-1", linear_name});
    refuse([&](J&, J& l) { fixed(l, "1"); }, {"center", "\"1\"", linear_name});
    refuse(
        [&](J&, J& l) {
            fixed(l, 0);
            l["bonds"] = {1, 5, 1};
        },
        {"support", "1, 4, 1", "1, 5, 1", linear_name});
    refuse(
        [&](J&, J& l) {
            fixed(l, 0);
            l["bonds"] = {1, std::numeric_limits<Index>::max(), 1};
        },
        {linear_name});
    refuse([](J&, J& l) { l["stored_as"] = 3; }, {"stored_as", "3", linear_name});
    refuse([](J&, J& l) { l = 3; }, {"stored_as", linear_name});
    refuse([](J&, J& l) { l.erase("layout"); }, {"layout", "missing", linear_name});
    refuse([](J&, J& l) { l["layout"]["out"] = {3, 3}; }, {"3*3 = 9", "6", linear_name});
    refuse([](J&, J& l) { l["layout"]["out"] = {6}; }, {"1 and 2", linear_name});
    refuse([](J&, J& l) { l["layout"]["in"] = {0, 2}; }, {"at least 1", linear_name});
    refuse([](J&, J& l) { l["layout"]["in"] = {-2, -2}; }, {"'in'", "-2", linear_name});
    refuse([](J&, J& l) { l["layout"]["in"] = 4; }, {"'in'", "array", linear_name});
    refuse([](J&, J& l) { l["bonds"] = {1, 3, 2}; }, {"bonds", "1, 3, 2", linear_name});
    refuse([](J&, J& l) { l["bonds"] = {1, 1}; }, {"bonds", "got 2", linear_name});
    refuse([](J&, J& l) { l["bonds"] = {1, 0, 1}; }, {"bonds", "1, 0, 1", linear_name});
    refuse([](J&, J& l) { l["bonds"] = {1, 1.5, 1}; }, {"bonds", "1.5", linear_name});
    refuse([](J&, J& l) { l["original_shape"] = {24}; }, {"original_shape", linear_name});
    refuse([](J&, J& l) { l["dtype"] = "I8"; }, {"dtype", "I8", linear_name});
    refuse([](J&, J& l) { l["relative_error"] = -1; }, {"relative_error", "-1", linear_name});
    refuse([](J&, J& l) { l["relative_error"] = nullptr; }, {"relative_error", linear_name});
    refuse([](J&, J& l) { l["error_kind"] = "guess"; }, {"error_kind", "guess", linear_name});
    const auto refuse_text = [](const std::string& text, std::vector<std::string> pieces) {
        pieces.emplace_back("test: ");
        check_throws<FormatError>([&] { (void)parse_compressed_config(text, "test"); }, pieces);
    };
    const std::string deep = std::string(1'000'000, '[') + std::string(1'000'000, ']');
    const std::string version = R"({"format_version":1,"linears":)";
    refuse_text("{\"format_version\":" + deep + "}", {"nested more than 32"});
    refuse_text("{\"other\":" + deep + "}", {"nested more than 32"});
    refuse_text(version + "[]}", {"'linears'", "object", "array"});
    refuse_text(version + "1}", {"'linears'", "object", "integer"});
    refuse_text(version + "{},\"linears\":{}}", {"'linears' at byte 33", "twice"});
    refuse_text(version + R"({"l":{},"l":{}}})", {"linear 'l' at byte 38", "twice"});
    refuse_text(version + R"({"l":{"bonds":[],"bonds":[]}}})", {"'bonds' at byte 47", "twice"});
    refuse_text(version + R"({"l":[]}})", {"stored_as", "linear 'l'"});
    refuse_text(version + std::string("{}}\0", 4), {"NUL", "byte 33"});
    for (const char* text : {"", "[]", "{", "3", R"({"format_version": 1, "format_version": 1})"})
        check_throws<FormatError>([&] { (void)parse_compressed_config(text, "test"); }, {"test: "});
}

TEST_CASE("compressed: keys cost what they weigh, known or not") {
    std::string others, linears;  // quadratic work in 200,000 keys would take minutes
    for (int k = 0; k < 200'000; ++k) {
        others += detail::concat("\"other ", k, "\":[],");
        linears += detail::concat(k == 0 ? "" : ",", "\"", k, "\":0");
    }
    CHECK(parse_compressed_config("{" + others + R"("linears":{},"format_version":1})", "test")
              .empty());
    check_throws<FormatError>(
        [&] {
            (void)parse_compressed_config(R"({"format_version":1,"linears":{)" + linears + "}}",
                                          "test");
        },
        {"test: ", "stored_as", "linear '0'"});
    std::string values = R"({"format_version":1,"linears":{},"x":[0)";
    for (int k = 0; k < 1 << 22; ++k) values += ",0";
    check_throws<FormatError>([&] { (void)parse_compressed_config(values + "]}", "test"); },
                              {"test: ", "2097152 values"});
}

TEST_CASE("compressed: a config and tensors that do not fit together are refused") {
    const SmallFolder small;
    const auto refuse = [&](auto change, const std::vector<std::string>& pieces) {
        auto tensors = small_cores();
        change(tensors);
        small.write(to_compressed_config({small_entry()}), tensors);
        check_throws<FormatError>([&] { (void)small.open(); }, pieces);
    };
    const std::string first = core_name(linear_name, 0), weight = linear_name + ".weight";
    refuse([&](Weights& w) { w.erase(first); }, {first, "missing"});
    refuse(
        [&](Weights& w) {
            w[first] = Tensor<float>({1, 3, 2, 2});
        },
        {"core 0", "1 x 3 x 2 x 3", "1 x 3 x 2 x 2"});
    refuse([&](Weights& w) { w[weight] = Tensor<float>({6, 4}); }, {weight, "both"});
    refuse([&](Weights& w) { w[core_name(linear_name, 2)] = Tensor<float>({1}); },
           {core_name(linear_name, 2), "no core"});
    refuse([&](Weights& w) { w[pivots_name(linear_name, 1)] = Tensor<float>({1}); },
           {pivots_name(linear_name, 1), "no pivots"});
    auto entry = small_entry();
    entry.dtype = DType::bf16;
    small.write(to_compressed_config({entry}), small_cores());
    check_throws<FormatError>([&] { (void)small.open(); }, {"core 0", "BF16", "F32"});
    std::filesystem::remove(small.folder / "m" / compressed_config_file);
    check_throws<FileError>([&] { (void)small.open(); }, {compressed_config_file});
}

TEST_CASE("compressed: gauge-fixed cores become whole ones") {
    const SmallFolder small;
    const auto write = [&](auto change) {
        std::filesystem::remove_all(small.folder / "m");
        std::filesystem::create_directory(small.folder / "m");
        std::vector<std::uint16_t> pivots{0, 2, 5};
        auto entry = fixed_entry();
        Shape first{3, 3};
        DType pivots_type = DType::u16;
        change(entry, first, pivots, pivots_type);
        SafetensorsWriter writer(small.folder / "m" / "model.safetensors");
        writer.append(core_name(linear_name, 0), normal_tensor<float>(first, 1));
        writer.append(core_name(linear_name, 1), normal_tensor<float>({3, 2, 2, 1}, 2));
        if (!pivots.empty())
            writer.append(pivots_name(linear_name, 1), pivots_type,
                          {static_cast<Index>(pivots.size())}, std::as_bytes(std::span(pivots)));
        writer.finish();
        write_file(small.folder / "m" / "config.json", "{}");
        write_file(small.folder / "m" / compressed_config_file, to_compressed_config({entry}));
    };
    using E = CompressedLinear;
    using P = std::vector<std::uint16_t>;
    write([](E&, Shape&, P&, DType&) {});
    const auto compressed = small.open();
    const auto& linear = compressed.linears().at(0);
    CHECK(linear.stored_as == StoredAs::gauge_fixed);
    CHECK(linear.center == 1);
    CHECK(compressed.num_parameters() == 9 + 12);
    CHECK(compressed.tensors_of(linear) == std::vector<std::string>{core_name(linear_name, 0),
                                                                    core_name(linear_name, 1),
                                                                    pivots_name(linear_name, 1)});
    CHECK(compressed.core_of(pivots_name(linear_name, 1)).linear == &linear);
    CHECK(compressed.core_of(pivots_name(linear_name, 1)).site == 1);
    const auto mpo = compressed.read<float>(linear);
    const auto stored = normal_tensor<float>({3, 3}, 1);
    CHECK(mpo.bond_dims() == linear.bonds);
    const Index rows[] = {1, 3, 4};  // those that are no pivots
    for (Index a = 0; a < 3; ++a)
        for (Index n = 0; n < 3; ++n) {
            CHECK(mpo.core(0).data()[rows[n] * 3 + a] == stored(n, a));
            CHECK(mpo.core(0).data()[Index{n == 0   ? 0
                                           : n == 1 ? 2
                                                    : 5} *
                                         3 +
                                     a] == (a == n ? 1.0f : 0.0f));
        }
    const auto refuse = [&](auto change, std::vector<std::string> pieces) {
        write(change);
        pieces.emplace_back(linear_name);
        check_throws<FormatError>([&] { (void)small.open(); }, pieces);
    };
    refuse(
        [](E&, Shape& first, P&, DType&) {
            first = {1, 3, 2, 3};
        },
        {"core 0", "3 x 3", "1 x 3 x 2 x 3"});
    refuse([](E& e, Shape&, P&, DType&) { e.center = 0; }, {"core 0", "1 x 3 x 2 x 3", "3 x 3"});
    refuse([](E& e, Shape&, P&, DType&) { e.stored_as = StoredAs::cores; }, {"core 0"});
    refuse([](E&, Shape&, P& p, DType&) { p.clear(); }, {"pivots.1", "missing"});
    refuse([](E&, Shape&, P& p, DType&) { p.pop_back(); }, {"pivots of bond 1", "U16"});
    refuse([](E&, Shape&, P&, DType& type) { type = DType::i16; }, {"pivots of bond 1", "I16"});
    refuse([](E&, Shape&, P& p, DType&) { p = {0, 2, 6}; }, {"bond 1", "0..5", "got 6"});
    refuse([](E&, Shape&, P& p, DType&) { p = {2, 0, 5}; }, {"bond 1", "ascend"});
    refuse([](E&, Shape&, P& p, DType&) { p = {2, 2, 5}; }, {"bond 1", "ascend"});
}

TEST_CASE("compressed: pivots are stored in the smallest type that holds every row") {
    CHECK(pivots_dtype(1) == DType::u16);
    CHECK(pivots_dtype(65536) == DType::u16);
    CHECK(pivots_dtype(65537) == DType::i32);
    CHECK(pivots_dtype(Index{1} << 31) == DType::i32);
    CHECK(pivots_dtype((Index{1} << 31) + 1) == DType::i64);
    // 70,000 rows: bond 1 has its identity in the short core, which is not the largest
    const Layout layout{{70000, 1}, {1, 2}};
    CHECK(stored_bytes(layout, {1, 1, 1}, DType::bf16, StoredAs::gauge_fixed) ==
          2 * (70000 + 1) + 2);
    const Layout middle{{70000, 1, 70000}, {1, 4, 1}};
    CHECK(stored_bytes(middle, {1, 1, 1, 1}, DType::f32, StoredAs::gauge_fixed) ==
          4 * (70000 + 3 + 69999) + 2 + 4);
    CHECK(stored_bytes(middle, {1, 1, 1, 1}, DType::f32, StoredAs::cores) == 4 * 140004);
}

TEST_CASE("compressed: pivots of many rows come back from the disk") {
    const TemporaryFolder folder;
    std::filesystem::create_directory(folder / "m");
    SafetensorsWriter writer(folder / "m" / "model.safetensors");
    const CompressedLinear entry{"l",
                                 {{70000, 1}, {1, 3}},
                                 {1, 2, 1},
                                 DType::f32,
                                 "F32",
                                 {70000, 3},
                                 0.0,
                                 ErrorKind::exact,
                                 StoredAs::gauge_fixed,
                                 1};
    writer.append(core_name("l", 0), normal_tensor<float>({69998, 2}, 1));
    writer.append(core_name("l", 1), normal_tensor<float>({2, 1, 3, 1}, 2));
    const std::int32_t pivots[] = {7, 69999};
    writer.append(pivots_name("l", 1), DType::i32, {2}, std::as_bytes(std::span(pivots)));
    writer.finish();
    write_file(folder / "m" / "config.json", "{}");
    write_file(folder / "m" / compressed_config_file, to_compressed_config({entry}));
    const CompressedCheckpoint compressed(folder / "m");
    const auto mpo = compressed.read<float>(compressed.linears().at(0));
    CHECK(mpo.core(0)(0, 7, 0, 0) == 1);
    CHECK(mpo.core(0)(0, 69999, 0, 1) == 1);
    CHECK(mpo.core(0)(0, 69999, 0, 0) == 0);
}

TEST_CASE("compressed: files of format version 1 stay readable") {
    const CompressedCheckpoint compressed(fixture("compressed_v1"));
    const SafetensorsFile expected(fixture("compressed_v1_expected.safetensors"));
    CHECK(compressed.linears().size() == 3);
    for (const auto& linear : compressed.linears()) {
        const auto W = expected.read<float>(linear.name + ".weight");  // (out, in)
        CHECK(naive::distance(W, naive::to_dense(compressed.read<float>(linear))) <=
              tolerance<float>(num_sites(linear.layout), naive::norm(W)));
    }
    CHECK(compressed.linears()[2].name == "model.layers.0.mlp.up_proj");
    CHECK(compressed.linears()[2].layout == Layout{{3, 2, 2}, {2, 2, 2}});
    CHECK(compressed.linears()[2].bonds == Shape{1, 3, 3, 1});
    CHECK(compressed.linears()[2].dtype == DType::bf16);
}
