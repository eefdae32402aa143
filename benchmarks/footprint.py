"""What having cmlp costs: the time of `import cmlp` over that of `import numpy`, and the size of a wheel.

python benchmarks/footprint.py [--wheel FILE]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

# An installed package has its bytecode beside it; one that is run where it is built, after a first import, if it may.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def seconds(statement):
    """A new interpreter's time for one statement."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, env=ENVIRONMENT)
    return time.perf_counter() - start


def measure(repeats, wheel=None):
    """Medians of the times of the imports, in turn; and the wheel's size."""
    statements = ("import numpy", "import cmlp")
    times = {statement: [] for statement in statements}
    for statement in statements:
        seconds(statement)
    for _ in range(repeats):
        for statement in statements:
            times[statement].append(seconds(statement))
    differences = [ours - numpys for numpys, ours in zip(*times.values(), strict=True)]
    return {
        "milliseconds": {statement: 1e3 * statistics.median(values) for statement, values in times.items()},
        "milliseconds over numpy": 1e3 * statistics.median(differences),  # of neighbours in time, for the noise
        **({"wheel megabytes": wheel.stat().st_size / 1e6} if wheel else {}),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--repeats", type=int, default=21)
    options = parser.parse_args()
    print(json.dumps(measure(options.repeats, options.wheel), indent=2))


if __name__ == "__main__":
    main()
