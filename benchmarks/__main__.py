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

ABOUT = ("version", "kernels", "threads")


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workloads", nargs="*", help=f"of {', '.join(w.key for w in WORKLOADS)}; all by default")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES), metavar="LIBRARY")
    parser.add_argument("--repeats", type=int, default=9, help="of which the median is taken")
    parser.add_argument("--threads", type=int, help="of cmlp; by default what it chooses")
    parser.add_argument("--sweeps", action="store_true", help="widths and batches instead, for the second picture")
    parser.add_argument(
        "--json",
        type=Path,
        help="write the figures here, where those of the same processor's other workloads stay; see report.py",
    )
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
        "repeats": options.repeats,
        "libraries": {},
        "workloads": {},
    }
    if options.json and options.json.exists():
        before = json.loads(options.json.read_text())
        if before["machine"]["cpu"] == figures["machine"]["cpu"]:
            figures["libraries"], figures["workloads"] = before["libraries"], before["workloads"]
    print(f"{figures['machine']['cpu']}, peak {peaks}")
    known = [workload for sweep in sweeps() for workload in sweep] if options.sweeps else WORKLOADS
    for workload in known:
        if options.workloads and workload.key not in options.workloads:
            continue
        results = measure.compare(workload, options.libraries, options.repeats, options.threads)
        for name, result in results.items():
            if "ms" in result:
                figures["libraries"][name] = {word: result.pop(word) for word in ABOUT if word in result}
        entry = {
            "title": workload.title,
            "samples": workload.samples,
            "operations": workload.operations,
            "dtype": workload.dtype,
            "to_reach": workload.ratios,
            "results": results,
            "wrong": measure.wrong_answers(workload, results),
        }
        figures["workloads"][workload.key] = entry
        print("\n".join(report.lines(workload.key, entry, peaks)), flush=True)
        for name in entry["wrong"]:
            print(f"  {name} has another answer: {results[name]['answer']}")
        if options.json:
            options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
