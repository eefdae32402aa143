"""What a person sees of a fit: a bar on a terminal, if tqdm is there, and a line an epoch elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

History = dict[str, list[float]]


def epochs(count: int, verbose: int, history: History) -> Iterator[int]:
    """Numbers 0 .. count - 1; after each, what history has gained is shown."""
    with _bar(count) if verbose else nullcontext() as bar:
        for epoch in range(count):
            yield epoch
            figures = "  ".join(f"{name} {values[-1]:.4f}" for name, values in history.items() if name != "seconds")
            if bar is not None:
                bar.set_description_str(figures, refresh=False)
                bar.update()
            elif verbose:
                print(f"epoch {epoch + 1}/{count}  {figures}  {history['seconds'][-1]:.2f} s", flush=True)


def _bar(count: int) -> Any:
    if not sys.stderr.isatty():
        return nullcontext()
    try:
        from tqdm import tqdm
    except ImportError:
        return nullcontext()
    # The figures matter more than the bar: on a narrow terminal it is the bar that gives way.
    return tqdm(total=count, unit="epoch", bar_format="{n_fmt}/{total_fmt} {bar:12} {desc} [{elapsed}]")
