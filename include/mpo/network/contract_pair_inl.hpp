// The search behind network/contract_pair.hpp.
#pragma once

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "mpo/core/inline.hpp"
#include "mpo/network/contract_pair.hpp"

namespace mpo {
namespace detail {

/// A leg of extent 2 or more, and its strides where a tensor has it.
struct PairAxis {
    Index leg = 0, extent = 1;
    std::optional<Index> left = {}, right = {}, result = {};
};

/// The stride of an axis in one of the three tensors.
using PairStride = std::optional<Index> PairAxis::*;

using PairAxes = std::vector<PairAxis>;

/// Whether a tensor is copied, and which of the two indices of its matrices is then the faster one.
enum class PairMove { none, row_major, col_major };

/// What may be done to make the groups fit: copies, and the slowest rows and cols that count as batch.
struct PairWay {
    PairMove left = PairMove::none, right = PairMove::none, result = PairMove::none;
    std::size_t batch_rows = 0, batch_cols = 0;
};

/// The stride of a leg, on the diagonal where it stands twice; none where there is no such leg.
[[nodiscard]] MPO_DETAIL_INLINE std::optional<Index> stride_of(const StridedLegs& tensor,
                                                               Index leg) {
    std::optional<Index> stride;
    for (std::size_t axis = 0; axis < tensor.legs.size(); ++axis)
        if (tensor.legs[axis] == leg) stride = stride.value_or(0) + tensor.strides[axis];
    return stride;
}

/// Slowest first, as the tensor has them.
MPO_DETAIL_INLINE void sort_by(PairAxes& axes, PairStride stride) {
    std::stable_sort(axes.begin(), axes.end(), [stride](const PairAxis& a, const PairAxis& b) {
        return (a.*stride).value_or(0) > (b.*stride).value_or(0);
    });
}

/// Whether the axes are one index of constant stride in this tensor.
[[nodiscard]] MPO_DETAIL_INLINE bool is_nested(const PairAxes& axes, PairStride stride) {
    for (std::size_t k = 0; k + 1 < axes.size(); ++k)
        if (*(axes[k].*stride) != axes[k + 1].extent * *(axes[k + 1].*stride)) return false;
    return true;
}

[[nodiscard]] MPO_DETAIL_INLINE Index extent_of(const PairAxes& axes) {
    Index product = 1;
    for (const auto& axis : axes) product *= axis.extent;
    return product;
}

/// Row-major strides over those axes of the groups, one group after another, that the tensor has.
MPO_DETAIL_INLINE void lay_out(const std::array<PairAxes*, 3>& groups, PairStride stride) {
    Index next = 1;
    for (auto group = std::rbegin(groups); group != std::rend(groups); ++group)
        for (auto axis = (*group)->rbegin(); axis != (*group)->rend(); ++axis)
            if (*axis.*stride) {
                *axis.*stride = next;
                next *= axis->extent;
            }
}

/// The two indices as one matrix; none where no backend need take it: no stride of 1, or overlaps.
[[nodiscard]] MPO_DETAIL_INLINE std::optional<PairMatrix> matrix_of(const PairAxes& rows,
                                                                    const PairAxes& cols,
                                                                    PairStride stride) {
    if (!is_nested(rows, stride) || !is_nested(cols, stride)) return std::nullopt;
    const Index m = extent_of(rows), n = extent_of(cols);
    const Index col_stride = n == 1 ? 1 : *(cols.back().*stride);
    const Index row_stride = m == 1 ? n * col_stride : *(rows.back().*stride);
    const bool row_major = col_stride == 1 && row_stride >= n;
    const bool col_major = row_stride == 1 && col_stride >= m;
    if (m > 1 && n > 1 && !row_major && !col_major) return std::nullopt;
    if (row_stride < 1 || col_stride < 1) return std::nullopt;
    return PairMatrix{row_stride, col_stride};
}

/// Tries the ways to contract one pair.
class PairSearch {
  public:
    PairSearch(const StridedLegs& left, const StridedLegs& right, const std::vector<Index>& result,
               const Shape& extents, LegOrder order)
        : wanted_(result), extents_(extents), order_(order) {
        Shape shape;
        for (const Index leg : result) shape.push_back(extents[static_cast<std::size_t>(leg)]);
        const StridedLegs given{result, row_major_strides(shape)};
        for (Index leg = 0; leg < std::ssize(extents); ++leg) {
            const PairAxis axis{leg, extents[static_cast<std::size_t>(leg)], stride_of(left, leg),
                                stride_of(right, leg), stride_of(given, leg)};
            if (axis.extent == 1) continue;
            if (axis.left) left_size_ *= static_cast<double>(axis.extent);
            if (axis.right) right_size_ *= static_cast<double>(axis.extent);
            if (axis.result) result_size_ *= static_cast<double>(axis.extent);
            if (axis.left && axis.right && axis.result) batch_.push_back(axis);
            if (axis.left && !axis.right) rows_.push_back(axis);
            if (!axis.left && axis.right) cols_.push_back(axis);
            if (axis.left && axis.right && !axis.result) inner_.push_back(axis);
        }
    }

    [[nodiscard]] PairPlan best() const {
        constexpr PairMove moves[] = {PairMove::none, PairMove::row_major, PairMove::col_major};
        std::optional<PairPlan> best;
        PairWay way;
        for (const PairMove result : moves) {
            if (order_ == LegOrder::free && result != PairMove::none) break;
            for (const PairMove right : moves)
                for (const PairMove left : moves)
                    for (way.batch_rows = 0; way.batch_rows <= rows_.size(); ++way.batch_rows)
                        for (way.batch_cols = 0; way.batch_cols <= cols_.size(); ++way.batch_cols) {
                            way.left = left;
                            way.right = right;
                            way.result = result;
                            auto plan = attempt(way);
                            if (plan && (!best || plan->seconds < best->seconds))
                                best = std::move(plan);
                        }
        }
        return *best;  // with three copies, everything fits
    }

  private:
    struct Groups {
        PairAxes batch, rows, inner, cols;
    };

    /// The groups in the order of the tensors that stay as they are, with the strides of all three.
    [[nodiscard]] Groups ordered(const PairWay& way) const {
        Groups g{batch_, rows_, inner_, cols_};
        const bool left_moves = way.left != PairMove::none,
                   right_moves = way.right != PairMove::none;
        const bool result_moves = way.result != PairMove::none || order_ == LegOrder::free;
        const auto follow = [](PairAxes& axes, bool moves, PairStride stride, bool other_moves,
                               PairStride other) {
            sort_by(axes, moves && !other_moves ? other : stride);
        };
        follow(g.rows, left_moves, &PairAxis::left, result_moves, &PairAxis::result);
        follow(g.cols, right_moves, &PairAxis::right, result_moves, &PairAxis::result);
        follow(g.inner, left_moves, &PairAxis::left, right_moves, &PairAxis::right);
        if (left_moves && right_moves)
            follow(g.batch, true, &PairAxis::left, result_moves, &PairAxis::result);
        else
            follow(g.batch, left_moves, &PairAxis::left, right_moves, &PairAxis::right);
        const auto promote = [&g](PairAxes& from, std::size_t count) {
            const auto last = from.begin() + static_cast<Index>(count);
            g.batch.insert(g.batch.end(), from.begin(), last);
            from.erase(from.begin(), last);
        };
        promote(g.rows, way.batch_rows);
        promote(g.cols, way.batch_cols);
        if (left_moves) lay_out(as_moved(g.batch, g.rows, g.inner, way.left), &PairAxis::left);
        if (right_moves) lay_out(as_moved(g.batch, g.inner, g.cols, way.right), &PairAxis::right);
        if (result_moves) lay_out(as_moved(g.batch, g.rows, g.cols, way.result), &PairAxis::result);
        return g;
    }

    /// The groups of one tensor, slowest first.
    [[nodiscard]] static std::array<PairAxes*, 3> as_moved(PairAxes& batch, PairAxes& rows,
                                                           PairAxes& cols, PairMove move) {
        if (move == PairMove::col_major) return {&batch, &cols, &rows};
        return {&batch, &rows, &cols};
    }

    [[nodiscard]] std::optional<PairPlan> attempt(const PairWay& way) const {
        Groups g = ordered(way);
        const auto left = matrix_of(g.rows, g.inner, &PairAxis::left);
        const auto right = matrix_of(g.inner, g.cols, &PairAxis::right);
        const auto result = matrix_of(g.rows, g.cols, &PairAxis::result);
        if (!left || !right || !result) return std::nullopt;
        PairPlan plan;
        plan.left = *left;
        plan.right = *right;
        plan.result = *result;
        plan.rows = extent_of(g.rows);
        plan.inner = extent_of(g.inner);
        plan.cols = extent_of(g.cols);
        plan.loops = merged(g.batch);
        name_copies(plan, way, g);
        plan.seconds = seconds(plan);
        return plan;
    }

    /// Neighbours that are one index in all three tensors become one.
    [[nodiscard]] static std::vector<PairLoop> merged(const PairAxes& axes) {
        std::vector<PairLoop> loops;
        for (const auto& axis : axes) {
            const PairLoop loop{axis.extent, axis.left.value_or(0), axis.right.value_or(0),
                                axis.result.value_or(0)};
            const auto nests = [&](Index PairLoop::*stride) {
                return loops.back().*stride == loop.extent * loop.*stride;
            };
            if (!loops.empty() && nests(&PairLoop::left) && nests(&PairLoop::right) &&
                nests(&PairLoop::result)) {
                const Index extent = loops.back().extent * loop.extent;
                loops.back() = loop;
                loops.back().extent = extent;
            } else {
                loops.push_back(loop);
            }
        }
        return loops;
    }

    /// Original strides in the order of the copies, and the legs of the result.
    void name_copies(PairPlan& plan, const PairWay& way, Groups& g) const {
        const auto original = [this](Index leg) {
            for (const auto* group : {&batch_, &rows_, &inner_, &cols_})
                for (const auto& axis : *group)
                    if (axis.leg == leg) return axis;
            return PairAxis{};
        };
        const auto copy = [&](const std::array<PairAxes*, 3>& groups, PairStride stride) {
            PairCopy made;
            for (const auto* group : groups)
                for (const auto& axis : *group)
                    if (axis.*stride) {
                        made.shape.push_back(axis.extent);
                        made.strides.push_back(*(original(axis.leg).*stride));
                    }
            return made;
        };
        if (way.left != PairMove::none)
            plan.left_copy = copy(as_moved(g.batch, g.rows, g.inner, way.left), &PairAxis::left);
        if (way.right != PairMove::none)
            plan.right_copy = copy(as_moved(g.batch, g.inner, g.cols, way.right), &PairAxis::right);
        plan.result_legs.legs = wanted_;
        if (order_ == LegOrder::free) plan.result_legs.legs = free_order(g);
        Shape shape;
        for (const Index leg : plan.result_legs.legs)
            shape.push_back(extents_[static_cast<std::size_t>(leg)]);
        plan.result_legs.strides = row_major_strides(shape);
        if (way.result == PairMove::none) return;
        plan.result_copy = PairCopy{shape, Shape(shape.size(), 1)};
        for (const auto* group : {&g.batch, &g.rows, &g.cols})
            for (const auto& axis : *group) {
                const auto at = std::find(wanted_.begin(), wanted_.end(), axis.leg);
                plan.result_copy->strides[static_cast<std::size_t>(at - wanted_.begin())] =
                    *axis.result;
            }
    }

    /// Legs of extent 1 first, then as the products write.
    [[nodiscard]] std::vector<Index> free_order(const Groups& g) const {
        std::vector<Index> legs;
        for (const Index leg : wanted_)
            if (extents_[static_cast<std::size_t>(leg)] == 1) legs.push_back(leg);
        for (const auto* group : {&g.batch, &g.rows, &g.cols})
            for (const auto& axis : *group) legs.push_back(axis.leg);
        return legs;
    }

    /// Roughly, one core with AVX2: tiles of 8 x 8, a strided copy, a call.
    [[nodiscard]] double seconds(const PairPlan& plan) const {
        const auto padded = [](Index n) {
            const Index whole = (n + 7) / 8 * 8;
            return static_cast<double>(whole);
        };
        double matrices = 1, longest = 1;
        for (const auto& loop : plan.loops) {
            matrices *= static_cast<double>(loop.extent);
            longest = (std::max)(longest, static_cast<double>(loop.extent));
        }
        const double tile = padded(plan.rows) * padded(plan.cols) * static_cast<double>(plan.inner);
        double sum = matrices * (3e-11 * tile + 1e-8) + 3e-7 * (matrices / longest);
        const auto add_copy = [&sum](const std::optional<PairCopy>& copy, double size) {
            if (!copy) return;
            const bool in_runs = copy->strides.empty() || copy->strides.back() == 1;
            sum += (in_runs ? 8e-10 : 3e-9) * size + 3e-7;
        };
        add_copy(plan.left_copy, left_size_);
        add_copy(plan.right_copy, right_size_);
        add_copy(plan.result_copy, result_size_);
        return sum;
    }

    std::vector<Index> wanted_;
    Shape extents_;
    LegOrder order_;
    PairAxes batch_, rows_, inner_, cols_;
    double left_size_ = 1, right_size_ = 1, result_size_ = 1;
};

MPO_DETAIL_INLINE void validate_pair(const StridedLegs& left, const StridedLegs& right,
                                     const std::vector<Index>& result, const Shape& extents) {
    const auto has = [](const std::vector<Index>& legs, Index leg) {
        return std::find(legs.begin(), legs.end(), leg) != legs.end();
    };
    for (const Index extent : extents)
        if (extent < 1)
            raise<ArgumentError>(
                {"plan_pair: every extent must be at least 1, got ", to_string(extents)});
    for (const auto* operand : {&left, &right}) {
        if (operand->legs.size() != operand->strides.size())
            raise<ArgumentError>({"plan_pair: ", operand->legs.size(),
                                  " legs need as many strides, got ", operand->strides.size()});
        const auto& other = operand == &left ? right : left;
        for (const Index leg : operand->legs) {
            if (leg < 0 || leg >= std::ssize(extents))
                raise<ArgumentError>(
                    {"plan_pair: leg ", leg, " does not exist, there are ", extents.size()});
            if (!has(other.legs, leg) && !has(result, leg))
                raise<ArgumentError>(
                    {"plan_pair: leg ", leg, " is in one tensor and not in the result"});
        }
    }
    for (std::size_t k = 0; k < result.size(); ++k) {
        const bool again = std::count(result.begin(), result.end(), result[k]) > 1;
        if (again || (!has(left.legs, result[k]) && !has(right.legs, result[k])))
            raise<ArgumentError>({"plan_pair: the result cannot have leg ", result[k],
                                  again ? " twice" : ", no tensor has it"});
    }
}

}  // namespace detail

MPO_DETAIL_INLINE PairPlan plan_pair(const StridedLegs& left, const StridedLegs& right,
                                     const std::vector<Index>& result, const Shape& extents,
                                     LegOrder order) {
    detail::validate_pair(left, right, result, extents);
    return detail::PairSearch(left, right, result, extents, order).best();
}

}  // namespace mpo
