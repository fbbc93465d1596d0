// One unit of mpo::compiled_model: compressing and calibrating.
#include "mpo/model/allocate_inl.hpp"
#include "mpo/model/calibrate_inl.hpp"
#include "mpo/model/calibrated_kinds_inl.hpp"
#include "mpo/model/calibrated_linear_inl.hpp"
#include "mpo/model/calibration_flow_inl.hpp"
#include "mpo/model/calibration_walk_inl.hpp"
#include "mpo/model/calibration_windows_inl.hpp"
#include "mpo/model/compress_calibrated_inl.hpp"
#include "mpo/model/compress_calibration_inl.hpp"
#include "mpo/model/compress_inl.hpp"
#include "mpo/model/compress_linear_inl.hpp"
#include "mpo/model/compress_options_inl.hpp"
#include "mpo/model/compress_request_inl.hpp"
#include "mpo/model/compress_state_inl.hpp"
#include "mpo/model/made_by_inl.hpp"
#include "mpo/model/moment_tiles_inl.hpp"
#include "mpo/model/moments_file_inl.hpp"
#include "mpo/model/moments_inl.hpp"
#include "mpo/model/progress_inl.hpp"
#include "mpo/model/quantize_grid_inl.hpp"
#include "mpo/model/quantize_inl.hpp"
#include "mpo/model/reconstruct.hpp"
#include "mpo/model/sinks_inl.hpp"
#include "mpo/model/stored_linear_inl.hpp"
#include "mpo/model/summarize_calibration_inl.hpp"
#include "mpo/model/uniform_low_rank_inl.hpp"

namespace mpo {
template CompressReport compress<EigenBackend>(const Checkpoint&, const std::filesystem::path&,
                                               const CompressOptions&, const EigenBackend&);
template CompressReport compress<EigenBackend, SingleProcess>(const Checkpoint&,
                                                              const std::filesystem::path&,
                                                              const CompressOptions&,
                                                              const CompressCalibration&,
                                                              const EigenBackend&, SingleProcess&);
template CompressReport compress<EigenBackend>(const Checkpoint&, const std::filesystem::path&,
                                               const CompressOptions&, const CompressCalibration&,
                                               const EigenBackend&);
template ReconstructReport reconstruct<EigenBackend>(const CompressedCheckpoint&,
                                                     const std::filesystem::path&,
                                                     const ReconstructOptions&,
                                                     const EigenBackend&);
}  // namespace mpo
