// Everything for a whole checkpoint, and with it everything for one layer. Adds the JSON parser.
#pragma once

#include "mpo/io/atomic_file.hpp"
#include "mpo/io/gguf.hpp"
#include "mpo/io/layer_file.hpp"
#include "mpo/io/mapped_file.hpp"
#include "mpo/io/safetensors.hpp"
#include "mpo/io/safetensors_shards.hpp"
#include "mpo/io/safetensors_writer.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compress.hpp"
#include "mpo/model/compress_json.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/model/describe.hpp"
#include "mpo/model/reconstruct.hpp"
#include "mpo/model/report.hpp"
#include "mpo/mpo.hpp"
