"""Runs a workload in one process for each library, in turn, and returns what each took."""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.libraries import LIBRARIES
from benchmarks.workloads import RATE

ROOT = Path(__file__).resolve().parent.parent
PAUSE = 0.2  # seconds, in which the other processes' threads stop spinning
ROUND_SECONDS = 0.02  # of a measurement, at least
AGREEING = 0.999  # of the classes that are to be NumPy's in float64
# Relative, of the loss after an epoch: in float64 it tells who has done the same work. As timed, in float32, it may be
# further off, under Adam much: once a rounding error has switched a ReLU, the smallest of gradients that change with it
# moves its parameter as far as any other.
LOSS_TOLERANCE = 1e-9
FLOAT32_TOLERANCE = {"sgd": 1e-5, "adam": 1e-2}


class Process:
    """A library at work in an interpreter of its own, asked over pipes."""

    def __init__(self, library, key, threads=None):
        environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
        if threads:
            environment["CMLP_NUM_THREADS"] = str(threads)
        command = [sys.executable, "-m", "benchmarks.worker", library, key]
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        self.first = self.answer()

    def answer(self):
        line = self.child.stdout.readline()
        return json.loads(line) if line else {"error": "the process has died"}

    def ask(self, word):
        print(word, file=self.child.stdin, flush=True)
        return self.answer()

    def end(self):
        self.child.stdin.close()
        self.child.wait()
        self.child.stdout.close()


def in_turn(processes, repeats):
    """For each process its times, of rounds in which every one has its turn."""
    times = {name: [] for name in processes}
    for _ in range(repeats):
        for name, process in processes.items():
            time.sleep(PAUSE)
            times[name].append(1e3 * process.ask("time")["seconds"])
    return {name: {"ms": statistics.median(values), "best_ms": min(values)} for name, values in times.items()}


def compare(workload, libraries, repeats, threads=None):
    """For each library what it is, its times, and its losses or the share of right classes; or why there are none."""
    results, processes = {}, {}
    for name in libraries:
        process = Process(name, workload.key, threads)
        if "error" in process.first:
            results[name] = {"missing": process.first["error"]}
            process.end()
        else:
            results[name], processes[name] = process.first, process
    times = in_turn(processes, repeats)
    for name, process in processes.items():
        results[name] |= times[name]
        if workload.optimizer:
            checked = process.ask("check")
            results[name] |= {"unchecked": checked["error"]} if "error" in checked else checked
        process.end()
    return results


def scaling(workload, repeats):
    """Times of cmlp on one thread and on two."""
    processes = {str(threads): Process("cmlp", workload.key, threads) for threads in (1, 2)}
    times = in_turn(processes, repeats)
    for process in processes.values():
        process.end()
    return times


def disturbed(workload, libraries, repeats):
    """Milliseconds of each library, while another process keeps one of the processors busy."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        results = compare(workload, libraries, repeats)
    finally:
        other.kill()
        other.wait()
    return {name: result["ms"] for name, result in results.items() if "ms" in result}


def memory(workload, libraries):
    """Megabytes that each library needs at its most, beyond those of the data and the parameters."""
    megabytes = {}
    for name in libraries:
        process = Process(name, workload.key)
        megabytes[name] = process.first["megabytes"]
        process.end()
    return megabytes


def right_loss(workload):
    """The loss after an epoch of the formulas in plain NumPy, in float64."""
    from cmlp import reference  # not above: the other libraries' processes do without cmlp

    X, y = workload.in_float64().data()
    X = X * (1 / 255) if workload.pixels else X
    layers = workload.in_float64().parameters()
    activations = [*["relu"] * (len(layers) - 1), "softmax"]
    network = reference.Network([W.T for W, _ in layers], [b[:, None] for _, b in layers], activations, "cross_entropy")
    Y = reference.one_hot(y, workload.sizes[-1])
    starts = range(0, workload.samples, workload.batch)
    batches = ((X[i : i + workload.batch].T, Y[:, i : i + workload.batch]) for i in starts)
    network.optimize(batches, workload.optimizer, learning_rate=RATE[workload.optimizer])
    return network.loss_value(X.T, Y)


def wrong_answers(workload, results, float64_loss=None):
    """Libraries that have not done the work; the loss given is the right one, of a training."""
    wrong = []
    for name, result in results.items():
        if "answer" not in result:
            continue
        if not workload.optimizer:
            well = result["answer"] >= AGREEING
        else:
            near = LOSS_TOLERANCE if workload.dtype == "float64" else FLOAT32_TOLERANCE[workload.optimizer]
            well = math.isclose(result["answer"], float64_loss, rel_tol=near) and math.isclose(
                result.get("float64_loss", float64_loss), float64_loss, rel_tol=LOSS_TOLERANCE
            )
        if not well:
            wrong.append(name)
    return wrong


def logits(parameters, X):
    """The network's outputs before softmax, in float64."""
    for i, (W, b) in enumerate(parameters):
        X = (X if i == 0 else np.maximum(X, 0)) @ W.astype(np.float64) + b.astype(np.float64)
    return X


def judged(workload, task):
    """Mean loss of the trained network over its data; or the share of classes that NumPy predicts as well."""
    X, y = workload.data()
    X = X * (1 / 255) if workload.pixels else X.astype(np.float64)
    if not workload.optimizer:
        return float(np.mean(logits(workload.parameters(), X).argmax(axis=1) == task.classes()))
    z = logits(task.parameters(), X)
    z -= z.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]))


def checked(library, workload):
    """The loss after the library's first epoch, as it is in float64; or why there is none."""
    try:
        task = LIBRARIES[library](workload.in_float64())
    except NotImplementedError as error:
        return {"error": str(error)}
    task.run()
    return {"float64_loss": judged(workload.in_float64(), task)}


def resident(field):
    """A line of this process's status, in bytes; 0 where there is none."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":")), 0)


def work(library, workload):
    """What a library's process does: the work once, for its answer and memory, then what it is asked, time or check."""
    try:
        task = LIBRARIES[library](workload)
        about = task.about()
        if Path("/proc/self/clear_refs").exists():
            Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = resident("VmRSS")
        task.run()
        memory = resident("VmHWM") - before
        answer = judged(workload, task)
    except (ImportError, NotImplementedError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return
    times, start = 0, time.perf_counter()
    while times == 0 or time.perf_counter() - start < ROUND_SECONDS:  # what is short takes longer the first few times
        task.run()
        times += 1
    print(json.dumps(about | {"answer": answer, "megabytes": memory / 1e6}), flush=True)
    for line in sys.stdin:
        if line.strip() == "check":
            print(json.dumps(checked(library, workload)), flush=True)
            continue
        start = time.perf_counter()
        for _ in range(times):
            task.run()
        print(json.dumps({"seconds": (time.perf_counter() - start) / times}), flush=True)
