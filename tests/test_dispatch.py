"""Choosing a build and a number of threads; each in a process of its own, for both happen at import."""

import os
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import cmlp
from cmlp import _dispatch, _threads


def run(code, folder, **environment):
    """What a new process outside of the source folder prints, or the last line of its error."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_WAIT_POLICY": "passive", **environment},
        timeout=60,
    )
    return result.stdout.strip() if result.returncode == 0 else result.stderr.strip().splitlines()[-1]


def test_the_best_build_is_the_default(tmp_path):
    code = "from cmlp import _dispatch; print(_dispatch.ISA)"
    assert run(code, tmp_path, CMLP_ISA="") == _dispatch.supported()[0]


@pytest.mark.usefixtures("isa")
def test_every_build_can_be_asked_for(isa, tmp_path):
    code = "import cmlp; cmlp.show_config(); from cmlp import _dispatch; print(_dispatch.core.__name__)"
    lines = run(code, tmp_path, CMLP_ISA=isa, CMLP_NUM_THREADS="3").splitlines()
    assert lines[0].split() == ["cmlp", cmlp.__version__]
    assert lines[1].split()[:2] == ["isa", isa]
    assert lines[2].split() == ["openmp", "yes" if _dispatch.core.has_openmp() else "no"]
    assert lines[3].split() == ["threads", "3" if _dispatch.core.has_threads() else "1"]
    assert lines[4] == f"cmlp.core_{isa}"


@pytest.mark.parametrize("name", ["avx2", "V3", " "])
def test_an_unknown_build_is_refused_with_the_valid_ones(name, tmp_path):
    error = run("import cmlp", tmp_path, CMLP_ISA=name)
    assert (
        error
        == f"ImportError: CMLP_ISA must be one of {', '.join(_dispatch.supported())} on this machine, got {name!r}"
    )


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "cmlp"],
        ["-X", "dev", "-m", "cmlp"],
        ["-umcmlp"],
        [shutil.which("cmlp", path=sysconfig.get_path("scripts"))],
    ],
    ids=["module", "module with options", "module in one word", "script"],
)
@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("CMLP_ISA", f"CMLP_ISA must be one of {', '.join(_dispatch.supported())} on this machine, got 'avx2'"),
        ("CMLP_NUM_THREADS", "CMLP_NUM_THREADS must be a whole number of at least 1, got 'avx2'"),
    ],
)
def test_the_command_refuses_its_environment_in_one_line(command, variable, message, tmp_path):
    result = subprocess.run(
        [sys.executable, *command, "config"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, variable: "avx2"},
        timeout=60,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"cmlp: error: {message}\n"


def test_another_program_handles_interrupts_itself(tmp_path):
    (tmp_path / "app.py").write_text("import cmlp, signal; print(signal.getsignal(signal.SIGINT).__name__)")
    for options in (["-m", "app"], ["-umapp"], ["-W", "ignore", "-um", "app"], ["app.py"]):
        environment = {**os.environ, "PYTHONPATH": str(Path(cmlp.__file__).parent.parent)}
        done = subprocess.run(
            [sys.executable, *options], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60
        )
        assert (done.stdout, done.stderr) == ("default_int_handler\n", ""), options


def test_a_build_that_the_processor_lacks_is_refused_and_not_tried(monkeypatch):
    monkeypatch.setattr(_dispatch.cpu, "x86_64_level", lambda: 2)
    monkeypatch.setattr(_dispatch, "built", lambda: ["v4", "v3", "v2"])
    assert _dispatch.supported() == ["v2"]
    with pytest.raises(ImportError, match="must be one of v2 on this machine, got 'v4'"):
        _dispatch.load("v4")
    monkeypatch.setattr(_dispatch.cpu, "x86_64_level", lambda: 1)
    with pytest.raises(ImportError, match="this processor runs none of cmlp's builds"):
        _dispatch.load("")


def test_import_costs_no_library_but_numpy(tmp_path):
    heavy = "pandas", "tqdm", "safetensors", "argparse", "scipy", "importlib.metadata"
    code = f"import sys, cmlp; print([name for name in {heavy} if name in sys.modules])"
    assert run(code, tmp_path) == "[]"


def test_threads_default_to_the_processors_of_the_process(tmp_path):
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system cannot bind a process to a processor")
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import cmlp; print(cmlp.get_num_threads())"
    )
    assert run(code, tmp_path, CMLP_NUM_THREADS="") == "1"


@pytest.mark.parametrize("value", ["0", "two", "1.5", "-1"])
def test_a_bad_number_of_threads_is_refused(value, tmp_path):
    message = f"ValueError: CMLP_NUM_THREADS must be a whole number of at least 1, got {value!r}"
    assert run("import cmlp", tmp_path, CMLP_NUM_THREADS=value) == message
    with pytest.raises(ValueError, match="threads must be a whole number of at least 1"):
        cmlp.set_num_threads(value)


def test_small_work_takes_one_thread(monkeypatch):
    monkeypatch.setattr(_threads, "_limit", 8)
    if not _dispatch.core.has_threads():
        pytest.skip("built without threads: there is one always")
    assert [_threads.threads_for(paying) for paying in (0, 3, 10**12)] == [1, 3, 8]
    nn = cmlp.NeuralNetwork(rng=0)
    nn.add_layer(20, 10, "softmax")  # of 21 x 16 numbers

    def threads_for(samples):
        paying = _dispatch.core.paying_threads(nn._body.model, samples, 0, None, False, False, nn._params)
        return _threads.threads_for(paying)

    assert threads_for(1) == threads_for(100) == 1
    assert threads_for(10_000) == 8


def test_a_forked_child_works_on_threads_of_its_own(tmp_path):
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    code = """
import os, warnings, numpy as np, cmlp
cmlp.set_num_threads(4)
nn = cmlp.NeuralNetwork(rng=0)
nn.add_layer(200, 10, "softmax")
X, y = np.ones((200, 9000)), np.arange(9000) % 10
nn.train(X, y, 0.1)
warnings.simplefilter("ignore")  # that a process with threads forks is the point
child = os.fork()
if child == 0:
    cmlp.set_num_threads(2)
    nn.train(X, y, 0.1)
    os._exit(cmlp.get_num_threads())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), cmlp.get_num_threads())
"""
    assert run(code, tmp_path) == ("2 4" if _dispatch.core.has_threads() else "1 1")


def test_one_network_is_trained_by_one_thread_at_a_time(rng):
    nn = cmlp.NeuralNetwork()
    nn.add_layer(3, 2, "softmax")
    with nn._memory.owner, ThreadPoolExecutor(1) as other:
        training = other.submit(nn.train, rng.normal(size=(3, 4)), [0, 1, 0, 1], 0.1)
        with pytest.raises(RuntimeError, match="another thread is training this network"):
            training.result()


def test_an_unbuilt_source_folder_says_what_to_do(tmp_path):
    source = tmp_path / "cmlp"
    source.mkdir()
    for path in Path(cmlp.__file__).parent.glob("*.py"):
        (source / path.name).write_bytes(path.read_bytes())
    error = run("import cmlp", tmp_path, PYTHONPATH=str(tmp_path))
    assert error.startswith("ImportError: cmlp's compiled core is not in")
    assert "pip install ." in error
