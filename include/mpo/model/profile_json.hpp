// A Profile as JSON, and back; docs/schema/profile.json says what every member means.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "mpo/model/compress_json.hpp"
#include "mpo/model/profile_results.hpp"

namespace mpo {

namespace detail {

[[nodiscard]] nlohmann::ordered_json to_json(const ProfileText& text);

[[nodiscard]] nlohmann::ordered_json to_json(const LinearProfile& linear);

}  // namespace detail

/// The profile as a JSON object; losses with six digits.
[[nodiscard]] nlohmann::ordered_json describe(const Profile& profile);

/// The same as text, one line per linear.
[[nodiscard]] std::string to_json(const Profile& profile);

/// The inverse of to_json. Throws FormatError, naming `source`, the linear and the member, where the text is not
/// such JSON.
[[nodiscard]] Profile parse_profile(std::string_view text, const std::string& source);

/// The profile in a file. Throws FileError; as parse_profile.
[[nodiscard]] Profile read_profile(const std::filesystem::path& path);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/profile_json_inl.hpp"
#endif
