#include "mpo/model/compress_options.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace mpo;
using namespace mpo::test;

TEST_CASE("linear kinds: names there and back, modules by their end") {
    for (const char* name : {"q", "k", "v", "o", "gate", "up", "down"}) {
        const auto kind = parse_linear_kind(name);
        REQUIRE(kind);
        CHECK(to_string(*kind) == name);
        const std::string part = std::string(name).size() == 1 ? "self_attn." : "mlp.";
        CHECK(linear_kind("model.layers.11." + part + name + "_proj") == kind);
    }
    for (const char* name : {"", "Q", "proj", "lm_head"}) CHECK_FALSE(parse_linear_kind(name));
    for (const char* module : {"lm_head", "model.embed_tokens", "model.layers.0.self_attn.q_norm",
                               "q_proj", "model.layers.0.mlp.q_proj"})
        CHECK_FALSE(linear_kind(module));
}

TEST_CASE("parse_layout: the inverse of to_string, and a little more lenient") {
    for (const Layout& layout :
         {Layout{{24, 24}, {24, 24}}, Layout{{7}, {11}}, Layout{{576, 1}, {1, 576}},
          Layout{{2, 3, 4}, {5, 6, 7}}, Layout{{2, 3}, {4}}, Layout{{0, 1}, {1, 1}}})
        CHECK(parse_layout(to_string(layout)) == layout);
    CHECK(parse_layout("2*3:4X5") == Layout{{2, 3}, {4, 5}});
    for (const char* text :
         {"", ":", "2x3", "2x3:", ":2x3", "2xx3:4x5", "2x3:4x5:6", "a:b", "2x-3:1x1", "2x3:4x5y",
          "x2:3", "99999999999999999999:1", "2,3:4,5", "2x3:4x"})
        check_throws<ArgumentError>([&] { (void)parse_layout(text); },
                                    {detail::concat("'", text, "'")});
}
