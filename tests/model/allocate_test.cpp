// Laws of spreading a budget: never more than it, as good as an exhaustive search but for one edge, fair to equals,
// kinder with every parameter more.
#include "mpo/model/allocate.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// Losses of a spectrum k^-decay, the rank that loses nothing included.
[[nodiscard]] std::vector<double> power_losses(Index ranks, double decay) {
    std::vector<double> losses(static_cast<std::size_t>(ranks) + 1, 0.0);
    for (Index r = ranks; r-- > 0;)
        losses[static_cast<std::size_t>(r)] =
            losses[static_cast<std::size_t>(r) + 1] + std::pow(r + 1, -decay);
    return losses;
}

[[nodiscard]] AllocationItem allocation_item(const std::string& name, Index rows, Index cols,
                                             double decay, double weight = 1) {
    return {name, rows, cols, power_losses((std::min)(rows, cols), decay), DamageCurve(weight)};
}

/// Unlike in shape, spectrum, weight and law of damage.
[[nodiscard]] std::vector<AllocationItem> mixed_items() {
    auto items = std::vector<AllocationItem>{
        allocation_item("a", 6, 5, 0.5), allocation_item("b", 4, 9, 1.5, 3),
        allocation_item("c", 7, 7, 1, 0.2), allocation_item("d", 1, 6, 1)};
    items[2].damage = DamageCurve({{0.1, 0.02}, {0.3, 0.3}, {0.7, 0.4}}, 0.7);
    auto stairs = allocation_item("e", 5, 5, 0, 0.5);  // losses fall in stairs: no convex curve
    stairs.losses = {5, 4.9, 4.8, 1, 0.9, 0};
    items.push_back(stairs);
    return items;
}

[[nodiscard]] Index all_dense_cost(const std::vector<AllocationItem>& items) {
    Index sum = 0;
    for (const auto& one : items) sum += one.rows * one.cols;
    return sum;
}

/// What rank r of a linear costs, 0 <= r <= min(m, n); the last one is the dense weight.
[[nodiscard]] Index rank_cost(const AllocationItem& one, Index r, const AllocateOptions& options) {
    const bool dense = r == (std::min)(one.rows, one.cols);
    if (options.unit == BudgetUnit::multiply_adds)
        return dense ? one.rows * one.cols : r * (one.rows + one.cols);
    const Index numbers = dense ? one.rows * one.cols : r * (one.rows + one.cols - r);
    if (options.unit == BudgetUnit::parameters) return numbers;
    return (numbers * (dense ? options.dense_bits : options.factor_bits) + 7) / 8;
}

/// Whether a rank, or the dense weight, is within the bound of multiply-adds.
[[nodiscard]] bool is_within_flops(const AllocationItem& one, Index r,
                                   const AllocateOptions& options) {
    const bool dense = r == (std::min)(one.rows, one.cols);
    const auto multiply_adds =
        static_cast<double>(dense ? one.rows * one.cols : r * (one.rows + one.cols));
    return multiply_adds <= options.max_flops_ratio * static_cast<double>(one.rows * one.cols);
}

/// Least damage over all combinations of ranks from `floors` on.
[[nodiscard]] double exhaustive(const std::vector<AllocationItem>& items,
                                const std::vector<Index>& floors, Index budget,
                                const AllocateOptions& options, std::size_t at = 0) {
    if (budget < 0) return HUGE_VAL;
    if (at == items.size()) return 0;
    double best = HUGE_VAL;
    const Index full = (std::min)(items[at].rows, items[at].cols);
    for (Index r = floors[at]; r <= full; ++r) {
        if (!is_within_flops(items[at], r, options)) continue;
        const double loss =
            r == full ? 0
                      : items[at].losses[static_cast<std::size_t>(r)] / items[at].losses.front();
        const Index cost = rank_cost(items[at], r, options);
        best = (std::min)(best, items[at].damage(loss) +
                                    exhaustive(items, floors, budget - cost, options, at + 1));
    }
    return best;
}

/// The rank of every floor as the comment of allocate states it.
[[nodiscard]] std::vector<Index> floors_of(const std::vector<AllocationItem>& items, Index budget,
                                           const AllocateOptions& options) {
    double all = 0;
    for (const auto& one : items)
        all += static_cast<double>(rank_cost(one, (std::min)(one.rows, one.cols), options));
    std::vector<Index> floors;
    for (const auto& one : items) {
        const Index full = (std::min)(one.rows, one.cols);
        const auto most = options.floor * static_cast<double>(budget) / all *
                          static_cast<double>(rank_cost(one, full, options));
        Index floor = is_within_flops(one, 1, options) ? 1 : full;
        for (Index r = 1; r < full; ++r)
            if (is_within_flops(one, r, options) &&
                static_cast<double>(rank_cost(one, r, options)) <= most)
                floor = r;
        floors.push_back((std::min)(floor, full));
    }
    return floors;
}

/// The largest edge that could have been left out: the damage of one linear at its floor.
[[nodiscard]] double worst_edge(const std::vector<AllocationItem>& items) {
    double worst = 0;
    for (const auto& one : items)
        worst = (std::max)(
            worst, one.damage(one.losses.size() > 2 ? one.losses[1] / one.losses.front() : 0));
    return worst;
}

const std::vector<AllocateOptions> allocate_ways{
    {.floor = 0},
    {},
    {.floor = 1},
    {.unit = BudgetUnit::multiply_adds, .floor = 0.3},
    {.unit = BudgetUnit::bytes, .floor = 0.5, .dense_bits = 5, .factor_bits = 8},
    {.unit = BudgetUnit::bytes, .floor = 0, .dense_bits = 16, .factor_bits = 1},
    {.floor = 0.5, .max_flops_ratio = 1},
    {.unit = BudgetUnit::bytes,
     .floor = 0,
     .dense_bits = 16,
     .factor_bits = 8,
     .max_flops_ratio = 1.2},
};

}  // namespace

TEST_CASE("allocate: an exhaustive search is better by less than one edge") {
    const auto items = mixed_items();
    for (const auto& options : allocate_ways) {
        INFO(to_string(options.unit) << " floor " << options.floor);
        Index all = 0;
        for (const auto& one : items)
            all += rank_cost(one, (std::min)(one.rows, one.cols), options);
        int refused = 0, exact = 0;
        for (Index budget = 1; budget <= all; budget += 3) {
            const auto floors = floors_of(items, budget, options);
            const double best = exhaustive(items, floors, budget, options);
            if (best == HUGE_VAL) {
                CHECK_THROWS_AS(allocate(items, budget, options), ArgumentError);
                ++refused;
                continue;
            }
            const auto result = allocate(items, budget, options);
            CHECK(result.cost <= budget);
            CHECK(result.bound <= best * (1 + 1e-12));
            CHECK(result.damage >= best * (1 - 1e-12));
            CHECK(result.damage - best <= worst_edge(items));
            if (result.damage <= best * (1 + 1e-12)) ++exact;
            for (std::size_t l = 0; l < items.size(); ++l) {
                const auto& got = result.linears[l];
                if (got.damage > 0) {  // nothing that helps could still be had
                    const auto& losses = items[l].losses;
                    const auto damage = [&](Index rank) {
                        return items[l].damage(losses[static_cast<std::size_t>(rank)] /
                                               losses.front());
                    };
                    Index r = got.rank + 1;
                    while (damage(r) >= got.damage || !is_within_flops(items[l], r, options)) ++r;
                    CHECK(rank_cost(items[l], r, options) - got.cost > budget - result.cost);
                }
                CHECK(result.linears[l].rank >= floors[l]);
                CHECK(is_within_flops(items[l], got.rank, options));
                CHECK(result.linears[l].cost ==
                      rank_cost(items[l], result.linears[l].rank, options));
            }
        }
        CHECK(refused > 0);
        CHECK(exact > 5);  // most of the time nothing at all is lost
    }
}

TEST_CASE("allocate: on convex curves the gap is one rank of one linear") {
    std::vector<AllocationItem> items;
    for (int k = 0; k < 20; ++k)
        items.push_back(allocation_item("linear " + std::to_string(k), 40 + 3 * k, 60 - 2 * k,
                                        0.4 + 0.1 * k, 1 + (k * 7) % 5));
    const Index dense = all_dense_cost(items);
    for (const double share : {0.2, 0.4, 0.6, 0.8, 0.95}) {
        const auto budget = static_cast<Index>(share * static_cast<double>(dense));
        for (const double floor : {0.0, 0.5}) {
            const auto result = allocate(items, budget, {.floor = floor});
            CHECK(result.cost <= budget);
            CHECK(result.bound <= result.damage);
            CHECK(result.damage - result.bound <= result.price * 110);  // m + n - 2 r - 1 < 110
            CHECK(budget - result.cost < 110);
        }
    }
}

TEST_CASE("allocate: equal linears get equal shares") {
    // the last ranks are the cheapest: a spectrum that falls faster makes a convex curve
    auto convex = allocation_item("same", 30, 20, 0);
    for (std::size_t r = 0; r < 20; ++r)
        convex.losses[r] = std::pow(0.7, static_cast<double>(r)) - std::pow(0.7, 20.0);
    // one that falls slower does not: all but one stand on corners of the hull
    const auto slow = allocation_item("same", 30, 20, 1.2);
    for (const auto& one : {convex, slow}) {
        const std::vector<AllocationItem> items(7, one);
        const Index dense = all_dense_cost(items);
        for (Index budget = dense / 8; budget < dense; budget += 101) {
            std::vector<Index> ranks;
            for (const auto& got : allocate(items, budget).linears) ranks.push_back(got.rank);
            std::sort(ranks.begin(), ranks.end());
            if (one.losses == convex.losses) {
                CHECK(ranks.back() - ranks.front() <= 2);  // the rest may buy a cheaper rank
            } else {
                int between = 0;
                for (const Index r : ranks)
                    if (r > ranks.front() + 1 && r < ranks.back()) ++between;
                CHECK(between <= 1);
            }
        }
    }
}

TEST_CASE("allocate: the scale of the losses is none of its business, that of the damage is") {
    const auto items = mixed_items();
    auto scaled = items;
    for (auto& one : scaled)
        for (double& loss : one.losses) loss *= 1024;
    const Index budget = all_dense_cost(items) / 2;
    const auto a = allocate(items, budget), b = allocate(scaled, budget);
    for (std::size_t l = 0; l < items.size(); ++l) CHECK(a.linears[l].rank == b.linears[l].rank);
    CHECK(a.damage == b.damage);

    auto important = items;
    important[0].damage = DamageCurve(1e6);
    CHECK(allocate(important, budget).linears[0].dense);

    important.push_back(allocation_item("idle", 40, 30, 1, 0));  // its floor is all that it gets
    for (const double floor : {0.0, 0.5, 0.9}) {
        const auto result = allocate(important, 1000, {.floor = floor});
        CHECK(result.linears.back().rank == floors_of(important, 1000, {.floor = floor}).back());
    }
}

TEST_CASE("allocate: a larger budget does less damage, and all of it keeps everything dense") {
    std::vector<AllocationItem> items;
    for (int k = 0; k < 6; ++k)
        items.push_back(
            allocation_item("linear " + std::to_string(k), 12 + k, 17 - k, 0.3 * k, 1 + k % 3));
    const Index dense = all_dense_cost(items);
    for (const double floor : {0.0, 0.5, 1.0}) {
        double before = HUGE_VAL, bound = HUGE_VAL;
        for (Index budget = dense / 5; budget <= dense; budget += 29) {  // a rank costs less
            const auto result = allocate(items, budget, {.floor = floor});
            if (floor == 0) CHECK(result.damage <= before * (1 + 1e-12));
            if (floor == 0) CHECK(result.bound <= bound + 1e-12);
            CHECK(result.damage <= before + result.price * 29);
            before = result.damage;
            bound = result.bound;
        }
    }
    for (const Index budget : {dense, dense + 1, std::numeric_limits<Index>::max()}) {
        const auto result = allocate(items, budget);
        CHECK(result.damage == 0);
        CHECK(result.bound == 0);
        CHECK(result.cost == dense);
        for (const auto& one : result.linears) CHECK((one.dense && one.share == 1));
    }
    CHECK_FALSE(allocate(items, dense - 1).cost == dense);
}

TEST_CASE("allocate: a cap leaves nothing dense, and the rest goes to others") {
    auto items = mixed_items();
    items.erase(items.begin() + 3);  // a row has no rank below its own
    items[0].damage = DamageCurve(1e6);
    for (const auto unit : {BudgetUnit::parameters, BudgetUnit::multiply_adds}) {
        const auto result = allocate(items, all_dense_cost(items), {.unit = unit, .cap = 0.8});
        for (std::size_t l = 0; l < items.size(); ++l) {
            const auto& one = result.linears[l];
            CHECK_FALSE(one.dense);
            const auto dense = static_cast<double>(items[l].rows * items[l].cols);
            CHECK(static_cast<double>(one.cost) <= 0.8 * dense);
            CHECK(static_cast<double>(rank_cost(items[l], one.rank + 1, {.unit = unit})) >
                  0.8 * dense);
        }
    }
}

TEST_CASE("allocate: below one of the multiply-adds nothing stays dense") {
    auto items = mixed_items();
    items.erase(items.begin() + 3);
    for (const double ratio : {0.6, 0.99, 1.0}) {
        const AllocateOptions options{.max_flops_ratio = ratio};
        const auto result = allocate(items, all_dense_cost(items), options);
        for (std::size_t l = 0; l < items.size(); ++l) {
            const Index r = result.linears[l].rank;
            CHECK(result.linears[l].dense == (ratio == 1));
            CHECK(is_within_flops(items[l], r, options));
            CHECK((ratio == 1 || !is_within_flops(items[l], r + 1, options)));
        }
    }
}

TEST_CASE("allocate: measured damage is a power law between its points and bounded beyond them") {
    const DamageCurve square({{0.01, 0.001}, {0.1, 0.1}}), steep({{0.1, 0.001}, {0.2, 0.1}}),
        flat({{0.1, 0.1}, {0.4, 0.11}}), one({{0.2, 0.05}}, 3),
        three({{0.1, 0.01}, {0.2, 0.02}, {0.4, 0.08}});
    const auto near = [](double a, double b) { return std::abs(a - b) <= 1e-12 * std::abs(b); };
    CHECK(near(square(0.05), 0.1 * 0.25));
    CHECK(near(square(0.2), 0.4));
    CHECK(near(square(0.001), 1e-5));
    CHECK(near(steep(0.05), 0.00025));  // squared, not to the power of 6.6
    CHECK(near(steep(0.4), 0.4));
    CHECK(near(flat(1.6), 0.22));  // the root, not the power of 0.07
    CHECK(near(flat(0.025), 0.05));
    CHECK(near(one(0.1), 0.075));
    CHECK(near(three(0.15), 0.015));
    CHECK(near(three(0.3), 0.02 * 2.25));
    CHECK(near(three(0.05), 0.005));
    CHECK(near(three(0.8), 0.32));
    CHECK(near(DamageCurve(2.5)(0.3), 0.75));
    // noise: the KLD falls, the damage does not
    const DamageCurve noisy({{0.1, 0.02}, {0.2, 0.01}, {0.4, 0.08}});
    for (const auto& curve : {square, steep, flat, one, three, noisy}) {
        CHECK(curve(0) == 0);
        double before = 0;
        for (double loss = 1e-6; loss < 2; loss *= 1.07) {
            CHECK(curve(loss) >= before);
            before = curve(loss);
        }
    }
    CHECK(near(noisy(0.1), std::sqrt(0.0002)));
    CHECK(near(noisy(0.2), std::sqrt(0.0002)));
    CHECK(near(noisy(0.4), 0.08));
}

TEST_CASE("allocate: what cannot be spread is refused by name and number") {
    const auto items = mixed_items();
    const auto refused = [&](auto change, const std::vector<std::string>& pieces) {
        auto bad = items;
        change(bad[1]);
        check_throws<Error>([&] { (void)allocate(bad, 60); }, pieces);
    };
    for (const double poison : {std::nan(""), HUGE_VAL, -1e-300})
        refused([&](auto& one) { one.losses[2] = poison; },
                {"allocate: the loss of b at rank 2 is "});
    refused([](auto& one) { one.losses[2] = one.losses[1] + 1; },
            {"allocate: the loss of b grows from ", " at rank 1 to ", " at rank 2"});
    refused([](auto& one) { one.losses.pop_back(); },
            {"allocate: b, 4 x 9, needs losses of rank 0 to 4, got 4 of them"});
    refused([](auto& one) { one.rows = 0; }, {"allocate: b is empty, 0 x 9"});
    refused([](auto& one) { one.rows = one.cols = Index{1} << 31; },
            {"allocate: the cost of b, 2147483648 x 2147483648, is beyond "});
    check_throws<ArgumentError>([&] { (void)allocate({}, 1); }, {"there are no linears"});
    Index ones = 0;
    for (const auto& one : items) ones += rank_cost(one, 1, {});
    (void)allocate(items, ones, {.floor = 0});
    check_throws<ArgumentError>([&] { (void)allocate(items, ones - 1, {.floor = 0}); },
                                {"the budget is " + std::to_string(ones - 1) + " parameters",
                                 "the floor of all 5 linears costs " + std::to_string(ones)});
    check_throws<ArgumentError>([&] { (void)allocate(items, -5); }, {"the budget is -5 "});
    for (const double bad : {-0.1, 1.1, std::nan("")})
        check_throws<ArgumentError>([&] { (void)allocate(items, 60, {.floor = bad}); },
                                    {"allocate: the floor must be 0 to 1, got "});
    for (const double bad : {0.0, 1.1, std::nan("")})
        check_throws<ArgumentError>([&] { (void)allocate(items, 60, {.cap = bad}); },
                                    {"allocate: the cap must be above 0 and at most 1, got "});
    for (const double bad : {0.0, -1.0, std::nan("")})
        check_throws<ArgumentError>([&] { (void)allocate(items, 60, {.max_flops_ratio = bad}); },
                                    {"allocate: max_flops_ratio must be above 0, got "});
    check_throws<ArgumentError>(
        [&] { (void)allocate(items, 60, {.max_flops_ratio = 0.9}); },
        {"allocate: no rank of d, 1 x 6, costs at most 0.9 of its multiply-adds"});
    check_throws<ArgumentError>(
        [&] { (void)allocate(items, 60, {.cap = 0.9, .max_flops_ratio = 0.8}); },
        {"the cap, 0.9 of 6 parameters, and 0.8 of its multiply-adds"});
    for (const Index bad : {Index{0}, Index{65}})
        check_throws<ArgumentError>([&] { (void)allocate(items, 60, {.factor_bits = bad}); },
                                    {"allocate: a number must have 1 to 64 bits, got "});
    check_throws<ArgumentError>(
        [&] { (void)allocate(items, 60, {.cap = 0.9}); },
        {"allocate: no rank of d, 1 x 6, costs at most the cap, 0.9 of 6 parameters"});
    check_throws<ArgumentError>([] { DamageCurve{std::vector<DamagePoint>{}}; }, {"no point"});
    for (const auto& bad : {DamagePoint{0, 1}, DamagePoint{1, 0}, DamagePoint{1, std::nan("")}})
        check_throws<ArgumentError>([&] { DamageCurve({bad}); },
                                    {"loss and KLD of point 0 must be above 0 and finite"});
    check_throws<ArgumentError>(
        [] {
            DamageCurve({{0.2, 1}, {0.2, 2}});
        },
        {"points must ascend in their loss, got 0.2 before 0.2"});
    check_throws<ArgumentError>([] { DamageCurve(-1.0); }, {"the weight must be finite and >= 0"});
}
