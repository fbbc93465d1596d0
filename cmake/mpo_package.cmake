# Two Debian packages, as Debian splits a library with a command: libmpo-dev (headers, mpo::compiled, mpo::compiled_model, the files of CMake
# and pkg-config) and mpo-tools (the command). `cmake --workflow --preset package` makes them.

set(mpo_package_texts "${PROJECT_BINARY_DIR}/package")
string(TIMESTAMP mpo_build_date "%a, %d %b %Y %H:%M:%S +0000" UTC) # SOURCE_DATE_EPOCH where it is set
find_program(MPO_GZIP gzip DOC "Compresses the change log and the manual page of the Debian packages")
mark_as_advanced(MPO_GZIP)

# Policy wants every package to carry its licence and its change log.
foreach(package IN ITEMS libmpo-dev mpo-tools)
  if(package STREQUAL "libmpo-dev")
    set(component mpo_development)
  else()
    set(component mpo_command)
  endif()
  set(doc_dir "${CMAKE_INSTALL_DATADIR}/doc/${package}")
  configure_file("${PROJECT_SOURCE_DIR}/packaging/debian/changelog.in"
                 "${mpo_package_texts}/${package}/changelog" @ONLY)
  install(FILES "${PROJECT_SOURCE_DIR}/packaging/debian/copyright" DESTINATION "${doc_dir}"
          COMPONENT ${component} EXCLUDE_FROM_ALL)
  if(MPO_GZIP)
    execute_process(COMMAND "${MPO_GZIP}" -9nf "${mpo_package_texts}/${package}/changelog"
                    COMMAND_ERROR_IS_FATAL ANY)
    install(FILES "${mpo_package_texts}/${package}/changelog.gz" DESTINATION "${doc_dir}"
            COMPONENT ${component} EXCLUDE_FROM_ALL)
  endif()
endforeach()

# The manual page is what the command says about itself.
if(TARGET mpo_command AND MPO_GZIP)
  set(manual "${mpo_package_texts}/mpo.1")
  add_custom_command(
    OUTPUT "${manual}.gz"
    COMMAND "${PROJECT_SOURCE_DIR}/packaging/debian/write_manual" "$<TARGET_FILE:mpo_command>" "${manual}"
    COMMAND "${MPO_GZIP}" -9nf "${manual}"
    DEPENDS mpo_command "${PROJECT_SOURCE_DIR}/packaging/debian/write_manual"
    VERBATIM)
  add_custom_target(mpo_manual DEPENDS "${manual}.gz")
  install(FILES "${manual}.gz" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT mpo_command EXCLUDE_FROM_ALL)
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME mpo)
set(CPACK_PACKAGE_VENDOR "The mpo project")
set(CPACK_PACKAGE_CONTACT "The mpo project <mpo@packages.invalid>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ
                                                GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_COMPONENTS_ALL mpo_development mpo_command)
set(CPACK_COMPONENTS_GROUPING IGNORE)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_MPO_DEVELOPMENT_PACKAGE_NAME libmpo-dev)
set(CPACK_DEBIAN_MPO_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_MPO_DEVELOPMENT_PACKAGE_DEPENDS
    "libeigen3-dev (>= 3.4), libeigen3-dev (<< 6), nlohmann-json3-dev (>= 3.9)")
set(CPACK_DEBIAN_MPO_DEVELOPMENT_DESCRIPTION
    "matrix product operators for dense linear layers (C++ library)
A C++20 template library that turns the dense weights of neural networks into
matrix product operators (tensor trains of matrices), with guaranteed errors,
and applies them to activations without forming them again.

This package has the headers, the same templates compiled once, and the files
that CMake and pkg-config find them by.")

set(CPACK_DEBIAN_MPO_COMMAND_PACKAGE_NAME mpo-tools)
set(CPACK_DEBIAN_MPO_COMMAND_PACKAGE_SECTION science)
set(CPACK_DEBIAN_MPO_COMMAND_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_MPO_COMMAND_DESCRIPTION
    "compress language-model checkpoints into matrix product operators
The command mpo shows what is in a safetensors or GGUF checkpoint, turns the
linear layers of a LLaMA-family decoder into matrix product operators or plain
low rank, whichever has the smaller error, and turns the result back into a
dense checkpoint.")

include(CPack)
