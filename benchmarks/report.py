"""What the figures look like: as lines of text, as the README's table, as pictures."""

import platform
from pathlib import Path


def cpu_name():
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def share(workload, milliseconds, peaks):
    """Of the multiply-adds that all processors could have done in the time."""
    return workload.operations / (milliseconds * 1e6) / (peaks[workload.dtype] * peaks["threads"])


def fastest(results, peer):
    """Milliseconds of the best variant of a peer, or None."""
    times = [result["ms"] for name, result in results.items() if name.startswith(peer) and "ms" in result]
    return min(times, default=None)


def lines(workload, results, peaks):
    yield f"{workload.key}  {workload.title}"
    ours = results.get("cmlp", {}).get("ms")
    for name, result in results.items():
        if "ms" not in result:
            yield f"  {name:<22}-- {result['missing'].splitlines()[0]}"
            continue
        target = workload.ratios.get(name.split()[0])
        yield (
            f"  {name:<22}{result['ms']:>10.4f} ms  best {result['best_ms']:>10.4f}"
            f"{share(workload, result['ms'], peaks):>7.0%} of peak{result['megabytes']:>8.1f} MB"
            + (f"{result['ms'] / ours:>8.2f} x" if ours else "")
            + (f"  (to reach {target})" if target else "")
        )
