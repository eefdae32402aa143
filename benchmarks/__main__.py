"""Times cmlp and its peers side by side: python -m benchmarks [--help]."""

import argparse
import json
import platform
import time
from pathlib import Path

from benchmarks import measure, report
from benchmarks.libraries import LIBRARIES
from benchmarks.peak import measured_peaks
from benchmarks.workloads import WORKLOADS, sweeps


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workloads", nargs="*", help=f"of {', '.join(w.key for w in WORKLOADS)}; all by default")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES), metavar="LIBRARY")
    parser.add_argument("--repeats", type=int, default=9, help="of which the median is taken")
    parser.add_argument("--threads", type=int, help="of cmlp; by default what it chooses")
    parser.add_argument("--sweeps", action="store_true", help="widths and batches as well, for the second picture")
    parser.add_argument("--json", type=Path, help="write the figures here; report.py makes the README's table of them")
    options = parser.parse_args()

    peaks = measured_peaks()
    figures = {
        "machine": {
            "cpu": report.cpu_name(),
            "processors": peaks["threads"],
            "system": platform.platform(),
            "python": platform.python_version(),
            "date": time.strftime("%Y-%m-%d"),
        },
        "peak_gflops": peaks,
        "workloads": {},
    }
    print(f"{figures['machine']['cpu']}, peak {peaks}")
    chosen = [w for w in WORKLOADS if not options.workloads or w.key in options.workloads]
    if options.sweeps:
        chosen += [workload for sweep in sweeps() for workload in sweep]
    for workload in chosen:
        results = measure.compare(workload, options.libraries, options.repeats, options.threads)
        figures["workloads"][workload.key] = {"title": workload.title, "results": results}
        print("\n".join(report.lines(workload, results, peaks)), flush=True)
        for name in measure.wrong_answers(workload, results):
            print(f"  {name} has another answer: {results[name]['answer']}")
        if options.json:
            options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
