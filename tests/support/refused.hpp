// Files that break a rule are refused when they are opened, mapped or not.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "files.hpp"
#include "mpo/core/error.hpp"
#include "mpo/io/mapped_file.hpp"

namespace mpo::test {

inline constexpr ReadMode both_modes[] = {ReadMode::mapped, ReadMode::buffered};

/// open(path, mode) must throw a FormatError with the path and what the lie says.
template <class Open>
void check_refused(const std::vector<Lie>& lies, const std::string& name, Open&& open) {
    const TemporaryFolder folder;
    const auto path = folder / name;
    for (const auto& lie : lies)
        for (const auto mode : both_modes) {
            INFO(lie.what);
            write_file(path, lie.file);
            auto pieces = lie.message;
            pieces.push_back(path.string());
            check_throws<FormatError>([&] { open(path, mode); }, pieces);
        }
}

}  // namespace mpo::test
