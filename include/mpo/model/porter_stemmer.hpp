// Porter's suffix stripping [porter1980], in the variant of NLTK that rouge-score uses: Martin Porter's own
// later rules (BLI, LOGI), and NLTK's (short words in -ies and -ied, y behind consonants only, a table of
// irregular forms).
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace mpo {

/// The stem of a word of a-z and 0-9: "compressing" and "compression" become "compress". Words of at most
/// two letters stay as they are. O(n) for n letters but for runs of y.
[[nodiscard]] std::string porter_stem(std::string_view word);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/porter_stemmer_inl.hpp"
#endif
