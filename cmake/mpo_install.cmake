# Headers, one export set per component, the package files that find_package and pkg-config read.
# Nothing installed names an absolute path: the prefix may be moved.

include(GNUInstallDirs)
set(mpo_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/mpo")

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/mpo" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        COMPONENT mpo_development)

# Installs the targets ARGN and the export file of `component`, which mpoConfig.cmake includes on demand.
function(mpo_install_component component)
  install(
    TARGETS ${ARGN}
    EXPORT mpo_${component}
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT mpo_development
    INCLUDES
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
  install(
    EXPORT mpo_${component}
    FILE mpo_${component}.cmake
    NAMESPACE mpo::
    DESTINATION "${mpo_package_dir}"
    COMPONENT mpo_development)
endfunction()

mpo_install_component(headers mpo_headers)
mpo_install_component(model mpo_model)
mpo_install_component(cuda mpo_cuda)
mpo_install_component(mpi mpo_mpi)
if(MPO_INSTALL_COMPILED)
  mpo_install_component(compiled mpo_compiled)
  if(TARGET mpo_compiled_model)
    mpo_install_component(compiled_model mpo_compiled_model)
  endif()
endif()
if(TARGET mpo_command)
  install(TARGETS mpo_command RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT mpo_command)
endif()

configure_file("${PROJECT_SOURCE_DIR}/cmake/mpoConfigVersion.cmake.in"
               "${PROJECT_BINARY_DIR}/package/mpoConfigVersion.cmake" @ONLY)
install(FILES "${PROJECT_SOURCE_DIR}/cmake/mpoConfig.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/mpo_dependencies.cmake"
              "${PROJECT_BINARY_DIR}/package/mpoConfigVersion.cmake"
        DESTINATION "${mpo_package_dir}"
        COMPONENT mpo_development)

file(RELATIVE_PATH mpo_prefix_from_pc "${CMAKE_INSTALL_FULL_DATADIR}/pkgconfig"
     "${CMAKE_INSTALL_PREFIX}")
string(REGEX REPLACE "/$" "" mpo_prefix_from_pc "${mpo_prefix_from_pc}")
file(RELATIVE_PATH mpo_include_from_prefix "${CMAKE_INSTALL_PREFIX}"
     "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
configure_file("${PROJECT_SOURCE_DIR}/cmake/mpo.pc.in" "${PROJECT_BINARY_DIR}/package/mpo.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/package/mpo.pc"
        DESTINATION "${CMAKE_INSTALL_DATADIR}/pkgconfig"
        COMPONENT mpo_development)
