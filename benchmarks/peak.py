"""The processor's multiply-adds at their most: peak.pyx, compiled for each instruction set with the core's flags."""

import ast
import os
import tempfile
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Distribution, Extension

from cmlp import _dispatch

ROOT = Path(__file__).resolve().parent.parent
DTYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
CHAIN_REPEATS = 500_000
ROUNDS = 15


def build_settings():
    """Return the names that setup.py assigns, without what it does: its flags are the ones to measure with."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    tree.body = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom, ast.Assign, ast.If))]
    names = {}
    exec(compile(tree, "setup.py", "exec"), names)
    return names


def build_peaks(isas, folder):
    """Return peak.pyx compiled for each instruction set."""
    settings = build_settings()
    extensions = []
    for isa in isas:
        source = Extension(f"peak_{isa}", [str(ROOT / "benchmarks/peak.pyx")], include_dirs=[str(ROOT / "cmlp/core")])
        (extension,) = cythonize(
            [source], build_dir=f"{folder}/{isa}", compiler_directives=settings["DIRECTIVES"], quiet=True
        )
        extension.extra_compile_args = settings["FLAGS"] + settings["ISAS"][isa]
        extensions.append(extension)
    command = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
    command.build_lib = command.build_temp = folder
    command.ensure_finalized()
    command.run()
    peaks = {}
    for isa, extension in zip(isas, extensions, strict=True):
        spec = spec_from_file_location(extension.name, command.get_ext_fullpath(extension.name))
        peaks[isa] = module_from_spec(spec)
        spec.loader.exec_module(peaks[isa])
    return peaks


def measured_peaks():
    """GFLOP/s of one thread in each type, for the build in use, and how many processors there are."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        peak = build_peaks([_dispatch.ISA], folder)[_dispatch.ISA]
    peaks = {}
    for dtype, name in DTYPES.items():
        rates = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            _, operations = peak.multiply_add[name](0.5, 0.5, CHAIN_REPEATS)
            rates.append(operations / (time.perf_counter() - start) / 1e9)
        peaks[dtype.name] = round(float(np.median(rates)), 1)
    return peaks | {"threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()}
