// Snapshots: named arrays and a JSON object in one file, by which long work goes on after a crash.
//
// The file is a safetensors file. Its metadata has
//   "mpo_snapshot"    the version of this format, 1
//   "configuration"   a JSON object: what the work was asked to do
//   "header"          a JSON object: where it had got to
// and its tensors are F32, F64 or I64 of one axis, bit for bit what was in memory. It appears under its name
// complete or not at all: whatever ends the process, a full disk too, the file before it stays whole.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/fingerprint.hpp"
#include "mpo/io/safetensors.hpp"
#include "mpo/io/safetensors_writer.hpp"

namespace mpo {
namespace detail {

/// The type that a snapshot stores numbers of type T as.
template <class T>
[[nodiscard]] constexpr DType snapshot_dtype() {
    static_assert(
        std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, std::int64_t>,
        "mpo: a snapshot holds float, double and std::int64_t");
    if constexpr (std::is_same_v<T, float>) return DType::f32;
    if constexpr (std::is_same_v<T, double>) return DType::f64;
    return DType::i64;
}

}  // namespace detail

/// One snapshot in the making. Arrays go to the disk as they are added; nothing has the name before
/// finish() returns, and without it nothing remains.
class SnapshotWriter {
  public:
    /// Throws FileError where the file cannot be created, ArgumentError where a JSON is no object.
    ///
    /// path            of the file, which may exist: it is replaced at the end
    /// configuration   what the work was asked to do, member by member: whoever reads must ask for the same
    /// header          whatever else is to be kept
    SnapshotWriter(const std::filesystem::path& path, const nlohmann::ordered_json& configuration,
                   const nlohmann::ordered_json& header = nlohmann::ordered_json::object());

    /// Adds an array.
    ///
    /// name     UTF-8, once a file; else ArgumentError
    /// values   float, double or std::int64_t: any bits, NaN included
    /// throws   FileError where the system refuses; the writer is as it was
    template <class T>
    void add(const std::string& name, std::span<const T> values) {
        writer_.append(name, detail::snapshot_dtype<T>(), {static_cast<Index>(values.size())},
                       std::as_bytes(values));
        sum_.add(name);
        sum_.add(values.data(), values.size_bytes());
    }
    /// The same for a vector.
    template <class T>
    void add(const std::string& name, const std::vector<T>& values) {
        add(name, std::span<const T>(values));
    }

    /// Returns when all of it is on the disk under its name. Throws FileError, and may then be called again;
    /// ArgumentError once it has succeeded.
    void finish();

  private:
    SafetensorsWriter writer_;
    detail::Fingerprint sum_;  // of configuration, header, names and numbers
    bool summed_ = false;
};

/// An opened snapshot. Const calls are safe from many threads, and a newer snapshot under the same name
/// does not disturb it.
class Snapshot {
  public:
    /// Opens the snapshot of the same work.
    ///
    /// path            of the file
    /// configuration   as SnapshotWriter's
    /// throws          FileError where it cannot be read; FormatError where it is no snapshot, naming what is
    ///                 wrong, or where a bit of it is another than SnapshotWriter wrote; ArgumentError where it is
    ///                 one of another configuration, naming the first member that differs and both its values
    /// cost            one pass over the file
    Snapshot(const std::filesystem::path& path, const nlohmann::ordered_json& configuration);

    /// The path it was opened with.
    [[nodiscard]] const std::filesystem::path& path() const { return file_.path(); }
    /// What SnapshotWriter was given.
    [[nodiscard]] const nlohmann::json& header() const;
    /// The arrays' names, in the order in which they were added.
    [[nodiscard]] std::vector<std::string> names() const;
    /// Whether an array has that name.
    [[nodiscard]] bool contains(const std::string& name) const { return file_.contains(name); }

    /// An array. Throws FormatError, naming file and array, where it is not there or is one of other numbers
    /// than T.
    template <class T>
    [[nodiscard]] std::vector<T> read(const std::string& name) const {
        std::vector<T> values(static_cast<std::size_t>(entry_of<T>(name).shape[0]));
        read(name, std::span<T>(values));
        return values;
    }
    /// The same into memory of the caller's. Throws FormatError, as above, also where it has another length;
    /// then nothing is written.
    template <class T>
    void read(const std::string& name, std::span<T> values) const {
        const auto& entry = entry_of<T>(name);
        if (entry.shape[0] != static_cast<Index>(values.size()))
            fail(name, detail::concat("has ", entry.shape[0], " numbers, not ", values.size()));
        const auto bytes = file_.bytes(name);
        std::copy_n(bytes.data(), bytes.size(), std::as_writable_bytes(values).data());
    }

  private:
    [[noreturn]] void fail(const std::string& name, std::string_view problem) const;

    template <class T>
    [[nodiscard]] const SafetensorsEntry& entry_of(const std::string& name) const {
        if (!file_.contains(name)) fail(name, "is not there");
        const auto& entry = file_.info(name);
        constexpr DType wanted = detail::snapshot_dtype<T>();
        if (entry.dtype != wanted || entry.shape.size() != 1)
            fail(name,
                 detail::concat("is ", to_string(entry.dtype), " of shape ", to_string(entry.shape),
                                ", not ", to_string(wanted), " of one axis"));
        return entry;
    }

    [[nodiscard]] const std::string& text(const char* key) const;

    [[nodiscard]] nlohmann::json object(const char* key) const;

    /// Throws FormatError where the contents are not what was written.
    void require_undamaged() const;

    /// Numbers count as their text does: 1 is not 1.0, but both sides came out of the same program.
    void require_same(const nlohmann::json& kept, const nlohmann::json& asked) const;

    SafetensorsFile file_;
    nlohmann::json header_;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/snapshot_inl.hpp"
#endif
