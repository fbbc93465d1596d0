# cmake -DROOT=<repository> -P check_layering.cmake
#
# Reads the #include lines below ROOT/include/mpo and fails, with every offending line, unless
#   - each folder includes only itself and what the table allows (arrows of docs/design.md, section 2);
#   - Eigen, CUDA, MPI and JSON are included only through their doors;
#   - no header is longer than 400 lines, no numbered example longer than 100;
#   - no source holds a note about work left for later.

cmake_minimum_required(VERSION 3.22)

set(may_include_core core)
set(may_include_linalg core linalg impl) # a template's header ends by including its definitions
set(may_include_network core linalg network impl)
set(may_include_io core io)
set(may_include_model core linalg network io model version.hpp) # a report says which mpo made it
set(may_include_impl core linalg network impl)
set(may_include_mpo.hpp core linalg network impl version.hpp)
set(may_include_diagram.hpp core linalg network impl)
set(may_include_model.hpp core io model mpo.hpp version.hpp)
set(may_include_eigen.hpp core)
set(may_include_cuda core linalg network impl cuda cuda.hpp) # the parts of cuda.hpp; half_plan.hpp is a plan on it
set(may_include_cuda.hpp core linalg impl cuda)
set(may_include_mpi.hpp core)
set(may_include_version.hpp)

# A door: the header names it guards, and who may open it.
set(doors Eigen Cuda Mpi Json)
set(door_Eigen_headers "^(Eigen|unsupported)/")
set(door_Eigen_open_to "^eigen\\.hpp$")
set(door_Cuda_headers "^(cuda|cublas|cusolver|nccl)")
set(door_Cuda_open_to "^cuda(\\.hpp)?$")
set(door_Mpi_headers "^mpi")
set(door_Mpi_open_to "^mpi\\.hpp$")
set(door_Json_headers "^nlohmann/")
set(door_Json_open_to "^(io|model)$")

set(max_lines_header 400)
set(max_lines_example 100)

set(faults)

function(report_fault text)
  set(faults "${faults}  ${text}\n" PARENT_SCOPE)
endfunction()

# Folder of include/mpo that `path` lies in, or its own name where it lies directly in include/mpo.
function(place_of path result)
  string(REGEX REPLACE "/.*" "" place "${path}")
  set(${result} "${place}" PARENT_SCOPE)
endfunction()

function(check_own_include file place line target)
  place_of("${target}" target_place)
  if(NOT DEFINED may_include_${place})
    report_fault("${file}: no rule knows `${place}`; add it to cmake/check_layering.cmake")
  elseif(NOT target_place IN_LIST may_include_${place})
    report_fault("${file}: ${place} must not include ${target_place}: ${line}")
  endif()
  set(faults "${faults}" PARENT_SCOPE)
endfunction()

function(check_foreign_include file place line target)
  foreach(door IN LISTS doors)
    if(target MATCHES "${door_${door}_headers}" AND NOT place MATCHES "${door_${door}_open_to}")
      report_fault("${file}: ${door} has another door: ${line}")
    endif()
  endforeach()
  if(place STREQUAL "core" AND target MATCHES "\\.hp*$")
    report_fault("${file}: core includes the standard library only: ${line}")
  endif()
  set(faults "${faults}" PARENT_SCOPE)
endfunction()

function(check_includes file)
  place_of("${file}" place)
  file(STRINGS "${ROOT}/include/mpo/${file}" lines REGEX "^[ \t]*#[ \t]*include")
  foreach(line IN LISTS lines)
    if(line MATCHES "[<\"]mpo/([^>\"]+)[>\"]")
      check_own_include("${file}" "${place}" "${line}" "${CMAKE_MATCH_1}")
    elseif(line MATCHES "<([^>]+)>")
      check_foreign_include("${file}" "${place}" "${line}" "${CMAKE_MATCH_1}")
    else()
      report_fault("${file}: our headers are included as \"mpo/...\": ${line}")
    endif()
  endforeach()
  set(faults "${faults}" PARENT_SCOPE)
endfunction()

function(check_length file max_lines)
  file(READ "${ROOT}/${file}" text)
  string(REGEX REPLACE "[^\n]+" "" newlines "${text}")
  string(LENGTH "${newlines}" lines)
  if(lines GREATER max_lines)
    report_fault("${file}: ${lines} lines, at most ${max_lines}")
  endif()
  set(faults "${faults}" PARENT_SCOPE)
endfunction()

function(check_left_for_later file)
  file(STRINGS "${ROOT}/${file}" lines REGEX "(^|[^A-Za-z_])(TODO|FIXME|XXX|HACK)([^A-Za-z_]|$)")
  if(lines)
    report_fault("${file}: left for later: ${lines}")
  endif()
  set(faults "${faults}" PARENT_SCOPE)
endfunction()

file(GLOB_RECURSE headers RELATIVE "${ROOT}/include/mpo" "${ROOT}/include/mpo/*.hpp")
if(NOT headers)
  message(FATAL_ERROR "check_layering: no headers below ${ROOT}/include/mpo")
endif()
foreach(header IN LISTS headers)
  check_includes("${header}")
  check_length("include/mpo/${header}" ${max_lines_header})
endforeach()

file(GLOB examples RELATIVE "${ROOT}" "${ROOT}/examples/[0-9]*.cpp")
foreach(example IN LISTS examples)
  check_length("${example}" ${max_lines_example})
endforeach()

file(GLOB_RECURSE sources RELATIVE "${ROOT}" "${ROOT}/include/*.[ch]pp" "${ROOT}/examples/*.[ch]pp"
     "${ROOT}/bench/*.[ch]pp" "${ROOT}/tests/*.[ch]pp")
list(FILTER sources EXCLUDE REGEX "^tests/layering/")
foreach(source IN LISTS sources)
  check_left_for_later("${source}")
endforeach()

if(faults)
  message(FATAL_ERROR "check_layering: the house rules are broken:\n${faults}")
endif()
list(LENGTH headers count)
message(STATUS "check_layering: ${count} headers keep the house rules")
