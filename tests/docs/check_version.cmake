# cmake -DROOT=<repository> -DVERSION=<as read from version.hpp> -P check_version.cmake
#
# The version is stated in include/mpo/version.hpp. Fails where another source, page or recipe states it too, and where
# the newest entry of CHANGELOG.md is not about it. What is in docs/runs was made by the version that it names.

cmake_minimum_required(VERSION 3.22)

file(GLOB_RECURSE files RELATIVE "${ROOT}" "${ROOT}/include/*" "${ROOT}/cmake/*" "${ROOT}/docs/*" "${ROOT}/examples/*"
     "${ROOT}/packaging/*" "${ROOT}/scripts/*" "${ROOT}/tests/*.txt" "${ROOT}/tests/*.cmake" "${ROOT}/tests/*pp")
list(FILTER files EXCLUDE REGEX "^docs/runs/")
list(APPEND files CMakeLists.txt CMakePresets.json README.md CONTRIBUTING.md SECURITY.md)
string(REPLACE "." "\\." pattern "(^|[^0-9.])${VERSION}($|[^0-9.])")

set(faults)
foreach(file IN LISTS files)
  file(STRINGS "${ROOT}/${file}" lines REGEX "${pattern}")
  foreach(line IN LISTS lines)
    string(APPEND faults "  ${file}: ${line}\n")
  endforeach()
endforeach()
if(faults)
  message(FATAL_ERROR "check_version: ${VERSION} is stated outside of include/mpo/version.hpp:\n${faults}")
endif()

file(STRINGS "${ROOT}/CHANGELOG.md" newest REGEX "^## " LIMIT_COUNT 1)
if(NOT newest MATCHES "^## ${VERSION}(,|$)")
  message(FATAL_ERROR "check_version: CHANGELOG.md begins with `${newest}`, the version is ${VERSION}")
endif()
list(LENGTH files count)
if(count LESS 100)
  message(FATAL_ERROR "check_version: only ${count} files below ${ROOT}")
endif()
message(STATUS "check_version: ${VERSION} is stated once")
