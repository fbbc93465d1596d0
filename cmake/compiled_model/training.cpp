// One unit of mpo::compiled_model: what is trained.
#include "mpo/model/agree_inl.hpp"
#include "mpo/model/attention_training_inl.hpp"
#include "mpo/model/cache_teacher_inl.hpp"
#include "mpo/model/head_loss_inl.hpp"
#include "mpo/model/learning_rate_inl.hpp"
#include "mpo/model/optimizer.hpp"
#include "mpo/model/row_softmax_inl.hpp"
#include "mpo/model/teacher_cache_inl.hpp"
#include "mpo/model/teacher_cache_run_inl.hpp"
#include "mpo/model/trainable_block.hpp"
#include "mpo/model/trainable_linear.hpp"
#include "mpo/model/trainable_transformer_inl.hpp"
#include "mpo/model/training_state_inl.hpp"
#include "mpo/model/training_windows_inl.hpp"

namespace mpo {
template void attend_windows<float>(const AttentionShape&, const float*, const float*, const float*,
                                    float*, float*, const EigenBackend&);
template void attend_windows_backward<float>(const AttentionShape&, const float*, const float*,
                                             const float*, const float*, const float*, const float*,
                                             float*, float*, float*, const EigenBackend&);
template class HeadWeight<float>;
template HeadLossSums head_loss<float>(MatrixView<const float>, const HeadWeight<float>&,
                                       const HeadTargets&, const HeadLossOptions&,
                                       const EigenBackend&, MatrixView<float>, MatrixView<float>);
template class AdamW<float>;
template class TrainableBlock<float>;
template class TrainableLinear<float>;
template class TrainableTransformer<float>;
}  // namespace mpo
