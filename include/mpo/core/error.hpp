// Exceptions, sorted by whose fault it is, and the one way to build their messages.
//
// A message says who (the function), the rule, what was got, and where, with numbers:
//   decompose: out legs 16*16*8 = 2048 must equal rows of W = 4096 (layer
//   model.layers.3.mlp.up_proj)
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

#ifdef __FAST_MATH__
#error \
    "mpo: -ffast-math (or -Ofast) removes the NaN checks and error bounds this library relies on; compile without it"
#endif

namespace mpo {

/// Base of everything the library throws.
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// The caller's shapes do not fit together.
class ShapeError : public Error {
  public:
    using Error::Error;
};

/// An option or argument is outside its domain.
class ArgumentError : public Error {
  public:
    using Error::Error;
};

/// A file does not follow its format; the message names file, tensor and byte.
class FormatError : public Error {
  public:
    using Error::Error;
};

/// The operating system refused a file operation; the message names path and reason.
class FileError : public Error {
  public:
    using Error::Error;
};

/// The data cannot be worked with: NaN or Inf, or an iteration that did not converge.
class NumericalError : public Error {
  public:
    using Error::Error;
};

/// A library underneath a backend failed; the message names call, status and shapes.
class BackendError : public Error {
  public:
    using Error::Error;
};

namespace detail {

/// Streams all arguments into one string: the only formatter of messages. Where memory runs out it
/// throws: a stream left to itself would swallow that and cut the text.
template <class... Args>
[[nodiscard]] std::string concat(const Args&... args) {
    std::ostringstream out;
    out.exceptions(std::ios_base::badbit);
    (out << ... << args);
    return std::move(out).str();
}

}  // namespace detail
}  // namespace mpo
