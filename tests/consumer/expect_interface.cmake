# What our targets hand to whoever links them. A warning, -march, -Werror or a macro that slips in here changes a
# stranger's build.

# expect_interface(<target> [<PROPERTY> <value>...]...): of all INTERFACE_ properties that this CMake knows the target
# has the ones named here (without the INTERFACE_), with these values, and no other.
function(expect_interface target)
  set(may_have COMPILE_DEFINITIONS COMPILE_FEATURES INCLUDE_DIRECTORIES LINK_LIBRARIES)
  cmake_parse_arguments(PARSE_ARGV 1 expected "" "" "${may_have}")
  execute_process(COMMAND "${CMAKE_COMMAND}" --help-property-list OUTPUT_VARIABLE names
                                                                  COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "INTERFACE_[A-Z_]+" names "${names}")
  list(REMOVE_DUPLICATES names)
  if(NOT "INTERFACE_COMPILE_OPTIONS" IN_LIST names)
    message(FATAL_ERROR "cmake --help-property-list lists no properties: ${names}")
  endif()
  foreach(name IN LISTS names)
    string(REGEX REPLACE "^INTERFACE_" "" short "${name}")
    get_target_property(value ${target} ${name})
    if(NOT value)
      set(value)
    endif()
    if(NOT "${value}" STREQUAL "${expected_${short}}")
      message(SEND_ERROR "${target} has ${name} `${value}`, expected `${expected_${short}}`")
    endif()
  endforeach()
endfunction()
