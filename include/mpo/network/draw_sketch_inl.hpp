// How one diagram is placed and drawn, see network/draw_scene.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numbers>
#include <utility>

#include "mpo/core/inline.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/network/draw_scene.hpp"
#include "mpo/network/wiring_inl.hpp"

namespace mpo::detail {

/// Draws one diagram; its first row lies at y = 0.
class Sketch {
  public:
    Sketch(const Wiring& wiring, const DrawOptions& options) : wiring_(wiring), options_(options) {
        for (const auto& tensor : wiring.tensors()) size_tensor(tensor);
        if (!options.places.empty())
            place_on_grid();
        else if (const auto row = chain(); !row.empty())
            place_in_row(row);
        else
            place_on_ring();
        for (const auto& leg : wiring.legs()) draw_joined(leg);
        for (std::size_t k = 0; k < wiring.tensors().size(); ++k) draw_open(k);
        scene_.tensors = tensors_;
    }
    [[nodiscard]] Scene take() && { return std::move(scene_); }

  private:
    [[nodiscard]] bool is_up(const std::string& leg) const { return holds(options_.up, leg); }
    [[nodiscard]] bool is_open(const std::string& leg) const { return holds(wiring_.open(), leg); }
    [[nodiscard]] Tone tone_of(const std::string& leg) const {
        if (!is_open(leg)) return Tone::ink;
        return is_up(leg) ? Tone::up : Tone::down;
    }
    [[nodiscard]] std::string label_of(const std::string& leg) const {
        return concat(leg, ": ", wiring_.extent(leg));
    }
    /// Positions of the tensors that have the leg, once per axis.
    [[nodiscard]] std::vector<std::size_t> holders(const std::string& leg) const {
        std::vector<std::size_t> found;
        for (std::size_t k = 0; k < wiring_.tensors().size(); ++k)
            for (const auto& own : wiring_.tensors()[k].legs)
                if (own == leg) found.push_back(k);
        return found;
    }
    /// Legs that leave one tensor alone, upwards or downwards.
    [[nodiscard]] std::vector<std::string> open_legs(std::size_t k, bool up) const {
        std::vector<std::string> legs;
        for (const auto& leg : wiring_.tensors()[k].legs)
            if (is_open(leg) && wiring_.num_axes(leg) == 1 && is_up(leg) == up) legs.push_back(leg);
        return legs;
    }
    /// Between neighbouring open legs: their labels must not touch.
    [[nodiscard]] double gap(std::size_t k) const {
        double widest = DrawSizes::line_gap;
        for (const bool up : {false, true}) {
            const auto legs = open_legs(k, up);
            if (legs.size() < 2) continue;
            for (const auto& leg : legs)
                widest = (std::max)(widest, text_width(label_of(leg)) + 12);
        }
        return widest;
    }

    void size_tensor(const WiredTensor& tensor) {
        const std::size_t k = tensors_.size();
        const auto most = (std::max)(open_legs(k, false).size(), open_legs(k, true).size());
        const double name = text_width(tensor.name);
        const bool is_round = most <= 1 && name <= 1.6 * DrawSizes::radius;
        const double half =
            is_round ? DrawSizes::radius
                     : (std::max)(name / 2 + 10,
                                  gap(k) * (static_cast<double>(most) - 1) / 2 + DrawSizes::radius);
        tensors_.push_back({{0, 0}, half, DrawSizes::radius, is_round, tensor.name});
    }

    /// Tensors from one end of a chain to the other; nothing where there is another shape.
    [[nodiscard]] std::vector<std::size_t> chain() const {
        const std::size_t count = wiring_.tensors().size();
        std::vector<std::vector<std::size_t>> next(count);
        for (const auto& leg : wiring_.legs()) {
            const auto found = holders(leg);
            for (std::size_t i = 0; i + 1 < found.size(); ++i) {
                const auto a = found[i], b = found[i + 1];
                if (a == b || std::count(next[a].begin(), next[a].end(), b) > 0) continue;
                next[a].push_back(b);
                next[b].push_back(a);
            }
        }
        std::vector<std::size_t> row;
        for (std::size_t k = 0; k < count && row.empty(); ++k)
            if (next[k].size() < 2) row = {k};
        while (!row.empty() && row.size() < count) {
            const auto& choices = next[row.back()];
            const auto fresh = std::find_if(choices.begin(), choices.end(), [&](std::size_t k) {
                return std::count(row.begin(), row.end(), k) == 0;
            });
            if (choices.size() > 2 || fresh == choices.end()) return {};
            row.push_back(*fresh);
        }
        return row;
    }

    void place_in_row(const std::vector<std::size_t>& row) {
        double x = 0;
        for (std::size_t n = 0; n < row.size(); ++n) {
            auto& tensor = tensors_[row[n]];
            if (n > 0) x += tensor.half_width;
            tensor.at = {x, 0};
            x += tensor.half_width + (std::max)(56.0, bond_label(row, n) + 16);
        }
    }
    /// Width of the widest label between tensor n of a row and the next one, or below both.
    [[nodiscard]] double bond_label(const std::vector<std::size_t>& row, std::size_t n) const {
        if (n + 1 == row.size()) return 0;
        double widest = 0;
        for (const auto& leg : shared_legs(row[n], row[n + 1]))
            widest = (std::max)(widest, text_width(label_of(leg)));
        for (const bool up : {false, true}) {  // labels of open legs, side by side
            const auto left = open_legs(row[n], up), right = open_legs(row[n + 1], up);
            if (left.empty() || right.empty()) continue;
            widest = (std::max)(
                widest,
                (text_width(label_of(left.back())) + text_width(label_of(right.front()))) / 2 -
                    DrawSizes::radius);
        }
        return widest;
    }
    [[nodiscard]] std::vector<std::string> shared_legs(std::size_t a, std::size_t b) const {
        std::vector<std::string> legs;
        for (const auto& leg : wiring_.tensors()[a].legs)
            if (holds(wiring_.tensors()[b].legs, leg) && !holds(legs, leg)) legs.push_back(leg);
        return legs;
    }

    void place_on_grid() {
        double widest = 0;
        for (const auto& tensor : tensors_) widest = (std::max)(widest, tensor.half_width);
        std::vector<bool> placed(tensors_.size());
        for (const auto& place : options_.places) {
            const auto& all = wiring_.tensors();
            const auto at = std::find_if(all.begin(), all.end(), [&](const WiredTensor& tensor) {
                return tensor.name == place.tensor;
            });
            if (at == all.end()) continue;  // of another diagram beside this one
            const auto k = static_cast<std::size_t>(at - all.begin());
            placed[k] = true;
            tensors_[k].at = {place.column * (2 * widest + 66), place.row * DrawSizes::row_gap};
        }
        for (std::size_t k = 0; k < placed.size(); ++k)
            if (!placed[k])
                raise<ArgumentError>({"draw: places must name every tensor or none, got ",
                                      options_.places.size(), " without ",
                                      in_quotes(tensors_[k].name)});
    }

    void place_on_ring() {
        const auto count = static_cast<double>(tensors_.size());
        double widest = 0;
        for (const auto& tensor : tensors_) widest = (std::max)(widest, tensor.half_width);
        const double radius = (std::max)(80.0, count * (2 * widest + 72) / (2 * std::numbers::pi));
        for (std::size_t k = 0; k < tensors_.size(); ++k) {
            const double angle = 2 * std::numbers::pi * static_cast<double>(k) / count;
            tensors_[k].at = {radius * std::sin(angle), -radius * std::cos(angle)};
        }
        on_ring_ = true;
    }

    void add_line(std::vector<SvgPoint> points, const std::string& leg) {
        scene_.lines.push_back({std::move(points), line_width(wiring_.extent(leg)), tone_of(leg)});
    }
    void add_label(SvgPoint at, const std::string& leg) {
        scene_.texts.push_back({at, label_of(leg), DrawSizes::text, tone_of(leg)});
    }

    /// An arc from a to b whose middle lies `bulge` px to the left of the straight way.
    [[nodiscard]] static std::vector<SvgPoint> arc(SvgPoint a, SvgPoint b, double bulge) {
        if (bulge == 0) return {a, b};
        const double dx = b.x - a.x, dy = b.y - a.y, length = (std::max)(std::hypot(dx, dy), 1.0);
        std::vector<SvgPoint> points;
        for (int n = 0; n <= 24; ++n) {
            const double t = n / 24.0, lift = 4 * t * (1 - t) * bulge / length;
            points.push_back({a.x + t * dx + lift * dy, a.y + t * dy - lift * dx});
        }
        return points;
    }

    /// Legs with two axes and more.
    void draw_joined(const std::string& leg) {
        const auto found = holders(leg);
        if (found.size() < 2) return;
        if (found.size() > 2 || is_open(leg)) return draw_dot(leg, found);
        if (found[0] == found[1]) return draw_trace(leg, found[0]);
        auto between = shared_legs(found[0], found[1]);
        std::erase_if(between, [&](const std::string& other) {
            return is_open(other) || wiring_.num_axes(other) != 2;
        });
        const auto at = std::find(between.begin(), between.end(), leg) - between.begin();
        const double bulge =
            38 * (static_cast<double>(at) - (static_cast<double>(between.size()) - 1) / 2);
        auto points = arc(tensors_[found[0]].at, tensors_[found[1]].at, bulge);
        label_beside(points, leg);
        add_line(std::move(points), leg);
    }

    /// The label of a line: beside its middle, above or to the right, on a ring outside.
    void label_beside(const std::vector<SvgPoint>& points, const std::string& leg) {
        const SvgPoint a = points.front(), b = points.back(), inner = points[points.size() / 2];
        const auto middle = points.size() == 2 ? SvgPoint{(a.x + b.x) / 2, (a.y + b.y) / 2} : inner;
        const double length = (std::max)(std::hypot(b.x - a.x, b.y - a.y), 1.0);
        SvgPoint normal{(b.y - a.y) / length, (a.x - b.x) / length};
        const bool inwards = on_ring_ && normal.x * middle.x + normal.y * middle.y < 0;
        const bool below = !on_ring_ && (normal.y > 0.5 || (normal.y > -0.5 && normal.x < 0));
        if (inwards || below) normal = {-normal.x, -normal.y};
        const double away = line_width(wiring_.extent(leg)) / 2 + 4 +
                            std::abs(normal.x) * text_width(label_of(leg)) / 2 +
                            std::abs(normal.y) * 6;
        add_label({middle.x + away * normal.x, middle.y + away * normal.y + 4}, leg);
    }

    /// A leg of three tensors or more, or one that several have and that is open.
    void draw_dot(const std::string& leg, const std::vector<std::size_t>& found) {
        SvgPoint dot{0, 0};
        for (const auto k : found) {
            dot.x += tensors_[k].at.x / static_cast<double>(found.size());
            dot.y += tensors_[k].at.y / static_cast<double>(found.size());
        }
        const double side = is_up(leg) ? -1 : 1;
        if (!on_ring_) dot.y += side * (66 + 34 * dots_++);
        const SvgPoint tip{dot.x, dot.y + side * DrawSizes::leg};
        for (std::size_t n = 0; n < found.size(); ++n) {
            const auto same = std::count(found.begin(), found.begin() + static_cast<Index>(n),
                                         found[n]);  // a diagonal: two arcs to one tensor
            const bool repeated = std::count(found.begin(), found.end(), found[n]) > 1;
            add_line(arc(tensors_[found[n]].at, dot,
                         repeated ? 16 - 32.0 * static_cast<double>(same) : 0),
                     leg);
        }
        if (is_open(leg)) add_line({dot, tip}, leg);
        scene_.dots.push_back(dot);
        if (is_open(leg))
            add_label({tip.x, tip.y + (side > 0 ? 15.0 : -6.0)}, leg);
        else
            add_label({dot.x, dot.y + side * 18 + 4}, leg);
    }

    /// A loop on top of its tensor, to the left where a leg is there already.
    void draw_trace(const std::string& leg, std::size_t k) {
        const bool taken = on_ring_ || !open_legs(k, true).empty();
        const double turn = 0.7 * static_cast<double>(traces_++ % 3);
        const auto& tensor = tensors_[k];
        const double angle = (taken ? 0.75 : 0.5) * std::numbers::pi + turn, radius = 15;
        const SvgPoint middle{
            tensor.at.x - (tensor.half_width - DrawSizes::radius) + 28 * std::cos(angle),
            tensor.at.y - 28 * std::sin(angle)};
        std::vector<SvgPoint> loop;
        for (int n = 0; n <= 36; ++n) {
            const double phi = 2 * std::numbers::pi * n / 36;
            loop.push_back({middle.x + radius * std::cos(phi), middle.y + radius * std::sin(phi)});
        }
        add_line(std::move(loop), leg);
        const double left = taken || turn > 0 ? radius + 6 + text_width(label_of(leg)) / 2 : 0;
        add_label({middle.x - left, middle.y - (left > 0 ? 4 : radius + 8)}, leg);
    }

    /// Legs that one tensor alone has.
    void draw_open(std::size_t k) {
        const auto& tensor = tensors_[k];
        if (on_ring_) return draw_outwards(k);
        for (const bool up : {true, false}) {
            const auto legs = open_legs(k, up);
            const double side = up ? -1 : 1, step = gap(k);
            for (std::size_t n = 0; n < legs.size(); ++n) {
                const double shift =
                    step * (static_cast<double>(n) - (static_cast<double>(legs.size()) - 1) / 2);
                const SvgPoint from{tensor.at.x + shift, tensor.at.y},
                    tip{from.x, from.y + side * (tensor.half_height + DrawSizes::leg)};
                add_line({from, tip}, legs[n]);
                add_label({tip.x, tip.y + (up ? -6 : 15)}, legs[n]);
            }
        }
        for (const auto& leg :
             wiring_.tensors()[k].legs)  // summed over by itself: it ends in a dot
            if (!is_open(leg) && wiring_.num_axes(leg) == 1) {
                const SvgPoint tip{tensor.at.x + tensor.half_width * 0.7,
                                   tensor.at.y + tensor.half_height + DrawSizes::leg * 0.6};
                add_line({tensor.at, tip}, leg);
                scene_.dots.push_back(tip);
                add_label({tip.x, tip.y + 18}, leg);
            }
    }
    void draw_outwards(std::size_t k) {
        std::vector<std::string> legs;
        for (const auto& leg : wiring_.tensors()[k].legs)
            if (wiring_.num_axes(leg) == 1) legs.push_back(leg);
        const auto& tensor = tensors_[k];
        const double outwards = std::atan2(tensor.at.y, tensor.at.x);
        for (std::size_t n = 0; n < legs.size(); ++n) {
            const double angle = outwards + 0.6 * (static_cast<double>(n) -
                                                   (static_cast<double>(legs.size()) - 1) / 2);
            const double length = tensor.half_width + DrawSizes::leg;
            const SvgPoint tip{tensor.at.x + length * std::cos(angle),
                               tensor.at.y + length * std::sin(angle)};
            add_line({tensor.at, tip}, legs[n]);
            if (!is_open(legs[n])) scene_.dots.push_back(tip);
            const double away = text_width(label_of(legs[n])) / 2 + 8;
            add_label({tip.x + away * std::cos(angle), tip.y + 12 * std::sin(angle) + 5}, legs[n]);
        }
    }

    const Wiring& wiring_;
    const DrawOptions& options_;
    std::vector<SceneTensor> tensors_;
    bool on_ring_ = false;
    int dots_ = 0, traces_ = 0;
    Scene scene_;
};

MPO_DETAIL_INLINE Scene sketch_of(const Wiring& diagram, const DrawOptions& options) {
    return Sketch(diagram, options).take();
}

}  // namespace mpo::detail
