// One unit of mpo::compiled_model: healing.
#include "mpo/model/distill_inl.hpp"
#include "mpo/model/heal_block_inl.hpp"
#include "mpo/model/heal_blocks_inl.hpp"
#include "mpo/model/heal_choice_inl.hpp"
#include "mpo/model/heal_flow_inl.hpp"
#include "mpo/model/heal_inl.hpp"
#include "mpo/model/heal_judge_inl.hpp"
#include "mpo/model/heal_options_inl.hpp"
#include "mpo/model/heal_snapshots_inl.hpp"
#include "mpo/model/heal_work_inl.hpp"
#include "mpo/model/healed_writer_inl.hpp"

namespace mpo {
template Distilled distill<SingleProcess>(const DistillSources&, const DistillOptions&,
                                          const EigenBackend&, SingleProcess&, const HealCallback&);
template HealReport heal<SingleProcess>(const std::filesystem::path&, const std::filesystem::path&,
                                        const TrainingWindows&, const std::filesystem::path&,
                                        const std::filesystem::path&, const HealOptions&,
                                        const EigenBackend&, SingleProcess&);
template std::vector<BlockHealing> heal_blocks<SingleProcess>(const HealSources&,
                                                              const HealBlocksOptions&,
                                                              const EigenBackend&, SingleProcess&,
                                                              const HealCallback&);
}  // namespace mpo
