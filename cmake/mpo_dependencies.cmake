# How mpo finds what it needs: one text for the build and for the installed package. Macros, because
# find_package must run in the caller's scope. Each sets `missing` to a sentence, or to nothing.

# Eigen 3.4 up to, not including, 6. Asked for without a version: Eigen 3.4.0 and 5.x ship version
# files that accept no common range.
macro(mpo_find_eigen missing)
  set(${missing} "")
  if(NOT TARGET Eigen3::Eigen)
    find_package(Eigen3 CONFIG QUIET)
    if(NOT TARGET Eigen3::Eigen)
      set(${missing} "Eigen3 is missing: no Eigen3Config.cmake on the search path (libeigen3-dev)")
    elseif(Eigen3_VERSION VERSION_LESS 3.4 OR Eigen3_VERSION VERSION_GREATER_EQUAL 6)
      set(${missing} "Eigen3 must be at least 3.4 and below 6, got ${Eigen3_VERSION}: ${Eigen3_DIR}")
    endif()
  endif()
endmacro()

# nlohmann_json 3.9 or later within 3.
macro(mpo_find_json missing)
  set(${missing} "")
  if(NOT TARGET nlohmann_json::nlohmann_json)
    find_package(nlohmann_json 3.9 CONFIG QUIET)
    if(NOT TARGET nlohmann_json::nlohmann_json)
      set(${missing} "nlohmann_json 3.9 or later is missing (nlohmann-json3-dev)")
    endif()
  endif()
endmacro()

# CUDA 12.2 or later (cuSOLVER's deterministic mode): the runtime, cuBLAS and cuSOLVER, host libraries alone. No language CUDA, no nvcc.
macro(mpo_find_cuda missing)
  set(${missing} "")
  find_package(CUDAToolkit 12.2 QUIET)
  if(NOT CUDAToolkit_FOUND)
    set(${missing} "the CUDA toolkit, 12.2 or later, is missing (CUDAToolkit_ROOT says where it is)")
  else()
    foreach(mpo_cuda_part IN ITEMS cudart cublas cusolver)
      if(NOT TARGET CUDA::${mpo_cuda_part})
        set(${missing} "the CUDA toolkit in ${CUDAToolkit_LIBRARY_DIR} lacks ${mpo_cuda_part}")
      endif()
    endforeach()
    unset(mpo_cuda_part)
  endif()
endmacro()

# MPI 3.1 or later, its C interface, through the flags for C++: a project need not have the language C.
macro(mpo_find_mpi missing)
  set(${missing} "")
  if(NOT TARGET MPI::MPI_CXX)
    find_package(MPI 3.1 QUIET COMPONENTS CXX)
    if(NOT TARGET MPI::MPI_CXX OR NOT MPI_CXX_FOUND)
      set(${missing} "MPI 3.1 or later is missing (libopenmpi-dev and openmpi-bin)")
    endif()
  endif()
endmacro()
