// Multiple choice, its summary, and the paired test between two models.

#include "mpo/model/choices.hpp"

#include <cmath>
#include <limits>

#include "mpo/core/random.hpp"
#include "mpo/model/mcnemar.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// 2 P(X <= min(b, c)) by the sum itself.
[[nodiscard]] double exact_by_sum(int b, int c) {
    const int n = b + c;
    double term = std::pow(0.5, n), sum = 0;
    for (int k = 0; k <= std::min(b, c); ++k) {
        sum += term;
        term *= static_cast<double>(n - k) / (k + 1);
    }
    return b == c ? 1 : std::min(1.0, 2 * sum);
}

}  // namespace

TEST_CASE("choices: the most probable, per character, per byte") {
    //                         4 characters, 8 bytes      5 and 5   7 and 7
    const ChoiceItem item{"Q:",
                          {" \xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", " bbbbb", " ccccccc"},
                          {"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", "bbbbb", "ccccccc"},
                          1};
    const auto outcome = choose(item, std::vector<double>{-8, -7, -9});
    CHECK(outcome.chosen == 1);
    CHECK(outcome.chosen_per_character == 2);  // -2, -1.4, -9/7
    CHECK(outcome.chosen_per_byte == 0);       // -1, -1.4, -9/7
    CHECK(outcome.right);
    CHECK_FALSE(outcome.right_per_character);
    CHECK_FALSE(outcome.right_per_byte);
    CHECK(choose(item, std::vector<double>{-1, -1, -1}).chosen == 0);  // of equals the first
    const double least = -std::numeric_limits<double>::infinity();
    CHECK(choose(item, std::vector<double>{least, least, -1}).chosen == 2);
}

TEST_CASE("choices: what does not fit is refused") {
    ChoiceItem item{"Q:", {" a", " b"}, {"a", "b"}, 0};
    check_throws<ArgumentError>([&] { (void)choose(item, std::vector<double>{-1}); },
                                {"1 log-likelihoods", "2 choices"});
    const double nan = std::numeric_limits<double>::quiet_NaN();
    check_throws<NumericalError>(
        [&] {
            (void)choose(item, std::vector<double>{-1, nan});
        },
        {"choice 1"});
    item.answer = 2;
    check_throws<ArgumentError>(
        [&] {
            (void)choose(item, std::vector<double>{-1, -2});
        },
        {"right one 2"});
    check_throws<ArgumentError>([] { (void)accuracy({}); }, {"no answers"});
    check_throws<ArgumentError>([] { (void)summarize({}); }, {"no answers"});
}

TEST_CASE("choices: accuracy and its standard error") {
    const auto half = accuracy({true, false, true, false, false});
    CHECK(half.value == Approx(0.4));
    CHECK(half.standard_error == Approx(std::sqrt(0.4 * 0.6 / 4)));
    CHECK(accuracy({true}).standard_error == 0);
    std::vector<ChoiceOutcome> outcomes(3);
    outcomes[0].right = outcomes[1].right_per_character = outcomes[2].right_per_character = true;
    const auto summary = summarize(outcomes);
    CHECK(summary.num_items == 3);
    CHECK(summary.acc.value == Approx(1.0 / 3));
    CHECK(summary.acc_norm.value == Approx(2.0 / 3));
    CHECK(summary.acc_bytes.value == 0);
}

TEST_CASE("mcnemar: the exact test is the binomial sum") {
    for (int b = 0; b <= 40; ++b)
        for (int c = 0; c <= 40; ++c) {
            const auto test = mcnemar(b, c, 100);
            INFO(b << " and " << c);
            CHECK(test.exact_p == Approx(exact_by_sum(b, c)).epsilon(1e-12));
            CHECK(test.difference == Approx((b - c) / 100.0));
        }
    CHECK(mcnemar(10, 2, 12).exact_p == Approx(158.0 / 4096));
    CHECK(mcnemar(10, 2, 12).chi_square == Approx(49.0 / 12));
    CHECK(mcnemar(10, 2, 12).chi_square_p == Approx(0.0433).epsilon(0.01));
    CHECK(mcnemar(0, 0, 5).exact_p == 1);
    CHECK(mcnemar(7, 7, 14).chi_square_p == 1);
    for (const Index few : {Index{4800}, Index{499000}})  // there the two are the same
        CHECK(mcnemar(few + few / 500, few, 3000000).exact_p ==
              Approx(mcnemar(few + few / 500, few, 3000000).chi_square_p).epsilon(1e-3));
    CHECK(mcnemar(1000000, 0, 1000000).exact_p == 0);
}

TEST_CASE("mcnemar: pairs of answers") {
    Random random(2);
    std::vector<bool> first, second;
    std::vector<double> differences;
    for (int k = 0; k < 400; ++k) {
        first.push_back(random.below(3) > 0);
        second.push_back(random.below(2) > 0);
        differences.push_back(static_cast<double>(first.back()) - second.back());
    }
    const auto test = mcnemar(first, second);
    double mean = 0, squares = 0;
    for (const double d : differences) mean += d / 400;
    for (const double d : differences) squares += (d - mean) * (d - mean);
    CHECK(test.num_items == 400);
    CHECK(test.difference == Approx(mean));
    CHECK(test.standard_error == Approx(std::sqrt(squares / 400 / 400)));
    const auto exchanged = mcnemar(second, first);
    CHECK(exchanged.exact_p == test.exact_p);
    CHECK(exchanged.difference == Approx(-mean));
    second.pop_back();
    check_throws<ArgumentError>([&] { (void)mcnemar(first, second); }, {"400", "399", "pairs"});
    check_throws<ArgumentError>([] { (void)mcnemar(std::vector<bool>{}, {}); }, {"0"});
    check_throws<ArgumentError>([] { (void)mcnemar(3, 3, 5); }, {"3", "5"});
    check_throws<ArgumentError>([] { (void)mcnemar(-1, 3, 5); }, {"-1"});
}
