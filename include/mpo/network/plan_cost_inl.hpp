// Bodies of network/plan_cost.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "mpo/core/inline.hpp"
#include "mpo/network/plan_cost.hpp"
#include "mpo/network/tile_gradient.hpp"

namespace mpo {

MPO_DETAIL_INLINE std::string_view to_string(PlanForm form) {
    constexpr std::string_view names[] = {"sweep", "tiles", "dense"};
    return names[static_cast<int>(form)];
}

namespace detail {

/// A chain on fewer sites.
struct MergedChain {
    Layout layout;
    Shape bonds;
};

[[nodiscard]] inline MergedChain merged_chain(const Layout& layout, const Shape& bonds,
                                              const Shape& groups) {
    MergedChain chain{{}, {1}};
    std::size_t site = 0;
    for (const Index group : groups) {
        Index out = 1, in = 1;
        for (Index k = 0; k < group; ++k, ++site) {
            out *= layout.out[site];
            in *= layout.in[site];
        }
        chain.layout.out.push_back(out);
        chain.layout.in.push_back(in);
        chain.bonds.push_back(bonds[site]);
    }
    return chain;
}

/// Columns fill vectors: of 36 there are 48.
[[nodiscard]] inline double filled_lanes(Index columns) {
    constexpr Index lanes = 16;
    const Index filled = (columns + lanes - 1) / lanes * lanes;
    return static_cast<double>(filled) / static_cast<double>(columns);
}

/// The same beyond what the rates of the table have in them, which is one vector.
[[nodiscard]] inline double lanes_per_column(Index columns) {
    return columns <= 16 ? 1 : filled_lanes(columns);
}

/// The same of a prepared left side, which takes the columns of narrow items together, and up to four of them by a
/// kernel of their own.
[[nodiscard]] inline double lanes_per_column(Index columns, Index items) {
    constexpr Index wide = 32, narrow = 4;
    if (columns >= wide) return filled_lanes(columns);
    return columns * items <= narrow ? 1 : filled_lanes(columns * items);
}

/// Prices products on a machine.
class Clock {
  public:
    Clock(const PlanQuestion& question, const MachineTable& table)
        : question_(question), table_(table) {}

    /// A step for some tokens on one thread, or spread over all where there is enough to do. Its matrix, `bytes`, is
    /// read once, from where `all_bytes` lie: all factors of a sweep pass by in every round.
    [[nodiscard]] double step(const SweepStep& step, Index tokens, double all_bytes,
                              bool spread) const {
        const double work = static_cast<double>(step.multiply_adds()) * static_cast<double>(tokens);
        const double bytes = static_cast<double>(step.rows * step.inner * question_.element_size);
        // small products stay on one thread, see Product::work in impl/gemm_product_inl.hpp
        const bool parallel = spread && table_.threads > 1 && 2 * work + 8 * bytes >= 1e6;
        const double threads = parallel ? table_.threads : 1;
        const Index items = tokens * step.repeats;
        const double computing =
            step.cols == 1 ? lanes_per_column(step.rows) /
                                 table_.rate(Side::right, items, step.inner, step.rows)
                           : lanes_per_column(step.cols, items) /
                                 table_.rate(Side::left, step.rows, step.inner, step.cols);
        const double reading = bytes / table_.bandwidth(static_cast<Index>(all_bytes));
        return (std::max)(work * computing, reading) / threads +
               (parallel ? table_.fork_join_seconds : 0) + 2e-7;
    }

    /// A sweep over a chain, cut as `cut`.
    [[nodiscard]] double sweep(const std::vector<SweepStep>& steps, const SweepCut& cut) const {
        const Index chunks = (question_.batch + cut.chunk - 1) / cut.chunk;
        const Index workers = std::min<Index>({chunks, cut.workers, table_.threads});
        const Index rounds = (chunks + workers - 1) / workers;
        const Index tokens = (std::min)(cut.chunk, question_.batch);
        // every worker reads all factors for himself
        const auto factors =
            static_cast<double>(num_parameters(steps) * question_.element_size * workers);
        double seconds = 0;
        for (const auto& one : steps) seconds += step(one, tokens, factors, workers == 1);
        return seconds * static_cast<double>(rounds) + (workers > 1 ? table_.fork_join_seconds : 0);
    }

  private:
    const PlanQuestion& question_;
    const MachineTable& table_;
};

/// Bytes that factors take beyond those of the cores.
[[nodiscard]] inline Index added_bytes(const PlanCandidate& candidate, const Layout& layout,
                                       const Shape& bonds, const PlanQuestion& question) {
    return std::max<Index>(
        0, candidate.factor_bytes - num_parameters(layout, bonds) * question.element_size);
}

/// Sweeps that a gradient is worth: of inputs and of cores, and one forth where no tape fits.
[[nodiscard]] inline double sweeps_of_gradient(const std::vector<SweepStep>& steps,
                                               const PlanQuestion& question) {
    double all = 0;
    Index tape = 0;
    for (const auto& step : steps) {
        all += static_cast<double>(step.multiply_adds());
        if (&step != &steps.back()) tape += step.output_elements();
    }
    if (tape <= question.max_workspace_bytes / (question.batch * question.element_size)) return 2;
    return 3 - static_cast<double>(steps.back().multiply_adds()) / all;
}

/// A sweep over the merged chain; one group alone is the dense product.
[[nodiscard]] inline PlanCandidate sweep_candidate(const Layout& layout, const Shape& bonds,
                                                   const Shape& groups, SweepDirection direction,
                                                   const PlanQuestion& question,
                                                   const MachineTable& table) {
    const auto chain = merged_chain(layout, bonds, groups);
    const auto steps = sweep_steps(chain.layout, chain.bonds, direction);
    PlanCandidate candidate{.direction = direction, .groups = groups};
    const bool merged = groups.size() < layout.out.size();
    if (merged && groups.size() == 1) candidate.form = PlanForm::dense;
    for (const auto& step : steps)
        candidate.multiply_adds += static_cast<double>(step.multiply_adds());
    candidate.factor_bytes = num_parameters(steps) * question.element_size;
    if (merged && candidate.form != PlanForm::dense)
        candidate.added_bytes = added_bytes(candidate, layout, bonds, question);
    const Index leg = direction == SweepDirection::right_to_left ? chain.layout.in.front()
                                                                 : chain.layout.out.front();
    const Index limit = question.max_workspace_bytes - candidate.added_bytes;
    const Clock clock(question, table);
    const auto price = [&](const SweepNeed& need) {
        const Index least = bytes_of_slice(need, leg, 1);
        candidate.workspace_bytes = (std::max)(candidate.workspace_bytes, least);
        return clock.sweep(steps,
                           cut_sweep(steps, need, leg, question.batch, (std::max)(limit, least),
                                     table.threads, processor_cached_bytes));
    };
    candidate.seconds = price(need_of_apply(steps, question.element_size));
    if (question.gradient)
        candidate.seconds += price(need_of_gradient(steps, direction, question.element_size)) *
                             sweeps_of_gradient(steps, question);
    candidate.admissible = candidate.workspace_bytes <= limit &&
                           (candidate.form != PlanForm::dense || question.dense_cache);
    return candidate;
}

/// Reading the second factor, all of it for every o1: from where it lies once for a tile, then from a cache, half
/// of which the measured rates do not have in them.
[[nodiscard]] inline double seconds_of_factor(Index bytes, Index bytes_of_tile, Index o1,
                                              const TileCut& tiles, const MachineTable& table) {
    const Index passes = (o1 + tiles.outer - 1) / tiles.outer;
    return static_cast<double>(bytes) *
           (static_cast<double>(passes) / table.bandwidth(bytes) +
            static_cast<double>(o1) / 2 / table.bandwidth(bytes_of_tile));
}

/// Packing the inputs for one tile, from rows that lie far apart: what it takes more than in a cache, which the rates
/// have in them. Measured: seven times what reading them in order takes more.
[[nodiscard]] inline double seconds_of_packing(double bytes, const MachineTable& table) {
    const double cached = 1 / table.bandwidth(MachineTable::sizes.front());
    return 7 * bytes * (std::max)(0.0, 1 / table.bandwidth(static_cast<Index>(bytes)) - cached);
}

/// Tiles of the chain cut before site `cut`.
[[nodiscard]] inline PlanCandidate tiles_candidate(const Layout& layout, const Shape& bonds,
                                                   Index cut, const PlanQuestion& question,
                                                   const MachineTable& table) {
    const Index sites = num_sites(layout);
    PlanCandidate candidate{.form = PlanForm::tiles, .groups = {cut, sites - cut}};
    const auto chain = merged_chain(layout, bonds, candidate.groups);
    const Index o1 = chain.layout.out[0], o2 = chain.layout.out[1];
    const Index i1 = chain.layout.in[0], i2 = chain.layout.in[1], bond = chain.bonds[1];
    const Index in = i1 * i2, size = question.element_size;
    candidate.factor_bytes = (o1 * i1 + o2 * i2) * bond * size;
    candidate.added_bytes = added_bytes(candidate, layout, bonds, question);
    if (question.gradient)
        candidate.added_bytes += tile_gradient_bytes(sites, candidate.factor_bytes);
    const Index limit = question.max_workspace_bytes - candidate.added_bytes;
    const auto tiles = cut_tiles(o1, o2, in, size, limit, table.threads);
    candidate.admissible = tiles.elements > 0;
    const Index rows = tiles.inner * tiles.outer;
    const Index count = (o1 * o2 + rows - 1) / rows;
    const Index workers = (std::min)(tiles.workers, count);
    candidate.workspace_bytes = (std::max)(tiles.elements, in) * size * workers;
    const double elements = static_cast<double>(o1 * o2) * static_cast<double>(in);
    const double batch = static_cast<double>(question.batch);
    candidate.multiply_adds = elements * (1 + static_cast<double>(bond) / batch);
    const double moving =
        2 * elements * static_cast<double>(size) / table.bandwidth(rows * in * size);
    const double reading =
        seconds_of_factor(o2 * i2 * bond * size, tiles.inner * i2 * bond * size, o1, tiles, table);
    const auto making = [&](Index width) {
        return elements * static_cast<double>(bond) * lanes_per_column(width, tiles.inner) /
                   table.rate(Side::left, i1, bond, width) +
               reading;
    };
    const auto multiplying = [&](Index m, Index k, Index n) {
        return elements * batch * lanes_per_column(n) / table.rate(Side::right, m, k, n);
    };
    const double packing = seconds_of_packing(batch * static_cast<double>(in * size), table) *
                           static_cast<double>(count);
    // made, packed (read and written), multiplied
    double seconds = making(i2) + moving + packing + multiplying(question.batch, in, rows);
    if (question.gradient) {  // see network/tile_gradient.hpp
        const auto back = cut_gradient_tiles(o1, o2, in, size, limit);
        candidate.admissible = candidate.admissible && back.elements > 0;
        candidate.workspace_bytes = (std::max)(candidate.workspace_bytes, 2 * in * size);
        const Index made = std::max<Index>(1, back.inner * back.outer);
        seconds += 3 * making(i2) + 4 * moving + multiplying(question.batch, made, in) +
                   multiplying(made, question.batch, in);
    }
    candidate.seconds = seconds / static_cast<double>(workers) + table.fork_join_seconds;
    return candidate;
}

/// All ordered ways to write `sites` as a sum, none merged first: bit k of a way merges sites k, k + 1.
[[nodiscard]] inline std::vector<Shape> ways_to_merge(Index sites, const PlanQuestion& question) {
    constexpr Index most_sites = 8;
    const std::uint32_t together = (std::uint32_t{1} << (sites - 1)) - 1;  // all sites
    const std::uint32_t last = question.merge ? together : 0;
    const std::uint32_t step = sites <= most_sites ? 1 : together;
    std::vector<Shape> ways;
    for (std::uint32_t way = 0; way <= last; way += step) {
        Shape& groups = ways.emplace_back(1, 1);
        for (Index k = 0; k + 1 < sites; ++k)
            if ((way >> k & 1) != 0)
                ++groups.back();
            else
                groups.push_back(1);
    }
    return ways;
}

}  // namespace detail

MPO_DETAIL_INLINE std::vector<PlanCandidate> plan_candidates(const Layout& layout,
                                                             const Shape& bonds,
                                                             const PlanQuestion& question,
                                                             const MachineTable& table) {
    detail::require_bonds(layout, bonds, "plan_candidates");
    std::vector<PlanCandidate> all;
    for (const Shape& groups : detail::ways_to_merge(num_sites(layout), question))
        for (const auto direction :
             {SweepDirection::right_to_left, SweepDirection::left_to_right}) {
            const bool asked =
                question.direction == SweepDirection::automatic || question.direction == direction;
            // one factor alone is the same either way
            const bool again = groups.size() == 1 && direction != question.direction &&
                               direction == SweepDirection::left_to_right;
            if (asked && !again)
                all.push_back(
                    detail::sweep_candidate(layout, bonds, groups, direction, question, table));
        }
    const bool tiled =
        question.merge || (question.gradient && question.direction == SweepDirection::automatic);
    for (Index cut = 1; tiled && cut < num_sites(layout); ++cut)
        all.push_back(detail::tiles_candidate(layout, bonds, cut, question, table));
    const auto before = [](const PlanCandidate& a, const PlanCandidate& b) {
        return a.admissible != b.admissible ? a.admissible : a.seconds < b.seconds;
    };
    for (std::size_t k = 0; k < all.size(); ++k)  // few, and std::sort costs its user compile time
        for (std::size_t j = k + 1; j < all.size(); ++j)
            if (before(all[j], all[k])) std::swap(all[j], all[k]);
    return all;
}

MPO_DETAIL_INLINE CheaperLayout cheapest_layout(Index m, Index n, Index parameters,
                                                const PlanQuestion& question,
                                                const MachineTable& table) {
    CheaperLayout best{{}, 0, std::numeric_limits<double>::infinity()};
    const auto consider = [&](const Layout& layout) {
        const Index bond = max_uniform_bond(layout, parameters);
        if (bond < 1) return;
        const auto candidates =
            plan_candidates(layout, uniform_bonds(layout, bond), question, table);
        if (!candidates.front().admissible || candidates.front().seconds >= best.seconds) return;
        best = {layout, bond, candidates.front().seconds};
    };
    consider(low_rank_layout(m, n));
    for (const Index f : detail::divisors(m)) {
        if (n % f != 0 || f == 1) continue;
        const auto layout = opposed_layout(m, n, f);
        consider(*layout);
        consider(mirrored(*layout));
    }
    return best;
}

MPO_DETAIL_INLINE std::string explain_candidates(const std::vector<PlanCandidate>& candidates,
                                                 const Layout& layout, const Shape& bonds,
                                                 const PlanQuestion& question,
                                                 const MachineTable& table) {
    using detail::concat;
    std::string text =
        concat("W (", rows(layout), ", ", cols(layout), ") as ", to_string(layout), ", bonds ",
               detail::joined(bonds, " "), ", batch ", question.batch, "\n");
    const auto& won = candidates.front();
    const double dense_work = static_cast<double>(rows(layout)) * static_cast<double>(cols(layout));
    for (const auto& candidate : candidates) {
        text += concat("  ", to_string(candidate.form), " (", detail::joined(candidate.groups, " "),
                       ")");
        if (candidate.form == PlanForm::sweep) text += concat(" ", to_string(candidate.direction));
        text += concat(": ", 1e6 * candidate.seconds, " us, ", candidate.multiply_adds / dense_work,
                       " of dense's multiply-adds, ", candidate.factor_bytes, " bytes of factors");
        if (!candidate.admissible)
            text += candidate.form == PlanForm::dense && !question.dense_cache
                        ? "; ruled out: dense_cache is forbidden"
                        : concat("; ruled out: needs more than ", question.max_workspace_bytes,
                                 " bytes");
        text += &candidate == &won ? "  <- chosen\n" : "\n";
    }
    auto all_allowed = question;
    all_allowed.dense_cache = true;
    const Shape together{num_sites(layout)};
    const double dense = detail::sweep_candidate(layout, bonds, together,
                                                 SweepDirection::right_to_left, all_allowed, table)
                             .seconds;
    const double ratio = dense / won.seconds;
    text += ratio >= 1 ? concat("the dense matrix would be ", ratio, " times slower\n")
                       : concat("the dense matrix would be ", 1 / ratio, " times faster\n");
    const auto cheaper =
        cheapest_layout(rows(layout), cols(layout), num_parameters(layout, bonds), question, table);
    if (cheaper.bond_dim > 0 && cheaper.seconds < 0.95 * won.seconds)
        text += concat("with as many parameters ", to_string(cheaper.layout), ", bond ",
                       cheaper.bond_dim, ", would be ", won.seconds / cheaper.seconds,
                       " times faster\n");
    return text;
}

}  // namespace mpo
