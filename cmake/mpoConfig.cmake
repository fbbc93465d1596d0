# find_package(mpo [COMPONENTS mpo compiled model compiled_model cuda mpi])
#
#   mpo             target mpo::mpo             always; Eigen 3.4 up to 5.x, threads
#   compiled        target mpo::compiled        loaded wherever it was installed
#   model           target mpo::model           only on request; adds nlohmann_json
#   compiled_model  target mpo::compiled_model  only on request; model and compiled, and the model's bodies compiled once
#   cuda            target mpo::cuda            only on request; adds the CUDA toolkit's cudart, cublas and cusolver
#   mpi             target mpo::mpi             only on request; adds MPI
#
# Sets mpo_<component>_FOUND. A required component that cannot be had makes the call fail with a
# sentence that names the component and what it lacks.

include("${CMAKE_CURRENT_LIST_DIR}/mpo_dependencies.cmake")
include(CMakeFindDependencyMacro)

mpo_find_eigen(mpo_missing)
if(mpo_missing)
  set(mpo_FOUND FALSE)
  set(mpo_NOT_FOUND_MESSAGE "${mpo_missing}")
  unset(mpo_missing)
  return()
endif()
find_dependency(Threads)
include("${CMAKE_CURRENT_LIST_DIR}/mpo_headers.cmake")
set(mpo_mpo_FOUND TRUE)

set(mpo_compiled_FOUND FALSE)
if(EXISTS "${CMAKE_CURRENT_LIST_DIR}/mpo_compiled.cmake")
  include("${CMAKE_CURRENT_LIST_DIR}/mpo_compiled.cmake")
  set(mpo_compiled_FOUND TRUE)
endif()

foreach(mpo_component IN LISTS mpo_FIND_COMPONENTS)
  set(mpo_missing "")
  if(mpo_component STREQUAL "model")
    mpo_find_json(mpo_missing)
    if(NOT mpo_missing)
      include("${CMAKE_CURRENT_LIST_DIR}/mpo_model.cmake")
    endif()
  elseif(mpo_component STREQUAL "compiled_model")
    mpo_find_json(mpo_missing)
    if(NOT mpo_missing AND NOT EXISTS "${CMAKE_CURRENT_LIST_DIR}/mpo_compiled_model.cmake")
      set(mpo_missing "this copy was installed with MPO_INSTALL_COMPILED=OFF, or without nlohmann_json")
    endif()
    if(NOT mpo_missing)
      include("${CMAKE_CURRENT_LIST_DIR}/mpo_model.cmake")
      include("${CMAKE_CURRENT_LIST_DIR}/mpo_compiled_model.cmake")
    endif()
  elseif(mpo_component STREQUAL "cuda")
    mpo_find_cuda(mpo_missing)
    if(NOT mpo_missing)
      include("${CMAKE_CURRENT_LIST_DIR}/mpo_cuda.cmake")
    endif()
  elseif(mpo_component STREQUAL "mpi")
    mpo_find_mpi(mpo_missing)
    if(NOT mpo_missing)
      include("${CMAKE_CURRENT_LIST_DIR}/mpo_mpi.cmake")
    endif()
  elseif(mpo_component STREQUAL "compiled")
    if(NOT mpo_compiled_FOUND)
      set(mpo_missing "this copy was installed with MPO_INSTALL_COMPILED=OFF")
    endif()
  elseif(NOT mpo_component STREQUAL "mpo")
    set(mpo_missing "no such component; there are mpo, compiled, model, compiled_model, cuda and mpi")
  endif()

  if(NOT mpo_missing)
    set(mpo_${mpo_component}_FOUND TRUE)
  else()
    set(mpo_${mpo_component}_FOUND FALSE)
    if(mpo_FIND_REQUIRED_${mpo_component})
      set(mpo_FOUND FALSE)
      string(APPEND mpo_NOT_FOUND_MESSAGE "component ${mpo_component}: ${mpo_missing}. ")
    endif()
  endif()
endforeach()
unset(mpo_component)
unset(mpo_missing)
