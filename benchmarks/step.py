"""One full-batch step of the notebook's network over 41,000 images: cmlp against the notebook's own NumPy.

Each in a process of its own, in turn; prints medians, their ratio, and the memory above the data that a step takes.
Run it on an otherwise idle machine: python benchmarks/step.py [--dtype float64] [--json FILE]
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # for a core that was built in place

SIZES = (784, 30, 20, 10)
SAMPLES = 41_000
PAUSE = 0.25  # seconds, in which the other process's threads stop spinning


def notebook_step(X, y, dtype):
    """The notebook's NeuralNetwork.train, with softmax and the backward pass's weights as its formulas have them."""
    rng = np.random.default_rng(0)
    layers = [
        [rng.uniform(-0.5, 0.5, (n, k)).astype(dtype), rng.uniform(-0.5, 0.5, (n, 1)).astype(dtype)]
        for k, n in pairwise(SIZES)
    ]
    rate, m = dtype(0.1), X.shape[1]

    def step():
        zs, activations = [X], [X]
        for W, b in layers:
            z = W.dot(activations[-1]) + b
            last = W is layers[-1][0]
            e = np.exp(z - z.max(axis=0)) if last else None
            zs.append(z)
            activations.append(e / e.sum(axis=0) if last else np.maximum(z, 0))
        one_hot = np.zeros((y.size, SIZES[-1]), dtype)
        one_hot[np.arange(y.size), y] = 1
        dz = activations[-1] - one_hot.T
        for i in reversed(range(len(layers))):
            W, b = layers[i]
            handed_on = W.T.dot(dz) * (zs[i] > 0)
            layers[i] = [W - rate * dz.dot(activations[i].T) / m, b - rate * dz.sum(axis=1, keepdims=True) / m]
            dz = handed_on
        return

    return step


def cmlp_step(X, y, dtype):
    import cmlp

    nn = cmlp.NeuralNetwork(dtype=dtype, rng=0)
    for (k, n), activation in zip(pairwise(SIZES), ("relu", "relu", "softmax"), strict=True):
        nn.add_layer(k, n, activation, init="uniform")
    return lambda: nn.train(X, y, 0.1)


STEPS = {"cmlp": cmlp_step, "notebook": notebook_step}


def resident(field):
    """A line of this process's status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


state = {}


def prepare(name, dtype_name):
    """Take a first step in this process, and return the memory that it needed."""
    dtype = np.dtype(dtype_name).type
    rng = np.random.default_rng(1)
    X = rng.random((SAMPLES, SIZES[0]), np.float32).astype(dtype, copy=False).T
    state["step"] = STEPS[name](X, rng.integers(0, SIZES[-1], SAMPLES), dtype)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = resident("VmRSS")
    state["step"]()
    return resident("VmHWM") - before


def timed():
    start = time.perf_counter()
    state["step"]()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        os.environ.pop(name, None)  # would hold NumPy back
    context = multiprocessing.get_context("spawn")
    pools = {name: ProcessPoolExecutor(1, context) for name in STEPS}
    memory = {name: pool.submit(prepare, name, options.dtype).result() for name, pool in pools.items()}
    seconds = {name: [] for name in STEPS}
    for _ in range(options.repeats):
        for name, pool in pools.items():
            time.sleep(PAUSE)
            seconds[name].append(pool.submit(timed).result())
    for pool in pools.values():
        pool.shutdown()
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    figures = {
        "dtype": options.dtype,
        "milliseconds": {name: 1e3 * value for name, value in medians.items()},
        "ratio": medians["notebook"] / medians["cmlp"],
        "megabytes above the data": {name: value / 1e6 for name, value in memory.items()},
        "threads": os.cpu_count(),
        "numpy": np.__version__,
    }
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
