// Normal form C against Python's unicodedata (fixtures/make_nfc.py), and its laws.

#include "mpo/model/nfc.hpp"

#include <array>

#include "mpo/model/utf8.hpp"
#include "support/catch.hpp"
#include "support/oracle.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

[[nodiscard]] std::vector<std::uint64_t> expected() {
    std::ifstream file(fixture("nfc.txt"));
    std::vector<std::uint64_t> hashes;
    for (std::string line; std::getline(file, line);)
        hashes.push_back(std::stoull(line, nullptr, 16));
    return hashes;
}

/// The generator of make_nfc.py.
class Splitmix {
  public:
    [[nodiscard]] std::uint32_t below(std::uint32_t count) {
        state_ += 0x9e3779b97f4a7c15u;
        std::uint64_t z = state_;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return static_cast<std::uint32_t>((z ^ z >> 31) % count);
    }

  private:
    std::uint64_t state_ = 9;
};

constexpr std::array<std::array<std::uint32_t, 2>, 16> ranges{{{0x41, 0x7a},
                                                               {0xc0, 0x17f},
                                                               {0x300, 0x36f},
                                                               {0x300, 0x36f},
                                                               {0x1100, 0x11ff},
                                                               {0xac00, 0xd7a3},
                                                               {0x1e00, 0x1fff},
                                                               {0x900, 0xdff},
                                                               {0x3040, 0x30ff},
                                                               {0xf900, 0xfaff},
                                                               {0x2f800, 0x2fa1d},
                                                               {0x5b0, 0x670},
                                                               {0x1d15e, 0x1d1c0},
                                                               {0x11000, 0x11940},
                                                               {0xf00, 0xfbc},
                                                               {0x2000, 0x2adc}}};

}  // namespace

TEST_CASE("nfc: as Python has it") {
    const auto hashes = expected();
    REQUIRE(hashes.size() == 65);
    std::string all;
    for (std::uint32_t code = 0; code < 0x110000; ++code) {
        if (code >= 0xd800 && code < 0xe000) continue;
        std::string text;
        detail::append_utf8(text, code);
        all += to_nfc(text);
    }
    CHECK(fnv1a(all) == hashes[0]);
    Splitmix random;
    for (std::size_t batch = 1; batch < hashes.size(); ++batch) {
        std::string normal;
        for (int k = 0; k < 500; ++k) {
            std::string text;
            for (std::uint32_t n = 1 + random.below(10); n > 0; --n) {
                const auto [first, last] = ranges[random.below(ranges.size())];
                detail::append_utf8(text, first + random.below(last - first + 1));
            }
            normal += to_nfc(text);
            CHECK(to_nfc(to_nfc(text)) == to_nfc(text));
        }
        CHECK(fnv1a(normal) == hashes[batch]);
    }
}

TEST_CASE("nfc: bytes that are no UTF-8 stay and keep apart") {
    CHECK(to_nfc("e\xcc\x81") == "\xc3\xa9");
    CHECK(to_nfc("e\xff\xcc\x81") == "e\xff\xcc\x81");
    CHECK(to_nfc("\xcc\x81\xcc") == "\xcc\x81\xcc");
    CHECK(to_nfc("\xed\xa0\x80") == "\xed\xa0\x80");
    CHECK(to_nfc("").empty());
    std::string marks = "a";
    for (int k = 0; k < 100000; ++k) marks += k % 2 == 0 ? "\xcc\x96" : "\xcc\x80";
    const auto normal = to_nfc(marks);  // one grave goes into the a, the others behind those below
    CHECK(normal.size() == marks.size() - 1);
    CHECK(normal.starts_with("\xc3\xa0\xcc\x96\xcc\x96"));
}
