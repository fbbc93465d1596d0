# cmake -DBUILD_DIR=.. -DSOURCE_DIR=.. -DMOVED=.. -P install_and_move.cmake
#
# Installs the build to a prefix, renames the prefix to MOVED, and fails where an installed text
# names a folder of this machine or hands build flags to the user.

get_filename_component(parent "${MOVED}" DIRECTORY)
set(first "${parent}/first prefix")
file(REMOVE_RECURSE "${first}" "${MOVED}")
execute_process(COMMAND "${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${first}"
                OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(RENAME "${first}" "${MOVED}")

file(GLOB_RECURSE texts "${MOVED}/*.cmake" "${MOVED}/*.pc" "${MOVED}/*.hpp")
if(NOT texts)
  message(FATAL_ERROR "nothing was installed")
endif()
foreach(text IN LISTS texts)
  file(READ "${text}" content)
  foreach(path IN ITEMS "${SOURCE_DIR}" "${BUILD_DIR}" "${first}")
    string(FIND "${content}" "${path}" at)
    if(NOT at EQUAL -1)
      message(FATAL_ERROR "${text} names ${path}")
    endif()
  endforeach()
  if(text MATCHES "\\.cmake$" AND content MATCHES "INTERFACE_COMPILE_OPTIONS|CMAKE_SIZEOF_VOID_P EQUAL")
    message(FATAL_ERROR "${text} says ${CMAKE_MATCH_0}: flags or a word size would reach the user")
  endif()
endforeach()
