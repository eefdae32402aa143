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

ROOT = Path(__file__).resolve().parent.parent
PAUSE = 0.2  # seconds, in which the other processes' threads stop spinning
ROUND_SECONDS = 0.02  # of a measurement, at least
AGREEING = 0.999  # of the classes that are to be NumPy's in float64
LOSS_TOLERANCE = 2e-3  # of the loss after an epoch, relative: float32 and the order of sums


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

    def time(self):
        print("time", file=self.child.stdin, flush=True)
        return self.answer()["seconds"]

    def end(self):
        self.child.stdin.close()
        self.child.wait()
        self.child.stdout.close()


def compare(workload, libraries, repeats, threads=None):
    """For each library what it is, its times, and the loss or the share of right classes; or why there are none."""
    results, processes = {}, {}
    for name in libraries:
        process = Process(name, workload.key, threads)
        if "error" in process.first:
            results[name] = {"missing": process.first["error"]}
            process.end()
        else:
            results[name], processes[name] = process.first, process
    times = {name: [] for name in processes}
    for _ in range(repeats):
        for name, process in processes.items():
            time.sleep(PAUSE)
            times[name].append(process.time())
    for name, process in processes.items():
        process.end()
        results[name] |= {"ms": 1e3 * statistics.median(times[name]), "best_ms": 1e3 * min(times[name])}
    return results


def wrong_answers(workload, results):
    """Libraries that have not done the work that cmlp did."""
    answers = {name: result["answer"] for name, result in results.items() if "answer" in result}
    if not workload.optimizer:
        return [name for name, answer in answers.items() if answer < AGREEING]
    middle = statistics.median(answers.values())
    return [name for name, answer in answers.items() if not math.isclose(answer, middle, rel_tol=LOSS_TOLERANCE)]


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


def resident(field):
    """A line of this process's status, in bytes; 0 where there is none."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":")), 0)


def work(library, workload):
    """What a library's process does: the work once, for its answer and memory, then as often as it is asked."""
    try:
        task = LIBRARIES[library](workload)
        about = task.about()
        if Path("/proc/self/clear_refs").exists():
            Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = resident("VmRSS")
        task.run()
        memory = resident("VmHWM") - before
        print(json.dumps(about | {"answer": judged(workload, task), "megabytes": memory / 1e6}), flush=True)
    except (ImportError, NotImplementedError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return
    task.run()
    start = time.perf_counter()
    task.run()
    times = 1 + int(ROUND_SECONDS / (time.perf_counter() - start))
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(times):
            task.run()
        print(json.dumps({"seconds": (time.perf_counter() - start) / times}), flush=True)
