// MpoLinear: a linear layer whose weight is an MPO, ready to be applied, trained, saved and loaded.
//
//   Y (B, out) = X (B, in) W^T + b,   W = the chain, never formed
#pragma once

#include <algorithm>
#include <concepts>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/network/contract.hpp"
#include "mpo/network/matrix_product.hpp"

namespace mpo {

class EigenBackend;

/// Where a layer saves itself: named tensors of numbers, and pairs of strings. SafetensorsWriter is
/// one (io/layer_file.hpp gives it a path).
template <class W>
concept LayerWriter = requires(W& writer, const std::string& text, const Tensor<float>& f,
                               const Tensor<double>& d, const Tensor<std::complex<float>>& c) {
    writer.append(text, f);
    writer.append(text, d);
    writer.append(text, c);
    writer.set_metadata(text, text);
};

/// Where a layer comes from: what a LayerWriter was given, or what a stranger claims that it was.
/// SafetensorsFile is one. `path` is what messages call it.
template <class R>
concept LayerReader = requires(const R& reader, const std::string& name) {
    { reader.path().string() } -> std::convertible_to<std::string>;
    { reader.metadata() } -> std::convertible_to<const std::map<std::string, std::string>&>;
    { reader.contains(name) } -> std::convertible_to<bool>;
    { reader.info(name).dtype } -> std::convertible_to<DType>;
    { reader.info(name).shape } -> std::convertible_to<Shape>;
    { reader.template read<float>(name) } -> std::same_as<Tensor<float>>;
    { reader.template read<double>(name) } -> std::same_as<Tensor<double>>;
};

/// Gradients of a real loss with respect to everything that a layer could learn.
template <Scalar T>
struct LinearGradients {
    std::vector<Tensor<T>> cores;  // [k] of core k, in its shape
    Tensor<T> bias = {};           // (out); no elements where the layer has no bias
};

namespace detail {

/// Weight and bias of a layer that save wrote.
template <Scalar T, class R>
[[nodiscard]] std::pair<Mpo<T>, Tensor<T>> read_mpo_linear(const R& reader);

}  // namespace detail

/// Y = X W^T + b with W as an MPO. Movable; apply and gradient are const and safe from many threads
/// at once. The backend must outlive the layer.
template <Scalar T, BackendFor<T> B = EigenBackend>
class MpoLinear {
  public:
    /// What a layer is planned with.
    using Options = PlanOptions;

    /// Plans the chain.
    ///
    /// mpo       the weight (out, in)
    /// bias      (out), or no elements: none is added
    /// options   of the plan; a machine table that they point to must outlive the layer
    /// backend   must outlive the layer
    /// throws    ShapeError (bias), as make_plan
    MpoLinear(Mpo<T> mpo, Tensor<T> bias, const PlanOptions& options, const B& backend);

    /// Length of an output.
    [[nodiscard]] Index rows() const { return plan_.rows(); }
    /// Length of an input.
    [[nodiscard]] Index cols() const { return plan_.cols(); }
    /// The weight.
    [[nodiscard]] const Mpo<T>& mpo() const { return mpo_; }
    /// (out); no elements where there is none.
    [[nodiscard]] const Tensor<T>& bias() const { return bias_; }
    /// How the weight is applied.
    [[nodiscard]] const Plan<T, B>& plan() const { return plan_; }
    /// Numbers that are stored: those of the cores and the bias.
    [[nodiscard]] Index num_parameters() const { return mpo_.num_parameters() + bias_.size(); }

    /// Y = X W^T + b.
    ///
    /// X, Y     (B, in) and (B, out), row-major without gaps
    /// cost     B * plan().multiply_adds_per_token()
    /// throws   as Plan::apply
    void apply(const TensorView<const T>& X, const TensorView<T>& Y) const;
    /// The same for tensors.
    void apply(const Tensor<T>& X, Tensor<T>& Y) const { apply(X.view(), Y.view()); }

    /// Intermediates of one apply, kept for its gradient.
    using Tape = typename Plan<T, B>::Tape;
    /// As apply; the intermediates are kept in `tape` where the plan's max_workspace_bytes holds them.
    void apply(const Tensor<T>& X, Tensor<T>& Y, Tape& tape) const;

    /// Zeros in the shapes of all cores and of the bias.
    [[nodiscard]] LinearGradients<T> zero_gradients() const;

    /// Pulls a gradient back through Y = X W^T + b.
    ///
    ///   dX = dY conj(W),   d core k = that of dW = dY^T conj(X),   db = sum of dY over the batch
    ///
    /// X, dY       (B, in) of the forward pass; (B, out), dL/d Re Y + i dL/d Im Y
    /// dX          (B, in), overwritten
    /// gradients   added to; shapes as zero_gradients
    /// tape        of the apply to the same X, or nullptr: the way forth is gone again
    /// throws      ShapeError (gradients), as Plan::gradient: the plan must be made with_gradient
    void gradient(const Tensor<T>& X, const Tensor<T>& dY, Tensor<T>& dX,
                  LinearGradients<T>& gradients, const Tape* tape = nullptr) const;

    /// Replaces the weight and the bias, as after a step of an optimizer, and plans anew. Bonds and
    /// legs may change, rows and columns may not. *this stays as it was where it throws.
    ///
    /// mpo      the new weight
    /// bias     (out), or no elements
    /// throws   ShapeError, as make_plan
    void assign(Mpo<T> mpo, Tensor<T> bias);

    /// Writes cores.0 .. cores.N-1, bias where there is one, and the pairs kind, format_version,
    /// scalar and num_sites. complex<double> is stored as f64 with a last axis (re, im). What
    /// load gives back is the same to the last bit; the canonical form is not stored, a file could
    /// lie about it.
    ///
    /// writer   gets the tensors in this order; it is left to the caller to finish it
    /// throws   whatever the writer throws
    template <LayerWriter W>
    void save(W& writer) const;

    /// A layer as save wrote it.
    ///
    /// reader    any file: everything that it claims is checked
    /// options   of the plan
    /// backend   must outlive the layer
    /// throws    FormatError, with the file and the tensor, where it holds no such layer of this
    ///           scalar type; as make_plan
    template <LayerReader R>
    [[nodiscard]] static MpoLinear load(const R& reader, const PlanOptions& options,
                                        const B& backend) {
        auto [mpo, bias] = detail::read_mpo_linear<T>(reader);
        return MpoLinear(std::move(mpo), std::move(bias), options, backend);
    }

  private:
    void add_bias(T* Y, Index batch) const;

    const B* backend_;
    PlanOptions options_;
    Mpo<T> mpo_;
    Tensor<T> bias_;
    Plan<T, B> plan_;
};

namespace detail {

/// The bias, or the ShapeError that it deserves.
template <Scalar T>
[[nodiscard]] Tensor<T> checked_bias(Tensor<T> bias, Index rows) {
    if (bias.size() != 0 && (bias.rank() != 1 || bias.extent(0) != rows))
        raise<ShapeError>({"MpoLinear: the bias must have ", rows, " elements, got shape ",
                           to_string(bias.shape())});
    return bias;
}

/// "float32", "float64", "complex64" or "complex128", as numpy calls them.
template <Scalar T>
[[nodiscard]] constexpr std::string_view scalar_name() {
    if constexpr (is_complex<T>)
        return sizeof(T) == 8 ? "complex64" : "complex128";
    else
        return sizeof(T) == 4 ? "float32" : "float64";
}

inline constexpr std::string_view mpo_linear_kind = "mpo_linear";
inline constexpr std::string_view mpo_linear_version = "1";

/// complex<double>, which safetensors has no type for, as (.., 2) doubles.
template <Scalar T, class W>
void append_numbers(W& writer, const std::string& name, const Tensor<T>& tensor) {
    if constexpr (std::is_same_v<T, std::complex<double>>) {
        Shape shape = tensor.shape();
        shape.push_back(2);
        Tensor<double> parts(std::move(shape));
        for (Index k = 0; k < tensor.size(); ++k) {
            parts.data()[2 * k] = tensor.data()[k].real();
            parts.data()[2 * k + 1] = tensor.data()[k].imag();
        }
        writer.append(name, parts);
    } else {
        writer.append(name, tensor);
    }
}

/// The inverse; FormatError where the tensor is missing, of another type, or of another rank.
template <Scalar T, class R>
[[nodiscard]] Tensor<T> read_numbers(const R& reader, const std::string& name, std::size_t rank) {
    constexpr bool pairs = std::is_same_v<T, std::complex<double>>;
    const auto fail = [&](const auto&... what) {
        throw FormatError(concat(reader.path().string(), ": tensor '", name, "' ", what...));
    };
    if (!reader.contains(name)) fail("is missing");
    const DType type = reader.info(name).dtype;
    const Shape shape = reader.info(name).shape;
    if constexpr (pairs) {
        if (type != DType::f64) fail("must be F64, got ", to_string(type));
        if (shape.size() != rank + 1 || shape.back() != 2)
            fail("must have ", rank, " axes and (re, im), got shape ", to_string(shape));
        const auto parts = reader.template read<double>(name);
        Tensor<T> tensor(Shape(shape.begin(), shape.end() - 1));
        for (Index k = 0; k < tensor.size(); ++k)
            tensor.data()[k] = T(parts.data()[2 * k], parts.data()[2 * k + 1]);
        return tensor;
    } else {
        if (type != dtype_of<T>)
            fail("must be ", to_string(dtype_of<T>), ", got ", to_string(type));
        if (shape.size() != rank) fail("must have ", rank, " axes, got shape ", to_string(shape));
        return reader.template read<T>(name);
    }
}

/// Number of sites, after everything that the pairs claim was checked.
[[nodiscard]] Index checked_mpo_linear_metadata(const std::map<std::string, std::string>& pairs,
                                                std::string_view scalar, const std::string& path);

/// Throws where the costs of a chain leave the range of an index.
void require_countable(const Layout& layout, const Shape& bonds);

/// Weight and bias of a layer that save wrote.
template <Scalar T, class R>
std::pair<Mpo<T>, Tensor<T>> read_mpo_linear(const R& reader) {
    const std::string path = reader.path().string();
    const Index sites = checked_mpo_linear_metadata(reader.metadata(), scalar_name<T>(), path);
    std::vector<Tensor<T>> cores;
    for (Index k = 0; k < sites; ++k)
        cores.push_back(read_numbers<T>(reader, concat("cores.", k), 4));  // (D, o, i, D')
    const bool has_bias = reader.contains("bias");
    Tensor<T> bias;
    if (has_bias) bias = read_numbers<T>(reader, "bias", 1);  // (out)
    Mpo<T> mpo;
    try {  // a chain that is none is the file's fault, not the caller's
        mpo.set_cores(std::move(cores));
        require_countable(mpo.layout(), mpo.bond_dims());
        bias = checked_bias(std::move(bias), mpo.rows());
        if (has_bias && bias.size() == 0) throw ShapeError("MpoLinear: the bias has no elements");
    } catch (const ShapeError& error) {
        throw FormatError(path + ": " + error.what());
    } catch (const ArgumentError& error) {
        throw FormatError(path + ": " + error.what());
    }
    return {std::move(mpo), std::move(bias)};
}

}  // namespace detail

template <Scalar T, BackendFor<T> B>
MpoLinear<T, B>::MpoLinear(Mpo<T> mpo, Tensor<T> bias, const PlanOptions& options, const B& backend)
    : backend_(&backend),
      options_(options),
      mpo_(std::move(mpo)),
      bias_(detail::checked_bias(std::move(bias), mpo_.rows())),
      plan_(make_plan(mpo_, options_, backend)) {}

template <Scalar T, BackendFor<T> B>
void MpoLinear<T, B>::apply(const TensorView<const T>& X, const TensorView<T>& Y) const {
    plan_.apply(X, Y);
    add_bias(Y.data, Y.extent(0));
}

template <Scalar T, BackendFor<T> B>
void MpoLinear<T, B>::apply(const Tensor<T>& X, Tensor<T>& Y, Tape& tape) const {
    plan_.apply(X, Y, tape);
    add_bias(Y.data(), Y.extent(0));
}

template <Scalar T, BackendFor<T> B>
void MpoLinear<T, B>::add_bias(T* Y, Index batch) const {
    const Index out = bias_.size();
    for (Index b = 0; out > 0 && b < batch; ++b)
        for (Index o = 0; o < out; ++o) Y[b * out + o] += bias_.data()[o];
}

template <Scalar T, BackendFor<T> B>
LinearGradients<T> MpoLinear<T, B>::zero_gradients() const {
    LinearGradients<T> zeros{{}, bias_.size() == 0 ? Tensor<T>() : Tensor<T>(bias_.shape())};
    for (const auto& core : mpo_.cores()) zeros.cores.emplace_back(core.shape());
    return zeros;
}

template <Scalar T, BackendFor<T> B>
void MpoLinear<T, B>::gradient(const Tensor<T>& X, const Tensor<T>& dY, Tensor<T>& dX,
                               LinearGradients<T>& gradients, const Tape* tape) const {
    if (gradients.bias.size() != bias_.size())
        detail::raise<ShapeError>({"MpoLinear::gradient: the gradient of the bias must have ",
                                   bias_.size(), " elements, got ", gradients.bias.size()});
    plan_.gradient(X, dY, dX, gradients.cores, tape);
    const Index out = bias_.size();
    for (Index b = 0; out > 0 && b < dY.extent(0); ++b)
        for (Index o = 0; o < out; ++o) gradients.bias.data()[o] += dY.data()[b * out + o];
}

template <Scalar T, BackendFor<T> B>
void MpoLinear<T, B>::assign(Mpo<T> mpo, Tensor<T> bias) {
    if (mpo.rows() != rows() || mpo.cols() != cols())
        detail::raise<ShapeError>({"MpoLinear::assign: the weight must be ", rows(), " x ", cols(),
                                   ", got ", mpo.rows(), " x ", mpo.cols()});
    *this = MpoLinear(std::move(mpo), std::move(bias), options_, *backend_);
}

template <Scalar T, BackendFor<T> B>
template <LayerWriter W>
void MpoLinear<T, B>::save(W& writer) const {
    writer.set_metadata("kind", std::string(detail::mpo_linear_kind));
    writer.set_metadata("format_version", std::string(detail::mpo_linear_version));
    writer.set_metadata("scalar", std::string(detail::scalar_name<T>()));
    writer.set_metadata("num_sites", detail::concat(mpo_.num_sites()));
    for (Index k = 0; k < mpo_.num_sites(); ++k)
        detail::append_numbers(writer, detail::concat("cores.", k), mpo_.core(k));
    if (bias_.size() != 0) detail::append_numbers(writer, "bias", bias_);
}

}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/mpo_linear_inl.hpp"
#endif
