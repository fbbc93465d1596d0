// The bodies of model/agree.hpp that are no templates.
#pragma once

#include "mpo/io/inline.hpp"
#include "mpo/model/agree.hpp"
#include "mpo/model/progress.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE char kind_of(const std::exception& error) {
    if (dynamic_cast<const Cancelled*>(&error) != nullptr) return 'c';
    if (dynamic_cast<const ShapeError*>(&error) != nullptr) return 's';
    if (dynamic_cast<const ArgumentError*>(&error) != nullptr) return 'a';
    if (dynamic_cast<const FormatError*>(&error) != nullptr) return 'f';
    if (dynamic_cast<const FileError*>(&error) != nullptr) return 'd';
    if (dynamic_cast<const NumericalError*>(&error) != nullptr) return 'n';
    if (dynamic_cast<const BackendError*>(&error) != nullptr) return 'b';
    return 'e';
}

MPO_DETAIL_MODEL_INLINE void raise_kind(char kind, const std::string& message) {
    switch (kind) {
        case 'c':
            throw Cancelled(message);
        case 's':
            throw ShapeError(message);
        case 'a':
            throw ArgumentError(message);
        case 'f':
            throw FormatError(message);
        case 'd':
            throw FileError(message);
        case 'n':
            throw NumericalError(message);
        case 'b':
            throw BackendError(message);
        default:
            throw Error(message);
    }
}

}  // namespace mpo::detail
