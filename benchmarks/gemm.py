"""The share of the processor's peak that cmlp's product reaches on one thread, for every build that this CPU runs.

    python benchmarks/gemm.py [--rounds 31] [--json FILE]

The peak is measured right before and after each product, by a loop of multiply-adds that never leaves the registers
(peak.pyx), as a processor shared with others is now faster and now slower. All figures are medians of the rounds, but
for the last column, the best round's GFLOP/s of the best peak: what the processor does while nobody disturbs it. The
product's time is that of the whole call: putting its right side in panels counts.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # for a core that was built in place
import cmlp
from benchmarks.peak import CHAIN_REPEATS, DTYPES, build_peaks
from benchmarks.report import cpu_name
from cmlp import _arrays, _dispatch

SHAPES = ((1024, 1024, 1024), (128, 784, 512))  # samples m, inputs k, outputs n
FORWARD, BACKWARD, GRADIENT = FORMS = ("x @ w + b", "dz @ w.T", "dw + x.T @ dz")
ROUND_SECONDS = 0.01  # of each measurement in a round, at least


class Measurement:
    """Something to call, the operations that it does, and what each round found: seconds, and shares of the peak."""

    def __init__(self, call, operations, **labels):
        self.call, self.operations, self.labels = call, operations, labels
        self.seconds, self.shares = [], []
        call()
        self.times = 1 + int(ROUND_SECONDS / self.once(1))

    def once(self, times):
        start = time.perf_counter()
        for _ in range(times):
            self.call()
        return (time.perf_counter() - start) / times

    def take(self):
        self.seconds.append(self.once(self.times))

    def gflops(self, statistic=statistics.median):
        return self.operations / statistic(self.seconds) / 1e9


def peak_measurement(peak, dtype):
    chains = peak.multiply_add[DTYPES[dtype]]
    end, operations = chains(0.5, 0.5, CHAIN_REPEATS)
    assert end == 1
    return Measurement(lambda: chains(0.5, 0.5, CHAIN_REPEATS), operations)


def product_measurement(core, isa, dtype, form, shape):
    rng = np.random.default_rng(0)
    m, k, n = shape

    def random(rows, columns):
        array = _arrays.rows(rows, columns, dtype)
        array[:] = rng.normal(size=(rows, columns))
        return array

    x, w, dz, bias = random(m, k), random(k, n), random(m, n), random(1, n)[0]
    a, b = {FORWARD: (x, w), BACKWARD: (dz, w.T), GRADIENT: (x.T, dz)}[form]
    y = _arrays.rows(a.shape[0], b.shape[1], dtype)
    work = _arrays.empty(core.matmul_work(len(b), b.shape[1], np.empty(1, dtype)), dtype)

    def call():
        core.matmul(y, a, b, bias if form == FORWARD else None, form == GRADIENT, work)

    call()
    exact = np.matmul(a, b, dtype=np.float64) + (bias if form == FORWARD else 0)
    assert np.abs(y - exact).max() < np.finfo(dtype).eps * len(b) ** 2
    return Measurement(call, 2 * m * k * n, isa=isa, dtype=dtype.name, product=form, m=m, k=k, n=n)


def measure(rounds):
    """Every build's products, in each type: GFLOP/s, the peak's, and the share."""
    isas = _dispatch.supported()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows keeps what has been imported
        peaks = build_peaks(isas, folder)
    groups = [
        (
            peak_measurement(peaks[isa], dtype),
            [product_measurement(_dispatch.load(isa), isa, dtype, form, shape) for shape in SHAPES for form in FORMS],
        )
        for isa in isas
        for dtype in DTYPES
    ]
    for _ in range(rounds):
        for peak, products in groups:
            peak.take()
            for product in products:
                product.take()
                peak.take()
                around = statistics.mean(peak.seconds[-2:])
                product.shares.append(product.operations / product.seconds[-1] / (peak.operations / around))
    return [
        product.labels
        | {
            "gflops": round(product.gflops(), 2),
            "gflops_best": round(product.gflops(min), 2),
            "peak": round(peak.gflops(), 2),
            "peak_best": round(peak.gflops(min), 2),
            "share": round(statistics.median(product.shares), 4),
        }
        for peak, products in groups
        for product in products
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=31, help="measurements of which the median is taken")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file as well")
    arguments = parser.parse_args()

    results = measure(arguments.rounds)
    machine = {
        "cpu": cpu_name(),
        "processors": os.cpu_count(),
        "threads": 1,
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cmlp": cmlp.__version__,
        "rounds": arguments.rounds,
    }
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"{'build':<7}{'dtype':<9}{'product':<15}{'m x k x n':>18}{'GFLOP/s':>10}{'peak':>8}{'share':>8}{'best':>8}")
    for row in results:
        best = row["gflops_best"] / row["peak_best"]
        shape = f"{row['m']} x {row['k']} x {row['n']}"
        print(
            f"{row['isa']:<7}{row['dtype']:<9}{row['product']:<15}{shape:>18}"
            f"{row['gflops']:>10.1f}{row['peak']:>8.1f}{row['share']:>8.0%}{best:>8.0%}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
