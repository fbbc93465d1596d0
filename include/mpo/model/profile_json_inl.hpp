// The bodies of model/profile_json.hpp that are no templates.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/json_tree.hpp"
#include "mpo/io/text_file.hpp"
#include "mpo/model/json_lines.hpp"
#include "mpo/model/json_object.hpp"
#include "mpo/model/profile_json.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const ProfileText& text) {
    return {{"windows", text.windows}, {"tokens", text.tokens}, {"fingerprint", text.fingerprint}};
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const LinearProfile& linear) {
    auto probes = nlohmann::ordered_json::array();
    for (const auto& probe : linear.probes)
        probes.push_back({{"size", probe.size},
                          {"share", probe.share},
                          {"rank", probe.rank},
                          {"weight_error", probe.weight_error},
                          {"activation_error", probe.activation_error},
                          {"kld", probe.kld.mean},
                          {"kld_error", probe.kld.standard_error}});
    auto losses = nlohmann::ordered_json::array();
    for (const double loss : linear.losses) losses.push_back(six_digits(loss));
    return {{"name", linear.name},         {"kind", to_string(linear.kind)},
            {"layer", linear.layer},       {"shape", {linear.rows, linear.cols}},
            {"probes", std::move(probes)}, {"losses", std::move(losses)}};
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json describe(const Profile& profile) {
    nlohmann::ordered_json json{{"schema_version", 1},
                                {"model", profile.model},
                                {"fingerprint", profile.fingerprint},
                                {"made_by", detail::to_json(profile.made_by)},
                                {"texts", profile.texts},
                                {"calibration", detail::to_json(profile.calibration)},
                                {"probing", detail::to_json(profile.probing)},
                                {"sizes", profile.sizes},
                                {"sink_weight", profile.sink_weight},
                                {"sink_factor", profile.sink_factor},
                                {"reader_sink_weight", profile.reader_sink_weight},
                                {"precision", profile.precision},
                                {"seconds", profile.seconds}};
    json["linears"] = nlohmann::ordered_json::array();
    for (const auto& linear : profile.linears) json["linears"].push_back(detail::to_json(linear));
    return json;
}

MPO_DETAIL_MODEL_INLINE std::string to_json(const Profile& profile) {
    return detail::json_lines(describe(profile));
}

namespace detail {

[[nodiscard]] inline ProfileText parse_profile_text(const JsonObject& from) {
    return {from.integer("windows"), from.integer("tokens"), from.text("fingerprint")};
}

[[nodiscard]] inline ProfileProbe parse_profile_probe(const JsonObject& from, Index full) {
    ProfileProbe probe{from.number("size"),
                       from.number("share"),
                       from.integer("rank"),
                       from.number("weight_error"),
                       from.number("activation_error"),
                       {from.number("kld"), from.number("kld_error")}};
    if (probe.rank < 1 || probe.rank > full)
        from.fail(concat("'rank' must be 1 to ", full, ", got ", probe.rank));
    return probe;
}

[[nodiscard]] inline LinearProfile parse_linear_profile(const JsonObject& from, std::size_t sizes) {
    LinearProfile linear;
    linear.name = from.text("name");
    const auto kind = parse_linear_kind(from.text("kind"));
    if (!kind) from.fail(concat("no linear has the 'kind' ", in_quotes(from.text("kind"))));
    linear.kind = *kind;
    linear.layer = from.integer("layer");
    const auto shape = from.integers("shape");
    if (shape.size() != 2 || shape[0] < 1 || shape[1] < 1 ||
        shape[0] > (std::numeric_limits<Index>::max)() / shape[1])
        from.fail("'shape' must be [out, in]");
    linear.rows = shape[0];
    linear.cols = shape[1];
    linear.losses = from.numbers("losses");
    const Index full = (std::min)(shape[0], shape[1]);
    if (static_cast<Index>(linear.losses.size()) != full + 1)
        from.fail(concat("'losses' must be of rank 0 to ", full, ", got ", linear.losses.size(),
                         " of them"));
    for (std::size_t r = 1; r < linear.losses.size(); ++r)
        if (linear.losses[r] > linear.losses[r - 1]) from.fail(concat("'losses' grow at rank ", r));
    const auto& probes = from.list("probes");
    if (probes.size() != sizes)
        from.fail(concat("'probes' must be of ", sizes, " sizes, got ", probes.size()));
    for (std::size_t k = 0; k < sizes; ++k)
        linear.probes.push_back(
            parse_profile_probe({probes[k], concat(from.where(), ", probe ", k)}, full));
    return linear;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE Profile parse_profile(std::string_view text, const std::string& source) {
    const auto json = detail::parse_json_tree(text, source);
    const detail::JsonObject from(json, source);
    const auto made_by = from.object("made_by");
    const auto& seed = made_by.member("seed");
    if (from.integer("schema_version") != 1)
        from.fail(detail::concat("'schema_version' ", from.integer("schema_version"),
                                 " is unknown, this library reads 1"));
    const Index threads = made_by.integer("threads");
    if (!seed.is_number_unsigned() || threads > (std::numeric_limits<int>::max)())
        made_by.fail("'seed' and 'threads' must be whole numbers >= 0");
    Profile profile;
    profile.model = from.text("model");
    profile.fingerprint = from.text("fingerprint");
    profile.made_by = {made_by.text("mpo"), made_by.text("compiler"), made_by.text("command"),
                       seed.get<std::uint64_t>(), static_cast<int>(threads)};
    profile.texts = from.texts("texts");
    profile.calibration = detail::parse_profile_text(from.object("calibration"));
    profile.probing = detail::parse_profile_text(from.object("probing"));
    profile.sizes = from.numbers("sizes");
    profile.sink_weight = from.number("sink_weight");
    profile.sink_factor = from.number("sink_factor");
    profile.reader_sink_weight = from.number("reader_sink_weight");
    profile.precision = from.text("precision");
    profile.seconds = from.number("seconds");
    const auto& linears = from.list("linears");
    for (std::size_t k = 0; k < linears.size(); ++k)
        profile.linears.push_back(detail::parse_linear_profile(
            {linears[k], detail::concat(source, ": linear ", k)}, profile.sizes.size()));
    return profile;
}

MPO_DETAIL_MODEL_INLINE Profile read_profile(const std::filesystem::path& path) {
    constexpr Index max_bytes = Index{256} << 20;
    return parse_profile(read_text_file(path, max_bytes), path.string());
}

}  // namespace mpo
