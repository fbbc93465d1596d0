// MpoLinear: applies its weight and bias, gives their gradients, and comes back from a file unchanged.
#include "mpo/network/mpo_linear.hpp"

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/matrices.hpp"
#include "support/tolerance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// A writer and a reader in memory: files are the business of io.
class Memory {
  public:
    struct Info {
        DType dtype = DType::f32;
        Shape shape;
    };
    struct Path {
        [[nodiscard]] std::string string() const { return "memory"; }
    };

    void append(const std::string& name, const Tensor<float>& x) { put(name, DType::f32, x); }
    void append(const std::string& name, const Tensor<double>& x) { put(name, DType::f64, x); }
    void append(const std::string& name, const Tensor<std::complex<float>>& x) {
        put(name, DType::c64, x);
    }
    void set_metadata(const std::string& key, const std::string& value) { pairs[key] = value; }

    [[nodiscard]] Path path() const { return {}; }
    [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return pairs; }
    [[nodiscard]] bool contains(const std::string& name) const { return infos.count(name) != 0; }
    [[nodiscard]] Info info(const std::string& name) const { return infos.at(name); }
    template <Scalar T>
    [[nodiscard]] Tensor<T> read(const std::string& name) const {
        Tensor<T> x(infos.at(name).shape);
        for (Index k = 0; k < x.size(); ++k) {
            const auto z = numbers.at(name)[static_cast<std::size_t>(k)];
            if constexpr (is_complex<T>)
                x.data()[k] = T(z);
            else
                x.data()[k] = static_cast<T>(z.real());
        }
        return x;
    }

    std::map<std::string, std::string> pairs;
    std::map<std::string, Info> infos;
    std::map<std::string, std::vector<std::complex<double>>> numbers;

  private:
    template <class T>
    void put(const std::string& name, DType dtype, const Tensor<T>& x) {
        infos[name] = {dtype, x.shape()};
        numbers[name].assign(x.data(), x.data() + x.size());
    }
};

template <class T>
[[nodiscard]] MpoLinear<T> make_layer(const Layout& layout, const Shape& bonds, Index bias,
                                      const EigenBackend& cpu) {
    return {random_mpo<T>(layout, bonds, 21),
            bias == 0 ? Tensor<T>() : normal_tensor<T>({bias}, 22),
            {.batch = 4, .with_gradient = true},
            cpu};
}

template <class T>
void check_same(const MpoLinear<T>& a, const MpoLinear<T>& b) {
    REQUIRE(a.mpo().layout() == b.mpo().layout());
    REQUIRE(a.mpo().bond_dims() == b.mpo().bond_dims());
    for (Index k = 0; k < a.mpo().num_sites(); ++k)
        CHECK(naive::distance(a.mpo().core(k), b.mpo().core(k)) == 0);
    CHECK(naive::distance(a.bias(), b.bias()) == 0);
}

/// Law: `break_it` makes load refuse, and the message names the file and `what`.
void check_lie(const std::function<void(Memory&)>& break_it, const std::string& what) {
    const EigenBackend cpu;
    Memory memory;
    make_layer<float>({{3, 2}, {2, 4}}, {1, 3, 1}, 6, cpu).save(memory);
    break_it(memory);
    std::string message = "nothing was thrown";
    try {
        (void)MpoLinear<float>::load(memory, {}, cpu);
    } catch (const FormatError& error) {
        message = error.what();
    }
    CAPTURE(message, what);
    CHECK(message.find("memory: ") == 0);
    CHECK(message.find(what) != std::string::npos);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("linear: Y = X W^T + b, and its gradients", "", BackendCases) {
    using T = typename TestType::T;
    using Big = Wide<T>;
    const EigenBackend cpu;
    for (const auto& [layout, bonds] : awkward_chains())
        for (const bool with_bias : {false, true})
            for (const bool with_tape : {false, true}) {
                const Index m = rows(layout), n = cols(layout), batch = 5;
                CAPTURE(to_string(layout), to_string(bonds), with_bias, with_tape);
                const auto layer = make_layer<T>(layout, bonds, with_bias ? m : 0, cpu);
                CHECK(layer.rows() == m);
                CHECK(layer.cols() == n);
                CHECK(layer.num_parameters() ==
                      num_parameters(layout, bonds) + (with_bias ? m : 0));
                const auto W = naive::to_dense(layer.mpo());
                double size = std::sqrt(static_cast<double>(batch * (m + n)));
                for (const auto& core : layer.mpo().cores()) size *= 1 + naive::norm(core);
                const double close = tolerance<T>(layer.num_parameters() + batch, size);

                const auto X = normal_tensor<T>({batch, n}, 23);
                Tensor<T> Y({batch, m});
                typename MpoLinear<T>::Tape tape;
                if (with_tape)
                    layer.apply(X, Y, tape);
                else
                    layer.apply(X, Y);
                auto expected = naive::apply(W, naive::widen(X));
                for (Index b = 0; with_bias && b < batch; ++b)
                    for (Index o = 0; o < m; ++o)
                        expected(b, o) += static_cast<Big>(layer.bias()(o));
                CHECK(naive::distance(Y, expected) <= close);

                const auto dY = normal_tensor<T>({batch, m}, 24);
                Tensor<T> dX({batch, n});
                auto gradients = layer.zero_gradients();
                REQUIRE(gradients.bias.size() == (with_bias ? m : 0));
                for (Index o = 0; with_bias && o < m; ++o) gradients.bias(o) = T{1};  // added to
                layer.gradient(X, dY, dX, gradients, with_tape ? &tape : nullptr);
                CHECK(naive::distance(dX, naive::product(naive::widen(dY), naive::conjugate(W))) <=
                      close);
                for (Index o = 0; with_bias && o < m; ++o) {
                    Big sum = 1;
                    for (Index b = 0; b < batch; ++b) sum += static_cast<Big>(dY(b, o));
                    CHECK(std::abs(static_cast<Big>(gradients.bias(o)) - sum) <= close);
                }
                auto of_plan = layer.zero_gradients().cores;
                layer.plan().gradient(X, dY, dX, of_plan);
                for (std::size_t k = 0; k < of_plan.size(); ++k)
                    CHECK(naive::distance(gradients.cores[k], of_plan[k]) <= close);
            }
}

TEMPLATE_LIST_TEST_CASE("linear: saved and loaded, it is the same to the last bit", "",
                        BackendCases) {
    using T = typename TestType::T;
    const EigenBackend cpu;
    for (const auto& [layout, bonds] : awkward_chains())
        for (const bool with_bias : {false, true}) {
            const auto layer = make_layer<T>(layout, bonds, with_bias ? rows(layout) : 0, cpu);
            Memory memory;
            layer.save(memory);
            CHECK(memory.pairs.at("kind") == "mpo_linear");
            const auto back = MpoLinear<T>::load(memory, {.batch = 3}, cpu);
            check_same(layer, back);
            CHECK(back.mpo().canonical_form() == CanonicalForm::none);
        }
}

TEST_CASE("linear: a file that lies is refused, with its name") {
    const auto pair = [](const std::string& key, const std::string& value) {
        return [key, value](Memory& memory) { memory.pairs[key] = value; };
    };
    const auto shape = [](const std::string& name, const Shape& value) {
        return [name, value](Memory& memory) {
            memory.infos[name].shape = value;
            memory.numbers[name].resize(static_cast<std::size_t>(num_elements(value)));
        };
    };
    check_lie([](Memory& memory) { memory.pairs.clear(); }, "lack 'kind'");
    check_lie(pair("kind", "lora"), "'lora'");
    check_lie(pair("format_version", "2"), "'2'");
    check_lie(pair("scalar", "float64"), "'float64'");
    check_lie(pair("num_sites", "0"), "'0'");
    check_lie(pair("num_sites", "13"), "'13'");
    check_lie(pair("num_sites", "2 "), "'2 '");
    check_lie(pair("num_sites", "3"), "'cores.2' is missing");
    check_lie(pair("num_sites", "1"), "last bond must be 1, got 3");
    check_lie([](Memory& memory) { memory.infos["cores.1"].dtype = DType::f64; }, "must be F32");
    check_lie(shape("cores.0", {6, 3}), "'cores.0' must have 4 axes");
    check_lie(shape("cores.1", {2, 2, 4, 1}), "must be 3");
    check_lie(shape("cores.1", {3, 0, 4, 1}), "at least 1");
    check_lie(shape("bias", {5}), "6 elements");
    check_lie(shape("bias", {0}), "no elements");
    check_lie(shape("bias", {6, 1}), "'bias' must have 1 axes");
}

TEST_CASE("linear: complex numbers stored as pairs are pairs") {
    const EigenBackend cpu;
    using T = std::complex<double>;
    Memory memory;
    make_layer<T>({{3, 2}, {2, 4}}, {1, 3, 1}, 6, cpu).save(memory);
    CHECK(memory.infos.at("cores.0").shape == Shape{1, 3, 2, 3, 2});
    memory.infos["bias"].shape = {12};
    CHECK_THROWS_AS((MpoLinear<T>::load(memory, {}, cpu)), FormatError);
}

TEST_CASE("linear: what does not fit is refused, and the layer stays as it was") {
    const EigenBackend cpu;
    auto layer = make_layer<float>({{3, 2}, {2, 4}}, {1, 3, 1}, 6, cpu);
    CHECK_THROWS_AS(MpoLinear<float>(random_mpo<float>({{3}, {2}}, {1, 1}, 1),
                                     normal_tensor<float>({2}, 1), {}, cpu),
                    ShapeError);
    CHECK_THROWS_AS(layer.assign(random_mpo<float>({{3, 2}, {2, 5}}, {1, 2, 1}, 1), {}),
                    ShapeError);
    CHECK_THROWS_AS(layer.assign(random_mpo<float>({{3, 2}, {2, 4}}, {1, 2, 1}, 1),
                                 normal_tensor<float>({5}, 1)),
                    ShapeError);
    check_same(layer, make_layer<float>({{3, 2}, {2, 4}}, {1, 3, 1}, 6, cpu));

    const auto X = normal_tensor<float>({4, 8}, 2), dY = normal_tensor<float>({4, 6}, 3);
    Tensor<float> dX({4, 8}), Y({4, 6});
    auto gradients = layer.zero_gradients();
    gradients.bias = Tensor<float>({5});
    CHECK_THROWS_AS(layer.gradient(X, dY, dX, gradients), ShapeError);

    layer.assign(random_mpo<float>({{1, 6}, {8, 1}}, {1, 2, 1}, 31), {});
    CHECK(layer.bias().size() == 0);
    layer.apply(X, Y);
    const auto W = naive::to_dense(layer.mpo());
    CHECK(naive::distance(Y, naive::apply(W, naive::widen(X))) <=
          tolerance<float>(20, naive::norm(W) * naive::norm(X)));
}
