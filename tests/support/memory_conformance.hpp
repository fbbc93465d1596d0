// What every Backend owes its callers: memory, copies of strided tensors, vectors.
#pragma once

#include <limits>
#include <vector>

#include "product_conformance.hpp"

namespace mpo::test {

/// Views of any strides into memory of `size` elements: permuted, reversed, with gaps, repeated.
template <class T>
[[nodiscard]] std::vector<TensorView<T>> strided_views(T* data, Index size) {
    std::vector<TensorView<T>> views = {
        {data, {}, {}},
        {data, {0}, {1}},
        {data, {5, 0, 3}, {3, 7, 1}},
        {data, {1}, {100}},
        {data, {size}, {1}},
        {data + size - 1, {size}, {-1}},
        {data, {13, 7}, {7, 1}},
        {data, {13, 7}, {11, 1}},
        {data, {7, 13}, {1, 7}},
        {data, {33, 65}, {1, 40}},
        {data, {64, 96}, {1, 64}},
        {data, {96, 64}, {1, 101}},
        {data, {97, 61}, {2, 200}},
        {data + 99, {10, 10}, {-10, -1}},
        {data + 9, {10, 10}, {10, -1}},
        {data, {1, 5, 1, 4}, {77, 4, 3, 1}},
        {data, {3, 4, 5, 2, 3}, {1, 3, 72, 36, 12}},
        {data, {32, 4, 5, 3}, {1, 480, 32, 160}},
    };
    views.push_back(permuted(TensorView<T>(data, {3, 5, 7, 2, 4}), {4, 1, 3, 0, 2}));
    views.push_back(permuted(TensorView<T>(data, {8, 9, 10, 11}), {0, 2, 1, 3}));
    for (const Index leg :
         {2, 3, 4, 8}) {  // what stays together is short; in gaps that fit, or not
        views.push_back(permuted(TensorView<T>(data, {37, 41, leg}), {1, 0, 2}));
        views.push_back(permuted(TensorView<T>(data, {7, 64, 3, leg}), {2, 1, 0, 3}));
        views.push_back({data, {5, 6, leg}, {leg, 12 * leg, 1}});
        views.push_back({data, {5, 6, leg}, {leg + 1, 96, 1}});
    }
    return views;
}

/// Laws: upload and permute write the elements of a view in C order, bit by bit; download scatters
/// them into a view and touches nothing else.
template <Scalar T, class B>
void conforms_copies(const B& backend) {
    const Index size = 20000;
    const auto host = normal_tensor<T>({size}, 14);
    const auto device = backend.template allocate<T>(size);
    backend.template upload<T>(host.view(), device.data());
    auto from_host = strided_views<const T>(host.data(), size);
    from_host.push_back({host.data(), {4, 6}, {0, 1}});  // one row, four times
    from_host.push_back({host.data(), {6, 4}, {1, 0}});
    for (const auto& view : from_host) {
        CAPTURE(to_string(view.shape), to_string(view.strides));
        auto on_device = view;
        on_device.data = device.data() + (view.data - host.data());
        const auto uploaded = backend.template allocate<T>(view.size());
        const auto permuted_there = backend.template allocate<T>(view.size());
        backend.template upload<T>(view, uploaded.data());
        backend.template permute<T>(on_device, permuted_there.data());
        Tensor<T> first({view.size()}), second({view.size()});
        backend.download(static_cast<const T*>(uploaded.data()), first.view());
        backend.download(static_cast<const T*>(permuted_there.data()), second.view());
        const auto expected = naive::widen(view).reshape({view.size()});
        CHECK(naive::distance(first, expected) == 0);
        CHECK(naive::distance(second, expected) == 0);
    }
    Tensor<T> target({size});
    for (const auto& view : strided_views<T>(target.data(), size)) {
        CAPTURE(to_string(view.shape), to_string(view.strides));
        std::fill_n(target.data(), size, not_a_number<T>());
        backend.download(static_cast<const T*>(device.data()), view);
        const auto read = naive::widen(TensorView<const T>(view)).reshape({view.size()});
        CHECK(naive::distance(read,
                              naive::widen(TensorView<const T>(host.data(), {view.size()}))) == 0);
        Index written = 0;
        for (Index n = 0; n < size; ++n) written += std::isnan(std::real(target.data()[n])) ? 0 : 1;
        CHECK(written == view.size());
    }
}

/// Laws: axpy, scale and dot are their formulas; dot sums in the wider type.
template <Scalar T, class B>
void conforms_vectors(const B& backend) {
    using W = GramScalar<B, T>;
    for (const Index n : {0, 1, 2, 31, 997, 70001})
        for (const T alpha : coefficients<T>()) {
            CAPTURE(n, alpha);
            const auto x = normal_tensor<T>({1, 1, n}, 15), y = normal_tensor<T>({1, 1, n}, 16);
            const Placed<T, B> X(x, {}, backend), Y(y, {}, backend);
            const auto wide_x = item(x, 0), wide_y = item(y, 0);
            const double size = naive::norm(wide_x) + naive::norm(wide_y);
            const auto sums = backend.template allocate<W>(1);
            backend.dot(n, X.constant().data, Y.constant().data, sums.data());
            Tensor<W> sum({1});
            backend.download(static_cast<const W*>(sums.data()), sum.view());
            CHECK(std::abs(sum(0) - W(naive::inner(wide_x, wide_y))) <=
                  tolerance<W>(n + 1, naive::norm(wide_x) * naive::norm(wide_y)));
            backend.axpy(n, alpha, X.constant().data, Y.view().data);
            CHECK(naive::distance(Y.value(), naive::combination(Wide<T>(alpha), wide_x, Wide<T>(1),
                                                                wide_y)) <= tolerance<T>(1, size));
            backend.scale(n, alpha, X.view().data);
            CHECK(naive::distance(X.value(), naive::combination(Wide<T>(alpha), wide_x, Wide<T>(0),
                                                                wide_x)) <= tolerance<T>(1, size));
        }
}

/// Laws: a buffer has the size asked for, moves, and refuses negative sizes.
template <Scalar T, class B>
void conforms_memory(const B& backend) {
    for (const Index n : {0, 1, 1000}) {
        auto buffer = backend.template allocate<T>(n);
        CHECK(buffer.size() == n);
        const T* const data = buffer.data();
        const BufferOf<B, T> moved = std::move(buffer);
        CHECK(moved.data() == data);
    }
    for (const Index n : Shape{-1, std::numeric_limits<Index>::min()})
        CHECK_THROWS_AS(backend.template allocate<T>(n), ShapeError);
    CHECK(backend.concurrency() >= 1);
    backend.synchronize();
}

}  // namespace mpo::test
