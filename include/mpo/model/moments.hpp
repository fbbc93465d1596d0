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

#include <limits>
#include <span>
#include <string>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"

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
    InputMoments(std::vector<std::string> linears, Index inputs, MomentFlows flows);
    /// Of sums at hand. Throws ShapeError where their shapes do not belong together.
    explicit InputMoments(MomentSums sums);

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
             const EigenBackend& backend);
    /// The same of both flows: position t is row t of both.
    void add(MatrixView<const float> dense, MatrixView<const float> compressed,
             std::span<const double> weights, const EigenBackend& backend);
    /// Adds to the sum of w norm(y)^2 over ordinary positions. Throws NumericalError for NaN or Inf.
    void add_output_energy(double energy);
    /// Adds a sink.
    ///
    /// dense          (n) its x_o
    /// compressed     (n) its x_c; no elements for the dense flow alone
    /// weight         w > 0
    /// state_energy   norm(s)^2 > 0 of its state in the dense flow, behind the linear
    /// throws         ShapeError, NumericalError (NaN or Inf, a state of 0)
    void add_sink(std::span<const float> dense, std::span<const float> compressed, double weight,
                  double state_energy);
    /// Adds what another accumulated over other positions. Throws ArgumentError where it belongs to other linears.
    void merge(const InputMoments& other);
    /// Gives up the memory that only adding needs.
    void release_workspace() { workspace_ = {}; }

    /// S, (n, n), exactly symmetric; with the term of the sinks.
    ///
    /// g        weight of the sinks' term
    /// throws   ArgumentError where no ordinary position has a weight, or g < 0
    [[nodiscard]] Tensor<double> second_moment(const EigenBackend& backend,
                                               double g = default_sink_weight) const;
    /// C, (n, n), exactly symmetric; S where there is the dense flow alone.
    [[nodiscard]] Tensor<double> compressed_moment(const EigenBackend& backend,
                                                   double g = default_sink_weight) const;
    /// X, (n, n), rows of the dense flow and columns of the compressed one; S where there is the dense flow
    /// alone.
    [[nodiscard]] Tensor<double> cross_moment(const EigenBackend& backend,
                                              double g = default_sink_weight) const;

    /// All of them in the memory of the sums, which are gone: what large linears need. Throws as second_moment.
    [[nodiscard]] MomentMatrices matrices(const EigenBackend& backend,
                                          double g = default_sink_weight) &&;

  private:
    static constexpr Index rows_at_once = 1024;

    [[nodiscard]] const std::string& name() const { return sums_.linears.front(); }

    void require_flows(MomentFlows flows) const;
    void require_rows(MatrixView<const float> X, std::span<const double> weights) const;
    [[noreturn]] void fail_at(Index position, Index element, float value) const;
    void require_finite(MatrixView<const float> X) const;

    void add_positions(MatrixView<const float> dense, const MatrixView<const float>* compressed,
                       std::span<const double> weights, const EigenBackend& backend);
    /// sqrt(w_t) x_t in double.
    static void widen(MatrixView<const float> X, std::span<const double> weights, double* wide);
    static void add_tensor(const Tensor<double>& from, Tensor<double>& to) {
        for (Index k = 0; k < from.size(); ++k) to.data()[k] += from.data()[k];
    }

    /// M / weight + g u^2 / (weight of the sinks) * sum over sinks of scale left right^T.
    [[nodiscard]] Tensor<double> combined(Tensor<double> M, const std::vector<float>& left,
                                          const std::vector<float>& right, double g,
                                          const EigenBackend& backend) const;

    static constexpr float largest = (std::numeric_limits<float>::max)();

    MomentSums sums_;
    EigenBackend::Buffer<double> workspace_;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/moments_inl.hpp"
#endif
