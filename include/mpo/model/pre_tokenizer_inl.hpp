// The bodies of model/pre_tokenizer.hpp that are no templates.
#pragma once

#include "mpo/io/inline.hpp"
#include "mpo/model/pre_tokenizer.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE std::optional<std::string_view> WordScanner::next() {
    if (at_ >= text_.size()) return std::nullopt;
    const std::size_t begin = at_;
    switch (kind_) {
        case PreTokenizer::gpt2:
            at_ = end_of_gpt2(begin, text_.size());
            break;
        case PreTokenizer::smollm:
            at_ = end_of_smollm(begin);
            break;
        case PreTokenizer::llama_bpe:
            at_ = end_of_llama(begin, 3);
            break;
        case PreTokenizer::qwen2:
            at_ = end_of_llama(begin, 1);
            break;
    }
    return text_.substr(begin, at_ - begin);
}

MPO_DETAIL_MODEL_INLINE std::size_t WordScanner::end_of_run(std::size_t from, std::size_t end,
                                                            Class kind, std::size_t count) const {
    for (Character next = at(from, end); next.kind == kind && count > 0; --count) {
        from += next.size;
        next = at(from, end);
    }
    return from;
}

MPO_DETAIL_MODEL_INLINE std::size_t WordScanner::end_of_blanks(std::size_t from,
                                                               std::size_t end) const {
    std::size_t last = from, past = from;
    for (Character next = at(from, end); next.kind == Class::blank; next = at(past, end)) {
        last = past;
        past += next.size;
    }
    return past < end && last > from ? last : past;
}

MPO_DETAIL_MODEL_INLINE std::size_t WordScanner::end_of_gpt2(std::size_t from,
                                                             std::size_t end) const {
    if (const auto size = contraction(from, end, [](char c) { return c; })) return from + size;
    const std::size_t begin = text_[from] == ' ' ? from + 1 : from;
    const auto kind = at(begin, end).kind;
    if (kind == Class::blank || kind == Class::none) return end_of_blanks(from, end);
    return end_of_run(begin, end, kind);
}

MPO_DETAIL_MODEL_INLINE std::size_t WordScanner::end_of_smollm(std::size_t from) {
    if (from >= number_) {
        number_ = from;
        Character next = at(number_, text_.size());
        if (next.kind == Class::number) return number_ = from + next.size;
        while (next.kind != Class::number && next.kind != Class::none) {
            number_ += next.size;
            next = at(number_, text_.size());
        }
    }
    return end_of_gpt2(from, number_);
}

MPO_DETAIL_MODEL_INLINE std::size_t WordScanner::end_of_llama(std::size_t from,
                                                              std::size_t max_digits) const {
    const std::size_t end = text_.size();
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    if (const auto size = contraction(from, end, lower)) return from + size;
    const auto first = at(from, end);
    const bool line_end = first.code == '\r' || first.code == '\n';
    if (first.kind == Class::number) return end_of_run(from, end, Class::number, max_digits);
    if (first.kind == Class::letter) return end_of_run(from, end, Class::letter);
    if (!line_end && at(from + first.size, end).kind == Class::letter)
        return end_of_run(from + first.size, end, Class::letter);
    const std::size_t begin = first.code == ' ' ? from + 1 : from;
    if (at(begin, end).kind == Class::other)
        return past_line_ends(end_of_run(begin, end, Class::other));
    const auto lines = end_of_lines(from, end_of_run(from, end, Class::blank));
    return lines > from ? lines : end_of_blanks(from, end);
}

MPO_DETAIL_MODEL_INLINE std::size_t WordScanner::past_line_ends(std::size_t from) const {
    while (from < text_.size() && (text_[from] == '\r' || text_[from] == '\n')) ++from;
    return from;
}

MPO_DETAIL_MODEL_INLINE std::size_t WordScanner::end_of_lines(std::size_t from,
                                                              std::size_t end) const {
    const auto last = text_.substr(from, end - from).find_last_of("\r\n");
    return last == std::string_view::npos ? from : from + last + 1;
}

}  // namespace mpo::detail
