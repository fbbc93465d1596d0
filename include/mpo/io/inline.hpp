// MPO_DETAIL_MODEL_INLINE opens the definitions in *_inl.hpp of io and model: inline in a header-only
// build, ordinary functions in mpo::compiled_model, whose users see the declarations alone.
#pragma once

#ifdef MPO_MODEL_COMPILED
#define MPO_DETAIL_MODEL_INLINE
#else
#define MPO_DETAIL_MODEL_INLINE inline
#endif
