// A network of numbered legs is contracted along a path, two tensors at a time: what a ContractionPath
// promises, done. Names belong to network/tensor_diagram.hpp.
#pragma once

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/network/contract_pair.hpp"
#include "mpo/network/optimize_path.hpp"

namespace mpo {
namespace detail {

/// Legs that are left of every input as it meets others, and of the result of every step.
struct KeptLegs {
    std::vector<std::vector<Index>> inputs = {};
    std::vector<std::vector<Index>> steps = {};
};
[[nodiscard]] KeptLegs kept_legs(const LegNetwork& network, const ContractionPath& path);

/// The network in one slice: its sliced legs are of extent 1.
[[nodiscard]] LegNetwork one_slice(LegNetwork network, const std::vector<Index>& sliced);

/// From the first element of a tensor to its first one in slice number `slice`.
[[nodiscard]] Index slice_offset(const StridedLegs& tensor, const std::vector<Index>& sliced,
                                 const Shape& extents, Index slice);

/// How a tensor is copied so that its legs lie in this order.
[[nodiscard]] PairCopy arrangement(const StridedLegs& tensor, const std::vector<Index>& order,
                                   const Shape& extents);

/// Throws where a sliced leg is open, or tensors have not the shapes of the network.
void validate_run(const LegNetwork& network, const ContractionPath& path,
                  const std::vector<Shape>& shapes);

/// Takes out legs that are not in `kept`, and returns them with strides of their own.
[[nodiscard]] StridedLegs take_others(StridedLegs& tensor, const std::vector<Index>& kept,
                                      const Shape& extents);

[[nodiscard]] Shape extents_of(const std::vector<Index>& legs, const Shape& extents);

/// A tensor under way: it looks at an input, or owns its elements.
template <Scalar T, class B>
struct NetworkNode {
    StridedLegs legs = {};
    const T* elements = nullptr;
    BufferOf<B, T> buffer = {};
};

/// Sums over all legs of a tensor that are not in `kept`: a product with ones.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] NetworkNode<T, B> sum_others(NetworkNode<T, B> node, const std::vector<Index>& kept,
                                           const Shape& extents, const B& backend) {
    auto whole = node.legs;
    const auto others = take_others(node.legs, kept, extents);
    Tensor<T> ones(extents_of(others.legs, extents));
    if (ones.size() == 1) return node;
    std::fill(ones.data(), ones.data() + ones.size(), T{1});
    auto factor = backend.template allocate<T>(ones.size());
    backend.template upload<T>(TensorView<const T>(ones.view()), factor.data());
    const auto plan = plan_pair(whole, others, kept, extents, LegOrder::free);
    NetworkNode<T, B> sum{plan.result_legs, nullptr, {}};
    sum.buffer = backend.template allocate<T>(num_elements(extents_of(sum.legs.legs, extents)));
    sum.elements = sum.buffer.data();
    contract_pair<T>(plan, node.elements, factor.data(), sum.buffer.data(), backend);
    return sum;
}

/// A path, walked once a slice, all in backend memory.
template <Scalar T, BackendFor<T> B>
class NetworkRun {
  public:
    NetworkRun(const LegNetwork& network, const ContractionPath& path, const B& backend)
        : network_(one_slice(network, path.sliced)),
          kept_(kept_legs(network_, path)),
          path_(path),
          backend_(backend) {}

    /// One slice: `inputs` look at the tensors, `result` gets the open legs in their order.
    void run(std::vector<NetworkNode<T, B>> inputs, T* result) const {
        const Shape& extents = network_.extents;
        auto& nodes = inputs;
        for (std::size_t k = 0; k < nodes.size(); ++k)
            nodes[k] = sum_others<T>(std::move(nodes[k]), kept_.inputs[k], extents, backend_);
        if (path_.steps.empty()) {
            const auto copy = arrangement(nodes.front().legs, network_.open, extents);
            backend_.permute(TensorView<const T>(nodes.front().elements, copy.shape, copy.strides),
                             result);
        }
        for (std::size_t k = 0; k < path_.steps.size(); ++k) {
            const bool last = k + 1 == path_.steps.size();
            const auto left = std::move(nodes[static_cast<std::size_t>(path_.steps[k].left)]),
                       right = std::move(nodes[static_cast<std::size_t>(path_.steps[k].right)]);
            const auto plan =
                last ? plan_pair(left.legs, right.legs, network_.open, extents)
                     : plan_pair(left.legs, right.legs, kept_.steps[k], extents, LegOrder::free);
            NetworkNode<T, B> made{plan.result_legs, nullptr, {}};
            if (!last)
                made.buffer = backend_.template allocate<T>(
                    num_elements(extents_of(made.legs.legs, extents)));
            made.elements = made.buffer.data();
            contract_pair<T>(plan, left.elements, right.elements,
                             last ? result : made.buffer.data(), backend_);
            nodes.push_back(std::move(made));
        }
    }

  private:
    LegNetwork network_;
    KeptLegs kept_;
    const ContractionPath& path_;
    const B& backend_;
};

}  // namespace detail

/// Contracts a network along a path.
///
/// network  which legs meet where; a leg twice in one tensor is a trace (a diagonal, where it is open)
/// path     of optimize_path, or any other that consumes every tensor once; sliced legs must be summed
/// tensors  one per tensor of the network, on the host, any strides; not modified
/// returns  the open legs of the network in their order, row-major
/// error    every path gives the same tensor within rounding
/// cost     contraction_cost(network, path), and a copy of what no product takes as it lies
/// throws   ArgumentError (as contraction_cost; a sliced leg that is open), ShapeError (number of tensors,
///          their shapes)
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Tensor<T> contract_network(const LegNetwork& network, const ContractionPath& path,
                                         const std::vector<TensorView<const T>>& tensors,
                                         const B& backend) {
    const auto cost = contraction_cost(network, path);
    std::vector<Shape> shapes;
    for (const auto& tensor : tensors) shapes.push_back(tensor.shape);
    detail::validate_run(network, path, shapes);
    const detail::NetworkRun<T, B> run(network, path, backend);

    std::vector<BufferOf<B, T>> uploaded(tensors.size());
    auto views = tensors;  // in backend memory
    for (std::size_t k = 0; k < tensors.size() && !B::memory_is_host; ++k) {
        uploaded[k] = backend.template allocate<T>(tensors[k].size());
        backend.template upload<T>(tensors[k], uploaded[k].data());
        views[k] = {uploaded[k].data(), tensors[k].shape};
    }
    Tensor<T> host(detail::extents_of(network.open, network.extents));
    auto sum = backend.template allocate<T>(host.size()), slice = BufferOf<B, T>{};
    if (cost.num_slices > 1) slice = backend.template allocate<T>(host.size());
    for (Index k = 0; k < static_cast<Index>(cost.num_slices); ++k) {
        std::vector<detail::NetworkNode<T, B>> inputs(views.size());
        for (std::size_t n = 0; n < views.size(); ++n) {
            inputs[n].legs = {network.tensors[n], views[n].strides};
            inputs[n].elements = views[n].data + detail::slice_offset(inputs[n].legs, path.sliced,
                                                                      network.extents, k);
        }
        run.run(std::move(inputs), k == 0 ? sum.data() : slice.data());
        if (k > 0) backend.axpy(host.size(), T{1}, slice.data(), sum.data());
    }
    backend.download(static_cast<const T*>(sum.data()), host.view());
    return host;
}

}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/contract_network_inl.hpp"
#endif
