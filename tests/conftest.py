"""What the tests of the compiled core run over: every build of it that this processor can run, and both dtypes."""

import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from cmlp import _dispatch, get_num_threads, set_num_threads

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as of a shell's background job, and of what the tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)

FUSED = ("v4", "v3", "neon")  # builds whose multiply-add rounds once
FIGURES = pytest.StashKey[dict[str, float]]()


def pytest_addoption(parser):
    what = "put the largest differences that these tests see into a JSON file, for those of the same names, if all pass"
    parser.addoption("--figures", type=Path, metavar="FILE", help=what)


def pytest_sessionfinish(session, exitstatus):
    path = session.config.getoption("figures")
    if path is not None and exitstatus == pytest.ExitCode.OK:
        before = json.loads(path.read_text()) if path.exists() else {}
        figures = before | session.config.stash.get(FIGURES, {})
        path.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")


def pytest_report_header():
    built, supported = _dispatch.built(), _dispatch.supported()
    missing = [isa for isa in built if isa not in supported]
    return f"cmlp: built {', '.join(built)}; run here {', '.join(supported)}; skipped {', '.join(missing) or 'none'}"


@pytest.fixture(params=_dispatch.built())
def isa(request):
    """The name of an instruction set that there is a core for."""
    if request.param not in _dispatch.supported():
        pytest.skip(f"core_{request.param} is built, but this CPU lacks its instructions")
    return request.param


@pytest.fixture
def core(isa):
    """The core for it."""
    return _dispatch.load(isa)


@pytest.fixture
def fused_cores():
    """The cores that have to give the same bits, two at least."""
    names = [isa for isa in _dispatch.supported() if isa in FUSED]
    if len(names) < 2:
        pytest.skip(f"needs two of the builds {', '.join(FUSED)}, this CPU runs {', '.join(names) or 'none'}")
    return [_dispatch.load(isa) for isa in names]


@pytest.fixture(params=[np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)


@pytest.fixture
def two_processors(monkeypatch):
    """As many threads as two processors have: each of them has room of its own, which is not what is measured."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    before = get_num_threads()
    set_num_threads(2)
    yield
    set_num_threads(before)


@pytest.fixture
def keep(request):
    """Keeps the largest of the differences that are given under one name, for `--figures`."""
    figures = request.config.stash.setdefault(FIGURES, {})

    def keep(name, differences):
        figures[name] = float(np.max([figures.get(name, 0.0), np.max(differences)]))  # which keeps NaN

    return keep


@pytest.fixture
def use_core(core, monkeypatch):
    """Let the whole package compute with this core, for the length of a test."""
    for name, module in list(sys.modules.items()):
        if name.startswith("cmlp.") and hasattr(module, "core") and name != "cmlp.core":
            monkeypatch.setattr(module, "core", core)
    return core
