// MPO_DETAIL_INLINE opens the definitions in *_inl.hpp that are no templates: inline in a header-only
// build, ordinary functions in mpo::compiled, whose users see the declarations alone.
#pragma once

#ifdef MPO_COMPILED
#define MPO_DETAIL_INLINE
#else
#define MPO_DETAIL_INLINE inline
#endif
