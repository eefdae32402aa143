"""What the figures look like: as lines of text, as the README's table, as pictures.

python -m benchmarks.report [FILE]   puts the tables of a file that `python -m benchmarks --json` wrote into README.md,
                                     those of other processors (results-*.json) into the README beside this program,
                                     and draws the pictures there
"""

import json
import platform
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS, SWEEPS, TRAINING = HERE / "results.json", HERE / "sweeps.json", HERE / "training.json"
ANSWERS = HERE / "answers.json"  # pytest --figures writes it
PEERS = {
    "jax": "JAX",
    "torch": "PyTorch",
    "sklearn": "scikit-learn",
    "onnxruntime": "ONNX Runtime",
    "numpy": "the notebook's NumPy",
}
COLOURS = {
    "cmlp": "#c2410c",
    "jax": "#2563eb",
    "torch": "#7c3aed",
    "sklearn": "#0891b2",
    "onnxruntime": "#4d7c0f",
    "numpy": "#737373",
}
BEGIN, END = "<!-- benchmark: written by benchmarks/report.py -->", "<!-- end -->"
BEGIN_MORE, BEGIN_OTHERS, BEGIN_AIMS, BEGIN_ANSWERS = (
    BEGIN.replace("benchmark:", f"{table}:") for table in ("more", "others", "aims", "answers")
)


def cpu_name():
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    numbers = [line.partition(":")[2].strip() for line in lines if line.startswith(("cpu family", "model\t"))]
    if not names:
        return platform.processor() or platform.machine()
    return f"{names[0]}, family {numbers[0]} model {numbers[1]}" if len(numbers) > 1 else names[0]


def where(figures):
    """The machine, and when it was."""
    machine = figures["machine"]
    return f"{machine['cpu']}, {machine['processors']} processors, {machine['date']}"


def share(entry, milliseconds, peaks):
    """Of the multiply-adds that all processors could have done in the time."""
    return entry["operations"] / (milliseconds * 1e6) / (peaks[entry["dtype"]] * peaks["threads"])


def fastest(results, peer):
    """Milliseconds of the best variant of a peer, or None."""
    times = [result["ms"] for name, result in results.items() if name.startswith(peer) and "ms" in result]
    return min(times, default=None)


def lines(key, entry, peaks):
    """A workload's figures as text."""
    results = entry["results"]
    yield f"{key}  {entry['title']}"
    ours = results.get("cmlp", {}).get("ms")
    for name, result in results.items():
        if "ms" not in result:
            yield f"  {name:<22}-- {result['missing'].splitlines()[0]}"
            continue
        yield (
            f"  {name:<22}{result['ms']:>10.4f} ms  best {result['best_ms']:>10.4f}"
            f"{share(entry, result['ms'], peaks):>7.0%} of peak{result['megabytes']:>8.1f} MB"
            + (f"{result['ms'] / ours:>8.2f} x" if ours else "")
        )
    right = entry.get("float64_loss")
    for name, result in results.items():
        if "float64_loss" in result:
            yield f"  {name:<22}{abs(result['float64_loss'] / right - 1):>10.0e} of the loss off, in float64"
        if "unchecked" in result:
            yield f"  {name:<22}unchecked: {result['unchecked'].splitlines()[0]}"
        if name in entry["wrong"]:
            yield f"  {name:<22}has another answer: {result['answer']}"
    for peer, ratio in entry["to_reach"].items():
        theirs = fastest(results, peer)
        if ours and theirs:
            state = "reached" if theirs / ours >= ratio else "not reached"
            yield f"  {peer}, at its best: {theirs / ours:.2f} x, {ratio} x aimed at: {state}"


def time_text(milliseconds):
    if milliseconds < 0.1:
        return f"{1e3 * milliseconds:.3g} µs"
    return f"{milliseconds:.3g} ms" if milliseconds < 100 else f"{milliseconds:,.0f} ms"


def table(figures):
    """The figures in Markdown: the time of cmlp, its share of the limit, and how many times as long each peer takes."""
    machine, peaks = figures["machine"], figures["peak_gflops"]
    rows = [
        ["", "cmlp", "of the FMA limit", *PEERS.values()],
        ["---", *["---:"] * (2 + len(PEERS))],
    ]
    for key, entry in figures["workloads"].items():
        results = entry["results"]
        ours = results["cmlp"]["ms"]
        cells = []
        for peer in PEERS:
            theirs = fastest(results, peer)
            cells.append("" if theirs is None else f"{theirs / ours:.1f} x")
        rows.append(
            [f"{key}: {entry['title']}", time_text(ours), f"{share(entry, ours, peaks):.0%}", *cells],
        )
    versions = [
        f"{PEERS.get(name, name)} {result['version']}"
        for name, result in figures["libraries"].items()
        if name in (*PEERS, "cmlp")
    ]
    return "\n".join(
        [
            *("| " + " | ".join(row) + " |" for row in rows),
            "",
            (
                f"{machine['cpu']}, {machine['processors']} processors, "
                f"{figures['libraries']['cmlp']['kernels']} build, "
                f"{machine['date']}; medians of {figures['repeats']} interleaved rounds. {', '.join(versions)}."
            ),
        ]
    )


def more(figures):
    """What `--more` measured, as far as it did: pairs of what it is, and its figures."""
    for key, times in figures.get("scaling", {}).items():
        yield f"{key} on two threads", f"{times['1']['ms'] / times['2']['ms']:.2f} x as fast as on one"
    for key, times in figures.get("disturbed", {}).items():
        if "cmlp" in times:
            results = {name: {"ms": milliseconds} for name, milliseconds in times.items()}
            peers = [(title, fastest(results, peer)) for peer, title in PEERS.items()]
            ratios = [f"{title} {theirs / times['cmlp']:.1f} x as long" for title, theirs in peers if theirs]
            title = f"{key} beside a process that keeps a processor busy"
            yield title, ", ".join([time_text(times["cmlp"]), *ratios])
    shares = {}
    for row in figures.get("gemm", {}).get("results", []):
        if row["isa"] == figures["gemm"]["build"]:
            by_type = shares.setdefault(f"{row['m']} x {row['k']} x {row['n']}", {})
            by_type.setdefault(row["dtype"], []).append(row["share"])
    for shape, by_type in shares.items():
        ranges = [f"{dtype} {min(of):.0%} to {max(of):.0%}" for dtype, of in by_type.items()]
        yield f"products of {shape} on one thread, of the FMA limit", ", ".join(ranges)
    for key, megabytes in figures.get("memory", {}).items():
        ours, theirs = megabytes["cmlp"], megabytes["numpy"]
        yield f"memory of {key} above its data", f"{ours:.1f} MB; {PEERS['numpy']} {theirs:,.0f} MB"
    footprint = figures.get("footprint", {})
    if footprint:
        yield "`import cmlp`, above `import numpy`", f"{footprint['milliseconds over numpy']:.0f} ms"
    if "wheel megabytes" in footprint:
        yield "wheel", f"{footprint['wheel megabytes']:.1f} MB"


def trained(figures):
    """What training.py measured, likewise."""
    for title, fit in figures.get("estimators", {}).items():
        ours, theirs = (time_text(fit["ms"][name]) for name in ("cmlp", "scikit-learn"))
        yield f"`MLPClassifier().fit`, {title}", f"{ours}; scikit-learn {theirs}, {fit['ratio']:.1f} x"
    if "accuracy" in figures:
        shares = ", ".join(f"{name} {of['mean']:.2%}" for name, of in figures["accuracy"].items())
        yield "accuracy of 784-128-10 on the images, Adam, 10 epochs, mean of 5 seeds", shares
    if "memory" in figures:
        memory = figures["memory"]
        held = f"{memory['before']:.0f} MB before, {memory['most']:.0f} MB at most"
        yield f"memory of `partial_fit` over a mapped file of {memory['gigabytes']:.0f} GB", held


def more_table(figures):
    """These figures in Markdown; nothing if there are none."""
    pairs = [*more(figures), *(trained(json.loads(TRAINING.read_text())) if TRAINING.exists() else ())]
    rows = [f"| {what} | {figure} |" for what, figure in pairs]
    return "\n".join(["| | |", "| --- | --- |", *rows]) if rows else ""


def aims(figures):
    """What was aimed at: of which workload, in what, how much, what was reached, and what the limit would be."""
    peaks = figures["peak_gflops"]
    for key, entry in figures["workloads"].items():
        ours = entry["results"]["cmlp"]["ms"]
        part = share(entry, ours, peaks)
        if entry.get("share_to_reach"):  # which figures of before lack
            yield key, "of the FMA limit", entry["share_to_reach"], part, 1.0
        for peer, ratio in entry["to_reach"].items():
            theirs = fastest(entry["results"], peer)
            if theirs is not None:
                yield key, PEERS[peer], ratio, theirs / ours, theirs / ours / part
    for key, times in figures.get("scaling", {}).items() if "scaling_to_reach" in figures else ():
        yield key, "two threads beside one", figures["scaling_to_reach"], times["1"]["ms"] / times["2"]["ms"], 2.0


def aims_table(figures):
    """These in Markdown."""
    rows = [["", "", "aimed at", "reached", "short by", "at the limit"], ["---", "---", *["---:"] * 4]]
    for key, what, aim, reached, limit in aims(figures):
        short = "" if reached >= aim else f"{1 - reached / aim:.0%}"
        numbers = [f"{number:.0%}" if limit == 1 else f"{number:.3g} x" for number in (aim, reached)]
        rows.append([key, what, *numbers, short, f"{limit:.0%}" if limit == 1 else f"{limit:.3g} x"])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def other_tables():
    """The figures of other processors, one table below the other."""
    return "\n\n".join(table(json.loads(path.read_text())) for path in sorted(HERE.glob("results-*.json")))


def answers_table():
    """The largest differences that the tests have seen."""
    rows = ["| | at most |", "| --- | ---: |"]
    for what, difference in json.loads(ANSWERS.read_text()).items():
        rows.append(f"| {what} | {difference:.2f} |" if "units" in what else f"| {what} | {difference:.1g} |")
    return "\n".join(rows)


def with_tables(readme, figures):
    """The text of a README with the figures' tables between their marks, as far as it has these."""
    tables = {
        BEGIN: table(figures),
        BEGIN_MORE: more_table(figures),
        BEGIN_OTHERS: other_tables(),
        BEGIN_AIMS: aims_table(figures),
        BEGIN_ANSWERS: answers_table(),
    }
    for begin, text in tables.items():
        between = re.compile(f"{re.escape(begin)}.*?{re.escape(END)}", re.DOTALL)
        readme = between.sub(lambda _, lines=(begin, text, END): "\n".join(filter(None, lines)), readme)
    return readme


def save(figure, path):
    """The same figures give the same file."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": path.name}):
        figure.savefig(path, metadata={"Date": None})


def draw_workloads(figures, path):
    """Bars: each library's time over cmlp's, for every workload."""
    from matplotlib import pyplot

    entries = figures["workloads"]
    names = ["cmlp", *PEERS]
    figure, axes = pyplot.subplots(figsize=(11, 4.2), layout="constrained")
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        places, heights = [], []
        for place, entry in enumerate(entries.values()):
            theirs, ours = fastest(entry["results"], name), entry["results"]["cmlp"]["ms"]
            if theirs is not None:
                places.append(place + (number - (len(names) - 1) / 2) * width)
                heights.append(theirs / ours)
        axes.bar(places, heights, width, label=PEERS.get(name, name), color=COLOURS[name])
    axes.axhline(1, color=COLOURS["cmlp"], linewidth=0.8)
    axes.set_yscale("log")
    axes.set_yticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
    axes.set_xticks(range(len(entries)), entries)
    axes.set_ylabel("time, in cmlp's")
    axes.set_title(where(figures))
    axes.legend(ncols=len(names), loc="upper center", bbox_to_anchor=(0.5, -0.08), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
    pyplot.close(figure)


def draw_sweeps(figures, path):
    """Samples a second over the width of two hidden layers, over the batch, and over the samples of a prediction."""
    from matplotlib import pyplot

    figure, three = pyplot.subplots(1, 3, figsize=(14, 4), layout="constrained")
    for axes, kind in zip(three, ("width", "batch", "samples"), strict=True):
        chosen = {int(key.split()[1]): e for key, e in figures["workloads"].items() if key.startswith(kind)}
        for name in ("cmlp", *PEERS):
            points = [(n, fastest(entry["results"], name), entry["samples"]) for n, entry in sorted(chosen.items())]
            points = [(n, samples / ms * 1e3) for n, ms, samples in points if ms is not None]
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    marker="o",
                    markersize=3,
                    color=COLOURS[name],
                    label=PEERS.get(name, name),
                )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(list(chosen), list(chosen), fontsize=7, rotation=45)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    three[0].set(title="64-n-n-10, batch 128, SGD", xlabel="width n", ylabel="samples a second")
    three[1].set(title="64-64-64-10, SGD", xlabel="batch")
    three[2].set(title="784-512-256-10, prediction", xlabel="samples")
    three[2].legend(frameon=False)
    figure.suptitle(where(figures), fontsize="medium")
    save(figure, path)
    pyplot.close(figure)


def main():
    results = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    figures = json.loads(results.read_text())
    for readme in (HERE.parent / "README.md", HERE / "README.md"):
        readme.write_text(with_tables(readme.read_text(), figures))
    draw_workloads(figures, HERE / "workloads.svg")
    if SWEEPS.exists():
        draw_sweeps(json.loads(SWEEPS.read_text()), HERE / "sweeps.svg")


if __name__ == "__main__":
    main()
