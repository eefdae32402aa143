"""Threads and signals: several networks at once, children, Ctrl-C, limits."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise

import numpy as np
import pytest

import cmlp
from cmlp import NeuralNetwork, _dispatch, _threads


def make(sizes=(50, 64, 64, 2), rng=0):
    nn = NeuralNetwork(rng=rng)
    for k, n in pairwise(sizes):
        nn.add_layer(k, n, "relu" if n != sizes[-1] else "softmax")
    return nn


def examples(m=4000, features=50, classes=2):
    rng = np.random.default_rng(3)
    return rng.normal(size=(features, m)).astype(np.float32), rng.integers(0, classes, m)


@pytest.fixture
def two_threads():
    before = cmlp.get_num_threads()
    cmlp.set_num_threads(2)
    yield
    cmlp.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.skipif(not _dispatch.core.has_threads(), reason="a core without threads")
def test_a_limit_for_some_calls_is_that_of_their_thread_alone():
    seen = []
    with _threads.limited(3):
        assert cmlp.get_num_threads() == 3
        other = threading.Thread(target=lambda: seen.append(cmlp.get_num_threads()))
        other.start()
        other.join()
        with _threads.limited(None):
            assert cmlp.get_num_threads() == 2
    assert seen == [2]
    assert cmlp.get_num_threads() == 2
    with _threads.limited(-1):
        assert cmlp.get_num_threads() == _threads._available()
    with _threads.limited(-1000):
        assert cmlp.get_num_threads() == 1


@pytest.mark.usefixtures("two_threads")
def test_networks_train_and_predict_in_many_threads_at_once():
    X, y = examples()
    expected = make()
    expected.fit(X, y, epochs=3, batch_size=256)
    labels = expected.predict(X)
    results = []

    def work():
        nn = make()
        nn.fit(X, y, epochs=3, batch_size=256)
        results.append((nn._params.tobytes(), [expected.predict(X).tobytes() for _ in range(20)]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [params for params, _ in results] == [expected._params.tobytes()] * 4
    assert all(predicted == labels.tobytes() for _, many in results for predicted in many)


@pytest.fixture
def busy_processors():
    """Each processor with something else to do."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    yield
    for other in others:
        other.kill()
        other.wait()


@pytest.mark.usefixtures("two_threads", "busy_processors")
@pytest.mark.parametrize(("sizes", "batch_size"), [((50, 64, 64, 2), 256), ((784, 30, 20, 10), 32)])
def test_steps_that_go_on_without_a_late_thread_have_the_same_bits(sizes, batch_size):
    X, y = examples(8000, sizes[0], sizes[-1])
    ends = set()
    for threads in (1, 2):
        with _threads.limited(threads):
            nn = make(sizes)
            history = nn.fit(X, y, epochs=12, batch_size=batch_size, optimizer="adam", learning_rate=1e-4)
            ends.add((nn._params.tobytes(), tuple(history["loss"])))
    assert len(ends) == 1


def test_one_network_in_two_threads_is_refused_and_unharmed():
    X, y = examples()
    nn, twin = make(), make()
    errors = []

    def fit():
        try:
            nn.fit(X, y, epochs=60)
        except RuntimeError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=fit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 1
    assert errors[0].startswith("another thread is training this network")
    twin.fit(X, y, epochs=60)
    assert nn._params.tobytes() == twin._params.tobytes()


def child(connection):
    X, y = examples()
    nn = make()
    nn.fit(X, y, epochs=2, batch_size=256)
    connection.send((nn._params.tobytes(), cmlp.get_num_threads()))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_children_train_to_the_same_bits():
    X, y = examples()
    nn = make()
    nn.fit(X, y, epochs=2, batch_size=256)
    context = multiprocessing.get_context("fork")
    for _ in range(20):
        here, there = context.Pipe()
        process = context.Process(target=child, args=(there,))
        process.start()
        assert here.poll(20), "the child hangs"
        assert here.recv() == (nn._params.tobytes(), 2)
        process.join(20)
        assert process.exitcode == 0


@pytest.mark.usefixtures("two_threads")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_that_is_forked_in_a_training_can_train():
    X, y = examples()
    nn, began, ended = make(), threading.Event(), threading.Event()

    def look(run):
        began.set()
        if ended.is_set():
            run.stop("enough")

    def train(connection):
        nn.train(X, y, 0.1)
        connection.send(bool(np.isfinite(nn._params).all()))

    watch = cmlp.callbacks.LambdaCallback(on_epoch_end=look)
    thread = threading.Thread(target=nn.fit, args=(X, y, 10**6, 256), kwargs={"callbacks": [watch]})
    thread.start()
    try:
        assert began.wait(20)
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe()
        process = context.Process(target=train, args=(there,))
        process.start()
        assert here.poll(20), "the child hangs"
        assert here.recv()
        process.join(20)
        assert process.exitcode == 0
    finally:
        ended.set()
        thread.join(20)


INTERRUPTED = """
import os, signal, sys, threading, time, numpy as np
from cmlp import NeuralNetwork
how, sizes = sys.argv[1], [int(n) for n in sys.argv[2].split("-")]
rng = np.random.default_rng(0)
m = int(sys.argv[3])
X, y = rng.random((m, sizes[0]), np.float32).T, rng.integers(0, sizes[-1], m)
def make():
    nn = NeuralNetwork(rng=0)
    for k, n in zip(sizes, sizes[1:]):
        nn.add_layer(k, n, "relu" if n != sizes[-1] else "softmax")
    return nn
nn = make()
sent = []
def interrupt():
    time.sleep(0.7)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    if how == "fit":
        nn.fit(X, y, epochs=100_000, batch_size=64, optimizer="sgd", shuffle=False)
    else:
        while True:
            nn.train(X, y, 0.01)
except KeyboardInterrupt:
    took = time.perf_counter() - sent[0]
interrupted = nn._params.tobytes()
twin = make()
steps = 0
while twin._params.tobytes() != interrupted:          # the weights of a whole number of steps
    if how == "train":
        twin.train(X, y, 0.01)
        steps += 1
    else:
        break
nn.fit(X[:, :100], y[:100], epochs=1)
print(took, np.isfinite(nn._params).all())
"""


@pytest.mark.parametrize(
    ("how", "sizes", "samples"),
    [("fit", "50-64-64-2", 20_000), ("train", "50-64-64-2", 600_000), ("train", "300-1500-1500-10", 4000)],
)
def test_ctrl_c_ends_training_soon_and_between_two_steps(tmp_path, how, sizes, samples):
    command = [sys.executable, "-c", INTERRUPTED, how, sizes, str(samples)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    took, usable = done.stdout.split()
    assert usable == "True"
    assert float(took) < 5  # it is 0.1 s on an idle machine; a step of these would be longer than that


def test_an_error_of_a_signal_handler_ends_training():
    class Enough(Exception):
        pass

    def handler(*_):
        raise Enough

    if not hasattr(signal, "setitimer"):
        pytest.skip("this system has no timers that send signals")
    X, y = examples()
    nn = make()
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        start = time.perf_counter()
        with pytest.raises(Enough):
            nn.fit(X, y, epochs=1_000_000)
        assert time.perf_counter() - start < 30
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert 0 <= nn.evaluate(X, y)["accuracy"] <= 1


def test_threadpoolctl_limits_the_threads():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    if not _dispatch.core.has_openmp():
        pytest.skip("built without OpenMP")
    before = cmlp.get_num_threads()
    cmlp.set_num_threads(2)
    try:
        with threadpoolctl.threadpool_limits(1, user_api="openmp"):
            limited = cmlp.get_num_threads()
        assert limited == (1 if _threads._openmp_limit > 1 else 2)
        assert cmlp.get_num_threads() == 2
    finally:
        cmlp.set_num_threads(before)


GROUPS = {
    "version 2, a container": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
    "version 2, a group named cpu": ({"proc/self/cgroup": "0::/cpu", "sys/fs/cgroup/cpu/cpu.max": "50000 100000"}, 0.5),
    "version 2, no limit": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, float("inf")),
    "version 2, a slice": (
        {
            "proc/self/cgroup": "0::/user.slice/task.scope",
            "sys/fs/cgroup/user.slice/cpu.max": "300000 100000",
            "sys/fs/cgroup/user.slice/task.scope/cpu.max": "max 100000",
        },
        3.0,
    ),
    "version 1": (
        {
            "proc/self/cgroup": "4:memory:/a\n2:cpu,cpuacct:/a/b\n0::/",
            "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "200000",
            "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us": "50000",
            "sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us": "100000",
        },
        0.5,
    ),
    "version 1, no limit": (
        {
            "proc/self/cgroup": "1:cpu:/",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
        float("inf"),
    ),
    "a name of any bytes": (
        {"proc/self/cgroup": "0::/a\udce9\x85\x0cb", "sys/fs/cgroup/a\udce9\x85\x0cb/cpu.max": "100000 100000"},
        1.0,
    ),
    "names unknown": ({"sys/fs/cgroup/cpu.max": "50000 100000"}, 0.5),
    "no groups": ({}, float("inf")),
}


@pytest.mark.parametrize("case", GROUPS)
def test_a_groups_quota_limits_the_threads(case, monkeypatch, tmp_path):
    real = open
    monkeypatch.setattr("builtins.open", lambda path, **settings: real(f"{tmp_path}{path}", **settings))
    files, quota = GROUPS[case]
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with real(path, "w", errors="surrogateescape") as file:
            file.write(text + "\n")
    assert _threads._quota() == quota


def test_threads_sleep_when_there_is_nothing_to_do():
    X, y = examples(20_000)
    nn = make()
    nn.fit(X, y, epochs=2, batch_size=512)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.05
