"""Times cmlp and its peers side by side: python -m benchmarks [--help]."""

import argparse
import json
import platform
import time
from pathlib import Path

from benchmarks import footprint, gemm, measure, report
from benchmarks.libraries import LIBRARIES
from benchmarks.peak import measured_peaks
from benchmarks.workloads import DISTURBED, REMEMBERED, SCALED, SCALING, WORKLOADS, sweeps
from cmlp import _dispatch

ABOUT = ("version", "kernels", "threads")
MORE = ("scaling", "disturbed", "gemm", "memory", "footprint")


def more(before, chosen, libraries, repeats, wheel):
    """What the second table is made of; figures of workloads that are not chosen stay as they were before."""
    workloads = {workload.key: workload for workload in WORKLOADS}

    def of_each(figure, keys, measured):
        return figure, before.get(figure, {}) | {key: measured(workloads[key]) for key in keys if key in chosen}

    yield of_each("scaling", SCALED, lambda workload: measure.scaling(workload, repeats))
    yield of_each("disturbed", DISTURBED, lambda workload: measure.disturbed(workload, libraries, repeats))
    yield "gemm", {"build": _dispatch.ISA, "rounds": repeats, "results": gemm.measure(repeats)}
    yield "memory", {REMEMBERED: measure.memory(workloads[REMEMBERED], ("cmlp", "numpy"))}
    yield "footprint", footprint.measure(repeats, wheel)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workloads", nargs="*", help=f"of {', '.join(w.key for w in WORKLOADS)}; all by default")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES), metavar="LIBRARY")
    parser.add_argument("--repeats", type=int, default=9, help="of which the median is taken")
    parser.add_argument("--threads", type=int, help="of cmlp; by default what it chooses")
    parser.add_argument(
        "--more",
        action="store_true",
        help="also two threads beside one, a busy processor, product, memory and footprint",
    )
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="whose size is noted with --more")
    parser.add_argument("--sweeps", action="store_true", help="widths, batches, samples instead: the second picture")
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
        "scaling_to_reach": SCALING,
        "libraries": {},
        "workloads": {},
    }
    if options.json and options.json.exists():
        before = json.loads(options.json.read_text())
        if before["machine"]["cpu"] == figures["machine"]["cpu"]:
            figures |= {key: before[key] for key in ("libraries", "workloads", *MORE) if key in before}
    print(f"{figures['machine']['cpu']}, peak {peaks}")

    def write():
        if options.json:
            options.json.write_text(json.dumps(figures, indent=1) + "\n")

    known = [workload for sweep in sweeps() for workload in sweep] if options.sweeps else WORKLOADS
    chosen = {workload.key: workload for workload in known if workload.key in (options.workloads or [workload.key])}
    for workload in chosen.values():
        right = {"float64_loss": measure.right_loss(workload)} if workload.optimizer else {}
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
            "share_to_reach": workload.share,
            **right,
            "results": results,
            "wrong": measure.wrong_answers(workload, results, **right),
            "unchecked": {name: result["unchecked"] for name, result in results.items() if "unchecked" in result},
        }
        figures["workloads"][workload.key] = entry
        print("\n".join(report.lines(workload.key, entry, peaks)), flush=True)
        write()
    if options.more:
        figures |= more(figures, chosen, options.libraries, options.repeats, options.wheel)
        write()
        print(*(f"{what}: {figure}" for what, figure in report.more(figures)), sep="\n")


if __name__ == "__main__":
    main()
