// The version of mpo, stated here and nowhere else; CMake reads the three defines.
#pragma once

/// Raised by a change that breaks users.
#define MPO_VERSION_MAJOR 0
/// Raised by an addition; while the major version is 0, also by what breaks users.
#define MPO_VERSION_MINOR 1
/// Raised by a correction.
#define MPO_VERSION_PATCH 0
