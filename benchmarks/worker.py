"""One library's process: python -m benchmarks.worker LIBRARY WORKLOAD. It is started and asked by measure.py."""

import sys
from itertools import chain

from benchmarks.measure import work
from benchmarks.workloads import WORKLOADS, sweeps

if __name__ == "__main__":
    known = {workload.key: workload for workload in (*WORKLOADS, *chain(*sweeps()))}
    work(sys.argv[1], known[sys.argv[2]])
