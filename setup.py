"""Builds the compiled core once for each instruction set. Everything else about the package is in pyproject.toml."""

import os
import platform
import sys
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MACHINE = platform.machine().lower()
MSVC = "MSC v." in sys.version  # other compilers on Windows take GCC's flags

# Name: compiler flags. TILE_ROWS x 2 accumulators, 2 registers of a panel's row and one broadcast fill the registers.
if MSVC:
    ISAS = {"scalar": []}
elif MACHINE in ("x86_64", "amd64"):
    ISAS = {
        "v2": ["-march=x86-64-v2", "-DVECTOR_BYTES=16", "-DTILE_ROWS=6"],  # 15 of 16 registers
        "v3": ["-march=x86-64-v3", "-DVECTOR_BYTES=32", "-DTILE_ROWS=6"],  # 15 of 16
        "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512", "-DVECTOR_BYTES=64", "-DTILE_ROWS=14"],  # 31 of 32
    }
elif MACHINE in ("arm64", "aarch64"):
    ISAS = {"neon": ["-DVECTOR_BYTES=16", "-DTILE_ROWS=14"]}  # 31 of 32
else:
    ISAS = {"scalar": []}

FLAGS = (
    ["/O2"]
    if MSVC
    else [
        "-O3",
        "-g0",
        "-ffp-contract=fast",  # a * b + c is one rounding where the processor has it
        "-fno-math-errno",  # sqrt is an instruction, not a call
        "-fno-trapping-math",  # both sides of a choice may be computed, so that it can be vectorised
        "-Wno-psabi",
        "-DCYTHON_INLINE=__inline__ __attribute__((always_inline))",  # a loop that calls a function is not vectorised
    ]
)
# Without it, GCC makes the largest loops twice: for rows that lie end to end, and for others.
ONCE = "-fno-version-loops-for-strides"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
}


def module(name, source, flags):
    """An extension of cmlp."""
    return Extension(f"cmlp.{name}", [source], include_dirs=["cmlp/core"], extra_compile_args=FLAGS + flags)


class BuildForMachine(build_ext):
    """Gives the compiler and the linker what the platform has, as far as a small program shows it."""

    def finalize_options(self):
        super().finalize_options()
        # Who profiles a build in place wants the functions' names; while it builds, setuptools says that it is none.
        self.strips = sys.platform == "linux" and not self.inplace

    def build_extensions(self):
        compile_flags, link_flags = [], []
        if not MSVC:  # whose C has none of the threads that the core uses
            link_flags += ["-pthread"]
            # The core heeds how many threads OpenMP would use.
            if self.works("-fopenmp", "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"):
                compile_flags, link_flags = ["-fopenmp"], [*link_flags, "-fopenmp"]
            if self.works(ONCE, "int main(void) { return 0; }\n"):
                compile_flags = [*compile_flags, ONCE]
        if self.strips:
            link_flags = [*link_flags, "-Wl,--strip-all"]
        for extension in self.extensions:
            self.translate(extension)
            extension.extra_compile_args = extension.extra_compile_args + compile_flags
            extension.extra_link_args = extension.extra_link_args + link_flags
        self.parallel = self.parallel or os.cpu_count()
        super().build_extensions()

    def translate(self, extension):
        """Its C, made only now, as a source distribution has none, and without flags, which leak into the next one."""
        bare = Extension(extension.name, extension.sources, include_dirs=extension.include_dirs)
        (translated,) = cythonize([bare], build_dir=f"build/{extension.name}", compiler_directives=DIRECTIVES)
        extension.sources, extension.depends = translated.sources, translated.depends

    def works(self, flag, program):
        """Whether the compiler takes a flag."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(program)
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=[flag])
                self.compiler.link_executable(objects, str(Path(folder, "probe")), extra_postargs=[flag])
            except Exception as error:  # whatever the compiler raises, it has no such flag
                print(f"building without {flag}: {error}")
                return False
        return True


baseline = ["-march=x86-64"] if "v2" in ISAS else []
setup(
    ext_modules=[module("cpu", "cmlp/core/cpu.pyx", baseline)]
    + [module(f"core_{isa}", "cmlp/core/core.pyx", flags) for isa, flags in ISAS.items()],
    cmdclass={"build_ext": BuildForMachine},
)
