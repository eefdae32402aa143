"""What the compiler made of the core: no instruction that a processor may lack, no NumPy inside, no fast-math."""

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cmlp import _dispatch, cpu

FOLDER = Path(cpu.__file__).parent
SUFFIX = Path(cpu.__file__).name.removeprefix("cpu")
MODULES = ["cpu", *(f"core_{isa}" for isa in _dispatch.built())]

# The widest vector registers that a build for x86-64 may name, and does.
WIDEST = {"cpu": "xmm", "core_scalar": "xmm", "core_v2": "xmm", "core_v3": "ymm", "core_v4": "zmm"}

# Run by itself: the module without the package, so that nothing else has been imported. There are numbers below the
# smallest normal one only as long as nobody has told the processor to flush them to zero.
ALONE = """
import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader

name, path = sys.argv[1:]
loader = ExtensionFileLoader(name, path)
loader.exec_module(module_from_spec(spec_from_loader(name, loader)))
assert "numpy" not in sys.modules, "imports numpy"

import numpy as np

for dtype in (np.float32, np.float64):
    tiny = np.finfo(dtype).smallest_subnormal
    assert tiny * dtype(1) == tiny != 0, "subnormal numbers are taken for 0"
    assert np.all(np.full(64, tiny) + tiny == 2 * np.float64(tiny)), "subnormal results are flushed to 0"
    assert np.all(np.full(64, np.finfo(dtype).tiny) / dtype(2) != 0), "subnormal results are flushed to 0"
"""


def path_of(module):
    return FOLDER / f"{module}{SUFFIX}"


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="these are registers of x86-64")
@pytest.mark.skipif(not shutil.which("objdump"), reason="needs objdump")
@pytest.mark.parametrize("module", MODULES)
def test_only_instructions_of_its_level(module):
    code = subprocess.run(["objdump", "-d", path_of(module)], capture_output=True, text=True, check=True).stdout
    assert max(re.findall(r"%([xyz]mm)\d", code), default="xmm") == WIDEST[module]
    has_avx_encoding = re.search(r"\tv\w+\s.*%[xyz]mm", code) is not None
    assert has_avx_encoding == (WIDEST[module] > "xmm")


@pytest.mark.parametrize("module", MODULES)
def test_holds_no_numpy_c_api(module):
    assert b"_ARRAY_API" not in path_of(module).read_bytes()


@pytest.mark.parametrize("module", ["cpu", *(f"core_{isa}" for isa in _dispatch.supported())])
def test_importing_it_changes_nothing_else(module):
    command = [sys.executable, "-W", "error", "-c", ALONE, module, path_of(module)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
