// Errors: one base, sorted by whose fault it is, texts built in one place.
#include "mpo/core/error.hpp"

#include "support/catch.hpp"

using namespace mpo;

TEMPLATE_TEST_CASE("every error is an Error and says what it was given", "", ShapeError,
                   ArgumentError, FormatError, FileError, NumericalError, BackendError) {
    CHECK_THROWS_AS(throw TestType("x"), Error);
    CHECK_THROWS_AS(throw TestType("x"), std::runtime_error);
    CHECK_THROWS_WITH(throw TestType("who: rule, got 3"), "who: rule, got 3");
}

TEST_CASE("kinds of errors are told apart") {
    const auto kind = [](auto&& thrower) -> std::string {
        try {
            thrower();
        } catch (const ShapeError&) {
            return "shape";
        } catch (const Error&) {
            return "other";
        }
        return "none";
    };
    CHECK(kind([] { throw ShapeError(""); }) == "shape");
    CHECK(kind([] { throw ArgumentError(""); }) == "other");
    CHECK(kind([] {}) == "none");
}

TEST_CASE("concat writes its arguments one after the other") {
    CHECK(detail::concat("decompose: ", 16, '*', 8, " = ", 128L, " must equal ",
                         std::string("rows")) == "decompose: 16*8 = 128 must equal rows");
    CHECK(detail::concat(0.5, " ", -1) == "0.5 -1");
}
