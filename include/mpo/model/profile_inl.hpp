// The bodies of model/profile.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/io/atomic_file.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/linalg/weighted_low_rank.hpp"
#include "mpo/model/fingerprint.hpp"
#include "mpo/model/made_by.hpp"
#include "mpo/model/profile.hpp"
#include "mpo/model/profile_json.hpp"
#include "mpo/model/profile_probe.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE void validate(const ProfileOptions& options) {
    const auto& sizes = options.sizes;
    if (sizes.empty() || sizes.size() > 3)
        detail::raise<ArgumentError>({"profile: need 1 to 3 sizes, got ", sizes.size()});
    for (std::size_t k = 0; k < sizes.size(); ++k)
        if (!(sizes[k] > (k == 0 ? 0 : sizes[k - 1]) && sizes[k] < 1))
            detail::raise<ArgumentError>({"profile: sizes must ascend between 0 and 1, got ",
                                          sizes[k], " as number ", k + 1});
    if (!(options.sink_weight >= 0) || !std::isfinite(options.sink_weight))
        detail::raise<ArgumentError>(
            {"profile: the weight of sinks must be >= 0, got ", options.sink_weight});
}

namespace detail {

[[nodiscard]] inline ProfileText profile_text(const std::vector<CalibrationWindow>& windows) {
    ProfileText result{static_cast<Index>(windows.size()), 0, fingerprint(windows)};
    for (const auto& window : windows) result.tokens += static_cast<Index>(window.tokens.size());
    return result;
}

MPO_DETAIL_MODEL_INLINE double relative_distance(const Tensor<float>& W, const Tensor<float>& A) {
    double lost = 0, all = 0;
    for (Index k = 0; k < W.size(); ++k) {
        const double w = W.data()[k], e = w - A.data()[k];
        lost += e * e;
        all += w * w;
    }
    return all > 0 ? std::sqrt(lost / all) : 0;
}

/// One linear of the layer that both walks stand at.
class LinearProfiler {
  public:
    LinearProfiler(LinearProbe& probe, const ProfileOptions& options, const EigenBackend& backend)
        : probe_(probe), options_(options), backend_(backend) {}

    /// W, and S of what it reads.
    [[nodiscard]] LinearProfile run(const std::string& name, const Tensor<float>& W,
                                    const Tensor<double>& S) const {
        const Index m = W.extent(0), n = W.extent(1);
        const auto spectrum =
            weighted_spectrum<float>(as_matrix(W.view()), as_matrix(S.view()), backend_);
        LinearProfile result{name, linear_kind(name).value(), probe_.layer(), m, n, spectrum.losses,
                             {}};
        const double all = spectrum.losses.front() > 0 ? spectrum.losses.front() : 1;
        for (double& loss : result.losses) loss /= all;
        for (const double size : options_.sizes) {
            const Index rank = rank_of_share(m, n, size);
            if (!result.probes.empty() && result.probes.back().rank == rank) {  // small matrices
                result.probes.push_back(result.probes.back());
                result.probes.back().size = size;
                continue;
            }
            result.probes.push_back(measure(name, W, spectrum, rank));
            auto& probe = result.probes.back();
            probe.size = size;
            probe.activation_error = std::sqrt(result.losses[static_cast<std::size_t>(rank)]);
        }
        return result;
    }

  private:
    [[nodiscard]] ProfileProbe measure(const std::string& name, const Tensor<float>& W,
                                       const WeightedSpectrum<float, EigenBackend>& spectrum,
                                       Index rank) const {
        const Index m = W.extent(0), n = W.extent(1);
        const auto best = weighted_low_rank<float>(as_matrix(W.view()), spectrum,
                                                   Truncation{.max_bond_dim = rank}, backend_);
        Tensor<float> product({m, n});  // one layer of many: not worth a plan
        backend_.gemm(1.0F, matrix<const float>(best.left.data(), m, best.rank),
                      matrix<const float>(best.right.data(), best.rank, n), 0.0F,
                      as_matrix(product.view()));
        ProfileProbe result;
        result.rank = rank;
        result.share = stored_share(m, n, rank);
        result.weight_error = relative_distance(W, product);
        result.kld = probe_.kld(
            Linear(name, as_matrix(product.view()), probe_.linear(name).bias(), {}, backend_));
        return result;
    }

    LinearProbe& probe_;
    const ProfileOptions& options_;
    const EigenBackend& backend_;
};

/// The profile of these inputs without any linear.
[[nodiscard]] inline Profile empty_profile(const Checkpoint& checkpoint,
                                           const std::vector<CalibrationWindow>& calibration,
                                           const std::vector<CalibrationWindow>& probing,
                                           const ProfileOptions& options) {
    constexpr const char* precisions[] = {"as_stored", "f32", "bf16"};
    Profile result;
    result.model = checkpoint.path().string();
    result.fingerprint = fingerprint(checkpoint);
    result.made_by = {version_text(), compiler_text(), {}, 1, num_threads()};
    result.calibration = profile_text(calibration);
    result.probing = profile_text(probing);
    result.sizes = options.sizes;
    result.sink_weight = options.sink_weight;
    result.sink_factor = options.calibration.sink_factor;
    result.reader_sink_weight = options.calibration.reader_sink_weight;
    result.precision = precisions[static_cast<int>(options.calibration.model.precision)];
    return result;
}

MPO_DETAIL_MODEL_INLINE std::vector<std::string> linears_before(Index layers) {
    std::vector<std::string> names;
    for (Index layer = 0; layer < layers; ++layer)
        for (const auto stage : block_stages)
            for (auto& name : linears_of(layer, stage)) names.push_back(std::move(name));
    return names;
}

MPO_DETAIL_MODEL_INLINE void resume(Profile& profile, const std::filesystem::path& state,
                                    Index layers) {
    const auto kept = read_profile(state);
    const auto require = [&](bool same, std::string_view what) {
        if (!same)
            raise<FormatError>({state.string(), ": the profile in it has ", what,
                                "; another --json, or without this file, begins anew"});
    };
    require(kept.fingerprint == profile.fingerprint, "another model");
    require(kept.calibration.fingerprint == profile.calibration.fingerprint,
            "other texts or windows for the moments");
    require(kept.probing.fingerprint == profile.probing.fingerprint,
            "other texts or windows for the divergence");
    require(kept.sizes == profile.sizes, "other sizes");
    require(kept.sink_weight == profile.sink_weight && kept.sink_factor == profile.sink_factor &&
                kept.reader_sink_weight == profile.reader_sink_weight,
            "other options of sinks");
    require(kept.precision == profile.precision, "another precision of weights");
    const auto names = linears_before(layers);
    bool fits = kept.linears.size() % 7 == 0 && kept.linears.size() <= names.size();
    for (std::size_t k = 0; fits && k < kept.linears.size(); ++k)
        fits = kept.linears[k].name == names[k];
    require(fits, "linears that are not the first layers of this decoder");
    profile.linears = kept.linears;
    profile.seconds = kept.seconds;
}

/// A run: both walks, and what is known so far.
class ProfileRun {
  public:
    ProfileRun(const std::filesystem::path& path, std::vector<CalibrationWindow> calibration,
               std::vector<CalibrationWindow> probing, const ProfileOptions& options,
               const EigenBackend& backend)
        : options_(options),
          backend_(backend),
          result_(empty_profile(Checkpoint(path, options.calibration.model.read_mode), calibration,
                                probing, options)),
          walk_(path, std::move(calibration), options.calibration, backend),
          probe_(path, std::move(probing), options.calibration.model, backend),
          layers_(walk_.config().num_layers) {
        if (!options.state.empty() && std::filesystem::exists(options.state))
            resume(result_, options.state, layers_);
        before_ = result_.seconds;
    }

    [[nodiscard]] Profile run() {
        const auto done = static_cast<Index>(result_.linears.size()) / 7;
        while (walk_.layer() < done) walk_.advance();
        while (probe_.layer() < done) probe_.advance();
        double work = 0;
        for (Index layer = done; layer < layers_; ++layer) work += 7 * work_of(layer);
        ProgressMeter meter("profile", options_.progress, 7 * (layers_ - done), work);
        for (Index layer = done; layer < layers_; ++layer) {
            run_layer(layer, meter);
            probe_.advance();
            result_.seconds = before_ + meter.seconds();
            if (!options_.state.empty()) write_text_file(options_.state, to_json(result_));
        }
        return std::move(result_);
    }

  private:
    /// Multiply-adds per token and probe.
    [[nodiscard]] double work_of(Index layer) const {
        const auto& config = walk_.config();
        const auto hidden = static_cast<double>(config.hidden_size);
        const double block =
            hidden *
            static_cast<double>(2 * (config.num_heads + config.num_kv_heads) * config.head_dim +
                                3 * config.intermediate_size);
        return hidden * static_cast<double>(config.vocab_size) +
               block * static_cast<double>(layers_ - layer);
    }
    void run_layer(Index layer, ProgressMeter& meter) {
        const LinearProfiler profiler(probe_, options_, backend_);
        while (walk_.layer() == layer) {
            const auto S = walk_.moments().second_moment(backend_, options_.sink_weight);
            for (const auto& name : walk_.linears()) {
                result_.linears.push_back(profiler.run(name, walk_.weight(name), S));
                try {
                    meter.advance(name, work_of(layer));
                } catch (const Cancelled&) {
                    raise<Cancelled>({"profile: cancelled at ", name, "; ",
                                      options_.state.empty() ? 0 : layer, " of ", layers_,
                                      " layers are kept ", options_.state.empty() ? "" : "in ",
                                      options_.state.string()});
                }
            }
            if (layer + 1 == layers_ && walk_.stage() == BlockStage::down) return;
            walk_.advance();
        }
    }

    const ProfileOptions& options_;
    const EigenBackend& backend_;
    Profile result_;
    CalibrationWalk walk_;
    LinearProbe probe_;
    Index layers_;
    double before_ = 0;  // seconds of runs before
};

}  // namespace detail

MPO_DETAIL_MODEL_INLINE Profile profile(const std::filesystem::path& path,
                                        std::vector<CalibrationWindow> calibration,
                                        std::vector<CalibrationWindow> probing,
                                        const ProfileOptions& options,
                                        const EigenBackend& backend) {
    validate(options);
    return detail::ProfileRun(path, std::move(calibration), std::move(probing), options, backend)
        .run();
}

}  // namespace mpo
