"""One library's process: python -m benchmarks.worker LIBRARY WORKLOAD. It is started and asked by measure.py."""

import sys

from benchmarks.measure import work
from benchmarks.workloads import WORKLOADS, sweeps

if __name__ == "__main__":
    widths, batches = sweeps()
    known = {workload.key: workload for workload in (*WORKLOADS, *widths, *batches)}
    work(sys.argv[1], known[sys.argv[2]])
