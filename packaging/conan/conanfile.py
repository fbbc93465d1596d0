"""Conan 2 recipe of the checkout it lies in: conan create packaging/conan

With -o "mpo/*:system_dependencies=True" Eigen, nlohmann_json and CLI11 are the system's (Debian: libeigen3-dev
nlohmann-json3-dev libcli11-dev), and no remote is asked. That way was run; packaging/README.md says what was not.
"""

import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load, rmdir


class MpoConan(ConanFile):
    name = "mpo"
    description = "Matrix product operators for dense linear layers and language-model checkpoints"
    license = "Apache-2.0"
    topics = ("tensor-networks", "matrix-product-operators", "model-compression", "safetensors", "gguf")
    package_type = "static-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"command": [True, False], "system_dependencies": [True, False]}
    default_options = {"command": False, "system_dependencies": False}

    @property
    def _checkout(self):
        return os.path.join(self.recipe_folder, "..", "..")

    def set_version(self):
        text = load(self, os.path.join(self._checkout, "include", "mpo", "version.hpp"))
        self.version = ".".join(re.findall(r"^#define MPO_VERSION_\w+ (\d+)$", text, re.MULTILINE))

    def export_sources(self):
        for pattern in ("CMakeLists.txt", "LICENSE", "CHANGELOG.md", "cmake/*", "include/*", "examples/*",
                        "packaging/debian/*"):
            copy(self, pattern, src=self._checkout, dst=self.export_sources_folder)

    def requirements(self):
        if self.options.system_dependencies:
            return
        self.requires("eigen/[>=3.4 <6]", transitive_headers=True)
        self.requires("nlohmann_json/[>=3.9 <4]", transitive_headers=True)
        if self.options.command:
            self.requires("cli11/[>=2.1 <3]", headers=True, libs=False)

    def validate(self):
        check_min_cppstd(self, 20)

    def layout(self):
        cmake_layout(self)

    def generate(self):
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["MPO_BUILD_TESTS"] = False
        toolchain.cache_variables["MPO_BUILD_BENCHMARKS"] = False
        toolchain.cache_variables["MPO_BUILD_EXAMPLES"] = bool(self.options.command)
        toolchain.generate()
        CMakeDeps(self).generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE", src=self.source_folder, dst=os.path.join(self.package_folder, "licenses"))
        rmdir(self, os.path.join(self.package_folder, "share"))  # mpo.pc: Conan writes its own

    def package_info(self):
        # mpo's own package file stays the one that find_package reads: it has the components and what they need.
        self.cpp_info.set_property("cmake_find_mode", "none")
        self.cpp_info.builddirs = [os.path.join("lib", "cmake", "mpo")]
        self.cpp_info.libs = ["mpo_compiled_model", "mpo_compiled"]
        self.cpp_info.defines = ["MPO_COMPILED", "MPO_MODEL_COMPILED"]
        self.cpp_info.system_libs = ["pthread"]
