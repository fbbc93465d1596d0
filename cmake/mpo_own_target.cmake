# What holds for the targets built here and for nobody else's: warnings, and a faster rebuild.

set(mpo_warning_flags
    "$<$<CXX_COMPILER_ID:GNU,Clang,AppleClang>:-Wall;-Wextra;-Wpedantic;-Wconversion;-Wshadow>"
    "$<$<AND:$<BOOL:${MPO_WERROR}>,$<CXX_COMPILER_ID:GNU,Clang,AppleClang>>:-Werror>")

# Private to the target, so nothing of it is exported.
function(mpo_own_target target)
  target_compile_options(${target} PRIVATE ${mpo_warning_flags})
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
endfunction()

# Compiles through ccache where it is installed and the user chose no launcher.
macro(mpo_use_ccache)
  find_program(MPO_CCACHE ccache DOC "Compiler cache of mpo's own builds")
  mark_as_advanced(MPO_CCACHE)
  if(MPO_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${MPO_CCACHE}")
  endif()
endmacro()
