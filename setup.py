"""Compiled modules; everything else about the package is in pyproject.toml."""

import platform
from copy import copy
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

FOLDER = "sklearn_keops_gmm/backends/_native"
FLAGS = ["-std=c++17", "-O3", "-g0", "-fvisibility=hidden"]

# One module for each kind of processor, of the same source. gcc contracts products and
# sums (fma) by default.
PROCESSORS: dict[str, list[str]] = {"_baseline": []}
if platform.machine() in ("x86_64", "AMD64", "i686"):
    avx512 = ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mfma"]
    PROCESSORS["_avx2"] = ["-DVECTOR_BYTES=32", "-mavx2", "-mfma"]
    PROCESSORS["_avx512"] = ["-DVECTOR_BYTES=64", *avx512]

EXTENSIONS = [
    Extension(
        f"{FOLDER.replace('/', '.')}.{name}",
        sources=[f"{FOLDER}/module.cpp"],
        depends=sorted(glob(f"{FOLDER}/*.h")),
        extra_compile_args=[*FLAGS, f"-DMODULE={name}", *flags],
        optional=True,  # where a compiler is missing the package does without
        py_limited_api=True,
    )
    for name, flags in PROCESSORS.items()
]


class BuildApart(build_ext):
    """Keeps the object files of modules apart, which would have the same path.

    Modules may be built in parallel.
    """

    def build_extension(self, ext: Extension) -> None:
        """Build one in a folder of its own."""
        own = copy(self)
        own.build_temp = str(Path(self.build_temp, ext.name))
        build_ext.build_extension(own, ext)


class WheelOfWhatIsThere(bdist_wheel):
    """Tags a wheel by what was compiled: without a compiler it fits any machine."""

    def run(self) -> None:
        """Build, look, and make the wheel."""
        self.run_command("build")
        modules = self.get_finalized_command("build_ext").get_outputs()
        if not any(Path(module).exists() for module in modules):
            self.distribution.ext_modules = []
            self.root_is_pure = True
        super().run()


if __name__ == "__main__":  # .ci/sanitize imports this file
    setup(
        ext_modules=EXTENSIONS,
        cmdclass={"build_ext": BuildApart, "bdist_wheel": WheelOfWhatIsThere},
    )
