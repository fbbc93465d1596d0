// Files for tests: a folder that goes away, and the message of a throw.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "bytes.hpp"
#include "catch.hpp"

namespace mpo::test {

/// An empty folder, removed with all that is in it.
class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::random_device random;
        do {
            path_ =
                std::filesystem::temp_directory_path() / ("mpo_test_" + std::to_string(random()));
        } while (!std::filesystem::create_directory(path_));
    }
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    [[nodiscard]] std::filesystem::path operator/(const std::string& name) const {
        return path_ / name;
    }
    /// Names of everything inside.
    [[nodiscard]] std::vector<std::string> names() const {
        std::vector<std::string> result;
        for (const auto& entry : std::filesystem::directory_iterator(path_))
            result.push_back(entry.path().filename().string());
        std::sort(result.begin(), result.end());
        return result;
    }

  private:
    std::filesystem::path path_;
};

inline void write_file(const std::filesystem::path& path, const std::string& data) {
    std::ofstream file(path, std::ios::binary);
    file.write(data.data(), static_cast<std::streamsize>(data.size()));
    REQUIRE(file.good());
}
inline void write_file(const std::filesystem::path& path, const Bytes& bytes) {
    write_file(path, bytes.data());
}

[[nodiscard]] inline std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    REQUIRE(file.good());
    return {std::istreambuf_iterator<char>(file), {}};
}

[[nodiscard]] inline std::filesystem::path fixture(const std::string& name) {
    return std::filesystem::path(MPO_FIXTURES_DIR) / name;
}

/// Text of the E that `call` throws; "(nothing thrown)" where it throws nothing.
template <class E, class Call>
[[nodiscard]] std::string message_of(Call&& call) {
    try {
        call();
    } catch (const E& error) {
        return error.what();
    }
    return "(nothing thrown)";
}

/// Checks that `call` throws an E whose text has all the pieces.
template <class E, class Call>
void check_throws(Call&& call, const std::vector<std::string>& pieces) {
    const std::string message = message_of<E>(call);
    CHECK(message != "(nothing thrown)");
    for (const auto& piece : pieces) {
        INFO("message: " << message << "\nexpected piece: " << piece);
        CHECK(message.find(piece) != std::string::npos);
    }
}

}  // namespace mpo::test
