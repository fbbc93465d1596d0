// The version of mpo, stated here and nowhere else; CMake reads these three lines.
#pragma once

#define MPO_VERSION_MAJOR 0
#define MPO_VERSION_MINOR 1
#define MPO_VERSION_PATCH 0
