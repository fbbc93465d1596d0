#include "mpo/io/json_tree.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"

using mpo::FormatError;
using mpo::detail::parse_json_tree;
using mpo::test::check_throws;

TEST_CASE("json: a document becomes the tree that it is") {
    const std::string text =
        "\xef\xbb\xbf "
        "{\"a\":[1,-2,0.5,\"\\u00e9\\\\\",true,null,[],{}],\"\\\"\":{\"a\":{\"a\":1}}}\n";
    CHECK(parse_json_tree(text, "file") == nlohmann::json::parse(text));
    for (const char* scalar : {"7", "\"x\"", "null", "[[1],[2]]"})
        CHECK(parse_json_tree(scalar, "file") == nlohmann::json::parse(scalar));
    const std::string deepest = std::string(32, '[') + std::string(32, ']');
    CHECK(parse_json_tree(deepest, "file") == nlohmann::json::parse(deepest));
}

TEST_CASE("json: what is refused is refused with path and byte") {
    const auto refuse = [](const std::string& text, std::vector<std::string> pieces) {
        INFO(text.substr(0, 60));
        pieces.emplace_back("file: ");
        check_throws<FormatError>([&] { (void)parse_json_tree(text, "file"); }, pieces);
    };
    refuse("", {"byte 0"});
    refuse("{\"a\":1", {"byte 6"});
    refuse("{\"a\":1}x", {"byte 7"});
    refuse("[1e999]", {"byte 5", "overflow"});
    refuse("{\"a\":1,\"b\":2,\"a\":3}", {"'a' at byte 13", "twice"});
    refuse("{\"\\\\\\\"\":1,\"b\":{\"a\":1,\"\\u0061\":2}}", {"'a' at byte 21", "twice"});
    refuse("[" + std::string(32, '[') + std::string(33, ']'), {"byte 32", "more than 32"});
    refuse(std::string("[1]\0", 4), {"byte 3", "NUL"});
    refuse(std::string("[\"\0\"]", 5), {"byte 2", "NUL"});
    refuse("[1,\"" + std::string((16u << 20) + 1, 'x') + "\"]", {"byte 3", "16777216"});
    refuse("[1,\"" + std::string((16u << 20) + 1, 'x'), {"byte 3", "16777216"});
    refuse("[\"\x1b[2J\"]", {"byte 2", "control"});
    refuse("[\"" + std::string(5000, '\xc3') + "\"]", {"UTF-8"});
}

TEST_CASE("json: a string at the limit is read") {
    const std::string text(16u << 20, 'x');
    CHECK(parse_json_tree('"' + text.substr(1) + '"', "file").get<std::string>().size() ==
          text.size() - 1);
}

TEST_CASE("json: a message about a value is short") {
    using mpo::detail::described;
    CHECK(described(nlohmann::json::parse("[[1]]")) == "array");
    CHECK(described(nlohmann::json::parse("{\"a\":1}")) == "object");
    CHECK(described(nlohmann::json::parse("-1.5")) == "-1.5");
    CHECK(described(std::string("x\ny")) == "\"x\\ny\"");
    CHECK(described(std::string(200, 'x')).size() < 130);
}
