// Exceptions, sorted by whose fault it is, and the one way to build their messages.
//
// A message says who (the function), the rule, what was got, and where, with numbers:
//   decompose: out legs 16*16*8 = 2048 must equal rows of W = 4096 (layer
//   model.layers.3.mlp.up_proj)
#pragma once

#include <complex>
#include <concepts>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

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

/// One piece of a message: text, an integer, a real or complex number (six digits, as streams print
/// them). No template beyond its constructors, so that a message costs its caller no compile time.
class MessagePart {
  public:
    MessagePart(std::string_view text) : kind_(Kind::text), text_(text) {}         // NOLINT: pieces
    MessagePart(const std::string& text) : MessagePart(std::string_view(text)) {}  // NOLINT
    MessagePart(const char* text) : MessagePart(std::string_view(text)) {}         // NOLINT
    MessagePart(char letter) : kind_(Kind::letter), letter_(letter) {}             // NOLINT
    template <std::signed_integral I>
    MessagePart(I number) : kind_(Kind::integer), integer_(number) {}  // NOLINT
    template <std::unsigned_integral I>
    MessagePart(I number) : kind_(Kind::natural), natural_(number) {}  // NOLINT
    template <std::floating_point R>
    MessagePart(R number) : kind_(Kind::real), number_{static_cast<double>(number), 0} {}  // NOLINT
    template <class R>
    MessagePart(const std::complex<R>& z)  // NOLINT
        : kind_(Kind::complex),
          number_{static_cast<double>(z.real()), static_cast<double>(z.imag())} {}

    /// Adds the piece to the end of `message`.
    void append_to(std::string& message) const;

  private:
    enum class Kind { text, letter, integer, natural, real, complex };

    Kind kind_;
    union {  // three words a piece: every refusal writes a row of them
        std::string_view text_;
        char letter_;
        long long integer_;
        unsigned long long natural_;
        double number_[2];  // real, imaginary
    };
};

[[nodiscard]] std::string join(std::initializer_list<MessagePart> parts);

/// Throws E with the parts as its message. No inlining: every refusal would else carry a string, its
/// exception and their clean-up into its caller's code.
template <class E>
[[noreturn, gnu::cold, gnu::noinline]] void raise(std::initializer_list<MessagePart> parts) {
    throw E(join(parts));
}

/// All arguments as one string: the only formatter of messages.
template <class... Args>
[[nodiscard]] std::string concat(const Args&... args) {
    return join({MessagePart(args)...});
}

}  // namespace detail
}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/core/error_inl.hpp"
#endif
