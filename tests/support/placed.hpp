// Matrices in backend memory, laid out on purpose: either storage order, gaps, items of a batch.
// Gaps hold NaN, so whoever reads one spoils its result, and whoever writes one is found out.
#pragma once

#include <limits>
#include <vector>

#include "mpo/linalg/backend.hpp"
#include "naive.hpp"

namespace mpo::test {

enum class Order { row_major, column_major };

/// How the matrices of a batch lie in memory.
struct Placement {
    Order order = Order::row_major;
    Index gap = 0;       // unused elements behind every row (column)
    Index item_gap = 0;  // unused elements behind every item
    Conjugation conjugation = Conjugation::none;
};

[[nodiscard]] inline std::vector<Placement> plain_placements() {
    return {{Order::row_major, 0, 0}, {Order::row_major, 3, 5}, {Order::column_major, 2, 0}};
}

/// The same and their conjugated views.
template <class T>
[[nodiscard]] std::vector<Placement> placements() {
    auto all = plain_placements();
    if (is_complex<T>)
        for (auto placement : plain_placements()) {
            placement.conjugation = Conjugation::conjugate;
            all.push_back(placement);
        }
    return all;
}

template <class T>
[[nodiscard]] T not_a_number() {
    return T(std::numeric_limits<Real<T>>::quiet_NaN());
}

/// `count` matrices in memory of backend B; what a view of them reads is `values`
/// (count, rows, cols).
template <Scalar T, class B>
class Placed {
  public:
    Placed(const Tensor<T>& values, const Placement& placement, const B& backend)
        : shape_(values.shape()), placement_(placement), backend_(backend) {
        const bool by_rows = placement.order == Order::row_major;
        const Index length = (by_rows ? cols() : rows()) + placement.gap;
        strides_ = by_rows ? Shape{0, length, 1} : Shape{0, 1, length};
        strides_[0] = length * (by_rows ? rows() : cols()) + placement.item_gap;
        memory_ = Tensor<T>({shape_[0] * strides_[0]});
        std::fill_n(memory_.data(), memory_.size(), not_a_number<T>());
        Index n = 0;
        naive::for_each_index(shape_, [&](const Shape& at) {
            const T x = values.data()[n++];
            stored(memory_, at) =
                placement.conjugation == Conjugation::conjugate ? conjugated(x) : x;
        });
        buffer_ = backend.template allocate<T>(memory_.size());
        backend.template upload<T>(memory_.view(), buffer_.data());
    }

    [[nodiscard]] Index rows() const { return shape_[1]; }
    [[nodiscard]] Index cols() const { return shape_[2]; }
    [[nodiscard]] MatrixView<T> view() const {
        return {buffer_.data(), rows(), cols(), strides_[1], strides_[2], placement_.conjugation};
    }
    [[nodiscard]] MatrixView<const T> constant() const { return view(); }
    [[nodiscard]] BatchView<T> batch() const { return {view(), strides_[0]}; }
    /// The first item, again and again.
    [[nodiscard]] BatchView<const T> repeated() const { return {constant(), 0}; }

    /// The values now, (count, rows, cols).
    [[nodiscard]] Tensor<T> values() const {
        auto memory = download();
        Tensor<T> result(shape_);
        Index n = 0;
        naive::for_each_index(shape_, [&](const Shape& at) {
            const T x = stored(memory, at);
            result.data()[n++] =
                placement_.conjugation == Conjugation::conjugate ? conjugated(x) : x;
        });
        return result;
    }
    /// Item 0 now, (rows, cols).
    [[nodiscard]] Tensor<T> value() const {
        auto all = values();
        all = std::move(all).reshape({all.size()});
        return Tensor<T>({rows(), cols()}, {all.data(), all.data() + rows() * cols()});
    }
    /// Nothing was written between the rows and the items.
    [[nodiscard]] bool gaps_untouched() const {
        auto memory = download();
        naive::for_each_index(shape_,
                              [&](const Shape& at) { stored(memory, at) = not_a_number<T>(); });
        for (Index n = 0; n < memory.size(); ++n)
            if (!std::isnan(std::real(memory.data()[n]))) return false;
        return true;
    }
    /// Not one bit changed since it was made.
    [[nodiscard]] bool untouched() const {
        const auto memory = download();
        for (Index n = 0; n < memory.size(); ++n)
            if (memory.data()[n] != memory_.data()[n] &&
                !(std::isnan(std::real(memory.data()[n])) &&
                  std::isnan(std::real(memory_.data()[n]))))
                return false;
        return true;
    }

  private:
    [[nodiscard]] T& stored(Tensor<T>& memory, const Shape& at) const {
        return memory.data()[at[0] * strides_[0] + at[1] * strides_[1] + at[2] * strides_[2]];
    }
    [[nodiscard]] Tensor<T> download() const {
        Tensor<T> memory({memory_.size()});
        backend_.download(static_cast<const T*>(buffer_.data()), memory.view());
        return memory;
    }

    Shape shape_, strides_;
    Placement placement_;
    const B& backend_;
    Tensor<T> memory_;  // as uploaded
    BufferOf<B, T> buffer_;
};

/// One matrix instead of a batch.
template <Scalar T>
[[nodiscard]] Tensor<T> as_batch(Tensor<T> A) {
    const Index rows = A.extent(0), cols = A.extent(1);
    return std::move(A).reshape({1, rows, cols});
}

/// Item i of a batch in double.
template <Scalar T>
[[nodiscard]] Tensor<Wide<T>> item(const Tensor<T>& batch, Index i) {
    const Index size = batch.extent(1) * batch.extent(2);
    return naive::widen(
        TensorView<const T>(batch.data() + i * size, {batch.extent(1), batch.extent(2)}));
}

}  // namespace mpo::test
