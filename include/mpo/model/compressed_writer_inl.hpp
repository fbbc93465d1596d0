// The bodies of model/compressed_writer.hpp that are no templates.
#pragma once

#include <utility>

#include "mpo/io/atomic_file.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/compressed_writer.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void CompressedWriter::append(const std::string& tensor,
                                                      const Tensor<float>& values, DType dtype) {
    auto copy = values;
    const auto stored = store_rounded(copy, dtype, 0);
    writer_.append(tensor, stored.dtype, stored.shape, stored.bytes);
}

MPO_DETAIL_MODEL_INLINE void CompressedWriter::append(CompressedLinear linear,
                                                      const StoredForm& stored) {
    append_form(linear.name, stored, writer_);
    linears_.push_back(std::move(linear));
}

MPO_DETAIL_MODEL_INLINE CompressedCheckpoint CompressedWriter::finish(const Checkpoint& source,
                                                                      DType dtype) {
    writer_.finish();
    write_text_file(output_.path() / compressed_config_file, to_compressed_config(linears_));
    output_.copy_side_files(source, dtype);
    return CompressedCheckpoint(output_.path());
}

}  // namespace mpo::detail
