// Second moments of what a linear reads: the metric in which its compression is judged. Of inputs x_o in the
// dense flow, and x_c behind a prefix that is compressed already,
//
//   S = E[x_o x_o^T],   C = E[x_c x_c^T],   X = E[x_o x_c^T],   E[f] = sum over t of w_t f_t / sum of w_t
//
// summed in double. norm(W x_o - A x_c)^2 has the mean tr(W S W^T) - 2 tr(W X A^T) + tr(A C A^T).
//
// Sinks are positions whose state is far above all others' (model/calibrate.hpp). In a linear y = W x that
// is added to the state s of a position they would drown the rest, or drift where they are left out:
// they get a term of their own, relative to their state,
//
//   loss = mean over ordinary t of norm(e_t)^2 / u^2 + g * mean over sinks p of norm(e_p)^2 / norm(s_p)^2,
//
// e the error of y, u^2 the mean of norm(y)^2 over ordinary positions. Times u^2 this is tr(E M E^T) with
//
//   M = E_ordinary[x x^T] + g u^2 E_sinks[x x^T / norm(s)^2],
//
// which is what second_moment and its siblings return. The rows of the sinks are kept, they are few: the
// weight g is chosen late, and moments of two halves of a text add up to those of the whole.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/moment_tiles.hpp"

namespace mpo {

/// S, C and X as they stand above, (n, n), with the term of the sinks; S and C exactly symmetric.
struct MomentMatrices {
    Tensor<double> second;      // S
    Tensor<double> compressed;  // C; empty where there is the dense flow alone
    Tensor<double> cross;       // X; the same
};

/// Whether moments are those of the dense flow, or of it and of the compressed prefix's.
enum class MomentFlows { dense, both };

/// The weight g of sinks: 5 keeps them at one per cent of their state and leaves the others alone
/// (measured on SmolLM2-135M).
inline constexpr double default_sink_weight = 5;

/// Sums over the inputs of the linears that share them, as a file has them.
struct MomentSums {
    std::vector<std::string> linears;        // modules: q, k and v read the same
    Index inputs = 0;                        // n, numbers of an input
    MomentFlows flows = MomentFlows::dense;  // whose inputs
    Index tokens = 0;                        // positions with a weight, sinks included
    double weight = 0;                       // of ordinary positions
    double output_energy = 0;   // sum of w norm(y)^2 over them, where outputs are added to a state
    double sink_weight = 0;     // sum of w over sinks
    Tensor<double> dense;       // (n, n): sum of w x_o x_o^T; symmetric
    Tensor<double> compressed;  // (n, n): sum of w x_c x_c^T; of both flows
    Tensor<double> cross;       // (n, n): sum of w x_o x_c^T; of both flows
    std::vector<double> sink_scales;     // w / norm(s)^2 of every sink
    std::vector<float> sink_dense;       // (sinks, n): their x_o
    std::vector<float> sink_compressed;  // (sinks, n): their x_c; of both flows
};

/// Accumulates the moments of one linear's inputs, or of several linears' that read the same. Movable.
class InputMoments {
  public:
    /// Of nothing yet.
    ///
    /// linears   modules that read these inputs, at least one
    /// inputs    n >= 1, numbers of an input
    /// memory    n^2 doubles, three times as many for both flows
    /// throws    ArgumentError
    InputMoments(std::vector<std::string> linears, Index inputs, MomentFlows flows) {
        sums_.linears = std::move(linears);
        sums_.inputs = inputs;
        sums_.flows = flows;
        if (sums_.linears.empty() || inputs < 1)
            detail::raise<ArgumentError>({"InputMoments: need at least one linear and one input, ",
                                          "got ", sums_.linears.size(), " and ", inputs});
        sums_.dense = Tensor<double>({inputs, inputs});
        if (flows == MomentFlows::dense) return;
        sums_.compressed = Tensor<double>({inputs, inputs});
        sums_.cross = Tensor<double>({inputs, inputs});
    }
    /// Of sums at hand. Throws ShapeError where their shapes do not belong together.
    explicit InputMoments(MomentSums sums) : sums_(std::move(sums)) {
        const Shape square{sums_.inputs, sums_.inputs};
        const bool both = sums_.flows == MomentFlows::both;
        const std::size_t sinks = sums_.sink_scales.size(),
                          numbers = sinks * static_cast<std::size_t>(sums_.inputs);
        if (sums_.linears.empty() || sums_.inputs < 1 || sums_.dense.shape() != square ||
            (both && (sums_.compressed.shape() != square || sums_.cross.shape() != square)) ||
            sums_.sink_dense.size() != numbers ||
            sums_.sink_compressed.size() != (both ? numbers : 0))
            detail::raise<ShapeError>({"InputMoments: the sums must have the shape ", sums_.inputs,
                                       " x ", sums_.inputs, " and rows for ", sinks, " sinks"});
    }

    /// Modules that read these inputs.
    [[nodiscard]] const std::vector<std::string>& linears() const { return sums_.linears; }
    /// Numbers of an input, n.
    [[nodiscard]] Index inputs() const { return sums_.inputs; }
    /// Whose moments they are.
    [[nodiscard]] MomentFlows flows() const { return sums_.flows; }
    /// Positions added with a weight above 0, sinks included.
    [[nodiscard]] Index tokens() const { return sums_.tokens; }
    /// Sum of the weights of ordinary positions.
    [[nodiscard]] double weight() const { return sums_.weight; }
    /// Positions with a term of their own.
    [[nodiscard]] Index sinks() const { return static_cast<Index>(sums_.sink_scales.size()); }
    /// u^2, the mean of norm(y)^2 over ordinary positions; 0 where outputs are not added to a state.
    [[nodiscard]] double mean_output_energy() const {
        return sums_.weight > 0 ? sums_.output_energy / sums_.weight : 0;
    }
    /// Fewer positions than numbers of an input: S has no inverse. The closed form in its metric does not
    /// need one, but directions that were never seen cost nothing there.
    [[nodiscard]] bool certainly_singular() const { return sums_.tokens < sums_.inputs; }
    /// What a file keeps; of `dense` and `compressed` the lower triangle.
    [[nodiscard]] const MomentSums& sums() const { return sums_; }

    /// Adds positions of the dense flow.
    ///
    /// X         (tokens, n), rows contiguous
    /// weights   w_t >= 0 of every position; none: all 1
    /// cost      n^2 multiply-adds per position and n^2 numbers of memory traffic per 1024 of them; three times
    ///           as much below, where the second flow is added, too
    /// throws    ShapeError, ArgumentError (flows, weights), NumericalError, naming a linear and the position,
    ///           for NaN or Inf. Nothing is added then
    void add(MatrixView<const float> X, std::span<const double> weights,
             const EigenBackend& backend) {
        require_flows(MomentFlows::dense);
        add_positions(X, nullptr, weights, backend);
    }
    /// The same of both flows: position t is row t of both.
    void add(MatrixView<const float> dense, MatrixView<const float> compressed,
             std::span<const double> weights, const EigenBackend& backend) {
        require_flows(MomentFlows::both);
        if (compressed.rows != dense.rows)
            detail::raise<ShapeError>({"InputMoments: ", name(), " has ", dense.rows,
                                       " positions in the dense flow and ", compressed.rows,
                                       " in the compressed one"});
        add_positions(dense, &compressed, weights, backend);
    }
    /// Adds to the sum of w norm(y)^2 over ordinary positions. Throws NumericalError for NaN or Inf.
    void add_output_energy(double energy) {
        if (!(energy >= 0) || !std::isfinite(energy))
            detail::raise<NumericalError>(
                {"InputMoments: the outputs of ", name(), " have the energy ", energy});
        sums_.output_energy += energy;
    }
    /// Adds a sink.
    ///
    /// dense          (n) its x_o
    /// compressed     (n) its x_c; no elements for the dense flow alone
    /// weight         w > 0
    /// state_energy   norm(s)^2 > 0 of its state in the dense flow, behind the linear
    /// throws         ShapeError, NumericalError (NaN or Inf, a state of 0)
    void add_sink(std::span<const float> dense, std::span<const float> compressed, double weight,
                  double state_energy) {
        const auto n = static_cast<std::size_t>(sums_.inputs);
        const bool both = sums_.flows == MomentFlows::both;
        if (dense.size() != n || compressed.size() != (both ? n : 0))
            detail::raise<ShapeError>({"InputMoments: a sink of ", name(), " must have ", n,
                                       " inputs, got ", dense.size(), " and ", compressed.size()});
        const double scale = weight / state_energy;
        if (!(scale > 0) || !std::isfinite(scale))
            detail::raise<NumericalError>({"InputMoments: a sink of ", name(), " has the weight ",
                                           weight, " and the energy ", state_energy});
        for (const auto row : {dense, compressed})
            for (std::size_t i = 0; i < row.size(); ++i)
                if (!std::isfinite(row[i])) fail_at(sinks(), static_cast<Index>(i), row[i]);
        auto& s = sums_;
        s.sink_dense.insert(s.sink_dense.end(), dense.begin(), dense.end());
        s.sink_compressed.insert(s.sink_compressed.end(), compressed.begin(), compressed.end());
        s.sink_scales.push_back(scale);
        s.sink_weight += weight;
        ++s.tokens;
    }
    /// Adds what another accumulated over other positions. Throws ArgumentError where it belongs to other linears.
    void merge(const InputMoments& other) {
        const auto& from = other.sums_;
        if (from.linears != sums_.linears || from.inputs != sums_.inputs ||
            from.flows != sums_.flows)
            detail::raise<ArgumentError>(
                {"InputMoments: cannot add moments of ", other.name(), ", ", from.inputs,
                 " inputs, to those of ", name(), ", ", sums_.inputs, " inputs",
                 from.flows != sums_.flows ? ": one has both flows, the other has not" : ""});
        add_tensor(from.dense, sums_.dense);
        add_tensor(from.compressed, sums_.compressed);
        add_tensor(from.cross, sums_.cross);
        const auto append = [](const auto& source, auto& target) {
            target.insert(target.end(), source.begin(), source.end());
        };
        append(from.sink_scales, sums_.sink_scales);
        append(from.sink_dense, sums_.sink_dense);
        append(from.sink_compressed, sums_.sink_compressed);
        sums_.tokens += from.tokens;
        sums_.weight += from.weight;
        sums_.output_energy += from.output_energy;
        sums_.sink_weight += from.sink_weight;
    }
    /// Gives up the memory that only adding needs.
    void release_workspace() { workspace_ = {}; }

    /// S, (n, n), exactly symmetric; with the term of the sinks.
    ///
    /// g        weight of the sinks' term
    /// throws   ArgumentError where no ordinary position has a weight, or g < 0
    [[nodiscard]] Tensor<double> second_moment(const EigenBackend& backend,
                                               double g = default_sink_weight) const {
        auto M = combined(sums_.dense, sums_.sink_dense, sums_.sink_dense, g, backend);
        detail::mirror_lower(M);
        return M;
    }
    /// C, (n, n), exactly symmetric; S where there is the dense flow alone.
    [[nodiscard]] Tensor<double> compressed_moment(const EigenBackend& backend,
                                                   double g = default_sink_weight) const {
        if (sums_.flows == MomentFlows::dense) return second_moment(backend, g);
        auto M =
            combined(sums_.compressed, sums_.sink_compressed, sums_.sink_compressed, g, backend);
        detail::mirror_lower(M);
        return M;
    }
    /// X, (n, n), rows of the dense flow and columns of the compressed one; S where there is the dense flow
    /// alone.
    [[nodiscard]] Tensor<double> cross_moment(const EigenBackend& backend,
                                              double g = default_sink_weight) const {
        if (sums_.flows == MomentFlows::dense) return second_moment(backend, g);
        return combined(sums_.cross, sums_.sink_dense, sums_.sink_compressed, g, backend);
    }

    /// All of them in the memory of the sums, which are gone: what large linears need. Throws as second_moment.
    [[nodiscard]] MomentMatrices matrices(const EigenBackend& backend,
                                          double g = default_sink_weight) && {
        auto& s = sums_;
        MomentMatrices result;
        result.second = combined(std::move(s.dense), s.sink_dense, s.sink_dense, g, backend);
        detail::mirror_lower(result.second);
        if (s.flows == MomentFlows::dense) return result;
        result.compressed =
            combined(std::move(s.compressed), s.sink_compressed, s.sink_compressed, g, backend);
        detail::mirror_lower(result.compressed);
        result.cross = combined(std::move(s.cross), s.sink_dense, s.sink_compressed, g, backend);
        return result;
    }

  private:
    static constexpr Index rows_at_once = 1024;

    [[nodiscard]] const std::string& name() const { return sums_.linears.front(); }

    void require_flows(MomentFlows flows) const {
        if (sums_.flows != flows)
            detail::raise<ArgumentError>(
                {"InputMoments: ", name(), " accumulates ",
                 flows == MomentFlows::both ? "the dense flow alone" : "both flows"});
    }
    void require_rows(MatrixView<const float> X, std::span<const double> weights) const {
        if (X.cols != sums_.inputs || X.col_stride != 1)
            detail::raise<ShapeError>({"InputMoments: ", name(), " reads ", sums_.inputs,
                                       " numbers, contiguous, got ", X.cols});
        if (!weights.empty() && static_cast<Index>(weights.size()) != X.rows)
            detail::raise<ArgumentError>({"InputMoments: ", X.rows, " positions of ", name(),
                                          " have ", weights.size(), " weights"});
        for (std::size_t t = 0; t < weights.size(); ++t)
            if (!(weights[t] >= 0) || !std::isfinite(weights[t]))
                detail::raise<ArgumentError>({"InputMoments: the weight of position ", t, " of ",
                                              name(), " is ", weights[t]});
    }
    [[noreturn]] void fail_at(Index position, Index element, float value) const {
        detail::raise<NumericalError>({"the inputs of ", name(), " hold ", value, " at position ",
                                       position, ", element ", element});
    }
    void require_finite(MatrixView<const float> X) const {
        parallel_for(0, X.rows, 32, [&](Index first, Index last) {
            for (Index t = first; t < last; ++t) {
                const float* row = X.data + t * X.row_stride;
                bool finite = true;
                for (Index i = 0; i < X.cols; ++i) finite &= std::abs(row[i]) <= largest;
                for (Index i = 0; !finite && i < X.cols; ++i)
                    if (!std::isfinite(row[i])) fail_at(t, i, row[i]);
            }
        });
    }

    void add_positions(MatrixView<const float> dense, const MatrixView<const float>* compressed,
                       std::span<const double> weights, const EigenBackend& backend) {
        require_rows(dense, weights);
        if (compressed) require_rows(*compressed, weights);
        require_finite(dense);
        if (compressed) require_finite(*compressed);
        const Index n = sums_.inputs, step = (std::min)(rows_at_once, dense.rows);
        const Index needed = (compressed ? 2 : 1) * step * n;
        if (workspace_.size() < needed) workspace_ = backend.allocate<double>(needed);
        for (Index first = 0; first < dense.rows; first += step) {
            const Index rows = (std::min)(step, dense.rows - first);
            const auto part = weights.empty() ? weights
                                              : weights.subspan(static_cast<std::size_t>(first),
                                                                static_cast<std::size_t>(rows));
            double* const wide = workspace_.data();
            detail::MomentTiles tiles(rows, n);
            widen(block(dense, first, 0, rows, n), part, wide);
            tiles.add_square(wide, sums_.dense.data());
            if (compressed) {
                double* const other = wide + step * n;
                widen(block(*compressed, first, 0, rows, n), part, other);
                tiles.add_square(other, sums_.compressed.data());
                tiles.add_product(wide, other, sums_.cross.data());
            }
            tiles.run(backend);
        }
        for (const double w : weights) sums_.weight += w;
        sums_.tokens +=
            std::count_if(weights.begin(), weights.end(), [](double w) { return w > 0; });
        if (!weights.empty()) return;
        sums_.tokens += dense.rows;
        sums_.weight += static_cast<double>(dense.rows);
    }
    /// sqrt(w_t) x_t in double.
    static void widen(MatrixView<const float> X, std::span<const double> weights, double* wide) {
        parallel_for(0, X.rows, 16, [&](Index first, Index last) {
            for (Index t = first; t < last; ++t) {
                const double root =
                    weights.empty() ? 1 : std::sqrt(weights[static_cast<std::size_t>(t)]);
                const float* row = X.data + t * X.row_stride;
                for (Index i = 0; i < X.cols; ++i) wide[t * X.cols + i] = root * row[i];
            }
        });
    }
    static void add_tensor(const Tensor<double>& from, Tensor<double>& to) {
        for (Index k = 0; k < from.size(); ++k) to.data()[k] += from.data()[k];
    }

    /// M / weight + g u^2 / (weight of the sinks) * sum over sinks of scale left right^T.
    [[nodiscard]] Tensor<double> combined(Tensor<double> M, const std::vector<float>& left,
                                          const std::vector<float>& right, double g,
                                          const EigenBackend& backend) const {
        if (!(sums_.weight > 0))
            detail::raise<ArgumentError>({"InputMoments: ", name(), " has seen ", sums_.tokens,
                                          " positions, none of them ordinary and with a weight"});
        if (!(g >= 0) || !std::isfinite(g))
            detail::raise<ArgumentError>(
                {"InputMoments: the weight of sinks must be >= 0, got ", g});
        for (Index k = 0; k < M.size(); ++k) M.data()[k] /= sums_.weight;
        if (sinks() == 0) return M;
        const double factor = g * mean_output_energy() / sums_.sink_weight;
        const auto scaled = [&](const std::vector<float>& rows) {
            Tensor<double> A({sinks(), sums_.inputs});
            for (Index p = 0; p < sinks(); ++p) {
                const double root =
                    std::sqrt(factor * sums_.sink_scales[static_cast<std::size_t>(p)]);
                for (Index i = 0; i < sums_.inputs; ++i)
                    A(p, i) = root * rows[static_cast<std::size_t>(p * sums_.inputs + i)];
            }
            return A;
        };
        const auto A = scaled(left), B = scaled(right);
        backend.gemm(1.0, transpose(as_matrix(A.view())), as_matrix(B.view()), 1.0,
                     as_matrix(M.view()));
        return M;
    }

    static constexpr float largest = (std::numeric_limits<float>::max)();

    MomentSums sums_;
    EigenBackend::Buffer<double> workspace_;
};

}  // namespace mpo
