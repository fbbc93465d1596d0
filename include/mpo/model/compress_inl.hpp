// The bodies of model/compress.hpp that are no templates.
#pragma once

#include <algorithm>

#include "mpo/io/inline.hpp"
#include "mpo/model/compress.hpp"
#include "mpo/model/compressed.hpp"

namespace mpo::detail {

/// The module whose weight this is, where it is a decoder linear that `only` and `skip` let pass.
class LinearFilter {
  public:
    explicit LinearFilter(const CompressOptions& options)
        : only_(compiled_regex(options.only, "compress: only")),
          skip_(compiled_regex(options.skip, "compress: skip")),
          has_skip_(!options.skip.empty()) {}

    [[nodiscard]] std::optional<std::string> module_of(const CheckpointTensor& tensor) const {
        constexpr std::string_view suffix = ".weight";
        if (!tensor.name.ends_with(suffix)) return std::nullopt;
        auto module = tensor.name.substr(0, tensor.name.size() - suffix.size());
        if (!linear_kind(module) || !std::regex_search(module, only_)) return std::nullopt;
        if (has_skip_ && std::regex_search(module, skip_)) return std::nullopt;
        return module;
    }

  private:
    std::regex only_, skip_;
    bool has_skip_;
};

inline void require_matrix_of_numbers(const CheckpointTensor& tensor) {
    const auto* plain = std::get_if<DType>(&tensor.type);
    const bool real = is_convertible(tensor.type) && !(plain && *plain == DType::c64);
    if (tensor.shape.size() != 2 || num_elements(tensor.shape) == 0 || !real)
        raise<ArgumentError>({"compress: '", tensor.name,
                              "' must be a matrix of real numbers, got ", to_string(tensor.shape),
                              " of ", to_string(tensor.type)});
}

MPO_DETAIL_MODEL_INLINE std::vector<PlannedLinear> plan_linears(const Checkpoint& source,
                                                                const CompressOptions& options) {
    const LinearFilter filter(options);
    std::vector<PlannedLinear> planned;
    Index total = 0;
    for (const auto& tensor : source.tensors())
        if (auto module = filter.module_of(tensor)) {
            require_matrix_of_numbers(tensor);
            total = checked_add(total, num_elements(tensor.shape));
            const auto kind = *linear_kind(*module);
            planned.push_back({std::move(*module), kind, &tensor, {}});
        }
    if (planned.empty())
        raise<ArgumentError>({"compress: none of the ", source.tensors().size(), " tensors of ",
                              source.path().string(), " is a decoder linear that was asked for"});
    auto share = options.budget;
    if (options.budget_bytes)
        share = static_cast<double>(*options.budget_bytes) * 8 /
                (static_cast<double>(bits_per_element(options.dtype)) * static_cast<double>(total));
    for (auto& linear : planned) {
        const auto& shape = linear.tensor->shape;
        try {
            linear.candidates = candidates(linear.kind, shape[0], shape[1], share, options);
        } catch (const ArgumentError& error) {
            raise<ArgumentError>({"compress: linear ", linear.name, ": ", error.what()});
        } catch (const ShapeError& error) {
            raise<ShapeError>({error.what(), " (linear ", linear.name, ")"});
        }
    }
    return planned;
}

MPO_DETAIL_MODEL_INLINE const StoredForm& CompressedTensor::peer(CompressForm form) const {
    const auto found = peers.find(form);
    return found == peers.end() ? chosen : found->second;
}

MPO_DETAIL_MODEL_INLINE LinearReport dense_report(const PlannedLinear& linear, DType dtype) {
    LinearReport report;
    report.name = linear.name;
    report.kind = linear.kind;
    report.shape = linear.tensor->shape;
    report.source_type = to_string(linear.tensor->type);
    const Index parameters = num_elements(report.shape);
    report.size = {parameters,           parameters,
                   linear.tensor->bytes, parameters * bits_per_element(dtype) / 8,
                   parameters,           parameters};
    return report;
}

MPO_DETAIL_MODEL_INLINE bool is_smaller(const Mpo<float>& mpo, const CompressOptions& options) {
    const Index dense = mpo.rows() * mpo.cols();
    const auto layout = mpo.layout();
    const Shape bonds = mpo.bond_dims();
    return num_stored(layout, bonds, options.stored_as) < dense &&
           stored_bytes(layout, bonds, options.dtype, options.stored_as) <
               dense * bits_per_element(options.dtype) / 8;
}

MPO_DETAIL_MODEL_INLINE double factorisation_work(const Shape& shape) {
    const auto m = static_cast<double>(shape[0]), n = static_cast<double>(shape[1]);
    return m * n * (std::min)(m, n);
}

MPO_DETAIL_MODEL_INLINE double factorisation_work(const std::vector<PlannedLinear>& linears) {
    double sum = 0;
    for (const auto& linear : linears) sum += factorisation_work(linear.tensor->shape);
    return sum;
}

MPO_DETAIL_MODEL_INLINE void require_dense(const Checkpoint& source) {
    if (is_compressed(source.path()))
        raise<ArgumentError>(
            {"compress: ", source.path().string(), " is compressed already; reconstruct it first"});
}

MPO_DETAIL_MODEL_INLINE CompressReport begin_report(const Checkpoint& source,
                                                    const CompressOptions& options) {
    CompressReport report;
    report.source = source.path().string();
    report.dtype = options.dtype;
    report.num_tensors = static_cast<Index>(source.tensors().size());
    report.made_by = {version_text(), compiler_text(), {}, options.seed, num_threads()};
    return report;
}

MPO_DETAIL_MODEL_INLINE void append_linear(CompressedWriter& writer, const LinearReport& linear,
                                           const StoredForm& form, DType dtype) {
    writer.append({linear.name, form.layout, form.bonds, dtype, linear.source_type, linear.shape,
                   form.relative_error, linear.error_kind, form.stored_as, form.center},
                  form);
}

}  // namespace mpo::detail
