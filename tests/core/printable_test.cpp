#include "mpo/core/printable.hpp"

#include "support/catch.hpp"

using mpo::detail::in_quotes;
using mpo::detail::printable;

TEST_CASE("printable: what a terminal only shows stays as it is") {
    for (const std::string text :
         {"", "model.layers.0.mlp.up_proj.weight", "a b\\c'd\"", "\u00a0\u00e9\u07ff",
          "\u0800\ud7ff\ue000\uffff", "\U00010000\U0010ffff"}) {
        CHECK(printable(text) == text);
        CHECK(in_quotes(text) == "'" + text + "'");
    }
}

TEST_CASE("printable: control characters and broken UTF-8 are written as numbers") {
    CHECK(printable("\x1b[2J\n\r\t\x7f") == "\\x1b[2J\\x0a\\x0d\\x09\\x7f");
    CHECK(printable(std::string("a\0b", 3)) == "a\\x00b");
    CHECK(printable("\xc2\x9b") == "\\xc2\\x9b");           // a control character of 8 bits
    CHECK(printable("\xc1\xbf") == "\\xc1\\xbf");           // longer than need be, as
    CHECK(printable("\xe0\x9f\xbf") == "\\xe0\\x9f\\xbf");  // these
    CHECK(printable("\xf0\x8f\xbf\xbf") == "\\xf0\\x8f\\xbf\\xbf");
    CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");           // half a surrogate
    CHECK(printable("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");  // beyond Unicode
    CHECK(printable("\x80 \xbf \xf9\x80\x80\x80") == "\\x80 \\xbf \\xf9\\x80\\x80\\x80");
    CHECK(printable("\xe2\x82") == "\\xe2\\x82");  // broken off
    CHECK(printable("\xe2\x82z\xc3(") == "\\xe2\\x82z\\xc3(");
}

TEST_CASE("printable: long text is cut between characters, and its length stated") {
    CHECK(printable("abcde", 5) == "abcde");
    CHECK(printable("abcdef", 5) == "abcde... (6 bytes)");
    CHECK(printable("abcd\u00e9", 5) == "abcd... (6 bytes)");
    CHECK(printable("abcd\x01\x01", 5) == "abcd\\x01... (6 bytes)");
    CHECK(printable(std::string(101, 'x')) == std::string(100, 'x') + "... (101 bytes)");
}
