#include "mpo/model/attention_training.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "mpo/core/random.hpp"
#include "mpo/model/attention.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/finite_differences.hpp"
#include "support/limits.hpp"
#include "support/naive.hpp"
#include "support/same_bits.hpp"
#include "support/thread_count.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

const EigenBackend attention_backend;

template <class T>
[[nodiscard]] Tensor<T> unwritten(Shape shape) {
    Tensor<T> tensor(std::move(shape));
    std::fill_n(tensor.data(), tensor.size(), std::numeric_limits<T>::quiet_NaN());
    return tensor;
}

/// Inputs and results of one batch, results NaN until they are written.
template <class T>
struct AttentionBatch {
    explicit AttentionBatch(const AttentionShape& of)
        : shape(of),
          q(normal_tensor<T>({of.rows(), of.heads * of.head_dim}, 1)),
          k(normal_tensor<T>({of.rows(), of.kv_heads * of.head_dim}, 2)),
          v(normal_tensor<T>(k.shape(), 3)),
          dout(normal_tensor<T>(q.shape(), 4)),
          out(unwritten<T>(q.shape())),
          log_sum(unwritten<T>({of.heads, of.rows()})),
          dq(unwritten<T>(q.shape())),
          dk(unwritten<T>(k.shape())),
          dv(unwritten<T>(k.shape())) {
        for (Index i = 0; i < q.size(); ++i)
            q.data()[i] *= 1 / std::sqrt(static_cast<T>(of.head_dim));
    }

    void forward() {
        attend_windows<T>(shape, q.data(), k.data(), v.data(), out.data(), log_sum.data(),
                          attention_backend);
    }
    void backward() {
        attend_windows_backward<T>(shape, q.data(), k.data(), v.data(), out.data(), log_sum.data(),
                                   dout.data(), dq.data(), dk.data(), dv.data(), attention_backend);
    }
    void run() {
        forward();
        backward();
    }

    AttentionShape shape;
    Tensor<T> q, k, v, dout, out, log_sum, dq, dk, dv;
};

/// The same numbers in double.
[[nodiscard]] AttentionBatch<double> widened(const AttentionBatch<float>& narrow) {
    AttentionBatch<double> wide(narrow.shape);
    wide.q = naive::widen(narrow.q);
    wide.k = naive::widen(narrow.k);
    wide.v = naive::widen(narrow.v);
    wide.dout = naive::widen(narrow.dout);
    return wide;
}

/// out and log_sum by their formulas.
void attend_naively(AttentionBatch<double>& b) {
    const auto& [windows, length, heads, kv_heads, d] = b.shape;
    for (Index r = 0; r < b.shape.rows(); ++r)
        for (Index h = 0; h < heads; ++h) {
            const Index first = r / length * length, g = h / b.shape.group();
            std::vector<double> p;
            double sum = 0;
            for (Index t = first; t <= r; ++t) {
                double s = 0;
                for (Index i = 0; i < d; ++i) s += b.q(r, h * d + i) * b.k(t, g * d + i);
                p.push_back(std::exp(s));
                sum += p.back();
            }
            b.log_sum(h, r) = std::log(sum);
            for (Index i = 0; i < d; ++i) {
                b.out(r, h * d + i) = 0;
                for (Index t = first; t <= r; ++t)
                    b.out(r, h * d + i) +=
                        p[static_cast<std::size_t>(t - first)] / sum * b.v(t, g * d + i);
            }
        }
}

/// One, primes, and lengths around the tiles of 32, 48 and 96 positions; groups of 1, 2, 3 and 8; odd numbers
/// of heads; heads that are no multiple of a vector.
const std::vector<AttentionShape> attention_shapes{
    {1, 1, 1, 1, 2},     {2, 2, 6, 3, 10},   {3, 7, 9, 3, 6},   {2, 31, 8, 1, 34},
    {1, 32, 3, 3, 64},   {2, 33, 2, 2, 16},  {2, 47, 5, 5, 12}, {1, 48, 3, 1, 20},
    {2, 49, 14, 7, 8},   {1, 95, 3, 1, 40},  {1, 96, 8, 1, 32}, {2, 97, 9, 3, 22},
    {1, 145, 6, 2, 100}, {1, 193, 3, 1, 128}};

/// test(shape), one section of the report each.
template <class F>
void for_every_attention(F&& test) {
    for (const auto& shape : attention_shapes) {
        INFO(shape.windows << " windows of " << shape.length << ", " << shape.heads << " heads on "
                           << shape.kv_heads << " of " << shape.head_dim);
        test(shape);
    }
}

/// What rounding may do to gradients: dP = dout v^T sums over d, then meets k or q.
[[nodiscard]] double gradient_rounding(const AttentionBatch<double>& b,
                                       const Tensor<double>& gradient) {
    return tolerance<float>(b.shape.head_dim + b.shape.length,
                            naive::norm(gradient) + naive::norm(b.dout), 4);
}

}  // namespace

TEST_CASE("attention training: forward by its formula") {
    for_every_attention([](const AttentionShape& shape) {
        AttentionBatch<double> batch(shape);
        batch.forward();
        auto expected = batch;
        attend_naively(expected);
        const Index k = shape.length + shape.head_dim;
        CHECK(naive::distance(batch.out, expected.out) <=
              tolerance<double>(k, naive::norm(expected.out)));
        CHECK(naive::distance(batch.log_sum, expected.log_sum) <=
              tolerance<double>(k, naive::norm(expected.log_sum) + 1));
    });
}

TEST_CASE("attention training: gradients against differences") {
    for (const AttentionShape& shape : std::vector<AttentionShape>{{1, 1, 1, 1, 2},
                                                                   {2, 2, 6, 3, 10},
                                                                   {3, 7, 9, 3, 6},
                                                                   {1, 49, 3, 1, 10},
                                                                   {2, 97, 4, 2, 6}}) {
        INFO(shape.windows << " windows of " << shape.length);
        AttentionBatch<double> batch(shape);
        batch.run();
        const auto dq = batch.dq, dk = batch.dk, dv = batch.dv;
        const auto f = [&] {
            batch.forward();
            double sum = 0;
            for (Index i = 0; i < batch.out.size(); ++i)
                sum += batch.out.data()[i] * batch.dout.data()[i];
            return sum;
        };
        check_gradient(batch.q, dq, f);
        check_gradient(batch.k, dk, f);
        check_gradient(batch.v, dv, f);
    }
}

TEST_CASE("attention training: no matrix of positions by positions is kept, on no way") {
    AttentionBatch<float>({1, 193, 1, 1, 2}).run();  // threads are there, and what they hold
    AttentionBatch<float> batch({1, 2048, 1, 1, 2});
    const MemoryLimit limit(rlim_t{4} << 20);  // such a matrix of floats: 16 MiB
    batch.forward();
    batch.backward();
}

TEST_CASE("attention training: float is double, rounded") {
    for_every_attention([](const AttentionShape& shape) {
        AttentionBatch<float> narrow(shape);
        auto wide = widened(narrow);
        narrow.run();
        wide.run();
        const Index k = shape.length + shape.head_dim;
        CHECK(naive::distance(narrow.out, wide.out) <= tolerance<float>(k, naive::norm(wide.out)));
        CHECK(naive::distance(narrow.log_sum, wide.log_sum) <=
              tolerance<float>(k, naive::norm(wide.log_sum) + 1));
        CHECK(naive::distance(narrow.dq, wide.dq) <= gradient_rounding(wide, wide.dq));
        CHECK(naive::distance(narrow.dk, wide.dk) <= gradient_rounding(wide, wide.dk));
        CHECK(naive::distance(narrow.dv, wide.dv) <= gradient_rounding(wide, wide.dv));
    });
}

TEST_CASE("attention training: forward is the attention of inference") {
    for_every_attention([](const AttentionShape& shape) {
        AttentionBatch<float> batch(shape);
        batch.forward();
        Tensor<float> expected(batch.out.shape());
        for (Index w = 0; w < shape.windows; ++w) {
            const Index row = w * shape.length, width = batch.q.extent(1);
            KvCache cache(1, shape.kv_heads, shape.head_dim, shape.length);
            cache.store(0, shape.length, batch.k.data() + row * batch.k.extent(1),
                        batch.v.data() + row * batch.v.extent(1));
            attend(batch.q.data() + row * width, shape.length, shape.heads, cache, 0,
                   expected.data() + row * width, attention_backend);
        }
        CHECK(naive::distance(batch.out, expected) <=
              tolerance<float>(shape.length + shape.head_dim, naive::norm(expected)));
    });
}

TEST_CASE("attention training: no position hears of a later one") {
    for_every_attention([](const AttentionShape& shape) {
        AttentionBatch<float> batch(shape);
        batch.run();
        const auto before = batch;
        const Index width = batch.q.extent(1), changed = shape.length / 2;
        for (Index i = 0; i < batch.k.extent(1); ++i) {
            batch.k(changed, i) += 1;
            batch.v(changed, i) -= 1;
        }
        batch.forward();
        CHECK(same_bits(batch.out.data(), before.out.data(), changed * width));
        CHECK_FALSE(same_bits(batch.out.data() + changed * width,
                              before.out.data() + changed * width, width));
        for (Index h = 0; h < shape.heads; ++h)
            CHECK(same_bits(&batch.log_sum(h, 0), &before.log_sum(h, 0), changed));

        // and nothing flows back from a position that nobody asks about, to it or behind it
        batch = before;
        for (Index r = changed; r < shape.length; ++r) std::fill_n(&batch.dout(r, 0), width, 0.0f);
        batch.backward();
        const Index keys = batch.k.extent(1);
        const auto vanishes = [&](const Tensor<float>& x, Index cols) {
            for (Index i = changed * cols; i < shape.length * cols; ++i)
                if (x.data()[i] != 0) return false;
            return true;
        };
        CHECK(vanishes(batch.dq, width));
        CHECK(vanishes(batch.dk, keys));
        CHECK(vanishes(batch.dv, keys));
    });
}

TEST_CASE("attention training: windows do not see each other") {
    for_every_attention([](const AttentionShape& shape) {
        AttentionBatch<float> batch(shape);
        batch.run();
        const auto one =
            AttentionShape{1, shape.length, shape.heads, shape.kv_heads, shape.head_dim};
        for (Index w = 0; w < shape.windows; ++w) {
            AttentionBatch<float> alone(one);
            const auto take = [&](const Tensor<float>& from, Tensor<float>& to) {
                std::copy_n(from.data() + w * to.size(), to.size(), to.data());
            };
            take(batch.q, alone.q);
            take(batch.k, alone.k);
            take(batch.v, alone.v);
            take(batch.dout, alone.dout);
            alone.run();
            const auto equals = [&](const Tensor<float>& all, const Tensor<float>& part) {
                return same_bits(all.data() + w * part.size(), part.data(), part.size());
            };
            CHECK(equals(batch.out, alone.out));
            CHECK(equals(batch.dq, alone.dq));
            CHECK(equals(batch.dk, alone.dk));
            CHECK(equals(batch.dv, alone.dv));
            for (Index h = 0; h < shape.heads; ++h)
                CHECK(same_bits(&batch.log_sum(h, w * shape.length), &alone.log_sum(h, 0),
                                shape.length));
        }
    });
}

TEST_CASE("attention training: the same bits on any number of threads") {
    AttentionBatch<float> first({3, 150, 6, 3, 16});
    {
        const ThreadCount one(1);
        first.run();
    }
    for (const int threads : {2, 3, 5, 16}) {
        const ThreadCount count(threads);
        AttentionBatch<float> batch(first.shape);
        batch.run();
        CHECK(same_bits(batch.out, first.out));
        CHECK(same_bits(batch.log_sum, first.log_sum));
        CHECK(same_bits(batch.dq, first.dq));
        CHECK(same_bits(batch.dk, first.dk));
        CHECK(same_bits(batch.dv, first.dv));
    }
}

TEST_CASE("attention training: scores far apart") {
    AttentionBatch<float> batch({1, 70, 3, 1, 8});
    for (Index i = 0; i < batch.q.size(); ++i) batch.q.data()[i] *= 300;  // exp of them overflows
    auto wide = widened(batch);
    batch.run();
    wide.run();
    for (const auto* tensor : {&batch.out, &batch.log_sum, &batch.dq, &batch.dk, &batch.dv})
        for (Index i = 0; i < tensor->size(); ++i) REQUIRE(std::isfinite(tensor->data()[i]));
    CHECK(naive::distance(batch.log_sum, wide.log_sum) <=
          tolerance<float>(8, naive::norm(wide.log_sum)));
    CHECK(naive::distance(batch.out, wide.out) <=
          tolerance<float>(8, 1000 * naive::norm(wide.out)));
}

TEST_CASE("attention training: nothing to attend to, and shapes that are none") {
    for (const AttentionShape& shape :
         {AttentionShape{0, 5, 2, 1, 4}, AttentionShape{3, 0, 2, 1, 4}}) {
        AttentionBatch<float> batch(shape);
        batch.run();
        CHECK(batch.out.size() == 0);
    }
    for (const AttentionShape& shape :
         {AttentionShape{1, 1, 3, 2, 4}, AttentionShape{1, 1, 3, 0, 4},
          AttentionShape{1, 1, 0, 1, 4}, AttentionShape{-1, 1, 1, 1, 4},
          AttentionShape{1, -1, 1, 1, 4}, AttentionShape{1, 1, 1, 1, 0}}) {
        float x = 0;
        const std::vector<std::string> pieces{"attend_windows", std::to_string(shape.heads)};
        check_throws<ShapeError>(
            [&] { attend_windows<float>(shape, &x, &x, &x, &x, &x, attention_backend); }, pieces);
        check_throws<ShapeError>(
            [&] {
                attend_windows_backward<float>(shape, &x, &x, &x, &x, &x, &x, &x, &x, &x,
                                               attention_backend);
            },
            pieces);
    }
}
