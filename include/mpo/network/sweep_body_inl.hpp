// Bodies of CoreSweep, see network/sweep.hpp.
#pragma once

#include "mpo/network/sweep.hpp"

namespace mpo::detail {

template <Scalar T, BackendFor<T> B>
CoreSweep<T, B>::CoreSweep(const Mpo<T>& mpo, SweepDirection direction, Index batch,
                           Index max_workspace_bytes, bool with_gradient, const B& backend)
    : backend_(&backend), rows_(mpo.rows()), cols_(mpo.cols()), direction_(direction) {
    const Layout layout = mpo.layout();
    steps_ = sweep_steps(layout, mpo.bond_dims(), direction_);
    const Index leg = leftwards() ? layout.in.front() : layout.out.front();
    const auto size = static_cast<Index>(sizeof(T));
    const auto need = need_of_apply(steps_, size);
    cut_ = cut_sweep(steps_, need, leg, batch, max_workspace_bytes, backend.concurrency(),
                     B::cached_bytes);
    if (with_gradient) {
        const auto need_back = need_of_gradient(steps_, direction_, size);
        back_cut_ = cut_sweep(steps_, need_back, leg, batch, max_workspace_bytes,
                              backend.concurrency(), B::cached_bytes);
        if (back_cut_.slices > 1) {  // the cores are packed for one kind of slices
            const Index workers = cut_.workers;
            cut_ = back_cut_;
            cut_.workers = workers;
        }
        back_elements_ = bytes_of_slice(need_back, leg, back_cut_.slice) / size * back_cut_.chunk;
    }
    workspace_elements_ = bytes_of_slice(need, leg, cut_.slice) / size * cut_.chunk;
    second_ = steps_.size() > 2 ? workspace_elements_ / 2 : 0;
    prepare(mpo, with_gradient);
}

template <Scalar T, BackendFor<T> B>
Index CoreSweep<T, B>::num_parameters() const {
    return detail::num_parameters(steps_);
}

template <Scalar T, BackendFor<T> B>
Index CoreSweep<T, B>::tape_elements() const {
    Index sum = 0;
    for (std::size_t n = 0; n + 1 < steps_.size(); ++n) sum += steps_[n].output_elements();
    return sum;
}

template <Scalar T, BackendFor<T> B>
SweepPart CoreSweep<T, B>::part_of(std::size_t n, Index s, const SweepCut& cut) const {
    SweepPart part{.step = steps_[n]};
    part.leading = n == (leftwards() ? steps_.size() - 1 : 0);
    part.begin = s * cut.slice;
    part.width = (std::min)(cut.slice, cut.leg - part.begin);
    auto& step = part.step;
    // leading: contracts this slice of i_1, or makes this slice of o_1
    Index& sliced = !part.leading ? step.repeats : leftwards() ? step.inner : step.rows;
    sliced = sliced / cut.leg * part.width;
    return part;
}

template <Scalar T, BackendFor<T> B>
MatrixView<T> CoreSweep<T, B>::part_of_matrix(T* M, std::size_t n, const SweepPart& part,
                                              const SweepCut& cut) const {
    const auto& step = steps_[n];
    const auto all = matrix(M, step.rows, step.inner);
    if (!part.leading) return all;
    const Index unit = (leftwards() ? step.inner : step.rows) / cut.leg;
    return leftwards() ? block(all, 0, part.begin * unit, step.rows, part.width * unit)
                       : block(all, part.begin * unit, 0, part.width * unit, step.inner);
}

template <Scalar T, BackendFor<T> B>
void CoreSweep<T, B>::prepare(const Mpo<T>& mpo, bool with_gradient) {
    const Index sites = mpo.num_sites();
    for (Index n = 0; n < sites; ++n) {
        const auto at = static_cast<std::size_t>(n);
        const Tensor<T>& core = mpo.core(leftwards() ? sites - 1 - n : n);  // (D, o, i, D')
        auto values = backend_->template allocate<T>(core.size());
        const TensorView<const T> view(core.data(), core.shape());
        backend_->template upload<T>(leftwards() ? view : permuted(view, {1, 3, 0, 2}),
                                     values.data());
        operands_.emplace_back();
        const bool leading = part_of(at, 0, cut_).leading;
        for (Index s = 0; s < (leading ? cut_.slices : 1); ++s) {
            const MatrixView<const T> part =
                part_of_matrix(values.data(), at, part_of(at, s, cut_), cut_);
            const bool flat = steps_[at].cols == 1;
            operands_.back().push_back(flat ? backend_->prepare(Side::right, transpose(part))
                                            : backend_->prepare(Side::left, part));
            if (with_gradient)  // conj(M) on the right, M^H on the left
                back_.push_back(flat ? backend_->prepare(Side::right, adjoint(transpose(part)))
                                     : backend_->prepare(Side::left, adjoint(part)));
        }
    }
    backend_->synchronize();
}

template <Scalar T, BackendFor<T> B>
void CoreSweep<T, B>::multiply(const OperandOf<B, T>& operand, const T* from, Index inner, T beta,
                               T* to, Index rows, Index cols, Index count) const {
    if (cols == 1)
        backend_->gemm_right(matrix<const T>(from, count, inner), operand, beta,
                             matrix(to, count, rows));
    else
        backend_->gemm_left(operand,
                            BatchView<const T>{matrix<const T>(from, inner, cols), inner * cols},
                            beta, BatchView<T>{matrix(to, rows, cols), rows * cols}, count);
}

template <Scalar T, BackendFor<T> B>
void CoreSweep<T, B>::run_step(std::size_t n, Index s, const T* from, T* to, Index tokens,
                               const SweepCut& cut) const {
    const auto part = part_of(n, s, cut);
    const auto& step = part.step;
    // with slices there is one token at a time: its slice begins further on in X, or in Y
    if (leftwards() && n == 0) from += part.begin * (cols_ / cut.leg);
    if (!leftwards() && n + 1 == steps_.size()) to += part.begin * (rows_ / cut.leg);
    const T beta{part.leading && leftwards() && s > 0 ? Real<T>{1} : Real<T>{0}};
    const Index count = tokens * step.repeats;
    const auto& operand = operands_[n][static_cast<std::size_t>(part.leading ? s : 0)];
    multiply(operand, from, step.inner, beta, to, step.rows, step.cols, count);
}

template <Scalar T, BackendFor<T> B>
Index CoreSweep<T, B>::chunk_of(Index batch) const {
    return std::clamp<Index>(balanced_chunk(batch, cut_.workers, tokens_of_full_tiles(steps_)), 1,
                             cut_.chunk);
}

template <Scalar T, BackendFor<T> B>
void CoreSweep<T, B>::apply(const T* X, T* Y, Index batch, Tape* tape) const {
    if (tape != nullptr) {
        tape->clear();
        for (std::size_t n = 0; n + 1 < steps_.size() && cut_.slices == 1; ++n)
            tape->push_back(backend_->template allocate<T>(steps_[n].output_elements() * batch));
        if (tape->empty()) tape = nullptr;
    }
    const Index chunk = chunk_of(batch);
    const Index chunks = (batch + chunk - 1) / chunk;
    const Index workers = std::min<Index>({chunks, backend_->concurrency(), cut_.workers});
    const auto work = [&](Index first, Index last) {
        typename WorkspaceList<B, T>::Loan loan(*free_, *backend_,
                                                tape != nullptr ? 0 : workspace_elements_);
        for (Index c = first; c < last; ++c) {
            const Index begin = c * chunk, tokens = (std::min)(chunk, batch - begin);
            for (Index s = 0; s < cut_.slices; ++s) {
                const T* from = X + begin * cols_;
                for (std::size_t n = 0; n < steps_.size(); ++n) {
                    T* to = loan.data() + (n % 2 == 0 ? 0 : second_);
                    if (n + 1 == steps_.size())
                        to = Y + begin * rows_;
                    else if (tape != nullptr)
                        to = (*tape)[n].data() + begin * steps_[n].output_elements();
                    run_step(n, s, from, to, tokens, cut_);
                    from = to;
                }
            }
        }
    };
    if (workers > 1)
        parallel_for(0, chunks, (chunks + workers - 1) / workers, work);
    else if (chunks > 0)
        work(0, chunks);
}

// -- the way back -------------------------------------------------------------------------------

template <Scalar T, BackendFor<T> B>
void CoreSweep<T, B>::add_core_gradient(const SweepPart& part, const T* B_n, const T* G,
                                        MatrixView<T> dM, T beta, Index count, T* permuted) const {
    const auto& step = part.step;
    if (step.cols == 1) {  // sum over rows of (count, rows) and (count, inner)
        const auto B_flat = matrix<const T>(B_n, count, step.inner);
        backend_->gemm(T{1}, transpose(matrix<const T>(G, count, step.rows)),
                       adjoint(transpose(B_flat)), beta, dM);
        return;
    }
    // (count, rows, cols) -> (rows, count cols): the sum over items becomes one long product
    const Index K = count * step.cols;
    const auto gathered = [&](const T* items, Index rows) {
        if (count == 1) return matrix<const T>(items, rows, step.cols);
        backend_->template permute<T>(
            mpo::permuted(TensorView<const T>(items, {count, rows, step.cols}), {1, 0, 2}),
            permuted);
        const T* result = permuted;
        permuted += rows * K;
        return matrix<const T>(result, rows, K);
    };
    const auto G_rows = gathered(G, step.rows);
    const auto B_rows = gathered(B_n, step.inner);
    backend_->gemm(T{1}, G_rows, adjoint(B_rows), beta, dM);
}

template <Scalar T, BackendFor<T> B>
void CoreSweep<T, B>::step_back(std::size_t n, Index s, const T* B_n, const T* G, T* dB,
                                Index tokens, Back& back) const {
    const auto part = part_of(n, s, back_cut_);
    const auto& step = part.step;
    if (!leftwards() && n + 1 == steps_.size()) G += part.begin * (rows_ / back_cut_.leg);
    if (leftwards() && n == 0) {
        B_n += part.begin * (cols_ / back_cut_.leg);
        dB += part.begin * (cols_ / back_cut_.leg);
    }
    const Index count = tokens * step.repeats;
    const bool first = back.fresh && (part.leading || s == 0);
    add_core_gradient(part, B_n, G, part_of_matrix(back.dM[n], n, part, back_cut_),
                      T{first ? Real<T>{0} : Real<T>{1}}, count, back.permuted);
    // left to right every slice of o_1 adds to all of dX
    const T beta{!leftwards() && n == 0 && s > 0 ? Real<T>{1} : Real<T>{0}};
    const std::size_t before = leftwards() || n == 0 ? n : n + operands_[0].size() - 1;
    const auto& operand = back_[before + static_cast<std::size_t>(part.leading ? s : 0)];
    multiply(operand, G, step.rows, beta, dB, step.inner, step.cols, count);
}

template <Scalar T, BackendFor<T> B>
void CoreSweep<T, B>::chunk_back(const T* X, const T* dY, T* dX, Index tokens, bool recompute,
                                 Back& back) const {
    for (Index s = 0; s < back_cut_.slices; ++s) {
        const auto input_of = [&](std::size_t n) { return n == 0 ? X : back.between[n - 1]; };
        for (std::size_t n = 0; recompute && n + 1 < steps_.size(); ++n)
            run_step(n, s, input_of(n), back.own[n], tokens, back_cut_);
        const T* G = dY;
        for (std::size_t n = steps_.size(); n-- > 0;) {
            T* dB = n == 0 ? dX : back.to;
            step_back(n, s, input_of(n), G, dB, tokens, back);
            G = dB;
            std::swap(back.from, back.to);
        }
    }
    back.fresh = false;
}

template <Scalar T, BackendFor<T> B>
auto CoreSweep<T, B>::make_back(T* workspace) const -> Back {
    Back back;
    Index largest = 0;
    for (std::size_t n = 0; n + 1 < steps_.size(); ++n) {
        const Index elements =
            steps_[n].output_elements() / back_cut_.leg * back_cut_.slice * back_cut_.chunk;
        back.own.push_back(workspace);
        back.between.push_back(workspace);
        workspace += elements;
        largest = (std::max)(largest, elements);
    }
    back.from = workspace;
    back.to = workspace += steps_.size() > 2 ? largest : 0;
    back.permuted = workspace + largest;
    return back;
}

template <Scalar T, BackendFor<T> B>
BufferOf<B, T> CoreSweep<T, B>::gradient(const T* X, const T* dY, T* dX, Index batch,
                                         const Tape* tape) const {
    const bool recompute = tape == nullptr || tape->size() + 1 != steps_.size();
    const Index chunks = (batch + back_cut_.chunk - 1) / back_cut_.chunk;
    const Index pieces = std::min<Index>({chunks, backend_->concurrency(), back_cut_.workers});
    auto sums = backend_->template allocate<T>(num_parameters() * pieces);
    const auto work = [&](Index piece) {
        typename WorkspaceList<B, T>::Loan loan(*free_back_, *backend_, back_elements_);
        auto back = make_back(loan.data());
        T* sum = sums.data() + piece * num_parameters();
        for (const auto& step : steps_) {
            back.dM.push_back(sum);
            sum += step.rows * step.inner;
        }
        for (Index c = chunks * piece / pieces; c < chunks * (piece + 1) / pieces; ++c) {
            const Index begin = c * back_cut_.chunk;
            for (std::size_t n = 0; !recompute && n + 1 < steps_.size(); ++n)
                back.between[n] = (*tape)[n].data() + begin * steps_[n].output_elements();
            chunk_back(X + begin * cols_, dY + begin * rows_, dX + begin * cols_,
                       (std::min)(back_cut_.chunk, batch - begin), recompute, back);
        }
    };
    if (pieces == 1)
        work(0);
    else
        parallel_for(0, pieces, 1, [&](Index first, Index last) {
            for (Index piece = first; piece < last; ++piece) work(piece);
        });
    for (Index piece = 1; piece < pieces; ++piece)  // in order: the same bits for the same threads
        backend_->axpy(num_parameters(), T{1}, sums.data() + piece * num_parameters(), sums.data());
    return sums;
}

template <Scalar T, BackendFor<T> B>
TensorView<const T> CoreSweep<T, B>::gradient_of_core(const T* gradient, Index k,
                                                      const Shape& core) const {
    const std::size_t at =
        leftwards() ? steps_.size() - 1 - static_cast<std::size_t>(k) : static_cast<std::size_t>(k);
    for (std::size_t n = 0; n < at; ++n) gradient += steps_[n].rows * steps_[n].inner;
    if (leftwards()) return {gradient, core};
    return permuted(TensorView<const T>(gradient, {core[1], core[3], core[0], core[2]}),
                    {2, 0, 3, 1});
}

}  // namespace mpo::detail
