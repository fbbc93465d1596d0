// Any text as a tokenizer.json. What is accepted encodes, and decodes to the same.

#include "tokenizer_text.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace mpo;
    (void)fuzz::outcome("tokenizer.json", [&] {
        const auto text = fuzz::text_of(data, size);
        return fuzz::text_of(Tokenizer(parse_tokenizer_json(text, "tokenizer.json")));
    });
    return 0;
}
