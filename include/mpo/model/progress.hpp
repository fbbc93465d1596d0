// How a long job over a checkpoint reports, and how it is stopped.
#pragma once

#include <chrono>
#include <functional>
#include <string_view>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo {

/// One linear is done and written.
struct Progress {
    std::string_view linear;  // its module: "model.layers.3.mlp.up_proj"
    Index done = 0;           // linears so far, this one included
    Index count = 0;          // of all linears of the job
    double seconds = 0;       // since the job began
    double seconds_left = 0;  // at the rate so far, by multiply-adds
};

/// What a ProgressCallback wants: go on, or stop and leave nothing.
enum class ProgressReply { go_on, cancel };

/// Called for one linear at a time, in the order of the file, not always from the same thread.
/// Linears that other threads have begun are finished before the job ends; what the callback throws
/// ends it as cancelling does.
using ProgressCallback = std::function<ProgressReply(const Progress&)>;

/// A ProgressCallback replied cancel; nothing was left on the disk.
class Cancelled : public Error {
  public:
    using Error::Error;
};

namespace detail {

/// Counts the linears of a job and tells a callback about them.
class ProgressMeter {
  public:
    /// work: multiply-adds of the whole job, in any unit. kept: what is where the job is cancelled.
    ProgressMeter(std::string_view who, const ProgressCallback& callback, Index count, double work,
                  std::string_view kept = "nothing was kept")
        : who_(who), kept_(kept), callback_(callback), count_(count), work_(work) {}

    [[nodiscard]] double seconds() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    }

    /// A linear was done before the job began: it counts, but says nothing of the rate.
    void skip(double work);
    /// One more linear is done. Throws Cancelled where the callback replies so.
    void advance(std::string_view linear, double work);

  private:
    std::string_view who_, kept_;
    const ProgressCallback& callback_;
    Index count_, done_ = 0;
    double work_, work_done_ = 0;
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace detail

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/progress_inl.hpp"
#endif
