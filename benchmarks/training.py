"""What training costs users: the estimators beside scikit-learn's, accuracy beside PyTorch's, memory over a large file.

    python benchmarks/training.py [estimators] [accuracy] [memory] [--repeats 5] [--json FILE]

Estimators: fits of `MLPClassifier` with the defaults of both, each in a process of its own, in turn, medians. A round
is a quarter of a second of fits, one after the other as a search makes them.
Accuracy: 784-128-10 on data/images.csv.gz, Adam, batches of 128, 10 epochs, five seeds, on 1,000 rows that were not
trained on. Memory: one pass of `partial_fit` over a mapped file of 10 GB, in chunks of 100,000 rows; what the process
holds beside the file.
"""

import argparse
import functools
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # for a core that was built in place
import cmlp
from benchmarks.measure import PAUSE
from benchmarks.report import cpu_name

ROOT = Path(__file__).resolve().parent.parent
GIGABYTES, FEATURES, CHUNK = 10, 784, 100_000
SEEDS, EPOCHS, BATCH = range(5), 10, 128
FIT_SECONDS = 0.25  # of fits in a row, at least


@functools.cache
def fits():
    """By title: data, and settings of the estimators."""
    from scipy import sparse

    rng = np.random.default_rng(0)
    X, y = rng.random((10_000, FEATURES), dtype=np.float32), rng.integers(0, 10, 10_000)
    dense = X, y, {"max_iter": 10}
    X, y = rng.normal(size=(2_000, 20)), rng.integers(0, 2, 2_000)
    small = X, y, {"max_iter": 20}
    X = sparse.random_array((10_000, 5_000), density=0.05, format="csr", dtype=np.float32, rng=rng)
    return {
        "784 features, 10,000 rows, 10 epochs": dense,
        "20 features, 2,000 rows, 20 epochs, float64": small,
        "CSR of 5,000 features at 5 %, 10,000 rows, 2 epochs": (X, rng.integers(0, 10, 10_000), {"max_iter": 2}),
    }


def fit_estimator(library, title):
    """Milliseconds of a fit, one of as many as make a round, and the loss at its end."""
    from sklearn.neural_network import MLPClassifier

    X, y, settings = fits()[title]
    estimator = {"cmlp": cmlp.MLPClassifier, "scikit-learn": MLPClassifier}[library](random_state=0, **settings)
    warnings.simplefilter("ignore")  # that the fits have not converged
    count, start = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - start < FIT_SECONDS:
        estimator.fit(X, y)
        count += 1
    return 1e3 * (time.perf_counter() - start) / count, float(estimator.loss_)


def estimators(repeats):
    """Milliseconds of a fit, and the loss at its end: each library in a process of its own, in turn."""
    figures = {}
    with ExitStack() as ends:
        processes = {
            library: ends.enter_context(ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")))
            for library in ("cmlp", "scikit-learn")
        }
        for title in fits():
            times, losses = {library: [] for library in processes}, {}
            for _ in range(repeats + 1):
                for library, process in processes.items():
                    time.sleep(PAUSE)
                    took, losses[library] = process.submit(fit_estimator, library, title).result()
                    times[library].append(took)
            medians = {library: statistics.median(values[1:]) for library, values in times.items()}  # without the first
            ratio = medians["scikit-learn"] / medians["cmlp"]
            figures[title] = {"ms": medians, "loss": losses, "ratio": ratio}
            print(f"{title}: {medians}, {ratio:.1f} x; losses {losses}", flush=True)
    return figures


def with_cmlp(seed, X, y, X_test, y_test):
    nn = cmlp.NeuralNetwork(rng=seed)
    nn.add_layer(FEATURES, 128, "relu")
    nn.add_layer(128, 10, "softmax")
    nn.fit(X.T, y, epochs=EPOCHS, batch_size=BATCH, optimizer="adam")
    return nn.evaluate(X_test.T, y_test)["accuracy"]


def with_torch(seed, X, y, X_test, y_test):
    import torch

    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(FEATURES, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    for _ in range(EPOCHS):
        order = torch.randperm(len(X))
        for i in range(0, len(X), BATCH):
            batch = order[i : i + BATCH]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(X[batch]), y[batch]).backward()
            optimizer.step()
    with torch.inference_mode():
        return float((model(torch.from_numpy(X_test)).argmax(1).numpy() == y_test).mean())


def accuracy():
    """The share of right classes on rows that were not trained on, for each seed."""
    X, y, _ = cmlp.load_csv(ROOT / "data" / "images.csv.gz")
    train, test, y_train, y_test = cmlp.train_test_split(X, y, rng=0)
    rows = [np.ascontiguousarray(part.T, np.float32) / 255 for part in (train, test)]
    figures = {}
    for name, run in {"cmlp": with_cmlp, "PyTorch": with_torch}.items():
        start = time.perf_counter()
        shares = [run(seed, rows[0], y_train, rows[1], y_test) for seed in SEEDS]
        figures[name] = {"accuracies": shares, "mean": statistics.mean(shares), "seconds": time.perf_counter() - start}
        print(f"{name}: {figures[name]}", flush=True)
    return figures


def held():
    """Megabytes that the process holds now, and at its most so far, without the files that are mapped."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) / 1e3


def memory():
    """Megabytes held before, and at most at the end of a chunk of a pass."""
    rows = GIGABYTES * 10**9 // FEATURES
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "X")
        with open(path, "wb") as file:
            file.truncate(rows * FEATURES)  # zeros, which take no room on the disk
        X = np.memmap(path, np.uint8, "r", shape=(rows, FEATURES))
        nn = cmlp.NeuralNetwork(rng=0, input_scale=1 / 255)
        for k, n, activation in ((FEATURES, 30, "relu"), (30, 20, "relu"), (20, 10, "softmax")):
            nn.add_layer(k, n, activation)
        before, most = held(), 0.0

        def chunks():
            nonlocal most
            for first in range(0, rows, CHUNK):
                most = max(most, held())
                yield X[first : first + CHUNK].T, rng.integers(0, 10, min(CHUNK, rows - first))

        start = time.perf_counter()
        nn.partial_fit(chunks(), batch_size=1024)
        seconds = time.perf_counter() - start
    figures = {"gigabytes": rows * FEATURES / 1e9, "before": before, "most": most, "seconds": seconds}
    print(figures, flush=True)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("estimators", "accuracy", "memory")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; all by default")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if {os.environ.pop(name, None) for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")} != {None}:  # slow peers down
        os.execv(sys.executable, [sys.executable, *sys.argv])
    runs = {"estimators": lambda: estimators(options.repeats), "accuracy": accuracy, "memory": memory}
    figures = {"cpu": cpu_name(), "date": time.strftime("%Y-%m-%d")}
    if options.json and options.json.exists():
        figures = json.loads(options.json.read_text()) | figures
    for part in options.parts or parts:
        figures[part] = runs[part]()
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
