#include "mpo/model/optimizer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "mpo/impl/adam_kernel_inl.hpp"
#include "mpo/io/safetensors.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/matrices.hpp"
#include "support/thread_count.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinite = std::numeric_limits<double>::infinity();

/// Arrays to train: every second one does not decay.
template <class T>
struct TrainedArrays {
    explicit TrainedArrays(const std::vector<Index>& sizes, std::uint64_t seed = 1) {
        for (const Index size : sizes) {
            const auto start = normal_tensor<double>({size}, seed++);
            values.emplace_back(start.data(), start.data() + size);
            gradients.emplace_back(static_cast<std::size_t>(size));
        }
    }
    [[nodiscard]] Parameters<T> parameters() {
        Parameters<T> all;
        for (std::size_t k = 0; k < values.size(); ++k)
            all.add({"layers." + std::to_string(k), values[k], gradients[k], k % 2 == 0});
        return all;
    }
    /// Other gradients for every step.
    void differentiate(Index step) {
        for (std::size_t k = 0; k < values.size(); ++k) {
            const auto size = static_cast<Index>(values[k].size());
            const auto draw =
                normal_tensor<double>({size}, static_cast<std::uint64_t>(step) * 100 + k);
            for (Index i = 0; i < size; ++i)
                gradients[k][static_cast<std::size_t>(i)] =
                    static_cast<T>(draw.data()[i] * std::exp2(static_cast<double>(i % 7)));
        }
    }
    bool operator==(const TrainedArrays&) const = default;

    std::vector<std::vector<T>> values, gradients;
};

/// All moments, as they are in memory.
template <class T>
[[nodiscard]] std::vector<std::vector<T>> moments_of(const AdamW<T>& optimizer) {
    std::vector<std::vector<T>> all;
    for (const auto& one : optimizer.state().moments) {
        all.emplace_back(one.first.begin(), one.first.end());
        all.emplace_back(one.second.begin(), one.second.end());
    }
    return all;
}

/// AdamW by its definition, in double.
class NaiveAdamW {
  public:
    explicit NaiveAdamW(const AdamWOptions& options) : options_(options) {}

    void step(TrainedArrays<double>& model, double factor) {
        if (first_.empty())
            for (const auto& values : model.values) {
                first_.emplace_back(values.size());
                second_.emplace_back(values.size());
            }
        double norm = 0;
        for (const auto& gradient : model.gradients)
            for (const double g : gradient) norm += factor * g * factor * g;
        norm = std::sqrt(norm);
        if (options_.clip_norm > 0 && norm > options_.clip_norm)
            factor *= options_.clip_norm / norm;
        const double rate = options_.learning_rate.at(steps_, options_.total_steps);
        ++steps_;
        for (std::size_t k = 0; k < model.values.size(); ++k) {
            const double scale = scale_of(model.values[k]);
            for (std::size_t i = 0; i < model.values[k].size(); ++i) {
                double &m = first_[k][i], &v = second_[k][i], &x = model.values[k][i];
                const double g = factor * model.gradients[k][i];
                m = options_.beta1 * m + (1 - options_.beta1) * g;
                v = options_.beta2 * v + (1 - options_.beta2) * g * g;
                const auto t = static_cast<double>(steps_);
                const double mean = m / (1 - std::pow(options_.beta1, t));
                const double square = v / (1 - std::pow(options_.beta2, t));
                if (k % 2 == 0) x -= rate * options_.weight_decay * x;
                x -= scale * rate * mean / (std::sqrt(square) + options_.epsilon);
            }
        }
    }

  private:
    [[nodiscard]] double scale_of(const std::vector<double>& values) const {
        if (options_.rate_scale == RateScale::absolute) return 1;
        double sum = 0;
        for (const double x : values) sum += x * x;
        const auto count = static_cast<double>((std::max)(values.size(), std::size_t{1}));
        return (std::max)(options_.least_scale, std::sqrt(sum / count));
    }

    AdamWOptions options_;
    Index steps_ = 0;
    std::vector<std::vector<double>> first_, second_;
};

}  // namespace

// -- the learning rate ------------------------------------------------------------------------------

TEST_CASE("learning rate: rises along a line, then falls as it is told, down to the floor") {
    for (const Index warm_up : {0, 1, 2, 7})
        for (const Index total : {8, 9, 40})
            for (const double floor : {0.0, 0.25, 1.0}) {
                INFO(warm_up << " of " << total << ", floor " << floor);
                LearningRate rate{.peak = 0.5, .warm_up_steps = warm_up, .floor_ratio = floor};
                const auto n = static_cast<double>(total - warm_up);
                for (const auto decay : {LearningRateDecay::constant, LearningRateDecay::linear,
                                         LearningRateDecay::cosine}) {
                    rate.decay = decay;
                    for (Index s = 0; s < warm_up; ++s)
                        CHECK(rate.at(s, total) ==
                              0.5 * static_cast<double>(s + 1) / static_cast<double>(warm_up));
                    CHECK(rate.at(warm_up, total) == 0.5);
                    const bool falls = decay != LearningRateDecay::constant;
                    CHECK(rate.at(total, total) == (falls ? 0.5 * floor : 0.5));
                    CHECK(rate.at(total + 1000, total) == (falls ? 0.5 * floor : 0.5));
                    for (Index s = warm_up; s < total; ++s) {
                        CHECK(rate.at(s + 1, total) <= rate.at(s, total));
                        CHECK(rate.at(s, total) >= 0.5 * floor);
                    }
                }
                rate.decay = LearningRateDecay::linear;  // equal steps, n of them
                const double tolerated = tolerance<double>(1, 0.5);
                for (Index s = warm_up; s < total; ++s)
                    CHECK(std::abs(rate.at(s, total) - rate.at(s + 1, total) -
                                   0.5 * (1 - floor) / n) < tolerated);
                rate.decay = LearningRateDecay::cosine;  // its ends mirror each other
                for (Index s = warm_up; s <= total; ++s)
                    CHECK(std::abs(rate.at(s, total) + rate.at(total + warm_up - s, total) -
                                   0.5 * (1 + floor)) < tolerated);
                CHECK(std::abs(rate.at(warm_up + 1, total) -
                               0.5 * (floor + (1 - floor) * (1 + std::cos(std::acos(-1.0) / n)) /
                                                  2)) < tolerated);
            }
}

// -- one step ---------------------------------------------------------------------------------------

TEMPLATE_TEST_CASE("optimizer: a step of one number, computed by hand", "", float, double) {
    std::vector<TestType> x{1}, g{1};
    Parameters<TestType> parameters;
    parameters.add({"x", x, g});
    AdamW<TestType> optimizer(
        parameters,
        {.learning_rate = {.peak = 0.1}, .epsilon = 0.5, .weight_decay = 0.01, .clip_norm = 2});
    // g = 1/2 stays; m = 0.05, v = 0.00025; corrected 0.5 and 0.25, whose root is 0.5
    auto done = optimizer.step({.gradient_factor = 0.5, .loss = 3});
    const double tolerated = tolerance<TestType>(1, 1);
    CHECK(std::abs(static_cast<double>(x[0]) - (0.999 - 0.1 * 0.5 / (0.5 + 0.5))) < tolerated);
    CHECK(std::abs(static_cast<double>(optimizer.state().moments[0].first[0]) - 0.05) < tolerated);
    CHECK(std::abs(static_cast<double>(optimizer.state().moments[0].second[0]) - 0.00025) <
          0.00025 * tolerated);
    CHECK(done.step == 1);
    CHECK(done.learning_rate == 0.1);
    CHECK(done.gradient_norm == 0.5);
    CHECK(done.clip_factor == 1);
    g[0] = -4;  // is clipped to -2: m = 0.045 - 0.2, v = 0.00024975 + 0.004
    done = optimizer.step();
    CHECK(done.gradient_norm == 4);
    CHECK(done.clip_factor == 0.5);
    CHECK(g[0] == -4);
    CHECK(std::abs(static_cast<double>(optimizer.state().moments[0].first[0]) + 0.155) < tolerated);
    CHECK(std::abs(static_cast<double>(optimizer.state().moments[0].second[0]) - 0.00424975) <
          0.00424975 * tolerated);
    CHECK(optimizer.num_steps() == 2);
}

TEMPLATE_TEST_CASE("optimizer: steps are those of the definition", "", float, double) {
    const AdamWOptions every[] = {
        {},
        {.learning_rate = {.peak = 0.01, .warm_up_steps = 3, .decay = LearningRateDecay::linear},
         .total_steps = 8},
        {.learning_rate = {.peak = 0.3}, .beta1 = 0, .beta2 = 0, .weight_decay = 0.5},
        {.beta1 = 0.99, .beta2 = 0.9, .epsilon = 1e-3, .weight_decay = 0.1, .clip_norm = 0.7},
        {.learning_rate = {.peak = 0.02}, .weight_decay = 0.1, .rate_scale = RateScale::relative},
        {.learning_rate = {.peak = 0.02}, .rate_scale = RateScale::relative, .least_scale = 3}};
    for (const auto& options : every)
        for (const std::vector<Index>& sizes :
             {std::vector<Index>{1}, {15, 16, 17, 0, 3}, {33'000, 2, 70'001}}) {
            TrainedArrays<TestType> model(sizes);
            TrainedArrays<double> reference(sizes);
            for (std::size_t k = 0; k < sizes.size(); ++k)
                reference.values[k].assign(model.values[k].begin(), model.values[k].end());
            AdamW<TestType> optimizer(model.parameters(), options);
            NaiveAdamW naive(options);
            constexpr Index steps = 10;
            for (Index step = 0; step < steps; ++step) {
                model.differentiate(step);
                for (std::size_t k = 0; k < sizes.size(); ++k)
                    reference.gradients[k].assign(model.gradients[k].begin(),
                                                  model.gradients[k].end());
                optimizer.step({.gradient_factor = 0.25});
                naive.step(reference, 0.25);
            }
            const double step_length = options.learning_rate.peak * 10;  // m / sqrt(v) goes so far
            double worst = 0;
            for (std::size_t k = 0; k < sizes.size(); ++k)
                for (std::size_t i = 0; i < model.values[k].size(); ++i)
                    worst = (std::max)(worst, std::abs(static_cast<double>(model.values[k][i]) -
                                                       reference.values[k][i]));
            INFO(options.beta1 << ", " << sizes.size());
            CHECK(worst < tolerance<TestType>(steps, 4 + step_length));
        }
}

TEST_CASE("optimizer: the kernel of every instruction set, whatever the numbers") {
    std::vector<detail::Isa> every{detail::Isa::generic};
    if (detail::best_isa() != detail::Isa::generic) every.push_back(detail::Isa::avx2);
    if (detail::best_isa() == detail::Isa::avx512) every.push_back(detail::Isa::avx512);
    const detail::AdamUpdate<float> update{.gradient_factor = 1,
                                           .keep_first = 0.9F,
                                           .take_first = 0.1F,
                                           .keep_second = 0.999F,

                                           .take_second = 0.001F,
                                           .step_size = 0.01F,
                                           .second_factor = 31.6F,
                                           .epsilon = 1e-8F,
                                           .keep_value = 0.999F};
    for (const auto isa : every)
        for (const Index n : {0, 1, 15, 16, 31, 64, 100}) {
            std::vector<float> g(static_cast<std::size_t>(n)), m(g), v(g), x(g);
            double sum = 0;
            for (std::size_t i = 0; i < g.size(); ++i) {  // from subnormal roots to large ones
                g[i] = std::ldexp(i % 2 == 0 ? 1.0F : -1.3F, static_cast<int>(i * 9 % 190) - 127);
                sum += static_cast<double>(g[i]) * static_cast<double>(g[i]);
                x[i] = i % 3 == 0 ? 1.0F : 0.0F;  // at 0 the root shows to its last digit
            }
            CHECK(std::abs(detail::sum_of_squares_on(isa, n, g.data()) - sum) <=
                  sum * tolerance<double>(n, 1));
            detail::adam_update_on(isa, n, update, g.data(), m.data(), v.data(), x.data());
            for (std::size_t i = 0; i < g.size(); ++i) {
                const double gradient = g[i], first = 0.1F * gradient,
                             second = static_cast<double>(0.001F) * gradient * gradient;
                const double eps = 1e-8F, length = static_cast<double>(0.01F) * first;
                const double value =
                    static_cast<double>(0.999F) * (i % 3 == 0 ? 1 : 0) -
                    length / (static_cast<double>(31.6F) * std::sqrt(second) + eps);
                CHECK(std::abs(m[i] - first) <= std::abs(first) * tolerance<float>(1, 1) + 1e-45);
                CHECK(std::abs(v[i] - second) <= second * tolerance<float>(1, 1) + 1e-44);
                CHECK(std::abs(static_cast<double>(x[i]) - value) <=
                      (std::abs(value) + (i % 3 == 0 ? 1 : 0)) * tolerance<float>(1, 1) + 1e-36);
            }
        }
}

TEST_CASE("optimizer: twenty steps of torch's AdamW, warmed up, decaying and clipped") {
    const SafetensorsFile oracle(fixture("optimizer.safetensors"));
    const std::vector<std::string> names{"weight", "bias"};
    std::vector<std::vector<double>> values, gradients;
    for (const auto& name : names) {
        const auto start = oracle.read<double>(name + ".start");
        values.emplace_back(start.data(), start.data() + start.size());
        gradients.emplace_back(values.back().size());
    }
    Parameters<double> parameters;
    for (std::size_t k = 0; k < 2; ++k) parameters.add({names[k], values[k], gradients[k], k == 0});
    AdamW<double> optimizer(parameters, {.learning_rate = {.peak = 0.05,
                                                           .warm_up_steps = 4,
                                                           .decay = LearningRateDecay::cosine,
                                                           .floor_ratio = 0.1},
                                         .total_steps = 20,
                                         .beta1 = 0.8,
                                         .beta2 = 0.95,
                                         .epsilon = 1e-6,
                                         .weight_decay = 0.1,
                                         .clip_norm = 8});
    const auto norms = oracle.read<double>("norms"), rates = oracle.read<double>("rates");
    const double tolerated = tolerance<double>(20, 10);
    for (Index step = 0; step < 20; ++step) {
        for (std::size_t k = 0; k < 2; ++k) {
            const auto target = oracle.read<double>(names[k] + ".target"),
                       curvature = oracle.read<double>(names[k] + ".curvature");
            for (std::size_t i = 0; i < values[k].size(); ++i) {
                const double x = values[k][i];
                gradients[k][i] = curvature.data()[i] * (x - target.data()[i]) + x * x * x;
            }
        }
        const auto done = optimizer.step();
        CHECK(std::abs(done.gradient_norm - norms(step)) < tolerated);
        CHECK(std::abs(done.learning_rate - rates(step)) < tolerance<double>(20, 0.05));
        for (std::size_t k = 0; k < 2; ++k) {
            const auto after = oracle.read<double>(names[k]);
            for (std::size_t i = 0; i < values[k].size(); ++i)
                CHECK(std::abs(values[k][i] - after(step, static_cast<Index>(i))) < tolerated);
        }
    }
    const auto all = moments_of(optimizer);
    for (std::size_t k = 0; k < 2; ++k) {
        const auto first = oracle.read<double>(names[k] + ".first"),
                   second = oracle.read<double>(names[k] + ".second");
        for (std::size_t i = 0; i < values[k].size(); ++i) {
            CHECK(std::abs(all[2 * k][i] - first.data()[i]) < tolerated);
            CHECK(std::abs(all[2 * k + 1][i] - second.data()[i]) < tolerated);
        }
    }
}

// -- bits -------------------------------------------------------------------------------------------

TEMPLATE_TEST_CASE("optimizer: every number of threads gives the same bits", "", float, double) {
    const auto run = [](int threads) {
        const ThreadCount count(threads);
        TrainedArrays<TestType> model({100'003, 5, 40'000});
        AdamW<TestType> optimizer(model.parameters(), {.weight_decay = 0.1, .clip_norm = 1});
        std::vector<double> norms;
        for (Index step = 0; step < 3; ++step) {
            model.differentiate(step);
            norms.push_back(optimizer.step().gradient_norm);
        }
        return std::tuple(model, moments_of(optimizer), norms);
    };
    const auto one = run(1);
    for (const int threads : {2, 3, 8}) CHECK(run(threads) == one);
}

TEMPLATE_TEST_CASE("optimizer: gradients that were added up are averaged by the factor", "", float,
                   double) {
    TrainedArrays<TestType> once({40, 7}), four_times({40, 7});
    AdamW<TestType> a(once.parameters(), {.clip_norm = 1}),
        b(four_times.parameters(), {.clip_norm = 1});
    for (Index step = 0; step < 4; ++step) {
        once.differentiate(step);
        b.parameters().clear_gradients();
        for (int k = 0; k < 4; ++k)
            for (std::size_t p = 0; p < once.gradients.size(); ++p)
                for (std::size_t i = 0; i < once.gradients[p].size(); ++i)
                    four_times.gradients[p][i] += once.gradients[p][i];
        a.step();
        b.step({.gradient_factor = 0.25});  // a power of two: no rounding
        CHECK(once.values == four_times.values);
    }
}

TEMPLATE_TEST_CASE("optimizer: a step that throws changes nothing, and says where it is", "", float,
                   double) {
    TrainedArrays<TestType> model({40'000, 3, 17}), untouched({40'000, 3, 17});
    AdamW<TestType> optimizer(model.parameters(), {.clip_norm = 1}),
        other(untouched.parameters(), {.clip_norm = 1});
    model.differentiate(0);
    untouched.differentiate(0);
    optimizer.step();
    other.step();
    const auto values = model.values;
    const auto before = moments_of(optimizer);
    const auto refused = [&](const AdamWStepOptions& options,
                             const std::vector<std::string>& pieces) {
        check_throws<NumericalError>([&] { optimizer.step(options); }, pieces);
        CHECK(model.values == values);
        CHECK(moments_of(optimizer) == before);
        CHECK(optimizer.num_steps() == 1);
    };
    for (const double loss : {not_a_number, infinite, -infinite})
        refused({.loss = loss}, {"loss at step 2 is"});
    for (const auto& [k, i] : {std::pair<std::size_t, std::size_t>{0, 39'999}, {1, 0}, {2, 16}})
        for (const double bad : {not_a_number, infinite, -infinite}) {
            const auto kept = std::exchange(model.gradients[k][i], static_cast<TestType>(bad));
            refused({}, {"layers." + std::to_string(k), "at step 2", "element " + std::to_string(i),
                         std::isnan(bad) ? "nan" : "inf"});
            model.gradients[k][i] = kept;
        }
    check_throws<ArgumentError>([&] { optimizer.step({.gradient_factor = 0}); },
                                {"gradient_factor", "got 0"});
    check_throws<ArgumentError>([&] { optimizer.step({.gradient_factor = not_a_number}); },
                                {"got nan"});
    CHECK(model.values == values);
    optimizer.step();
    other.step();
    CHECK(model.values == untouched.values);  // as if nothing had been
    CHECK(moments_of(optimizer) == moments_of(other));
}

TEMPLATE_TEST_CASE("optimizer: a gradient whose square is no finite number stops", "", float,
                   double) {
    TrainedArrays<TestType> model({3, 4});
    const TestType huge = std::sqrt(std::numeric_limits<TestType>::max()) * 2;
    model.gradients[1][2] = huge;
    AdamW<TestType> optimizer(model.parameters());
    check_throws<NumericalError>([&] { optimizer.step(); }, {"layers.1", "at step 1"});
    CHECK(model.values == TrainedArrays<TestType>({3, 4}).values);
    if constexpr (std::is_same_v<TestType,
                                 float>) {  // is squared in double, and may be scaled down
        optimizer.step({.gradient_factor = 1e-10});
        CHECK(model.values != TrainedArrays<TestType>({3, 4}).values);
    }
}

// -- what is remembered -----------------------------------------------------------------------------

TEMPLATE_TEST_CASE("optimizer: a restored state goes on with the same bits", "", float, double) {
    const AdamWOptions options{
        .learning_rate = {.peak = 0.01, .warm_up_steps = 2, .decay = LearningRateDecay::cosine},
        .total_steps = 9,
        .weight_decay = 0.1,
        .clip_norm = 1};
    TrainedArrays<TestType> unbroken({35'000, 9});
    AdamW<TestType> whole(unbroken.parameters(), options);
    TrainedArrays<TestType> resumed = unbroken;
    std::vector<std::vector<TestType>> kept;
    for (Index step = 0; step < 9; ++step) {
        unbroken.differentiate(step);
        whole.step();
        if (step == 3) {
            kept = moments_of(whole);
            resumed.values = unbroken.values;
        }
    }
    AdamW<TestType> again(resumed.parameters(), options);
    again.restore({4, {{"layers.0", kept[0], kept[1]}, {"layers.1", kept[2], kept[3]}}});
    CHECK(again.num_steps() == 4);
    for (Index step = 4; step < 9; ++step) {
        resumed.differentiate(step);
        again.step();
    }
    CHECK(resumed == unbroken);
    CHECK(moments_of(again) == moments_of(whole));
}

TEST_CASE("optimizer: a state of other parameters is refused and changes nothing") {
    TrainedArrays<double> model({3, 2});
    AdamW<double> optimizer(model.parameters());
    model.differentiate(0);
    optimizer.step();
    const auto before = moments_of(optimizer);
    std::vector<double> three{1, 2, 3}, two{4, 5}, bad{1, not_a_number}, negative{1, -1};
    const auto refused = [&]<class E>(E*, const AdamWState<double>& state,
                                      const std::vector<std::string>& pieces) {
        check_throws<E>([&] { optimizer.restore(state); }, pieces);
        CHECK(moments_of(optimizer) == before);
        CHECK(optimizer.num_steps() == 1);
    };
    ArgumentError* argument = nullptr;
    NumericalError* numerical = nullptr;
    refused(argument, {-1, {{"layers.0", three, three}, {"layers.1", two, two}}}, {"-1"});
    refused(argument, {5, {{"layers.0", three, three}}}, {"1 parameters", "2"});
    refused(argument, {5, {{"layers.0", three, three}, {"layers.7", two, two}}},
            {"layers.1", "layers.7"});
    refused(argument, {5, {{"layers.0", three, two}, {"layers.1", two, two}}},
            {"layers.0", "3 numbers", "3 and 2"});
    refused(numerical, {5, {{"layers.0", three, three}, {"layers.1", bad, two}}},
            {"layers.1", "element 1", "nan"});
    refused(numerical, {5, {{"layers.0", three, three}, {"layers.1", two, negative}}},
            {"layers.1", "element 1", "-1"});
}

TEMPLATE_TEST_CASE("optimizer: after rescale it is as if the gradients had always been scaled", "",
                   float, double) {
    for (const double factor : {4.0, -0.5, 1.0}) {  // powers of two: no rounding
        TrainedArrays<TestType> model({20, 6}), scaled({20, 6});
        AdamW<TestType> a(model.parameters()), b(scaled.parameters());
        for (Index step = 0; step < 3; ++step) {
            model.differentiate(step);
            scaled.differentiate(step);
            for (auto& g : scaled.gradients[1]) g /= static_cast<TestType>(factor);
            a.step();
            b.step();
        }
        a.rescale("layers.1", factor);
        CHECK(moments_of(a) == moments_of(b));
    }
    TrainedArrays<TestType> model({2});
    AdamW<TestType> optimizer(model.parameters());
    check_throws<ArgumentError>([&] { optimizer.rescale("norm", 2); }, {"norm"});
    for (const double factor : {0.0, not_a_number, infinite})
        check_throws<ArgumentError>([&] { optimizer.rescale("layers.0", factor); },
                                    {"layers.0", "got"});
}

// -- what is refused --------------------------------------------------------------------------------

TEST_CASE("optimizer: options outside their domain are refused with their number") {
    TrainedArrays<float> model({2});
    const auto refused = [&](const AdamWOptions& options, const std::vector<std::string>& pieces) {
        check_throws<ArgumentError>([&] { AdamW<float>(model.parameters(), options); }, pieces);
    };
    for (const double rate : {0.0, -0.5, not_a_number, infinite, 1e39})
        refused({.learning_rate = {.peak = rate}}, {"AdamW: ", "learning rate", "got "});
    refused({.learning_rate = {.peak = -0.5}}, {"got -0.5"});
    refused({.learning_rate = {.warm_up_steps = -3}}, {"warm_up_steps -3"});
    for (const double ratio : {-0.1, 1.5, not_a_number})
        refused({.learning_rate = {.floor_ratio = ratio}}, {"floor_ratio", "[0, 1]"});
    refused({.learning_rate = {.decay = LearningRateDecay::cosine}}, {"total_steps, got 0"});
    refused({.total_steps = -1}, {"total_steps -1"});
    for (const double beta : {-0.1, 1.0, 2.0, not_a_number}) {
        refused({.beta1 = beta}, {"beta1", "[0, 1)"});
        refused({.beta2 = beta}, {"beta2", "[0, 1)"});
    }
    for (const double epsilon : {0.0, -1e-8, not_a_number, infinite, 1e-60})
        refused({.epsilon = epsilon}, {"epsilon", "got "});
    for (const double decay : {-0.1, not_a_number, infinite})
        refused({.weight_decay = decay}, {"weight_decay", ">= 0"});
    refused({.least_scale = 0}, {"least_scale", "got 0"});
    refused({.learning_rate = {.peak = 2}, .weight_decay = 0.5},
            {"weight_decay", "below 1", "got 1"});
    for (const double norm : {-1.0, not_a_number, infinite})
        refused({.clip_norm = norm}, {"clip_norm", ">= 0"});
    check_throws<ArgumentError>([] { AdamW<float>(Parameters<float>{}); },
                                {"none of 0 parameters"});
    TrainedArrays<float> empty({0, 0});
    check_throws<ArgumentError>([&] { AdamW<float>(empty.parameters()); },
                                {"none of 2 parameters"});
    auto twice = model.parameters();
    twice.add({"layers.0", model.values[0], model.gradients[0]});
    check_throws<ArgumentError>([&] { AdamW<float>{twice}; }, {"two parameters", "layers.0"});
}
