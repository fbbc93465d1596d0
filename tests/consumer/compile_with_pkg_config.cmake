# cmake -DPKG_CONFIG=.. -DMOVED=.. -DCOMPILER=.. -DSOURCE=.. -DPROGRAM=.. -P this
#
# The user without CMake: c++ layer.cpp $(pkg-config --cflags --libs mpo)

set(ENV{PKG_CONFIG_PATH} "${MOVED}/share/pkgconfig")
execute_process(COMMAND "${PKG_CONFIG}" --cflags --libs mpo OUTPUT_VARIABLE flags
                COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags UNIX_COMMAND "${flags}")
execute_process(COMMAND "${COMPILER}" -std=c++20 "${SOURCE}" -o "${PROGRAM}" ${flags}
                COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${PROGRAM}" COMMAND_ERROR_IS_FATAL ANY)
