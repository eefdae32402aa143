"""The house's order: which module may use which, that the core knows nothing of Python's side, that examples run."""

import ast
import doctest
import sys
from importlib import import_module
from pathlib import Path

import pytest

import cmlp

PACKAGE = Path(cmlp.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
SOURCE = Path(__file__).parent.parent / "cmlp" / "core"

# Each storey may import those below it.
STOREYS = [
    {"__main__"},
    {"cli"},
    {"_cli_train"},
    {"_cli_files"},
    {"__init__"},
    {"estimators"},
    {"_perceptron"},
    {"network", "checks", "_config"},
    {"fitting", "_course"},
    {"callbacks", "_lbfgs", "setting_aside"},
    {"training", "model_file"},
    {"data"},
    {"layer", "optimizers", "_csv", "history", "schedules", "reference"},
    {"_validate", "reference.network", "reference.one_hidden_layer"},
    {"_validate_data"},
    {"_init", "_arrays", "_sparse", "_threads", "losses", "reference.optimizers"},
    {"activations", "_dispatch", "_version"},
    {"_startup"},
]
HEIGHT = {name: -level for level, names in enumerate(STOREYS) for name in sorted(names)}  # for workers side by side
LIBRARIES = {
    "callbacks": {"tqdm"},
    "history": {"pandas", "matplotlib"},
    "_csv": {"pandas"},
    "estimators": {"sklearn", "scipy"},
    "_course": {"sklearn"},
    "_perceptron": {"sklearn", "joblib"},
    "_cli_files": {"pandas"},
    "model_file": {"safetensors"},
    "_lbfgs": {"scipy"},
}

# The parts of the core, in the order core.pyx includes them: each may use names of those before it.
PARTS = [
    "tile",
    "zeros",
    "row",
    "pack",
    "gemm",
    "elementary",
    "activation",
    "dropout",
    "loss",
    "optimizer",
    "table",
    "narrow",
    "dense",
    "sparse",
    "team",
    "net",
    "passes",
    "fused",
    "step",
    "wide",
    "train",
    "job",
    "layout",
]
OF_PYTHON = ["view", "shortcut", "owner"]  # parts that know of it, as core.pyx does


def imports(module):
    """Modules that a module imports, anywhere in it but for the type checker alone."""
    tree = ast.parse(MODULES[module].read_text())
    typing = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node not in typing:
            yield from [f"cmlp.{alias.name}" for alias in node.names] if node.module == "cmlp" else [node.module]


def test_every_module_has_a_place():
    assert set(HEIGHT) == set(MODULES)


@pytest.mark.parametrize("module", HEIGHT)
def test_imports_go_down(module):
    for name in imports(module):
        first, _, rest = name.partition(".")
        if first == "cmlp" and rest in HEIGHT:
            assert HEIGHT[rest] < HEIGHT[module], f"{module} imports {rest}"


@pytest.mark.parametrize("module", HEIGHT)
def test_numpy_is_the_only_library_that_is_always_needed(module):
    for name in imports(module):
        first = name.partition(".")[0]
        allowed = {"cmlp", "numpy", *LIBRARIES.get(module, ())}
        assert first in sys.stdlib_module_names or first in allowed, f"{module} imports {name}"


def test_the_core_includes_its_parts_in_order_and_imports_no_python():
    lines = [line for path in SOURCE.glob("*.pyx") for line in path.read_text().splitlines()]
    assert not [line for line in lines if line.startswith(("import ", "from ")) and " cimport " not in line]
    assert not [line for line in lines if "numpy" in line and "import" in line]
    core = (SOURCE / "core.pyx").read_text().splitlines()
    assert [line for line in core if line.startswith("include")] == [
        f'include "{part}.pyx"' for part in PARTS + OF_PYTHON
    ]


@pytest.mark.parametrize("part", PARTS)
def test_parts_of_the_core_have_no_def(part):
    lines = (SOURCE / f"{part}.pyx").read_text().splitlines()
    assert not [line for line in lines if line.lstrip().startswith(("def ", "class ", "cpdef "))]
    kernels = [line for line in lines if line.startswith("cdef ") and line.endswith(":") and "(" in line]
    for line in lines:
        assert line.count("noexcept") == line.count("noexcept nogil"), line
    assert all("noexcept nogil" in line for line in kernels)


@pytest.mark.filterwarnings("ignore:.*not converged")
@pytest.mark.parametrize("name", [name for name, path in MODULES.items() if ">>>" in path.read_text("utf-8")])
def test_examples_in_docstrings_run(name):
    assert doctest.testmod(import_module(f"cmlp.{name}")).failed == 0
