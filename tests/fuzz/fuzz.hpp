// What the fuzz targets share: files in memory, and what may come out of opening one.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "mpo/core/error.hpp"

namespace mpo::fuzz {

/// Ends the process, which libFuzzer reports together with the input.
inline void require(bool holds, const std::string& what) {
    if (holds) return;
    std::fprintf(stderr, "fuzz: this must hold: %s\n", what.c_str());
    std::abort();
}

/// A folder of this process on a file system in memory, removed at the end.
class Folder {
  public:
    Folder() {
        const std::filesystem::path memory = "/dev/shm";
        const auto base =
            std::filesystem::exists(memory) ? memory : std::filesystem::temp_directory_path();
        path_ = base / ("mpo_fuzz_" + std::to_string(::getpid()));
        std::filesystem::create_directory(path_);
    }
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    /// Makes the file `name` hold `data`.
    std::filesystem::path write(const std::string& name, std::string_view data) const {
        const auto path = path_ / name;
        std::ofstream file(path, std::ios::binary | std::ios::trunc);
        file.write(data.data(), static_cast<std::streamsize>(data.size()));
        file.close();
        require(file.good(), "the scratch file can be written");
        return path;
    }

  private:
    std::filesystem::path path_;
};

[[nodiscard]] inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
    return {reinterpret_cast<const char*>(data), size};
}

/// What `open` returns, or the message of the Error it throws: one line, not long, that names the
/// file. Every other exception ends the process.
template <class Open>
[[nodiscard]] std::string outcome(const std::filesystem::path& path, Open&& open) {
    try {
        return open();
    } catch (const Error& error) {
        const std::string message = error.what();
        const bool printable = std::all_of(message.begin(), message.end(), [](char c) {
            return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
        });
        require(printable && message.size() < 2000, "a message is one short line: " + message);
        require(message.find(path.string()) != std::string::npos,
                "a message names the file: " + message);
        return message;
    }
}

}  // namespace mpo::fuzz
