"""Chooses the compiled core once, by what this processor runs."""

import os
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from cmlp._startup import give_up

FOLDER = os.path.dirname(__file__)  # pathlib would take a fifth of cmlp's import


try:
    from cmlp import cpu
except ImportError:
    give_up(
        ImportError(
            f"cmlp's compiled core is not in {FOLDER}: this is its source, not an installation of it. "
            "Run `pip install .` in the source folder, and import cmlp from another folder "
            "(or build in place with `python setup.py build_ext --inplace`)."
        )
    )

# Builds, best first, with the x86-64 level that each needs; the others run wherever they were built for.
LEVELS = {"v4": 4, "v3": 3, "v2": 2, "neon": 0, "scalar": 0}


def built() -> list[str]:
    """Names of the instruction sets that the installed package has a core for, best first."""
    modules = {name.partition(".")[0] for name in os.listdir(FOLDER) if name.endswith((".so", ".pyd"))}
    return [isa for isa in LEVELS if f"core_{isa}" in modules]


def supported() -> list[str]:
    """Those of the built ones that this processor runs, best first."""
    level = cpu.x86_64_level()
    return [isa for isa in built() if LEVELS[isa] <= level]


def load(isa: str) -> ModuleType:
    """The core for an instruction set; never one that the processor would die of."""
    names = supported()
    if not names:
        raise ImportError(f"this processor runs none of cmlp's builds ({', '.join(built())})")
    if isa not in names:
        raise ImportError(f"CMLP_ISA must be one of {', '.join(names)} on this machine, got {isa!r}")
    return import_module(f"cmlp.core_{isa}")


# The build in use: the one that CMLP_ISA names, or else the best.
ISA = os.environ.get("CMLP_ISA") or next(iter(supported()), "")
if TYPE_CHECKING:
    from cmlp.core import core as core
else:
    try:
        core = load(ISA)
    except ImportError as error:
        give_up(error)
