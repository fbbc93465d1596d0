// The bodies of model/teacher_cache.hpp that are no templates.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/teacher_cache.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE TeacherShard::TeacherShard(const std::filesystem::path& folder,
                                                   const TeacherCacheRun& run, Index shard)
    : file_(folder / shard_name(shard)), run_(&run), first_(shard * run.windows_per_shard) {
    const Index windows = windows_in(run, shard);
    require_metadata("mpo_teacher_cache", teacher_cache_format_version);
    require_metadata("run", fingerprint(run));
    require_metadata("shard", concat(shard));
    require_tensor("ids", DType::i32, {windows, run.window, run.top});
    require_tensor("log_probabilities", DType::f16, {windows, run.window, run.top});
    require_tensor("log_rest", DType::f32, {windows, run.window});
    if (file_.tensors().size() != 3)
        raise<FormatError>({file_.path().string(), ": has ", file_.tensors().size(),
                            " tensors, a shard of a teacher's cache has 3"});
    Fingerprint bytes;
    for (const char* name : {"ids", "log_probabilities", "log_rest"}) {
        const auto data = file_.bytes(name);
        bytes.add(data.data(), static_cast<std::size_t>(data.size()));
    }
    fingerprint_ = bytes.to_string();
    require_metadata("fingerprint", fingerprint_);
}

MPO_DETAIL_MODEL_INLINE void TeacherShard::append(Index w, TeacherTargetRows& rows) const {
    const Index L = run_->window, K = run_->top, local = w - first_;
    const auto begin = rows.ids.size(), positions = rows.log_rest.size();
    rows.ids.resize(begin + static_cast<std::size_t>(L * K));
    rows.log_probabilities.resize(rows.ids.size());
    rows.log_rest.resize(positions + static_cast<std::size_t>(L));
    const auto bytes = [](Index count) { return static_cast<std::size_t>(count); };
    std::memcpy(rows.ids.data() + begin, file_.bytes("ids").data() + 4 * local * L * K,
                bytes(4 * L * K));
    decode(DType::f16, file_.bytes("log_probabilities").data() + 2 * local * L * K,
           rows.log_probabilities.data() + begin, L * K);
    decode(DType::f32, file_.bytes("log_rest").data() + 4 * local * L,
           rows.log_rest.data() + positions, L);
    for (Index t = 0; t < L; ++t) {
        const auto at = begin + bytes(t * K);
        complete(w, t, {rows.ids.data() + at, bytes(K)},
                 {rows.log_probabilities.data() + at, bytes(K)},
                 rows.log_rest[positions + bytes(t)]);
    }
    rows.positions += L;
    rows.top = K;
}

MPO_DETAIL_MODEL_INLINE void TeacherShard::require_metadata(const std::string& key,
                                                            const std::string& expected) const {
    const auto found = file_.metadata().find(key);
    if (found == file_.metadata().end())
        raise<FormatError>({file_.path().string(), ": the metadata '", key,
                            "' are missing; is this a shard of a teacher's cache?"});
    if (found->second != expected)
        raise<FormatError>({file_.path().string(), ": the metadata '", key, "' are ",
                            in_quotes(found->second), ", must be ", in_quotes(expected)});
}

MPO_DETAIL_MODEL_INLINE void TeacherShard::require_tensor(const std::string& name, DType dtype,
                                                          const Shape& shape) const {
    if (!file_.contains(name))
        raise<FormatError>(
            {file_.path().string(), ": the tensor ", in_quotes(name), " is missing"});
    const auto& entry = file_.info(name);
    if (entry.dtype != dtype || entry.shape != shape)
        raise<FormatError>({file_.path().string(), ": the tensor ", in_quotes(name), " must be ",
                            to_string(dtype), " ", to_string(shape), ", got ",
                            to_string(entry.dtype), " ", to_string(entry.shape)});
}

MPO_DETAIL_MODEL_INLINE void TeacherShard::complete(Index w, Index t,
                                                    std::span<const std::int32_t> ids,
                                                    std::span<float> log_p, float& log_rest) const {
    constexpr double most_rounding = 0.01;
    const auto fail = [&](std::initializer_list<MessagePart> problem) {
        raise<FormatError>(
            {file_.path().string(), ": position ", t, " of window ", w, ' ', join(problem)});
    };
    double total = std::exp(static_cast<double>(log_rest));
    for (std::size_t k = 0; k < ids.size(); ++k) {
        if (ids[k] < 0 || ids[k] >= run_->vocab_size)
            fail({"has the id ", ids[k], ", the vocabulary has ", run_->vocab_size});
        if (!(log_p[k] <= (k == 0 ? 0.0f : log_p[k - 1])))
            fail({"has the log-probability ", log_p[k], " at place ", k, ", behind ",
                  k == 0 ? 0.0f : log_p[k - 1]});
        total += std::exp(static_cast<double>(log_p[k]));
    }
    if (!(std::abs(total - 1) <= most_rounding)) fail({"has masses that add up to ", total});
    const auto shift = static_cast<float>(std::log(total));
    for (float& one : log_p) one -= shift;
    log_rest -= shift;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE TeacherCache::TeacherCache(const std::filesystem::path& folder,
                                                   TeacherCacheRun run)
    : run_(std::make_unique<const TeacherCacheRun>(std::move(run))) {
    detail::require_same_run(folder, *run_);
    const auto shards = detail::read_index(folder, *run_);
    shards_.reserve(shards.size());
    for (Index k = 0; k < detail::num_shards(*run_); ++k) {
        shards_.emplace_back(folder, *run_, k);
        const auto& expected = shards[static_cast<std::size_t>(k)];
        if (shards_.back().bytes_fingerprint() != expected)
            detail::raise<FormatError>({(folder / detail::shard_name(k)).string(),
                                        ": its bytes have the fingerprint ",
                                        shards_.back().bytes_fingerprint(), ", index.json states ",
                                        detail::in_quotes(expected)});
    }
}

MPO_DETAIL_MODEL_INLINE TeacherTargetRows
TeacherCache::targets(std::span<const Index> windows) const {
    TeacherTargetRows rows;
    rows.top = run_->top;
    for (const Index w : windows) {
        if (w < 0 || w >= run_->windows)
            detail::raise<ArgumentError>(
                {"TeacherCache::targets: window ", w, ", the cache has ", run_->windows});
        shards_[static_cast<std::size_t>(w / run_->windows_per_shard)].append(w, rows);
    }
    return rows;
}

}  // namespace mpo
