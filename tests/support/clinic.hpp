// A tiny decoder, the same at half its parameters, and tokens of its own vocabulary: what healing is tested on.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "files.hpp"
#include "hashed_weights.hpp"
#include "heal_settings.hpp"
#include "models.hpp"
#include "mpo/io/safetensors.hpp"
#include "mpo/model/compress.hpp"
#include "mpo/model/heal.hpp"
#include "naive.hpp"

namespace mpo::test {

/// "teacher" and "student" in a folder, which goes with the object that made it.
struct Clinic {
    explicit Clinic(const std::string& name = "group_3",
                    CompressForm form = CompressForm::automatic, const std::string& only = "")
        : own(std::make_shared<TemporaryFolder>()), folder(own->path()) {
        write_decoder(teacher(), tiny_decoder(name));
        CompressOptions options;
        options.budget = 0.5;
        options.form = form;
        options.only = only;
        (void)compress(Checkpoint(teacher()), student(), options, cpu);
        texts = heal_texts(teacher());
    }
    /// One that another process has made.
    [[nodiscard]] static Clinic in(const std::filesystem::path& folder) { return {Made{}, folder}; }

    [[nodiscard]] std::filesystem::path teacher() const { return folder / "teacher"; }
    [[nodiscard]] std::filesystem::path student() const { return folder / "student"; }
    [[nodiscard]] static HealOptions options() { return heal_settings(); }

    /// By one process.
    HealReport heal(const HealOptions& options, const std::string& to = "healed",
                    const std::string& work = "work") const {
        SingleProcess alone;
        return heal_by(alone, options, to, work);
    }
    template <Communicator Group>
    HealReport heal_by(Group& group, const HealOptions& options, const std::string& to,
                       const std::string& work) const {
        return mpo::heal(student(), teacher(), texts, folder / to, folder / work, options, cpu,
                         group);
    }

    std::shared_ptr<TemporaryFolder> own;
    std::filesystem::path folder;
    TrainingWindows texts;

  private:
    struct Made {};  // a name is no path
    Clinic(Made, const std::filesystem::path& made) : folder(made), texts(heal_texts(teacher())) {}
};

/// The bytes of a snapshot's arrays by name: all of it but what its header says of the time it took.
[[nodiscard]] inline std::map<std::string, std::string> snapshot_arrays(
    const std::filesystem::path& path) {
    std::map<std::string, std::string> arrays;
    const SafetensorsFile file(path);
    for (const auto& tensor : file.tensors()) {
        const auto bytes = file.bytes(tensor.name);
        arrays[tensor.name].assign(reinterpret_cast<const char*>(bytes.data()),
                                   static_cast<std::size_t>(bytes.size()));
    }
    return arrays;
}

/// The largest relative distance of two snapshots' arrays: values, what is best, and first moments. Second moments are
/// squares of what is next to nothing as well.
[[nodiscard]] inline double snapshot_distance(const std::filesystem::path& a,
                                              const std::filesystem::path& b) {
    const SafetensorsFile first(a), second(b);
    double largest = 0;
    for (const auto& tensor : second.tensors()) {
        if (tensor.dtype != DType::f32 || tensor.name.starts_with("optimizer.second")) continue;
        const auto x = first.read<float>(tensor.name), y = second.read<float>(tensor.name);
        largest = (std::max)(largest, naive::distance(x, y) / naive::norm(y));
    }
    return largest;
}

/// Counts the looks of both stages, as rank 0 hears of them, and cancels at the n-th; 0: at none.
[[nodiscard]] inline HealCallback cancels_at(Index look, Index& seen) {
    return [look, &seen](const HealProgress& now) {
        if (now.stage == HealStage::teacher) return ProgressReply::go_on;
        return ++seen == look ? ProgressReply::cancel : ProgressReply::go_on;
    };
}
[[nodiscard]] inline HealCallback counts_looks(Index& seen) {
    return cancels_at(0, seen);
}

/// Whether a tensor has the same bytes in two checkpoints.
[[nodiscard]] inline bool same_bytes(const Checkpoint& a, const Checkpoint& b,
                                     const std::string& name) {
    const auto x = a.raw(name), y = b.raw(name);
    return std::equal(x.data(), x.data() + x.size(), y.data(), y.data() + y.size());
}

/// A checkpoint whose config.json says something else of one thing.
inline void change_config(const std::filesystem::path& folder, const char* key,
                          const nlohmann::json& value) {
    auto json = nlohmann::json::parse(read_file(folder / "config.json"));
    json[key] = value;
    write_file(folder / "config.json", json.dump());
}

}  // namespace mpo::test
