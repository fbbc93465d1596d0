#include "mpo/core/packed.hpp"

#include <bit>
#include <cmath>
#include <complex>
#include <cstdlib>
#include <vector>

#include "mpo/io/safetensors.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

namespace {

using namespace mpo;

constexpr PackedType all_types[] = {PackedType::q4_0, PackedType::q4_1, PackedType::q5_0,
                                    PackedType::q5_1, PackedType::q8_0, PackedType::q4_k,
                                    PackedType::q6_k};

/// Floats between a and b, 0 for equal ones; the signs of zero count as equal.
[[nodiscard]] std::int64_t ulps_apart(float a, float b) {
    const auto place = [](float x) {
        const auto bits = std::bit_cast<std::int32_t>(x);
        return bits < 0 ? std::int64_t{std::numeric_limits<std::int32_t>::min()} - bits
                        : std::int64_t{bits};
    };
    return std::abs(place(a) - place(b));
}

}  // namespace

TEST_CASE("blocks decode to the values of the reference package") {
    const SafetensorsFile oracle(test::fixture("packed_blocks.safetensors"));
    for (const PackedType type : all_types) {
        const std::string name = to_string(type);
        INFO(name);
        const auto expected = oracle.read<float>(name + ".values");  // (blocks, values)
        const auto blocks = oracle.bytes(name + ".blocks");
        REQUIRE(blocks.size() / packed_block(type).bytes * packed_block(type).values ==
                expected.size());
        std::vector<float> got(static_cast<std::size_t>(expected.size()));
        decode(type, blocks.data(), got.data(), expected.size());
        std::int64_t worst = 0;
        for (std::size_t k = 0; k < got.size(); ++k)
            worst = std::max(worst, ulps_apart(got[k], expected.data()[k]));
        CHECK(worst <= 1);

        std::vector<std::complex<double>> wide(got.size());
        decode(StoredType(type), blocks.data(), wide.data(), expected.size());
        Index different = 0;
        for (std::size_t k = 0; k < got.size(); ++k)
            if (wide[k] != std::complex<double>(got[k])) ++different;
        CHECK(different == 0);
    }
}

TEST_CASE("only whole blocks of known types decode") {
    std::vector<std::byte> block(256);
    std::vector<float> out(512);
    for (const PackedType type : all_types) {
        const auto [name, values, bytes] = packed_block(type);
        decode(type, block.data(), out.data(), 0);
        for (const Index n : {values - 1, values + 1, Index{1}, -values})
            test::check_throws<ArgumentError>(
                [&, t = type, count = n] { decode(t, block.data(), out.data(), count); },
                {std::string(name), std::to_string(n), std::to_string(values)});
    }
    test::check_throws<ArgumentError>([] { static_cast<void>(packed_block(PackedType{77})); },
                                      {"77"});
    const StoredType opaque = OpaqueType{16, "IQ2_XXS"};
    test::check_throws<ArgumentError>([&] { decode(opaque, block.data(), out.data(), 256); },
                                      {"IQ2_XXS", "16"});
}

TEST_CASE("a stored type has one name and knows whether it decodes") {
    CHECK(to_string(StoredType(DType::bf16)) == "BF16");
    CHECK(to_string(StoredType(PackedType::q4_k)) == "Q4_K");
    CHECK(to_string(StoredType(OpaqueType{16, "IQ2_XXS"})) == "IQ2_XXS");
    CHECK(is_convertible(StoredType(DType::bf16)));
    CHECK(is_convertible(StoredType(PackedType::q6_k)));
    CHECK(!is_convertible(StoredType(DType::i8)));
    CHECK(!is_convertible(StoredType(OpaqueType{16, "IQ2_XXS"})));
}
